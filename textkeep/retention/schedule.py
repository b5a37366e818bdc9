"""The alarm clock: wakes the clock mark every minute, and shelves and purge every hour and at the start.

It decides nothing: what is due, and whether a run may work, is told by `guards.py` and `policy.py` on each waking.
"""

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any, Final

from apscheduler.schedulers.background import BackgroundScheduler

from textkeep.archive.shelves import Shelves
from textkeep.clock import Clock, system_clock
from textkeep.errors import TextkeepError
from textkeep.retention.clockmark import ClockMark
from textkeep.retention.purge import Purge, RunResult

MARK_EVERY_MINUTES: Final = 1
RUN_EVERY_HOURS: Final = 1

Ran = Callable[[RunResult], None]
"""Hears of each run."""

Failed = Callable[[TextkeepError], None]
"""Hears of what kept a waking from doing its work; the next one tries again."""


class Schedule:
    """Wakes retention while the service runs. Jobs live in memory; wakings that were missed are made up once.

    `chores` are what else is to be done every hour.
    """

    def __init__(
        self,
        mark: ClockMark,
        shelves: Shelves,
        purge: Purge,
        clock: Clock,
        *,
        chores: Sequence[Callable[[], object]] = (),
        ran: Ran = lambda _: None,
        failed: Failed = lambda _: None,
    ) -> None:
        self._mark = mark
        self._shelves = shelves
        self._purge = purge
        self._clock = clock
        self._chores = chores
        self._ran = ran
        self._failed = failed
        self._scheduler: Any = BackgroundScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )

    def start(self) -> None:
        """Begin waking: the run at once and every hour, the clock mark every minute."""
        now = system_clock()  # when to wake is told by the host, what is due by the clock that was handed in
        self._scheduler.add_job(self.run, "interval", hours=RUN_EVERY_HOURS, next_run_time=now, id="run")
        self._scheduler.add_job(self.mark, "interval", minutes=MARK_EVERY_MINUTES, id="mark")
        self._scheduler.start()

    def stop(self) -> None:
        """Wake no more; returns when a run that is at work has ended the step it is in."""
        self._purge.interrupt()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def mark(self) -> None:
        """Store the time."""
        try:
            self._mark.tick()
        except TextkeepError as exc:
            self._failed(exc)

    def run(self) -> None:
        """Open the shelves of the days ahead, do the chores, purge what is due; none of it waits for another."""
        self._try(lambda: self._shelves.ensure(self._clock()))
        for chore in self._chores:
            self._try(chore)
        self._try(lambda: self._ran(self._purge.run(self._clock())))

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except TextkeepError as exc:
            self._failed(exc)
