"""500 random edits of the database by its superuser: an audit finds each one, and nothing where there was none."""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.engines.databases import Prepared
from tests.housing import NOON, House, SetClock
from tests.retention.audited import Audited, auditing, build, faults, few_days, live, shown
from tests.retention.editing import EXEMPT_TABLES, Editor, restore
from textkeep.retention.audit.audit import Audit
from textkeep.store.columns import metadata
from textkeep.store.engine import Store

IN_CI = 150
IN_SOAK = 500
ON_POSTGRES = 10
SEED = int(os.environ.get("TEXTKEEP_SEED", "20261122"))


class Copies:
    """Fresh copies of one archive, in memory: a copy takes a millisecond, an audit some 100."""

    def __init__(self, made: Audited) -> None:
        self._made = made
        self._store = Store.open("sqlite://")
        self.again()
        with few_days():
            house = House.build(self._store, made.folder / "keyring", made.clock)
        self.audit: Audit = auditing(house, made.folder)

    def again(self) -> None:
        """As it was."""
        with closing(sqlite3.connect(self._made.database)) as source, self._store.transaction() as connection:
            inside = connection.connection.driver_connection
            assert isinstance(inside, sqlite3.Connection)
            connection.exec_driver_sql("COMMIT")
            source.backup(inside)
            connection.exec_driver_sql("BEGIN")

    def edited(self, seed: int) -> str:
        """One edit; the constraints of the database are off, as a superuser can have them."""
        with self._store.transaction() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return Editor(connection, seed).edit().said

    def close(self) -> None:
        self._store.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    return build(tmp_path_factory.mktemp("audited"))


@pytest.fixture(scope="module")
def copies(made: Audited) -> Iterator[Copies]:
    found = Copies(made)
    yield found
    found.close()


def test_an_archive_that_nobody_edited_has_no_fault(copies: Copies) -> None:
    copies.again()
    found = copies.audit.run()
    assert faults(found) == []
    assert {each.name for each in found if each.verdict == "unknown"} <= {"index coverage"}, shown(found)


def test_random_edits_are_each_found(copies: Copies) -> None:
    find_edits(copies, IN_CI, SEED)


@pytest.mark.soak
def test_500_random_edits_are_each_found(copies: Copies) -> None:
    find_edits(copies, IN_SOAK, SEED)


def find_edits(copies: Copies, number: int, seed: int) -> None:
    missed = []
    edited: Counter[str] = Counter()
    for at in range(number):
        copies.again()
        said = copies.edited(seed + at)
        edited[said.partition(":")[0].partition(".")[0].partition("_")[0]] += 1
        if not faults(copies.audit.run()):
            missed.append(f"seed {seed + at}: {said}")
    assert missed == []
    assert len(edited) >= 10, edited


def test_random_edits_on_postgresql_are_each_found(blank_postgres: Prepared, tmp_path: Path) -> None:
    """The rows that an edit touched are put back after it: a copy of a whole database for each would take minutes."""
    blank_postgres.baseline.restore()
    database = blank_postgres.database
    store, behind = Store.open(database.service), Store.open(database.owner)
    try:
        with few_days():
            house = House.build(store, tmp_path / "keyring", SetClock(NOON), behind=behind)
            live(house, tmp_path)
        audit = auditing(house, tmp_path)
        assert faults(audit.run()) == [], shown(faults(audit.run()))
        missed = []
        for at in range(ON_POSTGRES):
            with behind.transaction() as connection:
                editor = Editor(connection, SEED + at)
                before = {table: editor.rows(table) for table in editor.tables}
                edit = editor.edit()
            if not faults(audit.run()):
                missed.append(f"seed {SEED + at}: {edit.said}")
            with behind.transaction() as connection:
                restore(Editor(connection, 0), edit.tables, before)
        assert missed == []
        assert faults(audit.run()) == []
    finally:
        store.close()
        behind.close()


def test_only_tables_that_there_are_are_left_out() -> None:
    assert EXEMPT_TABLES.keys() <= metadata.tables.keys() | {"alembic_version", "sqlite_sequence"}
