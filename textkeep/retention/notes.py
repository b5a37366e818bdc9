"""Moments and days that retention remembers from one run to the next, in the table of notes."""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from textkeep.archive.shelf import Day
from textkeep.errors import Unsound
from textkeep.store.tables import notes

LAST_SEEN: Final = "clock-last-seen"
"""The last time this archive has seen."""

CONFIRMED_THROUGH: Final = "purge-confirmed-through"
"""The newest day of the last word a person gave for more days than usual."""

LOOKED_THROUGH: Final = "purge-looked-through"
"""The last day of which it is settled whether it had a purge run."""


def read_moment(connection: Connection, name: str) -> datetime | None:
    """The moment noted under a name, or None. Raises Unsound where what is noted is not one."""
    written = _read(connection, name)
    if written is None:
        return None
    try:
        return datetime.fromisoformat(written).astimezone(UTC)
    except ValueError:
        raise Unsound(
            "a stored time is not a time", field=name, remedy="Run `textkeep doctor --reset-clock`."
        ) from None


def read_day(connection: Connection, name: str) -> Day | None:
    """The day noted under a name, or None. Raises Unsound where what is noted is not one."""
    written = _read(connection, name)
    try:
        return None if written is None else Day.named(written)
    except ValueError:
        raise Unsound("a stored day is not a day", field=name) from None


def write(connection: Connection, name: str, value: datetime | Day | None) -> None:
    """Note a moment or a day under a name, in place of what was noted; None forgets it."""
    connection.execute(delete(notes).where(notes.c.name == name))
    if value is not None:
        written = value.shelf if isinstance(value, Day) else value.isoformat()
        connection.execute(insert(notes).values(name=name, value=written))


def _read(connection: Connection, name: str) -> str | None:
    return connection.execute(select(notes.c.value).where(notes.c.name == name)).scalar_one_or_none()
