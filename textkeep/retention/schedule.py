"""The alarm clock: wakes the clock mark every minute, and shelves, chores and purge every hour and at the start.

It decides nothing: what is due, and whether a run may work, is told by `guards.py` and `policy.py` on each waking.
Every keeper has one; a keeper that finds another at work looks again shortly after that one's lease would run out, so
that a purge whose keeper was killed goes on then and not in an hour.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, timedelta
from typing import Any, Final

from apscheduler.schedulers.background import BackgroundScheduler

from textkeep.archive.shelves import Shelves
from textkeep.clock import Clock, system_clock
from textkeep.errors import TextkeepError
from textkeep.retention.clockmark import ClockMark
from textkeep.retention.counting.survey import Survey
from textkeep.retention.purging.purge import BUSY, Purge, RunResult

MARK_EVERY_MINUTES: Final = 1
RUN_EVERY_HOURS: Final = 1

AGAIN_MARGIN: Final = 5.0
"""Seconds after the end of another keeper's lease at which it is looked for again."""

Ran = Callable[[RunResult], None]
"""Hears of each run."""

Failed = Callable[[TextkeepError], None]
"""Hears of what kept a waking from doing its work; the next one tries again."""


class Schedule:
    """Wakes retention while the service runs. Jobs live in memory; wakings that were missed are made up once.

    `chores` are what else is to be done every hour, before the purge: the survey among them, so that the purge finds
    the texts that came since counted already. `aside` is done every hour too, in a job of its own: however long it
    takes, no purge waits for it. What only one of several keepers is to do is wrapped by `chores.by_one`.
    """

    def __init__(
        self,
        mark: ClockMark,
        shelves: Shelves,
        purge: Purge,
        clock: Clock,
        *,
        survey: Survey | None = None,
        chores: Sequence[Callable[[], object]] = (),
        aside: Sequence[Callable[[], object]] = (),
        ran: Ran = lambda _: None,
        failed: Failed = lambda _: None,
    ) -> None:
        self._mark = mark
        self._shelves = shelves
        self._purge = purge
        self._clock = clock
        self._survey = survey
        self._chores = chores
        self._aside = aside
        self._ran = ran
        self._failed = failed
        self._scheduler: Any = BackgroundScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )

    def start(self) -> None:
        """Begin waking: the run at once and every hour, the clock mark every minute."""
        now = system_clock()  # when to wake is told by the host, what is due by the clock that was handed in
        self._scheduler.add_job(self.run, "interval", hours=RUN_EVERY_HOURS, next_run_time=now, id="run")
        if self._aside:
            self._scheduler.add_job(self.beside, "interval", hours=RUN_EVERY_HOURS, next_run_time=now, id="aside")
        self._scheduler.add_job(self.mark, "interval", minutes=MARK_EVERY_MINUTES, id="mark")
        self._scheduler.start()

    def stop(self) -> None:
        """Wake no more; returns when a run that is at work has ended the step it is in."""
        self._purge.interrupt()
        if self._survey is not None:
            self._survey.interrupt()
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
        if self._survey is not None:
            self._try(self._survey.run)
        self.purge()

    def beside(self) -> None:
        """Do what no purge waits for."""
        for work in self._aside:
            self._try(work)

    def purge(self) -> None:
        """Purge what is due; where another keeper is at work, look again once its lease would have run out."""
        self._try(self._purge_once)

    def _purge_once(self) -> None:
        result = self._purge.run()
        if result.stopped == BUSY and self._scheduler.running:
            later = system_clock() + timedelta(seconds=self._purge.lease_seconds + AGAIN_MARGIN)
            self._scheduler.add_job(self.purge, "date", run_date=later, id="again", replace_existing=True)
        self._ran(result)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except TextkeepError as exc:
            self._failed(exc)
