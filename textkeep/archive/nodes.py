"""The processes of an archive, and which ring of the keyring each of them has confirmed.

A destroyed secret is gone for good once no process can use it any more. A process tells by its beats which generation
it works with; one that does not beat any more has let every secret go, because its lease has run out.

For that to hold, the lease never outlasts the row: it runs from a moment before the row was last written, and a process
that is counted as expired, or not counted yet, writes its row first and reads the ring afterwards.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, select, update

from textkeep.archive.keyring import LEASE, Keyring
from textkeep.clock import Clock
from textkeep.store import postgres
from textkeep.store.engine import Store
from textkeep.store.once import insert_once
from textkeep.store.tables import nodes

__all__ = ["LEASE", "MARGIN", "Eviction", "Node", "Nodes"]

MARGIN: Final = timedelta(seconds=15)
"""What is added to the lease before a process counts as expired: for what it had begun when its lease ran out."""

FORGOTTEN_AFTER: Final = timedelta(days=1)
"""How long the row of a process stays that was not seen any more."""

NOTHING_YET: Final = 0
"""The generation of a process that has confirmed none since it came, or came back."""


@dataclass(frozen=True, slots=True)
class Node:
    """A process, as the others know it."""

    id: str
    kind: str
    host: str
    started_at: datetime
    seen_at: datetime
    generation: int


@dataclass(frozen=True, slots=True)
class Eviction:
    """Who has a generation of the keyring, by id: has confirmed it, has lost its lease, or may use an older one."""

    confirmed: list[str]
    expired: list[str]
    waiting: list[str]


class Nodes:
    """This process among the others. `node_id` is its own and never used again."""

    def __init__(self, store: Store, keyring: Keyring, node_id: str, kind: str, clock: Clock) -> None:
        self._store = store
        self._keyring = keyring
        self._id = node_id
        self._kind = kind
        self._clock = clock
        self._arrived = False

    @property
    def id(self) -> str:
        """The id of this process."""
        return self._id

    def beat(self) -> int:
        """Confirm the ring, tell the others, and renew the lease; gives the generation.

        Called before anything is derived, then every second, by one thread. Raises Outage where keyring or database
        cannot be reached; then the lease goes on running out.
        """
        if self._arrived:
            began = self._keyring.now()
            generation = self._keyring.reread()
            self._write(generation)
            if not self._keyring.lapsed:
                self._keyring.renew(began)
                return generation
        # The others do not wait for this process (any more): they must before it reads the ring that it will use.
        began = self._keyring.now()
        self._write(NOTHING_YET)
        self._arrived = True
        generation = self._keyring.reread()
        self._write(generation)
        self._keyring.renew(began)
        return generation

    def leave(self) -> None:
        """Be counted no more. Where there is a lease it ends: from here on this process derives nothing."""
        self._keyring.end_lease()
        with self._store.transaction() as connection:
            connection.execute(delete(nodes).where(nodes.c.id == self._id))
        self._arrived = False

    def confirmed(self, generation: int) -> Eviction:
        """Who works with this generation of the keyring, or a newer one, and who may not."""
        found = Eviction([], [], [])
        with self._store.reading() as connection:
            by = self._now(connection) - LEASE - MARGIN
            for node in _listed(connection):
                if node.generation >= generation:
                    found.confirmed.append(node.id)
                elif node.seen_at < by:
                    found.expired.append(node.id)
                else:
                    found.waiting.append(node.id)
        return found

    def all(self) -> list[Node]:
        """Every process that was seen within the last day, by id."""
        with self._store.reading() as connection:
            return _listed(connection)

    def _write(self, generation: int) -> None:
        with self._store.transaction() as connection:
            now = self._now(connection)
            said = {"seen_at": now, "generation": generation}
            if connection.execute(update(nodes).where(nodes.c.id == self._id).values(said)).rowcount:
                return
            connection.execute(delete(nodes).where(nodes.c.seen_at < now - FORGOTTEN_AFTER))
            row = {"id": self._id, "kind": self._kind, "host": socket.gethostname(), "started_at": now, **said}
            insert_once(connection, nodes, row)

    def _now(self, connection: Connection) -> datetime:
        ask: Callable[[], datetime] = self._clock
        return postgres.now(connection) if self._store.shared else ask()


def _listed(connection: Connection) -> list[Node]:
    return [Node(*row) for row in connection.execute(select(nodes).order_by(nodes.c.id))]
