"""Moments and days that retention remembers from one run to the next, in the table of notes."""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, text

from textkeep.archive.shelf import Day
from textkeep.errors import Unsound
from textkeep.store.tables import notes

LAST_SEEN: Final = "clock-last-seen"
"""The last time this archive has seen."""

CONFIRMED_THROUGH: Final = "purge-confirmed-through"
"""The newest day of the last word a person gave for more days than usual."""

LOOKED_THROUGH: Final = "purge-looked-through"
"""The last day of which it is settled whether it had a purge run."""

_READ: Final = select(notes.c.value).where(notes.c.name == bindparam("named"))
_READ_LOCKED: Final = _READ.with_for_update()
_WRITE: Final = text(
    "INSERT INTO notes (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


def read_moment(connection: Connection, name: str, *, lock: bool = False) -> datetime | None:
    """The moment noted under a name, or None. Raises Unsound where what is noted is not one.

    With `lock` nobody else changes the note until the caller's transaction ends.
    """
    written = _read(connection, name, lock)
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
    if value is None:
        connection.execute(delete(notes).where(notes.c.name == name))
        return
    written = str(value.shelf) if isinstance(value, Day) else value.isoformat()
    connection.execute(_WRITE, {"name": name, "value": written})


def _read(connection: Connection, name: str, lock: bool = False) -> str | None:
    return connection.execute(_READ_LOCKED if lock else _READ, {"named": name}).scalar_one_or_none()
