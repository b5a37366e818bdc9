"""What PostgreSQL has of its own: many writers, row locks, a role that owns nothing, a server that goes away."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic import command
from sqlalchemy import column, insert, select, table, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from tests.engines.needed import missing
from tests.engines.postgres import PostgresServer
from tests.engines.process import EngineFailed
from tests.housing import NOON
from textkeep.errors import Outage, Unsound
from textkeep.store import postgres as postgres_module
from textkeep.store import schema
from textkeep.store.bulk import TextRow, insert_texts, texts_of_slices, texts_with_tags
from textkeep.store.engine import Store, Vanished
from textkeep.store.tables import (
    close_shelf,
    create_shelf_tables,
    drop_shelf_tables,
    ledger_entries,
    notes,
    shelf_tables,
    shelves,
    texts_of,
)

SERVICE = "textkeep_service_of_tests"
DAY = "2026-11-20"


@pytest.fixture
def owner(postgres: str) -> Iterator[Store]:
    """The archive's database as its owner opens it, migrated."""
    opened = Store.open(postgres)
    schema.migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def service(owner: Store, postgres: str) -> Iterator[Store]:
    """The same database as the service's role opens it."""
    make_role(postgres)
    schema.migrate(owner, service_role=SERVICE)
    opened = Store.open(as_role(postgres, SERVICE))
    yield opened
    opened.close()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {SERVICE}")


def make_role(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"DO $$ BEGIN CREATE ROLE {SERVICE} LOGIN;"
            " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )


def as_role(url: str, role: str) -> str:
    scheme, rest = url.split("://", 1)
    return f"{scheme}://{role}@{rest.split('@', 1)[1]}"


def row(number: int, *, version: int = 1, slice_id: int = 7) -> TextRow:
    return TextRow(b"o" * 8, number.to_bytes(16, "big"), version, slice_id, b"c" * 32, 5, b"sealed")


def open_shelf(store: Store, state: str = "open") -> None:
    with store.transaction() as connection:
        create_shelf_tables(connection, DAY)
        connection.execute(insert(shelves).values(name=DAY, state=state, commitment=b"c", opened_at=NOON, due_at=NOON))


def count(store: Store) -> int:
    with store.reading() as connection:
        return len(connection.execute(select(texts_of(DAY).c.tag)).all())


@pytest.mark.parametrize("rows", [1, 99, 100, 1500])
def test_rows_are_found_again_as_they_were_inserted(owner: Store, rows: int) -> None:
    open_shelf(owner)
    wanted = [row(number) for number in range(rows)]
    with owner.transaction() as connection:
        assert insert_texts(connection, {DAY: wanted})
    with owner.reading() as connection:
        assert texts_with_tags(connection, DAY, [each.tag for each in wanted]) == wanted
        assert sorted(texts_of_slices(connection, DAY, [7])) == wanted
        assert texts_of_slices(connection, DAY, [8]) == []


@pytest.mark.parametrize("rows", [2, 300])
def test_a_row_that_another_process_has_inserted_is_told(owner: Store, rows: int) -> None:
    open_shelf(owner)
    with owner.transaction() as connection:
        insert_texts(connection, {DAY: [row(rows - 1)]})
    with owner.transaction() as connection:
        assert not insert_texts(connection, {DAY: [row(number) for number in range(rows)]})
        connection.rollback()
    assert count(owner) == 1


def test_two_that_insert_the_same_rows_in_opposite_order_do_not_block_each_other(owner: Store) -> None:
    open_shelf(owner)
    wanted = [row(number) for number in range(400)]

    def put(rows: list[TextRow]) -> bool:
        with owner.transaction() as connection:
            return insert_texts(connection, {DAY: rows})

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(put, rows) for rows in (wanted, wanted[::-1])]
    assert sorted(each.result() for each in done) == [False, True]
    assert count(owner) == 400


def test_nothing_is_left_in_the_staging_table(owner: Store) -> None:
    open_shelf(owner)
    with owner.transaction() as connection:
        insert_texts(connection, {DAY: [row(number) for number in range(200)]})
    with owner.transaction() as connection:
        assert connection.execute(select(column("shelf")).select_from(table(postgres_module.INCOMING))).all() == []


def test_a_reader_keeps_its_snapshot_and_cannot_write(owner: Store) -> None:
    with owner.reading() as connection:
        assert connection.execute(select(notes)).all() == []
        with ThreadPoolExecutor(1) as pool:
            pool.submit(put_note, owner, "a").result()
        assert connection.execute(select(notes)).all() == []
    with pytest.raises(Outage), owner.reading() as connection:
        connection.execute(insert(notes).values(name="b", value="b"))


def put_note(store: Store, name: str) -> None:
    with store.transaction() as connection:
        connection.execute(insert(notes).values(name=name, value="canary-value"))


def test_an_error_quotes_no_value(owner: Store) -> None:
    put_note(owner, "canary-name")
    with pytest.raises(IntegrityError) as caught:
        put_note(owner, "canary-name")
    assert "canary" not in f"{caught.value}{caught.value!r}{caught.value.orig!r}"
    assert "UniqueViolation" in str(caught.value)


def test_the_service_s_role_opens_shelves_and_writes_and_owns_nothing(service: Store, postgres: str) -> None:
    open_shelf(service)
    with service.transaction() as connection:
        assert insert_texts(connection, {DAY: [row(number) for number in range(200)]})
        assert shelf_tables(connection, DAY) == ["texts_2026_11_20", "papers_2026_11_20"]
    with psycopg.connect(postgres) as connection:
        owned = connection.execute(
            "SELECT relname FROM pg_class WHERE relowner = %s::regrole AND relpersistence = 'p'", (SERVICE,)
        ).fetchall()
    assert owned == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM texts_2026_11_20",
        "UPDATE texts_2026_11_20 SET sealed = ''",
        "TRUNCATE texts_2026_11_20",
        "DROP TABLE texts_2026_11_20",
        "UPDATE papers_2026_11_20 SET sealed = ''",
        "DELETE FROM ledger_entries",
        "UPDATE ledger_entries SET entry = ''",
        "DELETE FROM shelves",
        "DELETE FROM purges",
        "DELETE FROM tokens",
        "DELETE FROM orgs",
        "INSERT INTO grantees VALUES ('x')",
        "ALTER TABLE notes ADD COLUMN x TEXT",
        "CREATE OR REPLACE FUNCTION textkeep_drop_shelf(shelf TEXT) RETURNS VOID LANGUAGE sql AS ''",
    ],
)
def test_the_service_s_role_cannot_destroy(service: Store, statement: str) -> None:
    open_shelf(service)
    with pytest.raises(ProgrammingError, match=r"InsufficientPrivilege|42501"), service.transaction() as connection:
        connection.execute(text(statement))


def test_a_role_opened_for_service_later_reaches_the_shelves_there_are(owner: Store, service: Store) -> None:
    open_shelf(owner)
    schema.migrate(owner, service_role=SERVICE)
    with service.transaction() as connection:
        assert insert_texts(connection, {DAY: [row(1)]})


@pytest.mark.parametrize("role", ["no_such_role", "postgres"])
def test_a_role_that_is_none_or_owns_everything_is_refused_for_the_service(owner: Store, role: str) -> None:
    with pytest.raises(Unsound) as caught:
        schema.migrate(owner, service_role=role)
    assert caught.value.field == "--service-role"


def test_the_tables_of_a_shelf_whose_secret_is_not_destroyed_stay(service: Store) -> None:
    open_shelf(service)
    with pytest.raises(IntegrityError, match=r"CheckViolation|23514"), service.transaction() as connection:
        drop_shelf_tables(connection, DAY)
    with service.transaction() as connection:
        connection.execute(text("UPDATE shelves SET state = 'shredded'"))
        drop_shelf_tables(connection, DAY)
        assert shelf_tables(connection, DAY) == []


def test_a_closed_shelf_is_read_and_not_written_until_the_transaction_ends(owner: Store, service: Store) -> None:
    open_shelf(owner, "intent")
    with service.transaction() as connection:
        close_shelf(connection, DAY)
        assert count(owner) == 0
        with pytest.raises(Outage):
            put_late(owner)
    put_late(owner)
    assert count(owner) == 1


def put_late(store: Store) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_put_late, store).result()


def _put_late(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute(text("SET LOCAL lock_timeout = 50"))
        insert_texts(connection, {DAY: [row(1)]})


def test_an_open_shelf_is_not_closed_and_nobody_else_closes_any(owner: Store, service: Store, postgres: str) -> None:
    open_shelf(owner)
    with pytest.raises(IntegrityError, match=r"CheckViolation|23514"), service.transaction() as connection:
        close_shelf(connection, DAY)
    may = text("SELECT has_function_privilege('public', 'textkeep_close_shelf(text)', 'EXECUTE')")
    with owner.reading() as connection:
        assert connection.execute(may).scalar_one() is False


def test_an_upgrade_gives_the_service_s_role_what_is_new(postgres: str) -> None:
    make_role(postgres)
    store, config = Store.open(postgres), schema._config()
    with store.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        connection.execute(text("INSERT INTO grantees VALUES (:role)"), {"role": SERVICE})
    with pytest.raises(Unsound, match="older Textkeep"):
        schema.check(store)
    assert schema.migrate(store)
    may = text("SELECT has_function_privilege(:role, 'textkeep_close_shelf(text)', 'EXECUTE')")
    with store.reading() as connection:
        assert connection.execute(may, {"role": SERVICE}).scalar_one() is True
    store.close()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {SERVICE}")


def test_many_that_open_the_same_shelves_at_once_open_each_once(service: Store) -> None:
    days = [f"2026-10-{day:02d}" for day in range(1, 31)]
    gate = threading.Barrier(4)

    def opened() -> None:
        gate.wait()
        with service.transaction() as connection:
            for day in days:
                create_shelf_tables(connection, day)

    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(opened) for _ in range(4)]:
            each.result()
    with service.reading() as connection:
        assert all(len(shelf_tables(connection, day)) == 2 for day in days)


def test_two_that_migrate_at_once_make_the_tables_once(postgres: str) -> None:
    stores = [Store.open(postgres) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(schema.migrate, stores))
    assert sorted(done) == [False, False, True]
    schema.check(stores[0])
    for store in stores:
        store.close()


def test_tables_that_are_not_there_are_a_refusal_that_names_the_command(postgres: str) -> None:
    store = Store.open(postgres)
    with pytest.raises(Unsound) as caught:
        schema.check(store)
    assert "textkeep migrate" in caught.value.remedy
    store.close()


def test_the_order_of_the_ledger_s_numbers_is_that_of_one_transaction_s_entries(owner: Store) -> None:
    with owner.transaction() as connection:
        connection.execute(
            insert(ledger_entries), [{"kind": "token", "entry": str(n), "made_at": NOON} for n in range(50)]
        )
    with owner.reading() as connection:
        told = connection.execute(select(ledger_entries.c.entry).order_by(ledger_entries.c.seq)).scalars().all()
    assert [int(each) for each in told] == list(range(50))


def test_a_table_dropped_behind_a_snapshot_is_told_apart_from_a_fault(owner: Store) -> None:
    open_shelf(owner, "shredded")

    def read_while_it_goes() -> None:
        with owner.reading() as connection:
            connection.execute(select(notes)).all()
            with ThreadPoolExecutor(1) as pool:
                pool.submit(drop, owner).result()
            texts_of_slices(connection, DAY, [1])

    with pytest.raises(Vanished):
        read_while_it_goes()


def drop(store: Store) -> None:
    with store.transaction() as connection:
        drop_shelf_tables(connection, DAY)


def test_what_waits_too_long_for_a_lock_is_an_outage(owner: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    open_shelf(owner)

    def locked() -> None:
        with owner.transaction() as connection:
            connection.execute(text("SET LOCAL lock_timeout = 50"))
            connection.execute(text("SELECT * FROM shelves FOR UPDATE"))

    with owner.transaction() as connection:
        connection.execute(text("SELECT * FROM shelves FOR SHARE"))
        with ThreadPoolExecutor(1) as pool, pytest.raises(Outage) as caught:
            pool.submit(locked).result()
    assert caught.value.retry_after == 1


@pytest.fixture
def own_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    try:
        server = PostgresServer(fsync=True)
        server.start()
    except EngineFailed as exc:
        missing(request, str(exc))
    yield server
    server.end()


def test_a_server_that_is_killed_is_an_outage_and_keeps_what_was_committed(own_server: PostgresServer) -> None:
    store = Store.open(own_server.address)
    schema.migrate(store)
    put_note(store, "before")

    def write_while_it_goes() -> None:
        with store.transaction() as connection:
            connection.execute(insert(notes).values(name="never", value="acknowledged"))
            own_server.kill()
            connection.execute(select(notes)).all()

    with pytest.raises(Outage):
        write_while_it_goes()
    with pytest.raises(Outage):
        put_note(store, "while it is away")
    own_server.start()
    put_note_when_it_answers(store)
    with store.reading() as connection:
        assert set(connection.execute(select(notes.c.name)).scalars()) == {"before", "after"}
    store.close()


def put_note_when_it_answers(store: Store) -> None:
    for _ in range(postgres_module.CONNECTIONS):  # each connection from before fails once
        try:
            return put_note(store, "after")
        except Outage:
            continue
    raise AssertionError("no connection was made anew")


def test_a_server_that_falls_silent_is_an_outage_in_time(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module.PromptConnection, "answer_seconds", 0.5)
    store = Store.open(own_server.address)
    schema.migrate(store)
    own_server.pause()
    try:
        with pytest.raises(Outage):
            put_note(store, "silent")
    finally:
        own_server.resume()
    put_note_when_it_answers(store)
    store.close()


def test_no_address_switches_durability_off(postgres: str) -> None:
    store = Store.open(f"{postgres}?options=-c%20synchronous_commit%3Doff%20-c%20lock_timeout%3D0")
    with store.transaction() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "10s"
    store.close()


@pytest.mark.parametrize("wrong", ["no_such_database", "postgres?sslmod=require", "postgres?sslmode=sometimes"])
def test_an_address_that_cannot_work_is_a_refusal_and_quotes_nothing(postgres: str, wrong: str) -> None:
    store = Store.open(f"{postgres.rsplit('/', 1)[0]}/{wrong}")
    with pytest.raises(Unsound) as caught, store.reading() as connection:
        connection.execute(select(notes))
    assert caught.value.field == "TEXTKEEP_DATABASE_URL"
    assert "no_such_database" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__ is None}"
    store.close()


def test_a_wrong_user_is_a_refusal(postgres: str) -> None:
    store = Store.open(as_role(postgres, "nobody_of_that_name"))
    with pytest.raises(Unsound, match="user"), store.reading() as connection:
        connection.execute(select(notes))
    store.close()
