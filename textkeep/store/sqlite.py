"""What every SQLite file of the house has in common: how it is opened, and what its errors mean."""

import sqlite3
from typing import Final, Literal

WAIT_MS: Final = 10_000
"""How long a statement waits for another process that holds the file, in milliseconds."""

PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA temp_store=MEMORY",
    f"PRAGMA busy_timeout={WAIT_MS}",
    "PRAGMA cache_size=-65536",
)
"""Said on every connection: durable when a commit returns, and nothing in temporary files."""

_OUTAGES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

Cause = Literal["outage", "damage", "fault"]


def primary_code(exc: BaseException | None) -> int:
    """The primary result code of an error (sqlite.org/rescode.html); SQLITE_ERROR where it carries none."""
    return int(getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def cause_of(exc: BaseException | None) -> Cause:
    """What an error of SQLite means, by its primary result code.

    `outage`: the machine may mend it. `damage`: the file is not what it was. `fault`: the house itself is wrong; a
    missing table or column is one, and waiting does not help.
    """
    primary = primary_code(exc)
    if primary in _OUTAGES:
        return "outage"
    return "damage" if primary in _DAMAGE else "fault"
