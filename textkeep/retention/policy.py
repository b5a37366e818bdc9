"""The rule: a text is kept 400 days, and its day is closed within 24 hours of its last text's 400th. Pure.

`RETENTION` is a constant of `archive/shelf.py`, because the rooms below need it; this is the name by which the rest of
the house knows it. When a day is due follows from the day's own name, never from a column.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Protocol

import rfc8785

from textkeep.archive.shelf import LATE_BY, RETENTION, Day

__all__ = [
    "LATE_BY",
    "RETENTION",
    "RULE",
    "Standing",
    "day_of",
    "due_days",
    "first_not_due",
    "overdue_days",
    "policy_digest",
]

RULE: Final[dict[str, Any]] = {
    "retention_days": RETENTION.days,
    "late_by_hours": int(LATE_BY.total_seconds()) // 3600,
    "counted_from": "sent_at",
    "fixed": True,
    "rule": (
        "A text is readable for 400 days from the moment it was sent, and never after, unless a legal hold covers it."
        " Its day is closed within 24 hours of the moment its last text turns 400 days old: the day's secret is"
        " destroyed and a report accounts for every text."
    ),
    "change": "Nothing changes the 400 days: no setting, flag, column or request. To keep texts longer, place a hold.",
}
"""The rule in words and numbers, as `GET /v1/retention` answers it."""


class Standing(Protocol):
    """A shelf's name and how far it is."""

    @property
    def name(self) -> str:
        """The shelf's name."""

    @property
    def state(self) -> str:
        """`open`, or the last step of its purge that is done."""


def day_of(shelf: str) -> Day | None:
    """The day of a day's shelf, or None for a shelf of held texts."""
    try:
        return Day.named(shelf)
    except ValueError:
        return None


def due_days(shelves: Iterable[Standing], now: datetime) -> list[Day]:
    """The days whose last text is 400 days old at `now` and which are not reported yet, oldest first."""
    waiting = (day_of(shelf.name) for shelf in shelves if shelf.state != "reported")
    return sorted(day for day in waiting if day is not None and day.due() <= now)


def first_not_due(now: datetime) -> Day:
    """The oldest day that is not due at `now`: every day before it is. Names of days are in the order of the days."""
    return Day.of(now - RETENTION)


def overdue_days(shelves: Iterable[Standing], now: datetime) -> list[Day]:
    """The due days that should have been closed by `now`: more than 24 hours late, oldest first."""
    return [day for day in due_days(shelves, now) if now - day.due() > LATE_BY]


def policy_digest() -> str:
    """SHA-256 over the canonical JSON of the rule, in hex: which rule a report was made under."""
    return hashlib.sha256(rfc8785.dumps(RULE)).hexdigest()
