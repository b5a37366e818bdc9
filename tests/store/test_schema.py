"""The tables come by migration, and are those that the code speaks of."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError

from textkeep.errors import Unsound
from textkeep.store import schema
from textkeep.store.columns import metadata
from textkeep.store.engine import Store


@pytest.fixture(params=["sqlite", "memory"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store without a table."""
    return Store.open("sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'empty.db'}")


def tables(store: Store) -> set[str]:
    with store.reading() as connection:
        return set(inspect(connection).get_table_names())


def test_the_migrated_tables_are_those_of_the_code(store: Store) -> None:
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differing = compare_metadata(context, metadata)
    # Who may use the service's functions is PostgreSQL's own matter, and no table of the house.
    assert [each for each in differing if each[0] != "remove_table" or each[1].name != "grantees"] == []


def test_the_migrated_keys_are_those_of_the_code(store: Store) -> None:
    with store.reading() as connection:
        found = inspect(connection)
        for table in metadata.sorted_tables:
            keys = found.get_pk_constraint(table.name)["constrained_columns"]
            assert keys == [column.name for column in table.primary_key], table.name


@pytest.mark.parametrize("store", ["sqlite", "memory"], indirect=True)
def test_sequence_numbers_of_the_ledger_are_never_given_twice(store: Store) -> None:
    with store.reading() as connection:
        made = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = 'ledger_entries'")).scalar_one()
    assert "AUTOINCREMENT" in made


def test_a_new_store_has_no_version_until_it_is_migrated(empty: Store) -> None:
    assert schema.version(empty) is None
    assert schema.migrate(empty) is True
    assert schema.version(empty) == schema.newest()
    empty.close()


def test_migrating_again_does_nothing(store: Store) -> None:
    before = (schema.version(store), tables(store))
    assert schema.migrate(store) is False
    assert (schema.version(store), tables(store)) == before


def test_tables_of_a_newer_textkeep_are_refused_and_left_alone(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text("CREATE TABLE of_the_future (id INTEGER)"))
    before = tables(store)
    with pytest.raises(Unsound, match="newer Textkeep") as caught:
        schema.migrate(store)
    assert "nothing was changed" in caught.value.remedy
    assert (schema.version(store), tables(store)) == ("9999", before)


def test_a_migration_that_fails_leaves_nothing(empty: Store) -> None:
    with empty.transaction() as connection:
        connection.execute(text("CREATE TABLE tokens (id INTEGER)"))
    with pytest.raises(OperationalError, match="already exists"):
        schema.migrate(empty)
    assert tables(empty) == {"tokens"}
    assert schema.version(empty) is None
    empty.close()
