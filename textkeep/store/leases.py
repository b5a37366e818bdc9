"""Leases: what only one process may do at a time, in the database that all of them share.

A lease has a holder and an end. Whoever works under one holds its row locked in each transaction of that work, which
also renews it: nobody else takes it while such a transaction is open, and a holder that was away too long learns that
it was taken before it writes anything. Ends are told by the database's own clock where it has one, so that the clocks
of the machines do not matter.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, bindparam, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

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
        with self._store.transaction() as connection:
            return self.taken(connection, name, holder, seconds)

    def taken(self, connection: Connection, name: str, holder: str, seconds: float) -> bool:
        """Take a lease like `take`, in the caller's transaction, and keep every other holder out until that ends."""
        until = self._from_now(seconds)
        insert = postgresql.insert(leases) if self._store.shared else sqlite.insert(leases)
        made = insert.values(name=name, holder=holder, until=until).on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={"holder": holder, "until": until},  # told anew: the clock went on while another one was in the way
            where=or_(leases.c.holder == holder, leases.c.until <= self._from_now(0)),
        )
        return connection.execute(made.returning(leases.c.name)).first() is not None

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
        wanted = select(leases.c.holder).where(leases.c.name == name, leases.c.until > self._from_now(0))
        return connection.execute(wanted).scalar_one_or_none()

    def clear(self) -> None:
        """End every lease: where one process has the whole archive, whoever held one is gone."""
        with self._store.transaction() as connection:
            connection.execute(delete(leases))

    def _from_now(self, seconds: float) -> ColumnElement[int] | datetime:
        """So many seconds after now: on PostgreSQL when the server comes to it."""
        return postgres.from_now(seconds) if self._store.shared else self._clock() + timedelta(seconds=seconds)
