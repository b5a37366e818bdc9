"""A small archive to copy lives from: its organisations, a few days that turn 400 days old, and a keyring.

Everything is in memory. One store serves every life of a process: what was compiled for one is there for the next.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from tests.housing import NOON, House, SetClock
from tests.retention.purging import OLDEST
from textkeep.archive.shelf import Day
from textkeep.store.engine import Store
from textkeep.store.schema import migrate

ORGS: Final = ("org-001", "org-002")
IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108  a keyring is synced to disk at each change: here that costs nothing
OLD: Final = [OLDEST.plus(at) for at in range(5)]
"""The days whose texts turn 400 days old while the archive lives."""


def few_days(now: datetime) -> list[Day]:
    """The only days that have a shelf."""
    return [*OLD, Day.of(now), Day.of(now).plus(1)]


@dataclass
class Template:
    """An archive with its organisations, of which each world is a copy; `days` are those of OLD that it has."""

    keyring: Path
    database: sqlite3.Connection
    store: Store
    days: Sequence[Day]

    @classmethod
    def build(cls, folder: Path) -> "Template":
        """An archive with every day of OLD."""
        store = Store.open("sqlite://")
        migrate(store)
        return cls.made(folder, store, OLD)

    @classmethod
    def made(cls, folder: Path, store: Store, days: Sequence[Day]) -> "Template":
        """What `open_days` gives at noon, over a migrated store in memory."""
        house = House.build(store, folder / "keyring", SetClock(NOON))
        house.keyring.identity()  # made as soon as a service opens a keyring, so that each copy of one has it
        for org in ORGS:
            house.organisations.register(org)
        return cls(folder / "keyring", copied(store), store, days)


@dataclass
class Templates:
    """Archives with one to five days, each made when it is first asked for."""

    folder: Path
    store: Store = field(default_factory=lambda: Store.open("sqlite://"))
    days: Sequence[Day] = ()
    made: dict[int, Template] = field(default_factory=dict)
    empty: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        migrate(self.store)
        self.empty = copied(self.store)

    def open_days(self, now: datetime) -> list[Day]:
        """The only days that have a shelf in the archive that was asked for last."""
        return [*self.days, Day.of(now), Day.of(now).plus(1)]

    def of(self, number: int) -> Template:
        """One with so many days of OLD."""
        self.days = OLD[:number]
        if number not in self.made:
            load(self.store, self.empty)
            self.made[number] = Template.made(self.folder / str(number), self.store, self.days)
        return self.made[number]


def load(store: Store, database: sqlite3.Connection) -> None:
    """Make a store in memory hold what that database does, and nothing else."""
    with outside_transactions(store) as inside:
        database.backup(inside)


def loaded(database: sqlite3.Connection) -> Store:
    """A store in memory of its own that holds what that database does."""
    opened = Store.open("sqlite://")
    load(opened, database)
    return opened


def copied(store: Store) -> sqlite3.Connection:
    """A copy of what a store in memory holds."""
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    with outside_transactions(store) as inside:
        inside.backup(copy)
    return copy


def raw_of(store: Store) -> sqlite3.Connection:
    """The one connection of a store in memory."""
    with store.transaction() as connection:
        inside = connection.connection.driver_connection
    assert isinstance(inside, sqlite3.Connection)
    return inside


@contextmanager
def outside_transactions(store: Store) -> Iterator[sqlite3.Connection]:
    """The one connection of a store in memory, without a transaction that would keep it from being copied."""
    with store.transaction() as connection:
        inside = connection.connection.driver_connection
        assert isinstance(inside, sqlite3.Connection)
        inside.execute("COMMIT")
        yield inside
        inside.execute("BEGIN")
