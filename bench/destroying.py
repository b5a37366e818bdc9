"""Purging a day on PostgreSQL and OpenSearch, beside DELETE and delete_by_query of as many readable texts."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from opensearchpy import OpenSearch

from bench import bare, feeds
from bench.engines import Engines, engines
from bench.many import Many
from bench.table import Row
from textkeep.archive.shelf import Day
from textkeep.retention.counting.survey import Survey
from textkeep.search.compacting import Compacting
from textkeep.store.tables import texts_name

SIZES = tuple(int(size) for size in os.environ.get("BENCH_PURGES", "10000,100000,1000000").split(","))
FASTER = 100
"""How many times faster than deletion a purge of the largest day has to be."""
FLAT = 2.0
"""How many times that of the smallest day a purge of the largest may take."""

COPIES_SECONDS = 35
"""After that OpenSearch has noted that no copy of an index lacks anything, and a merge keeps nothing for one that does
(`index.soft_deletes.retention_lease.sync_interval`, 30 s)."""

LOOK_SECONDS = 0.05
"""How often the rival is asked whether it is done."""


def run(folder: Path) -> Iterator[Row]:
    """Milliseconds, a row a size; the largest also beside the smallest."""
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=398 - number) for number in range(len(SIZES))]
    with engines(folder) as there:
        many = Many(there, folder, "purging")
        for day, size in zip(days, SIZES, strict=True):
            many.load(feeds.texts(size, days=1, until=day))
        with psycopg.connect(many.settings["database_url"], autocommit=True) as connection:
            for day in days:  # as autovacuum has done long before a day is due
                connection.execute(f"VACUUM ANALYZE {texts_name(day.isoformat())}".encode())
        # As OpenSearch does with what was not written for five minutes.
        bare.client(there.opensearch.address).indices.flush(params={"force": "true"})
        ours = list(_ours(many, days))
        theirs = [_deleted(there, day, size) for day, size in zip(days, SIZES, strict=True)]
    for size, mine, deleted in zip(SIZES, ours, theirs, strict=True):
        target = 1 / FASTER if size == max(SIZES) and size >= 1_000_000 else None
        yield Row(f"purge of a day of {size:,}, beside deletion", "ms", mine, deleted, False, target)
    yield Row(f"  that of {SIZES[-1]:,} beside that of {SIZES[0]:,}", "ms", ours[-1], ours[0], False, FLAT)


def _ours(many: Many, days: list[date]) -> Iterator[float]:
    now = [Day(days[0]).due() - timedelta(hours=1)]
    with many.opened(lambda: now[0]) as ours:
        archive = ours.archive
        time.sleep(COPIES_SECONDS)
        begun = time.perf_counter()
        compacted = Compacting(archive.store, archive.shelves, archive.index, archive.clock).run()
        print(f"  {len(compacted)} days compacted in {time.perf_counter() - begun:.1f} s", flush=True)
        # What is due before, without a text, is purged beforehand: only the day itself is under the stopwatch.
        before = len(archive.purge.run(now[0], dry_run=True).days)
        archive.purge.run(now[0], confirm_days=before)
        for day, size in zip(days, SIZES, strict=True):
            now[0] = Day(day).due() - timedelta(hours=1)
            begun = time.perf_counter()
            Survey(archive.store, archive.shelves, archive.clock).run()
            print(f"  {size:,} rows read ahead of time in {time.perf_counter() - begun:.1f} s", flush=True)
            now[0] = Day(day).due() + timedelta(seconds=1)
            begun = time.time()
            result = archive.purge.run(now[0])
            ended = time.time()
            took = (Path(many.settings["data"]) / "reports" / f"{day}.json").stat().st_ctime - begun
            print(
                f"  {size:,} rows destroyed and reported in {1000 * took:,.0f} ms, the run ended after"
                f" {1000 * (ended - begun):,.0f} ms",
                flush=True,
            )
            if result.stopped or [(each.day, each.destroyed) for each in result.days] != [(day.isoformat(), size)]:
                raise RuntimeError(f"the purge did something else: {result.document()}")
            yield 1000 * took


def _deleted(there: Engines, day: date, size: int) -> float:
    """Both stores hold readable texts of that day and of the one before; only that day goes."""
    lines = [*feeds.texts(size, days=1, until=day), *feeds.texts(size // 10, days=1, until=day - timedelta(days=1))]
    name = f"plain-{size}"
    client = bare.client(there.opensearch.address)
    documents = [_into(number, line, name) for number, line in enumerate(bare.readable(lines, ""))]
    bare.bulk(client, [name], documents, bare.READABLE)
    client.indices.flush(index=name, params={"force": "true"})
    with psycopg.connect(there.database(name), autocommit=True) as connection:
        connection.execute("CREATE TABLE texts (id TEXT PRIMARY KEY, day DATE NOT NULL, raw TEXT NOT NULL)")
        connection.execute("CREATE INDEX ON texts (day)")
        with connection.cursor().copy("COPY texts FROM STDIN") as copy:
            for number, line in enumerate(lines):
                written = day if number < size else day - timedelta(days=1)
                copy.write_row((f"{number}", written, line.decode()))
        connection.execute("VACUUM ANALYZE texts")
        begun = time.perf_counter()
        gone = connection.execute("DELETE FROM texts WHERE day = %s", (day,)).rowcount
        told = _deleted_by_query(client, name, {"query": {"term": {"day": day.isoformat()}}})
        took = time.perf_counter() - begun
    if gone != size or told["deleted"] != size:
        raise RuntimeError(f"the rival deleted {gone} and {told['deleted']} of {size}")
    return 1000 * took


def _deleted_by_query(client: OpenSearch, name: str, query: dict[str, Any]) -> dict[str, Any]:
    """What OpenSearch says when it has done so, as a task of its own.

    The answer to a million in one request has a warning for each batch among its headers; the client takes no more than
    100 of them, and asks again for what is gone by then.
    """
    params = {"refresh": "true", "scroll_size": "5000", "wait_for_completion": "false"}
    task = client.delete_by_query(index=name, body=query, params=params)["task"]
    while not (told := client.tasks.get(task_id=task))["completed"]:
        time.sleep(LOOK_SECONDS)
    response: dict[str, Any] = told["response"]
    return response


def _into(number: int, line: bytes, name: str) -> bytes:
    """A bulk line for one index instead of one a day."""
    head = b'{"index":{"_index":"%s","_id":"%d"}}\n' % (name.encode(), number)
    return head + line.split(b"\n", 1)[1]
