"""Fills an empty archive with the made-up texts of `demo_feed`, through the same door as any feed, and no other."""

from collections.abc import Callable, Iterator
from datetime import date
from itertools import islice
from typing import Final, Literal

import msgspec
from sqlalchemy import Connection, Table, func, select, update

from textkeep.archive.shelf import Day
from textkeep.directory.records import read_line
from textkeep.errors import Conflict
from textkeep.service import demo_feed
from textkeep.service.wiring import Archive
from textkeep.store.demo import DEMO
from textkeep.store.once import insert_once
from textkeep.store.tables import batches, directory, notes, orgs, tokens

BATCH: Final = 500
"""Texts of one batch."""


class Mark(msgspec.Struct, frozen=True):
    """How far this archive's demo is; `until` is the last day of its feed, which makes it the same when resumed."""

    until: date
    state: Literal["loading", "loaded"]


def claim(archive: Archive) -> Mark:
    """Mark an empty archive as a demo, or find the mark. Raises Conflict where there is anything else in it.

    A token is something: whoever holds it was promised a real archive.
    """
    with archive.store.transaction() as connection:
        found = connection.execute(select(notes.c.value).where(notes.c.name == DEMO)).scalar_one_or_none()
        if found is not None:
            return msgspec.json.decode(found, type=Mark)
        if any(_any_row(connection, table) for table in (orgs, directory, batches, tokens)):
            raise Conflict(
                "the demo fills an empty archive only, and this one is not empty; nothing was changed",
                field="--demo",
                remedy="Leave --demo out, or name another folder with --data.",
            )
        mark = Mark(Day.of(archive.clock()).plus(-1).date, "loading")
        _write(connection, mark)
        return mark


def fill(
    archive: Archive,
    mark: Mark,
    *,
    stopped: Callable[[], bool] = lambda: False,
    told: Callable[[int], None] = lambda _: None,
) -> bool:
    """Load what is missing of the demo; False where `stopped` said so before the end, which a later call goes on from.

    What was loaded before is recognised as a duplicate. `told` hears how many texts each batch had.
    """
    if mark.state == "loaded":
        return True
    archive.directory.put_all([read_line(msgspec.json.encode(record)) for record in demo_feed.directory()])
    for batch in _batches(demo_feed.lines(mark.until)):
        if stopped():
            return False
        archive.intake.take(archive.local, [batch])
        told(len(batch))
    with archive.store.transaction() as connection:
        _write(connection, Mark(mark.until, "loaded"))
    return True


def _batches(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(lines, BATCH)):
        yield batch


def _any_row(connection: Connection, table: Table) -> bool:
    return bool(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _write(connection: Connection, mark: Mark) -> None:
    value = msgspec.json.encode(mark).decode("ascii")
    if not insert_once(connection, notes, {"name": DEMO, "value": value}):
        connection.execute(update(notes).where(notes.c.name == DEMO).values(value=value))
