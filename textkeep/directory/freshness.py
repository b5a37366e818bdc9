"""The counter of the directory's changes, in the database: how one process learns that another one has changed it.

Whoever changes the directory of a shared store locks the counter first and moves it on in the same transaction. So
changes happen one after the other, rows get their numbers in the order in which they are committed, and whoever has
loaded everything up to a number loads what comes behind it and misses nothing.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select, update

from textkeep.store.once import insert_once
from textkeep.store.tables import notes

VERSION: Final = "directory-version"
DROPPED: Final = "directory-dropped"


@dataclass(frozen=True, slots=True)
class Standing:
    """How often the directory was changed, and up to when ended intervals were dropped (microseconds since 1970)."""

    version: int = 0
    dropped: int = 0


def read(connection: Connection) -> Standing:
    """How the directory stands."""
    return _standing(connection)


def lock(connection: Connection) -> Standing:
    """How the directory stands; nobody else changes it until the caller's transaction ends. Shared stores only."""
    for name in (DROPPED, VERSION):
        insert_once(connection, notes, {"name": name, "value": "0"})
    return _standing(connection, locked=True)


def write(connection: Connection, standing: Standing) -> None:
    """Say how it stands now. The caller holds the lock."""
    for name, value in ((VERSION, standing.version), (DROPPED, standing.dropped)):
        connection.execute(update(notes).where(notes.c.name == name).values(value=str(value)))


def _standing(connection: Connection, *, locked: bool = False) -> Standing:
    wanted = select(notes).where(notes.c.name.in_((VERSION, DROPPED))).order_by(notes.c.name)
    found = {row.name: int(row.value) for row in connection.execute(wanted.with_for_update() if locked else wanted)}
    return Standing(found.get(VERSION, 0), found.get(DROPPED, 0))
