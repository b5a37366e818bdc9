"""Random edits of a finished archive, each of which an audit must find; nothing of one is left for the next."""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from tests.housing import House
from tests.retention.audited import Audited, auditing, faults, few_days, shown
from tests.retention.editing import Editor, audited_tables
from textkeep.retention.audit.audit import Audit
from textkeep.store.engine import Store

SEED: Final = int(os.environ.get("TEXTKEEP_SEED", "20261122"))

Lines = frozenset[tuple[str, str | None]]


class Copies:
    """Fresh copies of one archive on SQLite, in memory: a copy takes a millisecond, an audit some 100."""

    def __init__(self, made: Audited) -> None:
        self._made = made
        self._store = Store.open("sqlite://")
        self.again()
        with few_days():
            house = House.build(self._store, made.folder / "keyring", made.clock)
        self.audit = auditing(house, made.folder)
        with self._store.reading() as connection:
            self._tables = audited_tables(connection)

    def again(self) -> None:
        """As it was."""
        with closing(sqlite3.connect(self._made.database)) as source, self._store.transaction() as connection:
            inside = connection.connection.driver_connection
            assert isinstance(inside, sqlite3.Connection)
            connection.exec_driver_sql("COMMIT")
            source.backup(inside)
            connection.exec_driver_sql("BEGIN")

    @contextmanager
    def edited(self, seed: int) -> Iterator[str]:
        """One edit, taken back afterwards; the constraints of the database are off, as a superuser can have them."""
        with self._store.transaction() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            said = Editor(connection, self._tables, seed).edit().said
        try:
            yield said
        finally:
            self.again()

    def close(self) -> None:
        self._store.close()


class Undone(Store):
    """A PostgreSQL store whose every reading is done inside one transaction of the owner's, which is never committed.

    What an edit did is seen from inside it, and nowhere else; the constraints are gone inside it too.
    """

    def __init__(self, owner: Store, connection: Connection) -> None:
        super().__init__(owner._writer, owner._reader)
        self._connection = connection
        named = "SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype IN ('c', 'f') AND connamespace ="
        found = connection.exec_driver_sql(f"{named} 'public'::regnamespace ORDER BY contype = 'c', 1, 2").all()
        for table, name in found:
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        self._tables = audited_tables(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._connection.begin_nested():
            yield self._connection

    @contextmanager
    def edited(self, seed: int) -> Iterator[str]:
        """One edit, taken back afterwards."""
        point = self._connection.begin_nested()
        try:
            yield Editor(self._connection, self._tables, seed).edit().said
        finally:
            point.rollback()


def passed(audit: Audit) -> Lines:
    """The lines of an audit that pass. None of them may fail."""
    found = audit.run()
    assert faults(found) == [], shown(faults(found))
    return frozenset((each.name, each.shelf) for each in found if each.verdict == "pass")


def find_edits(audit: Audit, edited: Callable[[int], AbstractContextManager[str]], seeds: Iterable[int]) -> None:
    """Each edit makes a line fail that passed before; the audit is not heard out beyond the first of them."""
    before = passed(audit)
    missed, kinds, number = [], Counter[str](), 0
    for number, seed in enumerate(seeds, 1):  # noqa: B007 - the last one is what is looked at
        with edited(seed) as said:
            kinds[said.partition(":")[0].partition(".")[0].partition("_")[0]] += 1
            told = audit.each()
            if not any(each.verdict == "fail" and (each.name, each.shelf) in before for each in told):
                missed.append(f"seed {seed}: {said}")
            told.close()
    assert missed == [], missed
    assert len(kinds) >= min(10, number), kinds


def undone(house: House, owner: Store, connection: Connection, audited: Audited) -> tuple[Audit, Undone]:
    """The audit of a house on PostgreSQL as it stands inside a transaction that will be undone."""
    store = Undone(owner, connection)
    return auditing(replace(house, store=store), audited.folder), store
