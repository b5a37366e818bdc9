"""Searchable ingest and rebuilding on PostgreSQL and OpenSearch, beside bare bulk requests."""

import time
from collections.abc import Iterator
from pathlib import Path

from bench import bare, feeds
from bench.engines import engines
from bench.many import Many, shelves
from bench.table import Row

TEXTS = 100_000
DAYS = 20


def run(folder: Path) -> Iterator[Row]:
    """Texts a second until they can be found; then one archive's days made anew."""
    lines = feeds.texts(TEXTS, days=DAYS)
    with engines(folder) as there:
        many = Many(there, folder, "searchable")
        ours = TEXTS / many.load(lines)
        client = bare.client(there.opensearch.address)
        days = shelves(many.settings)
        with many.opened() as opened:
            same = bare.documents(opened, days, "bare-")
            begun = time.perf_counter()
            rebuilt = sum(opened.archive.follower.rebuild(day) for day in days)
            rebuilding = time.perf_counter() - begun
        if rebuilt != TEXTS:
            raise RuntimeError(f"{rebuilt} of {TEXTS} texts were indexed again")
        bulk = TEXTS / bare.bulk(client, [f"bare-{day}" for day in days], same)
        plain = list(bare.readable(lines, "readable-"))
        clear = TEXTS / bare.bulk(client, [f"readable-{day}" for day in days], plain, bare.READABLE)
        yield Row("searchable ingest, beside bulk of the same documents", "texts/s", ours, bulk, True, 0.4)
        yield Row("  beside bulk of the readable texts", "texts/s", ours, clear, True)
        yield Row("rebuilding, beside bulk of the same documents", "texts/s", TEXTS / rebuilding, bulk, True)
        for kind, resident in many.resident.items():
            yield Row(f"  memory of `{kind}` after it, beside its bound", "MB", resident, 400, False, 1)
