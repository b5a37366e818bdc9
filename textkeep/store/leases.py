"""Leases: what only one process may do at a time, in the database that all of them share.

A lease has a holder and an end. Whoever works under one holds its row locked in each transaction of that work, which
also renews it: nobody else takes it while such a transaction is open, and a holder that was away too long learns that
it was taken before it writes anything. Ends are told by the database's own clock where it has one, so that the clocks
of the machines do not matter.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from textkeep.clock import Clock
from textkeep.errors import Conflict
from textkeep.store import postgres
from textkeep.store.engine import Store
from textkeep.store.tables import leases

_MINE: Final = update(leases).where(leases.c.name == bindparam("named"), leases.c.holder == bindparam("mine"))
_RENEW: Final = _MINE.values(until=bindparam("longer"))


class LeaseLost(Conflict):
    """Another process has taken over; this one has written nothing."""

    problem = "lease-lost"
    title = "Another process has taken over"
    remedy = "Nothing has to be done: the other one goes on with the work."


class Leases:
    """Gives leases by name."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def take(self, name: str, holder: str, seconds: float) -> bool:
        """Take a lease, or take it again; False where another holder has it and it has not ended."""
        try:
            with self._store.transaction() as connection:
                return self._taken(connection, name, holder, seconds)
        except IntegrityError:  # another process was quicker by a moment
            return False

    def hold(self, connection: Connection, name: str, holder: str, seconds: float) -> None:
        """Renew a lease in the caller's transaction, and keep every other holder out until that ends.

        Raises LeaseLost where it has none, or another one has it.
        """
        whose = {"named": name, "mine": holder}
        if self._store.shared:
            renewed = connection.execute(_MINE.values(until=postgres.from_now(seconds)), whose)
        else:
            until = self._clock() + timedelta(seconds=seconds)
            renewed = connection.execute(_RENEW, {**whose, "longer": until})
        if renewed.rowcount != 1:
            raise LeaseLost("another process does this work now; nothing of this step was done")

    def release(self, name: str, holder: str) -> None:
        """Give a lease back; or do nothing where another holder has it."""
        with self._store.transaction() as connection:
            connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))

    def holder(self, connection: Connection, name: str) -> str | None:
        """Who has a lease that has not ended, or None."""
        row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
        return row.holder if row is not None and row.until > self._now(connection) else None

    def clear(self) -> None:
        """End every lease: where one process has the whole archive, whoever held one is gone."""
        with self._store.transaction() as connection:
            connection.execute(delete(leases))

    def _taken(self, connection: Connection, name: str, holder: str, seconds: float) -> bool:
        row = connection.execute(select(leases).where(leases.c.name == name).with_for_update()).one_or_none()
        now = self._now(connection)
        until = now + timedelta(seconds=seconds)
        if row is None:
            connection.execute(insert(leases).values(name=name, holder=holder, until=until))
            return True
        if row.holder != holder and row.until > now:
            return False
        connection.execute(update(leases).where(leases.c.name == name).values(holder=holder, until=until))
        return True

    def _now(self, connection: Connection) -> datetime:
        return postgres.now(connection) if self._store.shared else self._clock()
