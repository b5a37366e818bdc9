"""Searchable loading: from the bytes of a feed to findable texts, beside plain SQLite over readable text."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import feeds
from bench.archives import Ours
from bench.rival import Plain
from bench.table import Row, median

TEXTS = 30_000
DENSITIES = {500: 0.3, 75: None}
"""Texts a day, as in the search benchmark and as in a thin backfill, and the ratio that has to be reached."""
RUNS = 3


def run(folder: Path) -> Iterator[Row]:
    """One row a density: texts a second, ours and the rival's, run by turns."""
    for a_day, target in DENSITIES.items():
        batches = feeds.batches(feeds.texts(TEXTS, days=min(TEXTS // a_day, 398)))
        ours, rivals = [], []
        for turn in range(RUNS):
            plain = Plain(folder / f"plain-{a_day}-{turn}")
            rivals.append(TEXTS / _timed(plain.load, batches))
            plain.close()
            archive = Ours(folder / f"ours-{a_day}-{turn}")
            ours.append(TEXTS / _timed(archive.load, batches))
            archive.close()
        yield Row(f"searchable loading, {a_day} texts a day", "texts/s", median(ours), median(rivals), True, target)


def _timed(load: Callable[[Sequence[bytes]], object], batches: list[list[bytes]]) -> float:
    begun = time.perf_counter()
    for batch in batches:
        load(batch)
    return time.perf_counter() - begun
