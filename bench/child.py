"""What a process under the stopwatch does: prepares, says that it is ready, waits for `go`, works, says what it did."""

import json
import pickle
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import psycopg

from bench import feeds
from bench.memory import most_held
from textkeep.access.principal import LOCAL, Principal
from textkeep.archive.batch import Receipt
from textkeep.service.parts import Part
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive

API: Final[tuple[Part, ...]] = ("api",)
FOLLOW: Final[tuple[Part, ...]] = ("follow",)

AHEAD = 8
"""Requests of 1,000 that wait for their receipts while the next is prepared, as with as many senders."""


def main() -> int:
    """Do one kind of work."""
    kind, arguments = sys.argv[1], json.loads(sys.argv[2])
    KINDS[kind](**arguments)
    return 0


def _ready() -> None:
    _say({"ready": True})
    sys.stdin.readline()


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


def _accept(settings: dict[str, Any], feed: str) -> None:
    """Take a feed as the API does behind its socket: prepared by one thread, written by the door's two.

    It is read a request at a time: what has not been sent yet is not in the API's memory.
    """
    archive = Archive.open(Settings(**settings), parts=API, kind="api")
    archive.start()
    producer = Principal(archive.local.person, LOCAL, frozenset({"producer"}), None)
    _ready()
    waiting: deque[Future[Receipt]] = deque()
    accepted = 0
    for request in feeds.requests(Path(feed)):
        waiting.append(archive.door.submit(archive.intake.prepare(producer, request)))
        if len(waiting) >= AHEAD:
            accepted += waiting.popleft().result().accepted
    accepted += sum(each.result().accepted for each in waiting)
    _say({"accepted": accepted, "resident": most_held()})
    archive.close()


def _follow(settings: dict[str, Any]) -> None:
    """Make texts findable until told to stop."""
    archive = Archive.open(Settings(**settings), parts=FOLLOW, kind="follow")
    _ready()
    archive.start()
    sys.stdin.readline()
    archive.close()
    _say({"resident": most_held()})


def _bare(url: str, rows: str, together: int) -> None:
    """COPY into a staging table and INSERT ... ON CONFLICT, of rows that are ready."""
    with Path(rows).open("rb") as file:
        ready: list[tuple[Any, ...]] = pickle.load(file)  # noqa: S301  our own, of this run
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bare (org BYTEA NOT NULL, tag BYTEA NOT NULL, version INTEGER NOT NULL,"
            " slice BIGINT NOT NULL, commitment BYTEA NOT NULL, size INTEGER NOT NULL, sealed BYTEA NOT NULL,"
            " PRIMARY KEY (tag, version, org))"
        )
        cursor.execute("ALTER TABLE bare ALTER COLUMN sealed SET STORAGE EXTERNAL")
        cursor.execute("CREATE TEMPORARY TABLE staging (LIKE bare) ON COMMIT DELETE ROWS")
        _ready()
        for start in range(0, len(ready), together):
            with connection.transaction():
                with cursor.copy("COPY staging FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(("bytea", "bytea", "int4", "int8", "bytea", "int4", "bytea"))
                    for row in ready[start : start + together]:
                        copy.write_row(row)
                cursor.execute("INSERT INTO bare SELECT * FROM staging ON CONFLICT DO NOTHING")
        _say({"accepted": len(ready)})


def _pgcrypto(url: str, feed: str, together: int) -> None:
    """The same records, encrypted by the database: `pgp_sym_encrypt` with AES-256 in the INSERT."""
    lines = Path(feed).read_bytes().split(b"\n")
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION pgcrypto")
        cursor.execute("CREATE TABLE texts (source TEXT, id TEXT, sealed BYTEA NOT NULL, PRIMARY KEY (source, id))")
        cursor.execute("CREATE TEMPORARY TABLE staging (source TEXT, id TEXT, raw TEXT) ON COMMIT DELETE ROWS")
        _ready()
        for start in range(0, len(lines), together):
            with connection.transaction():
                with cursor.copy("COPY staging FROM STDIN") as copy:
                    for line in lines[start : start + together]:
                        event = json.loads(line)
                        copy.write_row((event["source"], event["id"], line.decode()))
                cursor.execute(
                    "INSERT INTO texts SELECT source, id, pgp_sym_encrypt(raw, %s, 'cipher-algo=aes256') FROM staging"
                    " ON CONFLICT DO NOTHING",
                    ("a passphrase of the benchmark",),
                )
        _say({"accepted": len(lines)})


KINDS: dict[str, Callable[..., None]] = {"accept": _accept, "follow": _follow, "bare": _bare, "pgcrypto": _pgcrypto}

if __name__ == "__main__":
    sys.exit(main())
