"""Purging one day, beside DELETE of the same rows from plain SQLite and its full-text index."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import feeds
from bench.archives import Ours
from bench.rival import Plain
from bench.table import Row, median
from textkeep.archive.shelf import Day

SIZES = (10_000, 100_000)
RUNS = 3


def run(folder: Path) -> Iterator[Row]:
    """One row a size: milliseconds from the first step to the written report, and for the DELETE."""
    for size in SIZES:
        ours, rivals = [], []
        for turn in range(RUNS if size < SIZES[-1] else 1):
            ours.append(_ours(folder / f"purge-{size}-{turn}", size))
            rivals.append(_plain(folder / f"delete-{size}-{turn}", size))
        yield Row(f"purge of a day of {size:,}", "ms", 1000 * median(ours), 1000 * median(rivals), higher=False)


def _ours(folder: Path, size: int) -> float:
    last = datetime.now(UTC).date() - timedelta(days=1)
    now = [datetime.now(UTC)]
    archive = Ours(folder, lambda: now[0])
    for batch in feeds.batches(feeds.texts(size, days=1, until=last)):
        archive.load(batch)
    now[0] = Day(last).due() + timedelta(seconds=1)
    others = len([day for day in archive.archive.purge.run(now[0], dry_run=True).days if day.day != last.isoformat()])
    archive.archive.purge.run(Day(last).due() - timedelta(seconds=1), confirm_days=others)
    begun = time.perf_counter()
    result = archive.archive.purge.run(now[0])
    took = time.perf_counter() - begun
    if result.stopped or [(day.day, day.destroyed) for day in result.days] != [(last.isoformat(), size)]:
        raise RuntimeError(f"the purge did something else: {result.document()}")
    archive.close()
    return took


def _plain(folder: Path, size: int) -> float:
    last = datetime.now(UTC).date() - timedelta(days=1)
    plain = Plain(folder)
    for batch in feeds.batches(feeds.texts(size, days=1, until=last)):
        plain.load(batch)
    begun = time.perf_counter()
    if plain.delete(last.isoformat()) != size:
        raise RuntimeError("the rival deleted something else")
    took = time.perf_counter() - begun
    plain.close()
    return took
