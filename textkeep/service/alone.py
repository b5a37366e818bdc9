"""One process on a database that could serve many, because its keyring or its index serves one.

A second one, on another machine say, would have an index of its own, and each would hold half of what was accepted. A
lock on a folder does not reach that far; a lease in the database does.
"""

import hashlib
import socket
from datetime import timedelta
from typing import Final

from sqlalchemy import select

from textkeep.archive.keyring import Keyring
from textkeep.clock import Clock
from textkeep.service.folder import Held
from textkeep.service.settings import Settings
from textkeep.store.engine import Store
from textkeep.store.leases import LeaseLost, Leases
from textkeep.store.tables import nodes

ALONE: Final = "alone"
"""The name of the lease."""

LEASE_SECONDS: Final = 60.0
"""How long a process that was killed keeps one of another folder waiting; one of the same folder takes over at once."""


class Alone:
    """Keeps the whole archive for this process."""

    def __init__(self, settings: Settings, store: Store, keyring: Keyring, clock: Clock) -> None:
        self._leases = Leases(store, clock)
        self._store = store
        self._keyring = keyring
        self._clock = clock
        place = f"{socket.gethostname()}:{settings.folder}"
        self._holder = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def take(self) -> None:
        """Begin. Raises Held where another process works on this archive."""
        now = self._store.clock() or self._clock()
        with self._store.reading() as connection:
            seen = nodes.c.seen_at > now - timedelta(seconds=LEASE_SECONDS)
            others = connection.execute(select(nodes.c.id).where(seen).limit(1)).first()
        if others is not None or not self._leases.take(ALONE, self._holder, LEASE_SECONDS):
            raise _held("TEXTKEEP_DATABASE_URL")

    def renew(self) -> None:
        """Go on, with the keyring as it is now. Raises LeaseLost where another process has begun meanwhile.

        Then every secret is let go: nothing more is taken or opened here until the other one is gone.
        """
        if not self._leases.take(ALONE, self._holder, LEASE_SECONDS):
            self._keyring.end_lease()
            raise LeaseLost("another process works on this archive now, and this one does not know what it does")
        self._keyring.refresh()

    def release(self) -> None:
        """End."""
        self._leases.release(ALONE, self._holder)


def check_shared(store: Store, clock: Clock) -> None:
    """Raises Held where one process has the whole archive, and what it has cannot be shared."""
    with store.reading() as connection:
        holder = Leases(store, clock).holder(connection, ALONE)
    if holder is not None:
        raise _held("TEXTKEEP_INDEX_URL and TEXTKEEP_KEYRING_URL")


def _held(field: str) -> Held:
    return Held(
        "another process works on this database, with a keyring or an index that cannot be shared; nothing was done",
        field=field,
        remedy="Stop it and wait a minute; or give all of them TEXTKEEP_KEYRING_URL on PostgreSQL and"
        " TEXTKEEP_INDEX_URL on OpenSearch.",
    )
