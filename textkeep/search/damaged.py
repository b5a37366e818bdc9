"""Damaged slices: those of which a text does not open, as every process of an archive may know them.

Followers find them, and keep them in a note. A slice of it that was indexed since (its texts were restored) is none.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, select, update

from textkeep.store.once import insert_once
from textkeep.store.tables import notes, shelves, slices

NOTE: Final = "damaged-slices"

LOOKUP: Final = 500
"""How many slices one statement asks for."""


def publish(connection: Connection, found: Collection[int]) -> None:
    """Add slices to those that are known to be damaged, and forget those that are not any more."""
    insert_once(connection, notes, {"name": NOTE, "value": "[]"})
    known = _read(connection, lock=True)
    value = json.dumps(sorted(_waiting(connection, known.union(found))))
    connection.execute(update(notes).where(notes.c.name == NOTE).values(value=value))


def published(connection: Connection) -> set[int]:
    """The slices of open shelves that are not findable, and were found to be damaged."""
    return set(_waiting(connection, _read(connection)))


def _read(connection: Connection, *, lock: bool = False) -> set[int]:
    wanted = select(notes.c.value).where(notes.c.name == NOTE)
    written = connection.execute(wanted.with_for_update() if lock else wanted).scalar_one_or_none()
    return set(json.loads(written or "[]"))


def _waiting(connection: Connection, known: Collection[int]) -> Iterator[int]:
    wanted = select(slices.c.id).join(shelves, shelves.c.name == slices.c.shelf)
    for some in _chunks(sorted(known)):
        waiting = wanted.where(slices.c.id.in_(some), slices.c.indexed.is_(False), shelves.c.state == "open")
        yield from connection.scalars(waiting)


def _chunks(items: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), LOOKUP):
        yield items[start : start + LOOKUP]
