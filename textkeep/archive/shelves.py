"""The shelves there are: their rows, their states, their locks, and the secrets they need before the first text."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from textkeep.archive.keyring import Keyring, shelf_secret
from textkeep.archive.shelf import STATES, Day, Generation, Shelf, State, is_kept, open_days
from textkeep.errors import Unsound
from textkeep.store.engine import Store
from textkeep.store.tables import create_shelf_tables, shelves

UNSHREDDED: Final[frozenset[State]] = frozenset(STATES[: STATES.index("shredded")])
"""The states in which a shelf's secret may still be there."""

LOOKUP: Final = 500
"""How many names one statement asks for."""

OPENED_TOGETHER: Final = 30
"""Shelves opened in one transaction: a server keeps each new table and index locked until it ends."""

TURNS: Final = 3
"""How often it is looked again for the open generation, where another one was opened meanwhile."""

_MOVE: Final = update(shelves).where(shelves.c.name == bindparam("named"))
_STATES: Final = (
    select(shelves.c.name, shelves.c.state)
    .where(shelves.c.name.in_(bindparam("wanted", expanding=True)))
    .order_by(shelves.c.name)
)
_SHARED: Final = _STATES.with_for_update(read=True)
_EXCLUSIVELY: Final = _STATES.with_for_update()


@dataclass(frozen=True, slots=True)
class ShelfRow:
    """A shelf as the database knows it."""

    name: Shelf
    state: State
    commitment: bytes
    opened_at: datetime
    due_at: datetime | None


class Shelves:
    """Opens shelves ahead of time, tells and locks their states."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    def check(self, connection: Connection) -> None:
        """Raise Unsound where database and keyring cannot belong together; reads only.

        A shelf that may still be read needs the very secret it was opened with. A shelf whose purge has destroyed its
        secret must find a tombstone: a keyring that still has the secret is older than that purge.
        """
        for row in self.list(connection):
            name = shelf_secret(row.name)
            if row.state in UNSHREDDED and row.state != "committed" and self._keyring.tombstone(name):
                raise Unsound(
                    f"the keyring has destroyed {row.name}, and the database still calls it {row.state}",
                    remedy="This database is older than its last purge: restore a newer one.",
                )
            if row.state not in UNSHREDDED and self._keyring.has(name):
                raise Unsound(
                    f"the database has purged {row.name}, and the keyring still holds its secret",
                    remedy="This keyring is older than the last purge: restore a newer one.",
                )
            if self._keyring.commitment(name) != row.commitment:
                raise Unsound(
                    f"the secret of {row.name} is not the one its texts were sealed under",
                    remedy="Restore the keyring that belongs to this data.",
                )

    def confirm(self) -> None:
        """Check, against a snapshot of its own. Raises like `check`.

        Where others may be purging, ring and snapshot can be of two moments; so what does not fit is looked at again,
        with both of them newer than that.
        """
        try:
            self._check()
        except Unsound:
            if not self._store.shared:
                raise
            self._keyring.reread()
            self._check()

    def _check(self) -> None:
        with self._store.reading() as connection:
            self.check(connection)

    def ensure(self, now: datetime) -> int:
        """Open a shelf for every day not yet due and 30 ahead; gives how many were opened.

        The secrets are on disk before a row or a table speaks of them. A day whose secret was destroyed stays closed.
        """
        with self._store.reading() as connection:
            there = {row.name for row in self.list(connection)}
        days = [day for day in open_days(now) if day.shelf not in there]
        days = [day for day in days if not self._keyring.tombstone(shelf_secret(day.shelf))]
        if not days:
            return 0
        self._keyring.make(shelf_secret(day.shelf) for day in days)
        return sum(
            self._open_together(days[start : start + OPENED_TOGETHER], now)
            for start in range(0, len(days), OPENED_TOGETHER)
        )

    def ensure_kept(self, org: bytes, now: datetime) -> Shelf:
        """The shelf that takes what is held of an organisation from now on, opened where there is none.

        It is the newest generation that is open. Its secret is on disk before a row or a table speaks of it.
        """
        with self._store.reading() as connection:
            found = self.kept_of(connection, org)
        return found or self.open_generation(self._first_free(org), now)

    def open_generation(self, wanted: Generation, now: datetime) -> Shelf:
        """Open one generation of an organisation's held texts; does nothing where it is there.

        Raises SecretDestroyed where its secret was: a generation that was closed is never opened again.
        """
        self._keyring.make([shelf_secret(wanted.shelf)])
        with self._store.transaction() as connection:
            create_shelf_tables(connection, wanted.shelf)
            # Looked at under the lock that making tables takes, as with days.
            if wanted.shelf not in self.states(connection, {wanted.shelf}):
                self._insert(connection, wanted.shelf, None, now)
        return wanted.shelf

    def kept_of(self, connection: Connection, org: bytes) -> Shelf | None:
        """The newest open shelf of an organisation's held texts, or None."""
        return max(self.generations(connection, org, "open"), default=None, key=Generation.named)

    def lock_kept(self, connection: Connection, org: bytes) -> Shelf | None:
        """The same, locked so that no purge of it begins before the caller's transaction ends; after those of days."""
        for _ in range(TURNS):
            found = self.kept_of(connection, org)
            if found is None or self.lock(connection, [found]).get(found) == "open":
                return found
        return None

    def generations(self, connection: Connection, org: bytes | None, *states: State) -> list[Shelf]:
        """The shelves of held texts, of one organisation or of all, in these states or in any; oldest first."""
        wanted = select(shelves.c.name).where(shelves.c.due_at.is_(None))
        if states:
            wanted = wanted.where(shelves.c.state.in_(states))
        found = [Generation.named(name) for name in connection.scalars(wanted) if is_kept(name)]
        return [each.shelf for each in sorted(found) if org is None or each.org == org]

    def _first_free(self, org: bytes) -> Generation:
        """The generation after every one that the database or the keyring has ever heard of."""
        with self._store.reading() as connection:
            there = [Generation.named(name) for name in self.generations(connection, org)]
        prefix = shelf_secret("")
        for name in self._keyring.tombstones():
            shelf = name.removeprefix(prefix)
            if is_kept(shelf) and Generation.named(shelf).org == org:
                there.append(Generation.named(shelf))
        return max(there).next() if there else Generation(bytes(org), 1)

    def _open_together(self, days: Sequence[Day], now: datetime) -> int:
        with self._store.transaction() as connection:
            for day in days:
                create_shelf_tables(connection, day.shelf)
            # Looked at under the lock that making tables takes: another thread or process may have been quicker.
            there = self.states(connection, {day.shelf for day in days})
            new = [day for day in days if day.shelf not in there]
            for day in new:
                self._insert(connection, day.shelf, day.due(), now)
        return len(new)

    def _insert(self, connection: Connection, shelf: Shelf, due_at: datetime | None, now: datetime) -> None:
        connection.execute(
            insert(shelves).values(
                name=shelf,
                state="open",
                commitment=self._keyring.commitment(shelf_secret(shelf)),
                opened_at=now,
                due_at=due_at,
            )
        )

    def list(self, connection: Connection) -> list[ShelfRow]:
        """Every shelf: days, oldest first, then those of held texts."""
        found = connection.execute(select(shelves).order_by(shelves.c.name))
        return [_row(row) for row in found]

    def lock(self, connection: Connection, names: Collection[str], *, exclusive: bool = False) -> dict[str, State]:
        """The states of shelves, which stay as they are until the caller's transaction ends. Always in date order.

        Many may hold a shelf at once, unless one holds it exclusively. On SQLite the one writing transaction is that
        lock, shared and exclusive alike.
        """
        return _states(connection, names, _EXCLUSIVELY if exclusive else _SHARED)

    def states(self, connection: Connection, names: Collection[str]) -> dict[str, State]:
        """The states of those of the shelves that exist; nothing is locked."""
        return _states(connection, names, _STATES)

    def set_state(self, connection: Connection, name: str, state: State) -> None:
        """Move a shelf on. The caller holds its exclusive lock."""
        connection.execute(_MOVE, {"named": name, "state": state})


def _states(connection: Connection, names: Collection[str], statement: Select[Any]) -> dict[str, State]:
    wanted = sorted(names)
    found: dict[str, State] = {}
    for start in range(0, len(wanted), LOOKUP):
        rows = connection.execute(statement, {"wanted": wanted[start : start + LOOKUP]})
        found.update({row.name: cast(State, row.state) for row in rows})
    return found


def _row(row: Row[Any]) -> ShelfRow:
    return ShelfRow(row.name, row.state, row.commitment, row.opened_at, row.due_at)
