"""The real command on real feeds, and what of them lies in the archive's files afterwards."""

import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests.whole.commanding import World, up

STREAM: Final = "application/x-ndjson"
BATCH: Final = 1000
ROLES: Final = ("producer", "officer", "counsel", "auditor", "registrar", "operator")
"""Every role that one person may hold at once."""


def feed(shared: Path, *arguments: str) -> list[bytes]:
    """The lines that the feed tool prints."""
    command = [sys.executable, str(shared / "tools" / "feed.py"), *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout.splitlines()


def write(path: Path, lines: Sequence[bytes]) -> str:
    """A file of these lines, by its name."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


def told(world: World, *words: str) -> Any:
    """What the real command says with --json; it must succeed and complain of nothing."""
    done = world.run(*words, "--json")
    assert (done.returncode, done.stderr) == (0, b""), words
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Service:
    """A service that runs as a process of its own."""

    world: World
    url: str
    token: str

    def client(self) -> httpx.Client:
        """A client whose token has every role that one person may hold; it waits as long as it takes."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=None)  # noqa: S113


@contextmanager
def serving(world: World) -> Iterator[Service]:
    """`textkeep up` on a free port until the block ends; it must stop cleanly, and its log tell of no fault."""
    with up(world) as running:
        token = told(world, "token", "create", *(word for role in ROLES for word in ("--role", role)))["token"]
        yield Service(world, running.url, token)
    assert world.log()[-1]["event"] == "stopped"


def send(client: httpx.Client, lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """The receipts of a stream sent in requests of `BATCH` lines."""
    receipts = []
    for start in range(0, len(lines), BATCH):
        body = b"\n".join(lines[start : start + BATCH])
        answer = client.post("/v1/texts", content=body, headers={"Content-Type": STREAM})
        assert answer.status_code == 200, answer.text
        receipts.append(answer.json())
    return receipts


COUNTS: Final = ("accepted", "versions", "duplicates", "quarantined", "refused")


def totals(receipts: Sequence[dict[str, Any]]) -> dict[str, int]:
    """The sums over receipts, each of which must add up in itself."""
    for receipt in receipts:
        assert receipt["read"] == sum(receipt[count] for count in COUNTS) == len(receipt["items"])
        assert [item["index"] for item in receipt["items"]] == list(range(receipt["read"]))
    return {count: sum(receipt[count] for receipt in receipts) for count in ("read", *COUNTS)}


def opened(file: Path) -> "closing[sqlite3.Connection]":
    """A SQLite file, to read from only."""
    return closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True))


def contents(file: Path) -> dict[str, tuple[int, str]]:
    """For each ordinary table of a SQLite file how many rows it has, and a digest of all of them in any order."""
    with opened(file) as connection:
        wanted = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
        return {name: _digest(connection, name) for (name,) in connection.execute(wanted)}


def _digest(connection: sqlite3.Connection, table: str) -> tuple[int, str]:
    rows = sorted(repr(row) for row in connection.execute(f'SELECT * FROM "{table}"'))  # noqa: S608
    return len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()


def texts(data: Path) -> list[tuple[str, str, int]]:
    """Shelf, tag and version of every sealed text of an archive."""
    with opened(data / "textkeep.db") as connection:
        return [
            (name, tag.hex(), version)
            for name in _tables(connection, "texts_")
            for tag, version in connection.execute(f"SELECT tag, version FROM {name}")  # noqa: S608
        ]


def quarantined(data: Path) -> dict[str, int]:
    """How many quarantined records each day of an archive holds, where it holds any."""
    with opened(data / "textkeep.db") as connection:
        counts = {
            name.removeprefix("papers_").replace("_", "-"): connection.execute(
                f"SELECT count(*) FROM {name} WHERE kind = 'quarantine'"  # noqa: S608
            ).fetchone()[0]
            for name in _tables(connection, "papers_")
        }
    return {shelf: count for shelf, count in counts.items() if count}


def receipts_stored(data: Path) -> int:
    """How many receipts an archive has stored; 0 where there is none yet."""
    try:
        with opened(data / "textkeep.db") as connection:
            return int(connection.execute("SELECT count(*) FROM batches").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def ledger_kinds(data: Path) -> dict[str, int]:
    """How many ledger entries of each kind an archive has written."""
    with opened(data / "textkeep.db") as connection:
        return dict(connection.execute("SELECT kind, count(*) FROM ledger_entries GROUP BY kind").fetchall())


def _tables(connection: sqlite3.Connection, prefix: str) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return sorted(name for (name,) in found if name.startswith(prefix))
