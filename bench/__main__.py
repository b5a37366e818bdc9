"""`make bench`: every comparison in one run, with the machine it ran on."""

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench import destroying, durable, feeds, finding, indexing, loading, purging, resident, searching
from bench.table import printed

PARTS = {
    "loading": loading.run,
    "searching": searching.run,
    "purging": purging.run,
    "durable": durable.run,
    "indexing": indexing.run,
    "finding": finding.run,
    "destroying": destroying.run,
    "resident": resident.run,
}
"""The first three on the embedded default, the others on PostgreSQL, OpenSearch and Kafka."""


def main() -> int:
    """Run the parts asked for and print one table; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which parts (all)")
    parser.add_argument("--folder", type=Path, default=None, help="where to write (a new temporary folder)")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as folder:
        print(_machine(), flush=True)
        for name in asked.parts or PARTS:
            for row in PARTS[name](Path(folder) / name):
                rows.append(row)
                print("  ".join(row.cells()), flush=True)
    print()
    print(printed(rows))
    return 0 if all(row.holds for row in rows) else 1


def _machine() -> str:
    corpus = "the shared corpus" if feeds.SHARED.is_dir() else "a made-up vocabulary"
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {platform.machine()}, Python"
        f" {platform.python_version()}, SQLite {sqlite3.sqlite_version}, texts from {corpus}"
    )


if __name__ == "__main__":
    sys.exit(main())
