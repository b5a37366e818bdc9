"""A run's turn: the lease under which it works, so that of many keepers one purges at a time."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from sqlalchemy import Connection

from textkeep.errors import TextkeepError
from textkeep.store.engine import Store
from textkeep.store.leases import Leases

PURGE: Final = "purge"
"""The name of the lease of purge runs."""

LEASE_SECONDS: Final = 60.0
"""How long a keeper that was killed keeps the others waiting."""

RENEWALS: Final = 3
"""How often a turn that only waits renews its lease while one would last."""


class Turn:
    """One run's own: each transaction renews the lease and keeps other keepers out until it ends.

    A keeper that was away for longer than the lease, so that another one took it, learns it from LeaseLost before it
    writes anything.
    """

    def __init__(
        self,
        store: Store,
        leases: Leases,
        leaving: threading.Event,
        *,
        name: str = PURGE,
        seconds: float = LEASE_SECONDS,
    ) -> None:
        self._store = store
        self._leases = leases
        self._leaving = leaving
        self._name = name
        self._seconds = seconds
        self._holder = secrets.token_hex(8)
        self._renewed = time.monotonic()

    @property
    def leaving(self) -> bool:
        """Whether the work is to end after what it is in."""
        return self._leaving.is_set()

    def take(self) -> bool:
        """Begin; False where another one is at work, which is looked for first, so that nobody waits for its locks."""
        with self._store.reading() as connection:
            if self._leases.holder(connection, self._name) is not None:
                return False
        return self._leases.take(self._name, self._holder, self._seconds)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction of the store's that nobody else's turn can overlap. Raises LeaseLost."""
        with self._store.transaction() as connection:
            self._leases.hold(connection, self._name, self._holder, self._seconds)
            yield connection
        self._renewed = time.monotonic()

    def pause(self, seconds: float) -> bool:
        """Wait that long, outside any transaction, and keep the turn; True where the work is to end. Raises LeaseLost.

        `seconds` are less than a lease's.
        """
        if self._leaving.wait(seconds):
            return True
        if time.monotonic() - self._renewed >= self._seconds / RENEWALS:
            with self.transaction():
                pass
        return False

    def release(self) -> None:
        """End the turn; where the database does not answer, the lease runs out by itself."""
        with suppress(TextkeepError):
            self._leases.release(self._name, self._holder)
