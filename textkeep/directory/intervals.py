"""History over time: which record of one organisation, location or user was in force at a moment. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Self, TypeVar

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Interval(Generic[R]):
    """One record and the moment it began to be so; it ends where the next one begins.

    `row` is where it is stored. `said` tells whether somebody said since when; if not, `since` is when it was made.
    """

    since: datetime
    said: bool
    record: R
    row: int


@dataclass(frozen=True, slots=True)
class Timeline(Generic[R]):
    """The intervals of one key, oldest first, no two of them beginning at the same moment."""

    intervals: tuple[Interval[R], ...] = ()

    def at(self, moment: datetime) -> R | None:
        """The record in force at `moment`.

        The first record counts before it was made as well, unless it says since when it has been so.
        """
        for interval in reversed(self.intervals):
            if interval.since <= moment:
                return interval.record
        if self.intervals and not self.intervals[0].said:
            return self.intervals[0].record
        return None

    def always(self) -> R | None:
        """The one record that is in force at every moment, where there is one."""
        steady = len(self.intervals) == 1 and not self.intervals[0].said
        return self.intervals[0].record if steady else None

    def earliest(self) -> R | None:
        """The first record there is."""
        return self.intervals[0].record if self.intervals else None

    def starting(self, since: datetime) -> Interval[R] | None:
        """The interval that begins at exactly that moment."""
        return next((interval for interval in self.intervals if interval.since == since), None)

    def begun(self, since: datetime) -> Interval[R] | None:
        """The last interval that has begun by then."""
        return next((interval for interval in reversed(self.intervals) if interval.since <= since), None)

    def after(self, since: datetime) -> Interval[R] | None:
        """The first interval that begins later."""
        return next((interval for interval in self.intervals if interval.since > since), None)

    def put(self, new: Interval[R]) -> Self:
        """The timeline with one interval more, in place of the one that begins at the same moment."""
        others = (interval for interval in self.intervals if interval.since != new.since)
        return type(self)(tuple(sorted((*others, new), key=lambda interval: interval.since)))

    def without_ended(self, by: datetime) -> Self:
        """The timeline without the intervals that had ended by then."""
        ended = sum(interval.since <= by for interval in self.intervals[1:])
        return type(self)(self.intervals[ended:]) if ended else self
