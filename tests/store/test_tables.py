"""Moments as they are stored, and the tables that come and go with a shelf."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, create_engine, insert, inspect, select, type_coerce
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.exc import StatementError
from sqlalchemy.schema import CreateIndex, CreateTable

from textkeep.store.columns import Instant
from textkeep.store.engine import Store
from textkeep.store.tables import (
    create_shelf_tables,
    drop_shelf_tables,
    papers_of,
    runs,
    shelf_tables,
    tables_there,
    texts_of,
)

ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES)  # noqa: DTZ001
DIALECT = sqlite_dialect()


@pytest.fixture(scope="module")
def instants() -> Instant:
    """One type, for all that hypothesis tries."""
    return Instant()


@given(MOMENTS)
def test_a_moment_comes_back_to_the_microsecond_and_in_utc(instants: Instant, moment: datetime) -> None:
    stored = instants.process_bind_param(moment, DIALECT)
    back = instants.process_result_value(stored, DIALECT)
    assert back == moment
    assert back is not None
    assert back.tzinfo is UTC


@given(MOMENTS, MOMENTS)
def test_stored_moments_compare_as_the_moments_do(instants: Instant, one: datetime, other: datetime) -> None:
    stored = [instants.process_bind_param(each, DIALECT) for each in (one, other)]
    assert all(isinstance(each, int) for each in stored)
    assert (stored[0] < stored[1]) == (one < other)  # type: ignore[operator]
    assert (stored[0] == stored[1]) == (one == other)


@pytest.mark.parametrize(
    "moment", [datetime(2026, 11, 22, 12, 0, 0, 1, UTC), datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)]
)
def test_the_database_keeps_microseconds(store: Store, moment: datetime) -> None:
    with store.transaction() as connection:
        connection.execute(insert(runs).values(started_at=moment))
    with store.reading() as connection:
        row = connection.execute(select(runs)).one()
        raw = connection.execute(select(type_coerce(runs.c.started_at, BigInteger))).scalar_one()
    assert (row.started_at, row.finished_at) == (moment, None)
    assert raw == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_a_moment_without_a_zone_is_not_stored(store: Store) -> None:
    with pytest.raises(StatementError, match="without a zone"), store.transaction() as connection:
        connection.execute(insert(runs).values(started_at=datetime(2026, 11, 22)))  # noqa: DTZ001
    with store.reading() as connection:
        assert connection.execute(select(runs)).all() == []


@pytest.mark.parametrize("shelf", ["2026-11-22", "kept-00112233445566ff-3"])
def test_a_shelf_s_tables_come_and_go_as_often_as_they_are_asked_to(store: Store, shelf: str) -> None:
    with store.transaction() as connection:
        others = set(inspect(connection).get_table_names())
        assert shelf_tables(connection, shelf) == []
        for _ in range(2):
            create_shelf_tables(connection, shelf)
            create_shelf_tables(connection, "2026-11-21")
            assert shelf_tables(connection, shelf) == [texts_of(shelf).name, papers_of(shelf).name]
        for _ in range(2):
            drop_shelf_tables(connection, shelf)
            assert shelf_tables(connection, shelf) == []
        assert len(shelf_tables(connection, "2026-11-21")) == 2
        drop_shelf_tables(connection, "2026-11-21")
        assert set(inspect(connection).get_table_names()) == others


def test_names_are_looked_up_among_the_tables_there_are_and_views_only_where_they_are_asked_for(store: Store) -> None:
    with store.transaction() as connection:
        create_shelf_tables(connection, "2026-11-21")
        connection.exec_driver_sql("CREATE VIEW texts_2026_11_22 AS SELECT 1 AS one")
        wanted = ["notes", "texts_2026_11_21", "texts_2026_11_22", "papers_2026_11_22"]
        assert tables_there(connection, []) == set()
        assert tables_there(connection, wanted) == {"notes", "texts_2026_11_21"}
        assert tables_there(connection, wanted, views=True) == {"notes", "texts_2026_11_21", "texts_2026_11_22"}
        assert shelf_tables(connection, "2026-11-22") == ["texts_2026_11_22"]
        connection.exec_driver_sql("DROP VIEW texts_2026_11_22")


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_table_of_a_schema_that_is_not_searched_is_not_there(store: Store) -> None:
    with store.transaction() as connection:
        connection.exec_driver_sql("CREATE SCHEMA beside")
        connection.exec_driver_sql("CREATE TABLE beside.texts_2026_11_22 (one INTEGER)")
        assert tables_there(connection, ["texts_2026_11_22"]) == set()
        assert shelf_tables(connection, "2026-11-22") == []
        connection.exec_driver_sql("SET LOCAL search_path TO beside")
        assert shelf_tables(connection, "2026-11-22") == ["texts_2026_11_22"]
        connection.exec_driver_sql("DROP SCHEMA beside CASCADE")


@pytest.mark.parametrize("store", ["sqlite", "memory"], indirect=True)
def test_shelf_tables_are_made_as_they_are_described(store: Store) -> None:
    """The statements are compiled once, for a sample, and the name put in: nothing of the sample may be left."""
    with store.transaction() as connection:
        create_shelf_tables(connection, "2026-11-22")
        made = dict(
            connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").tuples().all()
        )
    described = create_engine("sqlite://").dialect
    for table in (texts_of("2026-11-22"), papers_of("2026-11-22")):
        assert made[table.name].split() == str(CreateTable(table).compile(dialect=described)).split()
        for index in table.indexes:
            assert index.name is not None
            assert made[index.name].split() == str(CreateIndex(index).compile(dialect=described)).split()
    assert "sample" not in " ".join(made)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_the_function_makes_shelf_tables_as_they_are_described(store: Store) -> None:
    with store.transaction() as connection:
        create_shelf_tables(connection, "2026-11-22")
        found = inspect(connection)
        for table in (texts_of("2026-11-22"), papers_of("2026-11-22")):
            columns = {each["name"]: (str(each["type"]), each["nullable"]) for each in found.get_columns(table.name)}
            assert columns == {
                each.name: (each.type.compile(connection.dialect), each.nullable) for each in table.columns
            }
            keys = found.get_pk_constraint(table.name)["constrained_columns"]
            assert keys == [column.name for column in table.primary_key]
            indexes = {each["name"]: each["column_names"] for each in found.get_indexes(table.name)}
            assert indexes == {index.name: [column.name for column in index.columns] for index in table.indexes}


def test_dropping_is_undone_with_its_transaction(store: Store) -> None:
    def drop_and_fail() -> None:
        with store.transaction() as connection:
            drop_shelf_tables(connection, "2026-11-22")
            raise KeyError

    with store.transaction() as connection:
        create_shelf_tables(connection, "2026-11-22")
    with pytest.raises(KeyError):
        drop_and_fail()
    with store.reading() as connection:
        assert len(shelf_tables(connection, "2026-11-22")) == 2


@pytest.mark.parametrize(
    "shelf", ["", "-", "2026_11_22", "x; DROP TABLE notes", 'x"', "x y", "ä", "x.y", "sqlite\x00", "２０２６"]
)
def test_what_is_no_shelf_s_name_never_reaches_a_statement(store: Store, shelf: str) -> None:
    with store.transaction() as connection:
        for use in (create_shelf_tables, drop_shelf_tables, shelf_tables):
            with pytest.raises(ValueError, match="not a shelf's name"):
                use(connection, shelf)


SHELF = st.from_regex(r"[0-9a-z]+(-[0-9a-z]+)*", fullmatch=True)


@given(SHELF, SHELF)
def test_two_shelves_never_share_a_table(one: str, other: str) -> None:
    names = [{texts_of(shelf).name, papers_of(shelf).name} for shelf in (one, other)]
    assert names[0].isdisjoint(names[1]) == (one != other)
