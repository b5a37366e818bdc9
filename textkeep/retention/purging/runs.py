"""The runs that were made, and the days on which none was."""

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from textkeep.archive.shelf import Day
from textkeep.clock import Clock
from textkeep.ledger import log
from textkeep.retention import notes
from textkeep.retention.purging import days
from textkeep.retention.reports.chain import Chain
from textkeep.retention.reports.overdue import overdue
from textkeep.retention.reports.report import missed_run_report
from textkeep.retention.turn import Turn
from textkeep.store.engine import Store
from textkeep.store.tables import runs


class Runs:
    """Records each run, whatever it found, and reports each day that had none."""

    def __init__(self, store: Store, chain: Chain, clock: Clock) -> None:
        self._store = store
        self._chain = chain
        self._clock = clock

    def begin(self, turn: Turn, now: datetime) -> int:
        """Record that a run has begun, and give its id."""
        with turn.transaction() as connection:
            made = connection.execute(insert(runs).values(started_at=now)).inserted_primary_key
        if made is None:
            raise RuntimeError("the database gave no number for a run")
        return int(made[0])

    def finish(self, run: int, outcome: str) -> None:
        """Record how a run ended, also where its turn was lost; one that was cut off keeps neither end nor outcome."""
        with self._store.transaction() as connection:
            connection.execute(update(runs).where(runs.c.id == run).values(finished_at=self._clock(), outcome=outcome))

    def report_missed(self, turn: Turn, now: datetime) -> list[str]:
        """Report each whole day since the first run on which none was made; gives the names of the new reports.

        Each report, its entry and the note that the day is settled are one transaction of the turn's, so that each day
        has one, however many keepers there are.
        """
        yesterday = Day.of(now).plus(-1)
        with turn.transaction() as connection:
            looked = notes.read_day(connection, notes.LOOKED_THROUGH)
            missed = [] if looked is None else _missed(connection, looked, yesterday)
            if not missed and (looked is None or looked < yesterday):
                notes.write(connection, notes.LOOKED_THROUGH, yesterday)
        made = [self._report(turn, day, now) for day in missed]
        if missed and missed[-1] != yesterday:
            with turn.transaction() as connection:
                notes.write(connection, notes.LOOKED_THROUGH, yesterday)
        return made

    def _report(self, turn: Turn, day: Day, now: datetime) -> str:
        name = f"missed-run-{day.shelf}"
        with turn.transaction() as connection:
            waiting, late = days.due(connection, day.end()), overdue(connection, now)
            self._chain.put(
                connection,
                name,
                lambda previous: missed_run_report(day, waiting, late, reported_at=now, previous=previous),
                lambda put: log.append(connection, "missed-run", {"day": day.shelf, **put}, now=now),
            )
            notes.write(connection, notes.LOOKED_THROUGH, day)
        return name


def _missed(connection: Connection, looked: Day, yesterday: Day) -> list[Day]:
    """The days after `looked` up to `yesterday` on which there was no run, oldest first."""
    span = (yesterday.date - looked.date).days
    if span < 1:
        return []
    since = select(runs.c.started_at).where(runs.c.started_at >= looked.end())
    had_one = {Day.of(at) for at in connection.scalars(since)}
    return [day for day in (looked.plus(offset) for offset in range(1, span + 1)) if day not in had_one]
