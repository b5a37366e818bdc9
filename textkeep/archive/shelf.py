"""The shelf: what is kept together and destroyed together. Pure.

One shelf for each UTC calendar day on which texts were sent (`2026-11-22`), and one for each organisation's held
texts (`kept-HANDLE-3`, with a generation number).
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal, NewType, Self

RETENTION: Final = timedelta(days=400)
"""How long a text is readable, counted from the moment it was sent. Nothing changes it (ADR 0003)."""

LATE_BY: Final = timedelta(hours=24)
"""How long after its last text has turned 400 days old a day may still be open before that is an alarm."""

DAYS_AHEAD: Final = 30
"""How many future days have their shelf and secret already, so that nothing secret is made on the way in."""

DAYS_BACK: Final = RETENTION.days
"""How many past days can still hold a readable text."""

State = Literal["open", "intent", "kept", "witnessed", "committed", "shredded", "dropped", "verified", "reported"]
STATES: Final[tuple[State, ...]] = (
    "open",
    "intent",
    "kept",
    "witnessed",
    "committed",
    "shredded",
    "dropped",
    "verified",
    "reported",
)
"""A shelf's life, in order: `open`, then the eight steps of its purge."""

Shelf = NewType("Shelf", str)
"""The name of a shelf."""

_KEPT: Final = re.compile(r"kept-([0-9a-f]{16})-([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True, order=True)
class Day:
    """A UTC calendar day on which texts were sent."""

    date: date

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """The day that holds `moment`. Raises ValueError for a moment without a zone."""
        if moment.tzinfo is None:
            raise ValueError("a moment without a zone belongs to no day")
        return cls(moment.astimezone(UTC).date())

    @classmethod
    def named(cls, shelf: str) -> Self:
        """The day of a day's shelf. Raises ValueError for any other name."""
        day = cls(date.fromisoformat(shelf))
        if day.shelf != shelf:  # `20261122` and `2026-W47-7` are ISO dates too
            raise ValueError("not the name of a day's shelf")
        return day

    @property
    def shelf(self) -> Shelf:
        """The name of this day's shelf."""
        return Shelf(self.date.isoformat())

    def start(self) -> datetime:
        """The first instant of the day."""
        return datetime.combine(self.date, time(), UTC)

    def end(self) -> datetime:
        """The first instant after the day."""
        return self.start() + timedelta(days=1)

    def due(self) -> datetime:
        """The first instant at which every text of this day is older than the retention period."""
        return self.end() + RETENTION

    def plus(self, days: int) -> Self:
        """The day that many days later."""
        return type(self)(self.date + timedelta(days=days))


@dataclass(frozen=True, slots=True, order=True)
class Generation:
    """One generation of an organisation's held texts; of the house's own where no organisation is known.

    `org` is a handle (8 bytes), `number` counts from 1: a release moves what is still held on to the next one.
    """

    org: bytes
    number: int

    @classmethod
    def named(cls, shelf: str) -> Self:
        """The generation of a shelf of held texts. Raises ValueError for any other name."""
        found = _KEPT.fullmatch(shelf)
        if found is None:
            raise ValueError("not the name of a shelf of held texts")
        return cls(bytes.fromhex(found[1]), int(found[2]))

    @property
    def shelf(self) -> Shelf:
        """The name of its shelf."""
        return Shelf(f"kept-{self.org.hex()}-{self.number}")

    def next(self) -> Self:
        """The generation after it."""
        return type(self)(self.org, self.number + 1)


def is_kept(shelf: str) -> bool:
    """Whether a shelf is one of held texts, which no day's end closes."""
    return _KEPT.fullmatch(shelf) is not None


def expired(sent_at: datetime, now: datetime) -> bool:
    """Whether a text sent then is past its 400 days: true from `sent_at + 400 days` on, to the microsecond."""
    return now - sent_at >= RETENTION


def open_days(now: datetime) -> list[Day]:
    """The days that must have a shelf at `now`, oldest first: every day not yet due, and 30 ahead."""
    today = Day.of(now)
    return [today.plus(offset) for offset in range(-DAYS_BACK, DAYS_AHEAD + 1)]
