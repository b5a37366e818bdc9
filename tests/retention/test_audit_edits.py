"""500 random edits of the database by its superuser: an audit finds each one, and nothing where there was none."""

from collections.abc import Iterator

import pytest

from tests.retention.audited import Audited, build
from tests.retention.editing import EXEMPT_COLUMNS, EXEMPT_DELETIONS, EXEMPT_TABLES
from tests.retention.finding import SEED, Copies, find_edits
from textkeep.store.columns import metadata

EDITS = 500
PARTS = 4
IN_SOAK = 10_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    return build(tmp_path_factory.mktemp("audited"))


@pytest.fixture(scope="module")
def copies(made: Audited) -> Iterator[Copies]:
    found = Copies(made)
    yield found
    found.close()


def test_an_archive_that_nobody_edited_has_no_fault_and_only_the_index_is_unknown(copies: Copies) -> None:
    found = copies.audit.run()
    assert {(each.name, each.said) for each in found if each.verdict != "pass"} == {
        ("index coverage", "no index was at hand to compare with")
    }


@pytest.mark.parametrize("part", range(PARTS))
def test_random_edits_are_each_found(copies: Copies, part: int) -> None:
    find_edits(copies.audit, copies.edited, range(SEED + part, SEED + EDITS, PARTS))


@pytest.mark.soak
def test_ten_thousand_random_edits_are_each_found(copies: Copies) -> None:
    find_edits(copies.audit, copies.edited, range(SEED, SEED + IN_SOAK))


def test_only_tables_and_columns_that_there_are_are_left_out() -> None:
    tables = metadata.tables
    assert EXEMPT_TABLES.keys() <= tables.keys() | {"alembic_version", "grantees", "sqlite_sequence"}
    assert EXEMPT_DELETIONS.keys() <= tables.keys()
    assert all(column in tables[table].columns for table, column in EXEMPT_COLUMNS)
