"""Durable ingest on PostgreSQL: one process and two, beside bare COPY + ON CONFLICT, and beside pgcrypto."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from bench import feeds
from bench.archives import Ours
from bench.children import Child, together, written
from bench.engines import SERVER, Engines, engines, with_pgcrypto
from bench.table import Row
from tests.engines.postgres import PostgresServer
from textkeep.store.bulk import TextRow
from textkeep.store.tables import texts_of

TEXTS = 200_000
CRYPTO_TEXTS = 20_000
DAYS = 7
TOGETHER = 5_000
"""Rows the rivals write in one transaction: as many as the door puts together at most."""


def run(folder: Path) -> Iterator[Row]:
    """Texts a second until they are on disk."""
    lines = feeds.texts(TEXTS, days=DAYS)
    with engines(folder) as there:
        one, settings = _ours(there, folder, "one", [lines])
        two, _ = _ours(there, folder, "two", [lines[0::2], lines[1::2]])
        bare = len(lines) / together(
            [Child("bare", url=there.database("bare"), rows=_rows(folder, settings), together=TOGETHER)]
        )
        yield Row("durable ingest, one process", "texts/s", one, bare, True, 0.3)
        yield Row("  two processes", "texts/s", two, bare, True)
    crypto = _pgcrypto(folder, lines[:CRYPTO_TEXTS])
    if crypto is None:
        print("  no PostgreSQL with pgcrypto on this machine: BENCH_PGCRYPTO_BIN names the folder of its programs")
    else:
        yield Row("  one process, beside pgcrypto", "texts/s", one, crypto, True, 4)


def _ours(there: Engines, folder: Path, name: str, parts: list[list[bytes]]) -> tuple[float, dict[str, Any]]:
    settings = there.archive(folder, name)
    Ours(folder / name, settings=settings).close()
    children = [
        Child("accept", settings=settings, feed=written(folder, f"{name}-{number}", part))
        for number, part in enumerate(parts)
    ]
    return sum(map(len, parts)) / together(children), settings


def _rows(folder: Path, settings: dict[str, Any]) -> Path:
    """The sealed rows of an archive, as the rival writes them."""
    path = folder / "rows"
    columns = ", ".join(TextRow._fields)
    with psycopg.connect(settings["database_url"]) as connection:
        names = [row[0] for row in connection.execute("SELECT DISTINCT shelf FROM slices")]
        rows = [
            row
            for name in names
            for row in connection.execute(f"SELECT {columns} FROM {texts_of(name).name}".encode()).fetchall()
        ]
    with path.open("wb") as file:
        pickle.dump(rows, file)
    return path


def _pgcrypto(folder: Path, lines: list[bytes]) -> float | None:
    programs = with_pgcrypto()
    if programs is None:
        return None
    server = PostgresServer(fsync=True, settings=SERVER, bin_folder=programs)
    try:
        server.start()
        child = Child("pgcrypto", url=server.address, feed=written(folder, "crypto", lines), together=TOGETHER)
        return len(lines) / together([child])
    finally:
        server.end()
