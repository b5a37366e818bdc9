"""What every store of a keyring promises, by each driver; and what a database has that a folder has not."""

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests.archive.keeping import Keeping, child
from textkeep.archive.drivers import keyring_sql
from textkeep.archive.drivers.keyring_sql import SqlStore, place_of
from textkeep.archive.drivers.root_local import shared_folder
from textkeep.archive.keyring import Changed, KeyringStore, identity
from textkeep.errors import Outage, Unsound

ONE, OTHER = b"one", b"other"


def changed(url: str, **parts: str | int) -> str:
    """An address with parts of it replaced."""
    return make_url(url).set(**parts).render_as_string(hide_password=False)  # type: ignore[arg-type]


def test_nothing_is_there_before_it_is_put(keeping: Keeping) -> None:
    store = keeping.store()
    assert store.read("ring") is None
    assert store.holds("ring", None)
    assert not store.holds("ring", ONE)


@pytest.mark.parametrize("body", [b"", bytes(range(256)), os.urandom(3_000_000)], ids=["nothing", "all bytes", "3 MB"])
def test_a_document_comes_back_as_it_was_put(keeping: Keeping, body: bytes) -> None:
    keeping.store().swap("ring", None, body)
    for store in (keeping.store(), keeping.store()):
        assert store.read("ring") == body
        assert store.holds("ring", body)
        assert not store.holds("ring", body + b"?")
        assert not store.holds("ring", None)


def test_documents_of_other_names_are_left_alone(keeping: Keeping) -> None:
    store = keeping.store()
    store.swap("ring", None, ONE)
    store.swap("tip", None, OTHER)
    store.swap("ring", ONE, b"two")
    assert (store.read("ring"), store.read("tip"), store.read("rin")) == (b"two", OTHER, None)


def test_the_documents_whose_names_begin_so_are_given_with_all_they_hold(keeping: Keeping) -> None:
    store = keeping.store()
    assert store.all("hold:") == {}
    said = {"hold:h-2": b"", "hold:h-1": bytes(range(256)), "hold%": ONE, "hold": ONE, "ring": ONE}
    for name, body in said.items():
        store.swap(name, None, body)
    assert list(store.all("hold:").items()) == [("hold:h-1", bytes(range(256))), ("hold:h-2", b"")]


@pytest.mark.parametrize(
    ("there", "was"), [(None, ONE), (ONE, None), (ONE, OTHER), (ONE, b""), (b"", None), (b"", ONE)], ids=repr
)
def test_what_is_not_as_it_was_is_left_as_it_is(keeping: Keeping, there: bytes | None, was: bytes | None) -> None:
    store = keeping.store()
    if there is not None:
        store.swap("ring", None, there)
    with pytest.raises(Changed):
        store.swap("ring", was, b"new")
    assert keeping.store().read("ring") == there
    store.swap("ring", there, b"new")
    assert keeping.store().read("ring") == b"new"


def test_what_was_swapped_outlives_a_process_that_is_killed(keeping: Keeping) -> None:
    def work(say: object) -> None:
        keeping.store().swap("ring", None, ONE)
        os.kill(os.getpid(), 9)

    with child(work) as running:
        assert running.lines() == []
    assert keeping.store().read("ring") == ONE


def test_an_identity_is_made_once_and_names_a_folder(keeping: Keeping) -> None:
    known = identity(keeping.store())
    assert len(bytes.fromhex(known)) == 8
    assert identity(keeping.store()) == known
    assert shared_folder(Path("/roots"), known) == Path("/roots", known)
    with pytest.raises(ValueError, match="no"):
        shared_folder(Path("/roots"), "../elsewhere")


def test_of_many_who_swap_the_same_document_one_is_quicker(sql_keeping: Keeping) -> None:
    sql_keeping.store().swap("count", None, b"0")
    stores = [sql_keeping.store() for _ in range(4)]

    def add(store: KeyringStore) -> None:
        added = 0
        while added < 25:
            was = store.read("count")
            assert was is not None
            try:
                store.swap("count", was, str(int(was) + 1).encode())
            except Changed:
                continue
            added += 1

    threads = [threading.Thread(target=add, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sql_keeping.store().read("count") == b"100"


def test_of_many_who_make_an_identity_all_get_one(sql_keeping: Keeping) -> None:
    found: list[str] = []
    stores = [sql_keeping.store() for _ in range(8)]
    threads = [threading.Thread(target=lambda store=store: found.append(identity(store))) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_many_threads_may_use_one_store(sql_keeping: Keeping) -> None:
    store = sql_keeping.store()
    store.swap("ring", None, ONE)
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.extend(store.read("ring") == ONE for _ in range(20))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


def test_a_database_that_was_not_prepared_is_told_from_one_that_is_down(postgres: str) -> None:
    with closing(SqlStore(postgres)) as store:
        for use in (lambda: store.read("ring"), lambda: store.holds("ring", None), lambda: store.swap("a", None, b"")):
            with pytest.raises(Unsound) as caught:
                use()
            assert "textkeep migrate" in caught.value.remedy
        assert store.prepare()
        assert store.read("ring") is None
        assert not store.prepare()


def test_many_may_prepare_a_database_at_once(postgres: str) -> None:
    stores = [SqlStore(postgres) for _ in range(6)]
    made: list[bool] = []
    threads = [threading.Thread(target=lambda store=store: made.append(store.prepare())) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert sorted(made) == [False] * 5 + [True]


def test_the_role_of_the_service_may_use_the_table_and_owns_nothing(postgres: str) -> None:
    role = f"textkeep_{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'of-the-service'")
    try:
        url = changed(postgres, username=role, password="of-the-service")
        with closing(SqlStore(postgres)) as owner, closing(SqlStore(url)) as service:
            owner.prepare()
            with pytest.raises(Unsound, match="may not"):
                service.read("ring")
            owner.prepare(role)
            service.swap("ring", None, ONE)
            service.swap("ring", ONE, OTHER)
            assert service.read("ring") == OTHER
            with pytest.raises(Unsound, match="may not"):
                service.prepare()
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM keyring_documents")
    finally:
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")


def test_a_swap_waits_for_the_disk_whatever_the_server_does_by_default(sql_keeping: Keeping) -> None:
    with psycopg.connect(sql_keeping.url, autocommit=True) as connection:
        name = make_url(sql_keeping.url).database
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        connection.execute("CREATE TABLE seen (how TEXT)")
        connection.execute(
            "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER look AFTER INSERT OR UPDATE ON keyring_documents FOR EACH ROW EXECUTE FUNCTION look()"
        )
        store = sql_keeping.store()
        store.swap("ring", None, ONE)
        store.swap("ring", ONE, OTHER)
        assert connection.execute("SELECT how FROM seen").fetchall() == [("on",), ("on",)]


def test_after_a_lost_connection_the_next_call_has_a_new_one(sql_keeping: Keeping) -> None:
    store = sql_keeping.store()
    store.swap("ring", None, ONE)
    with psycopg.connect(sql_keeping.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(Outage) as caught:
        store.swap("ring", ONE, OTHER)
    assert caught.value.retry_after
    assert store.read("ring") == ONE
    store.swap("ring", ONE, OTHER)
    assert store.read("ring") == OTHER


def test_a_row_that_somebody_keeps_locked_is_an_outage(sql_keeping: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_sql, "_OPTIONS", "-c lock_timeout=50")
    store = sql_keeping.store()
    store.swap("ring", None, ONE)
    with psycopg.connect(sql_keeping.url) as connection:
        connection.execute("SELECT * FROM keyring_documents FOR UPDATE")
        with pytest.raises(Outage):
            store.swap("ring", ONE, OTHER)
    store.swap("ring", ONE, OTHER)


def test_a_server_that_falls_silent_is_an_outage_and_not_a_wait(
    sql_keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring_sql._Connection, "answer_seconds", 1)
    store = sql_keeping.store()
    store.swap("ring", None, ONE)
    with psycopg.connect(sql_keeping.url) as connection:
        connection.execute("LOCK TABLE keyring_documents")
        with pytest.raises(Outage):
            store.read("ring")
    assert store.read("ring") == ONE


@contextmanager
def silent_port() -> Iterator[int]:
    """A port where nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_server_that_is_not_there_or_never_answers_is_an_outage(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent_port() as port:
        url = f"{changed(postgres, port=port)}?connect_timeout=2"
        with closing(SqlStore(url)) as store, pytest.raises(Outage):
            store.read("ring")
        with pytest.raises(Outage):
            place_of(url)
    with closing(SqlStore(changed(postgres, port=port))) as store, pytest.raises(Outage):
        store.prepare()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:canary-of-a-password@host:%zz/db",
        "postgresql://u:canary-of-a-password@host:123456/db?sslmode",
        "canary-of-a-password",
    ],
)
def test_what_is_no_address_is_refused_and_not_quoted(address: str) -> None:
    with pytest.raises(Unsound) as caught:
        SqlStore(address)
    assert caught.value.field == "TEXTKEEP_KEYRING_URL"
    assert caught.value.__cause__ is None
    assert "canary" not in f"{caught.value!r}{caught.value.remedy}"


def test_no_error_and_no_store_shows_the_password(postgres: str) -> None:
    url = changed(postgres, password="canary-of-a-password", database="there_is_none")
    with closing(SqlStore(url)) as store:
        with pytest.raises((Outage, Unsound)) as caught:
            store.read("ring")
        shown = f"{store!r}{caught.value!r}{caught.value.__cause__!r}"
    assert "canary" not in shown


def test_one_database_is_known_by_whatever_address(sql_keeping: Keeping) -> None:
    url = make_url(sql_keeping.url)
    other_name = "localhost" if url.host == "127.0.0.1" else url.host
    by_other_name = changed(sql_keeping.url, host=str(other_name)) + "?application_name=another"
    here = place_of(sql_keeping.url)
    assert place_of(by_other_name) == here
    assert here.same_database(place_of(by_other_name))


def test_another_database_of_one_server_is_told_from_another_server(postgres: str) -> None:
    here, beside = place_of(postgres), place_of(changed(postgres, database="postgres"))
    assert here.same_server(beside)
    assert not here.same_database(beside)
    for elsewhere in (
        replace(here, started=here.started + timedelta(microseconds=1)),  # a copy of its data directory
        replace(here, system=(here.system or 0) + 1),
    ):
        assert not here.same_server(elsewhere)
        assert not here.same_database(elsewhere)
    assert here.same_database(replace(here, system=None))  # a user who may not ask
