"""A count that stays true: the texts of a shelf that is purged are counted, and nobody changes them until they go.

On PostgreSQL a transaction of its own locks the table, so that everybody reads and nobody writes, counts, and stays
open. The one that drops the table takes the same lock beside it before it lets go of this one. So between the count and
the drop there is no moment in which a row could come, change or go, whoever would do it. Where the lock cannot be had,
where its connection is lost, where somebody waits to write, or where it takes too long, the rows are counted again when
they are dropped.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from textkeep.errors import TextkeepError
from textkeep.retention.counting import leaves
from textkeep.store.engine import Store
from textkeep.store.tables import close_shelf

MOST_SECONDS: Final = 15.0
"""For how long the table stays closed once it is counted, at most: a keeper that has lost its turn stands in the next
one's way no longer."""

IDLE_MS: Final = 20_000
"""After this the server ends the transaction of a keeper that does not do so itself, in milliseconds."""

_ALONE: Final = text(
    "SELECT set_config('idle_in_transaction_session_timeout', CAST(:idle AS text), true),"
    " set_config('max_parallel_workers_per_gather', '0', true)"
).bindparams(idle=IDLE_MS)
"""It is begun before anybody needs it, and leaves the other processors to those who do something else meanwhile."""

_STILL_THERE: Final = select(1)


class Still:
    """A count that was begun. It works in a thread, and its transaction is open until `confirmed` or `end`."""

    def __init__(self, store: Store, shelf: str) -> None:
        self._store = store
        self._shelf = shelf
        self._leave = threading.Event()
        self._counted: Future[Mapping[int, int] | None] = Future()
        pool = ThreadPoolExecutor(1, thread_name_prefix="still")
        self._kept = pool.submit(self._keep)
        pool.shutdown(wait=False)

    @property
    def over(self) -> bool:
        """Whether others may write again."""
        return self._kept.done()

    def numbers(self) -> Mapping[int, int] | None:
        """How many rows each slice has, once they are counted; None where the lock could not be had."""
        return self._counted.result()

    def confirmed(self) -> Mapping[int, int] | None:
        """The same, and the end of it, for a transaction that has closed the shelf itself: they are as many still.

        None where that cannot be said: the lock was not had, or not until now, or this was asked before.
        """
        return self.numbers() if self.end() else None

    def end(self) -> bool:
        """Let others write again; whether nobody could from the count until now. False from the second time on."""
        if self._leave.is_set():
            return False
        self._leave.set()
        return self._kept.result()

    def _keep(self) -> bool:
        try:
            with self._store.transaction() as connection:
                connection.execute(_ALONE)
                close_shelf(connection, self._shelf)
                self._counted.set_result(leaves.numbers(connection, self._shelf))
                waited = self._leave.wait(MOST_SECONDS)
                connection.execute(_STILL_THERE)
        except (TextkeepError, DBAPIError):  # the latter where a database was put back without this role's rights
            return False
        finally:
            if not self._counted.done():
                self._counted.set_result(None)
        return waited


def numbers_then(connection: Connection, shelf: str, still: Still | None) -> Mapping[int, int]:
    """How many rows each slice has in the transaction that is to drop them: as counted before, or counted now.

    Raises Outage where somebody who writes is in the way.
    """
    if still is not None and still.numbers() is not None:
        try:
            close_shelf(connection, shelf)
        except BaseException:
            still.end()  # who waits to write comes first: he is let in, and the next try counts what he has left
            raise
        told = still.confirmed()
        if told is not None:
            return told
    return leaves.numbers(connection, shelf)
