"""What must be true of the clocks before anything is destroyed. Pure: readings in, verdict out.

A clock that is behind the last time seen, and clocks that contradict each other, stop every run. A clock that has
stepped ahead, and an unusual number of days at once, stop it until a person confirms that number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from textkeep.archive.shelf import Day

STEP_AHEAD: Final = timedelta(hours=26)
"""How far the clock may be ahead of the last time seen, which is stored every minute."""

CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""The difference from which two clocks contradict each other."""

DAYS_AT_ONCE: Final = 3
"""How many days may go in one run without a person's word."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one clock said."""

    clock: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run stopped: a name for programs, what happened and what to do next for persons."""

    reason: str
    detail: str
    remedy: str


def earliest(readings: Sequence[Reading]) -> datetime:
    """The moment by which ages are told: a day is due only when it is due by every clock.

    Raises ValueError where there is no reading.
    """
    return min(reading.at for reading in readings)


def check_clocks(readings: Sequence[Reading], last_seen: datetime | None) -> Stop | None:
    """The reason why these clocks cannot be worked with, which nobody can confirm away; None where they can.

    Where there are several clocks there may be several hosts, and the last time seen may be another one's: then a clock
    may be behind it by as much as two clocks may differ.
    """
    moments = [reading.at for reading in readings]
    may_lag = CLOCKS_DIFFER if len(moments) > 1 else timedelta(0)
    if max(moments) - min(moments) >= CLOCKS_DIFFER:
        return Stop(
            "clocks-differ",
            f"the clocks {', '.join(reading.clock for reading in readings)} differ by 5 minutes or more; nothing was"
            " destroyed",
            "Set the clocks right; the next run goes on by itself.",
        )
    if last_seen is not None and min(moments) < last_seen - may_lag:
        return Stop(
            "clock-behind",
            "the clock is behind the last time this archive has seen; nothing was destroyed",
            "Set the clock right. If it is right and the stored time was wrong: `textkeep doctor --reset-clock`.",
        )
    return None


def stepped_ahead(readings: Sequence[Reading], last_seen: datetime | None) -> bool:
    """Whether any clock is more than 26 hours ahead of the last time seen."""
    return last_seen is not None and max(reading.at for reading in readings) - last_seen > STEP_AHEAD


def check_run(
    readings: Sequence[Reading],
    last_seen: datetime | None,
    due: Sequence[Day],
    *,
    confirm_days: int | None = None,
    confirmed_through: Day | None = None,
) -> Stop | None:
    """The reason why a run must not begin, or None.

    `due` are the days due by the earliest reading, oldest first. `confirm_days` is a person's word for exactly that
    many days: it answers for a step ahead and for the number, never for a clock that is behind. `confirmed_through` is
    the newest day of a word given before, so that a run that was cut off needs no second one.
    """
    stop = check_clocks(readings, last_seen)
    if stop is not None:
        return stop
    if confirm_days is not None:
        return None if confirm_days == len(due) else _other_number(len(due), confirm_days)
    if stepped_ahead(readings, last_seen):
        return Stop(
            "clock-ahead",
            "the clock is more than 26 hours ahead of the last time this archive has seen; nothing was destroyed",
            f"If the clock is right: `textkeep purge --confirm-days {len(due)}`; `--dry-run` shows the days.",
        )
    if len(due) > DAYS_AT_ONCE and (confirmed_through is None or due[-1] > confirmed_through):
        return Stop(
            "too-many-days",
            f"{len(due)} days are due at once and more than {DAYS_AT_ONCE} need a person's word; nothing was destroyed",
            f"If that is right: `textkeep purge --confirm-days {len(due)}`; `--dry-run` shows the days.",
        )
    return None


def _other_number(due: int, confirmed: int) -> Stop:
    return Stop(
        "confirmed-other-number",
        f"{confirmed} days were confirmed and {due} are due; nothing was destroyed",
        "Look at the days with `textkeep purge --dry-run` and confirm their number.",
    )
