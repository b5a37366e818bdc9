"""The last time seen: stored every minute, so that a clock that jumped is noticed after a restart too."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from textkeep.clock import Clock
from textkeep.errors import Conflict, Outage, Unsound
from textkeep.ledger import log
from textkeep.retention import notes
from textkeep.retention.guards import Reading, check_clocks, earliest, stepped_ahead
from textkeep.store.engine import Store

HOST: Final = "host"
"""The name of the host's own clock among the readings."""

DATABASE: Final = "database"
"""The name of the database's clock, where it has one of its own."""


def clocks_of(store: Store) -> dict[str, Clock]:
    """The clocks there are besides the host's, by name: that of a database on another machine, if it is one."""
    return {DATABASE: lambda: _asked(store)} if store.shared else {}


def _asked(store: Store) -> datetime:
    at = store.clock()
    if at is None:
        raise Outage("the database's clock cannot be read")
    return at


class ClockMark:
    """Reads every clock there is and keeps the last time seen; it never moves back by itself."""

    def __init__(self, store: Store, clock: Clock, others: Mapping[str, Clock] | None = None) -> None:
        self._store = store
        self._clock = clock
        self._others = dict(others or {})

    def readings(self, now: datetime | None = None) -> list[Reading]:
        """What every clock says; `now` stands in for the host's."""
        host = Reading(HOST, now or self._clock())
        return [host, *(Reading(name, clock()) for name, clock in self._others.items())]

    def last_seen(self, connection: Connection, *, lock: bool = False) -> datetime | None:
        """The last time seen, or None in a new archive. Raises Unsound where what is stored is no time.

        With `lock` no other process moves it until the caller's transaction ends.
        """
        return notes.read_moment(connection, notes.LAST_SEEN, lock=lock)

    def tick(self) -> bool:
        """Store the time, every minute. False, and nothing stored, where it has jumped: the next run then says so."""
        readings = self.readings()
        with self._store.transaction() as connection:
            seen = self.last_seen(connection, lock=True)
            if check_clocks(readings, seen) is not None or stepped_ahead(readings, seen):
                return False
            self.accept(connection, earliest(readings))
            return True

    def accept(self, connection: Connection, now: datetime) -> None:
        """Move the mark on to `now`, which a run's guards have let through; never back."""
        seen = self.last_seen(connection, lock=True)
        if seen is None or now > seen:
            notes.write(connection, notes.LAST_SEEN, now)

    def reset(self, *, by: str) -> datetime:
        """`doctor --reset-clock`: set a mark that is ahead of the clock to the clock, and give it.

        Written into the ledger with `by`, the handle or the token of whoever did it; a word given for many days is
        taken back with it. Raises Conflict where the mark is not ahead: a clock that has stepped ahead is confirmed
        with the number of days due, and in no other way.
        """
        now = earliest(self.readings())
        with self._store.transaction() as connection:
            try:
                seen = self.last_seen(connection, lock=True)
            except Unsound:
                seen = None
            else:
                if seen is None or seen <= now:
                    raise Conflict(
                        "the last time seen is not ahead of the clock; nothing was changed",
                        remedy="After a step ahead, confirm the days: `textkeep purge --confirm-days N`.",
                    )
            notes.write(connection, notes.LAST_SEEN, now)
            notes.write(connection, notes.CONFIRMED_THROUGH, None)
            was = "unreadable" if seen is None else log.moment(seen)
            log.append(connection, "clock-reset", {"was": was, "by": by}, now=now)
        return now
