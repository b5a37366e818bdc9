"""What the store promises, on every engine it runs on."""

import os
import resource
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from textkeep.errors import Outage, Unsound
from textkeep.store import engine as engine_of
from textkeep.store.engine import Store
from textkeep.store.schema import migrate
from textkeep.store.tables import notes


def put(connection: Connection, name: str, value: str = "there") -> None:
    connection.execute(insert(notes).values(name=name, value=value))


def stored(store: Store) -> dict[str, str]:
    with store.reading() as connection:
        return {row.name: row.value for row in connection.execute(select(notes))}


def in_thread(work: Callable[[], object]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:  # noqa: BLE001 - handed to the test
            failed.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a migrated store that nobody has open."""
    opened = Store.open(f"sqlite:///{tmp_path / 'of-its-own.db'}")
    migrate(opened)
    opened.close()
    return tmp_path / "of-its-own.db"


def test_compiled_statements_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_of, "STATEMENTS", 10)
    bounded = Store.open("sqlite://")
    with bounded.reading() as connection:
        for number in range(100):
            connection.execute(select(literal_column(str(number))))
        kept = connection.engine._compiled_cache
    bounded.close()
    assert kept is not None
    assert 10 <= len(kept) <= 15


def test_what_a_transaction_wrote_is_there_when_it_has_returned(store: Store) -> None:
    with store.transaction() as connection:
        put(connection, "one")
    assert stored(store) == {"one": "there"}


def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.transaction() as connection:
            put(connection, "one")
            put(connection, "two")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert stored(store) == {}
    with store.transaction() as connection:
        put(connection, "one")
    assert stored(store) == {"one": "there"}


def test_nobody_ever_sees_what_is_rolled_back(store: Store) -> None:
    seen: list[dict[str, str]] = []
    reader = threading.Thread(target=lambda: seen.append(stored(store)))
    with suppress(KeyError), store.transaction() as connection:
        put(connection, "one")
        reader.start()
        raise KeyError
    reader.join()
    assert seen == [{}]


def test_a_reader_does_not_wait_for_a_writer_and_sees_what_was_committed(path: Path) -> None:
    store = Store.open(f"sqlite:///{path}")
    with store.transaction() as connection:
        put(connection, "one")
        in_thread(lambda: pytest.fail("seen too early") if stored(store) else None)
    assert stored(store) == {"one": "there"}
    store.close()


def test_a_reader_keeps_its_snapshot(path: Path) -> None:
    store = Store.open(f"sqlite:///{path}")

    def write() -> None:
        with store.transaction() as connection:
            put(connection, "later")

    with store.reading() as connection:
        assert connection.execute(select(notes)).all() == []
        in_thread(write)
        assert connection.execute(select(notes)).all() == []
    assert stored(store) == {"later": "there"}
    store.close()


def test_reading_refuses_to_write(store: Store) -> None:
    with pytest.raises(Outage), store.reading() as connection:
        put(connection, "one")
    with pytest.raises(Outage), store.reading() as connection:
        connection.exec_driver_sql("DROP TABLE notes")
    assert stored(store) == {}
    with store.transaction() as connection:
        put(connection, "after")
    assert stored(store) == {"after": "there"}


@pytest.mark.parametrize("outer", ["transaction", "reading"])
@pytest.mark.parametrize("inner", ["transaction", "reading", "settle"])
def test_one_inside_another_is_refused_and_breaks_nothing(store: Store, outer: str, inner: str) -> None:
    def go_inside() -> None:
        if inner == "settle":
            store.settle()
        else:
            with getattr(store, inner)():
                pytest.fail("one inside another")

    with getattr(store, outer)(), pytest.raises(RuntimeError, match="inside a transaction or reading already"):
        go_inside()
    with store.transaction() as connection:
        put(connection, "one")
    assert stored(store) == {"one": "there"}


@pytest.mark.parametrize("store", ["sqlite", "memory"], indirect=True)
def test_transactions_of_many_threads_come_one_after_another(store: Store) -> None:
    with store.transaction() as connection:
        put(connection, "count", "0")

    def count() -> None:
        for _ in range(25):
            with store.transaction() as connection:
                now = int(connection.execute(select(notes.c.value)).scalar_one())
                connection.execute(update(notes).values(value=str(now + 1)))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(store) == {"count": "200"}


@pytest.mark.parametrize("attempt", range(5))
def test_a_process_killed_right_after_the_return_has_lost_nothing(path: Path, attempt: int) -> None:
    child = os.fork()
    if child == 0:
        try:
            store = Store.open(f"sqlite:///{path}")
            for number in range(attempt + 1):
                with store.transaction() as connection:
                    put(connection, f"{number}", "x" * 5000 * attempt)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    store = Store.open(f"sqlite:///{path}")
    assert set(stored(store)) == {f"{number}" for number in range(attempt + 1)}
    store.close()


def test_a_process_killed_inside_a_transaction_leaves_nothing_of_it(path: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            with Store.open(f"sqlite:///{path}").transaction() as connection:
                connection.exec_driver_sql("PRAGMA cache_size=1")  # spills into the log before the commit
                for number in range(200):
                    put(connection, f"{number}", "x" * 5000)
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    store = Store.open(f"sqlite:///{path}")
    assert stored(store) == {}
    store.close()


def test_a_file_is_written_with_a_synced_log_and_leaves_no_temporary_files(path: Path) -> None:
    store = Store.open(f"sqlite:///{path}")
    asked = ("journal_mode", "synchronous", "temp_store", "foreign_keys")
    with store.transaction() as connection:
        told = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in asked]
    assert told == ["wal", 2, 2, 1]
    store.close()


def test_settling_empties_the_write_ahead_log(path: Path) -> None:
    store = Store.open(f"sqlite:///{path}")
    log = path.with_name(f"{path.name}-wal")
    with store.transaction() as connection:
        put(connection, "one", "canary-of-sixteen-bytes")
    assert b"canary-of-sixteen-bytes" in log.read_bytes()
    assert store.settle() is True
    assert log.stat().st_size == 0
    assert stored(store) == {"one": "canary-of-sixteen-bytes"}
    store.close()


def test_a_reader_in_the_way_postpones_settling(path: Path) -> None:
    store = Store.open(f"sqlite:///{path}")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM notes").fetchall()
        with store.transaction() as connection:
            put(connection, "one")
        assert store.settle() is False
    assert store.settle() is True
    store.close()


def test_settling_a_store_in_memory_does_nothing(store: Store) -> None:
    assert store.settle() is True


@pytest.mark.parametrize("store", ["sqlite", "memory"], indirect=True)
def test_a_full_database_is_an_outage_and_takes_nothing_of_the_transaction(store: Store) -> None:
    with store.transaction() as connection:
        put(connection, "before")
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 1}")

    def put_too_much() -> None:
        with store.transaction() as connection:
            put(connection, "small")
            put(connection, "large", "x" * 1_000_000)

    with pytest.raises(Outage) as caught:
        put_too_much()
    assert caught.value.retry_after
    assert "x" * 100 not in str(caught.value)
    assert stored(store) == {"before": "there"}
    with store.transaction() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        put(connection, "large", "x" * 1_000_000)
    assert set(stored(store)) == {"before", "large"}


def test_a_disk_that_is_full_is_an_outage_for_writing_and_for_settling(path: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            _run_out_of_disk(path)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 0
    store = Store.open(f"sqlite:///{path}")
    assert set(stored(store)) == {"before", "after"}
    store.close()


def _run_out_of_disk(path: Path) -> None:
    """No file may grow beyond the size the database has; in a process of its own, because it holds for all of one."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = Store.open(f"sqlite:///{path}")
    with store.transaction() as connection:
        put(connection, "before", "x" * 100_000)
    full = (path.stat().st_size, resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_FSIZE, full)
    with pytest.raises(Outage), store.transaction() as connection:
        put(connection, "never", "x" * 1_000_000)
    with pytest.raises(Outage):
        store.settle()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with store.transaction() as connection:
        put(connection, "after")


def test_a_database_that_another_process_holds_is_an_outage(path: Path) -> None:
    store = Store.open(f"sqlite:///{path}")
    with store.transaction() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Outage), store.transaction():
            pytest.fail("two at once")
        assert stored(store) == {}
    with store.transaction() as connection:
        put(connection, "one")
    store.close()


@pytest.mark.parametrize("store", ["sqlite", "memory"], indirect=True)
def test_a_read_only_database_is_an_outage(store: Store) -> None:
    with store.transaction() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(Outage), store.transaction() as connection:
        put(connection, "one")


def test_a_place_that_cannot_be_opened_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    store = Store.open(f"sqlite:///{tmp_path / 'folder.db'}")
    with pytest.raises(Outage), store.reading():
        pytest.fail("a folder is no database")
    store.close()


def test_no_free_connection_is_an_outage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textkeep.store.engine.READERS", 1)
    store = Store.open(f"sqlite:///{path}")
    monkeypatch.setattr(store._reader.pool, "_timeout", 0)
    with store.reading(), pytest.raises(Outage):
        in_thread(lambda: stored(store))
    assert stored(store) == {}
    store.close()


@pytest.mark.parametrize("where", [0, 100])
def test_a_damaged_database_is_named_and_not_called_an_outage(path: Path, where: int) -> None:
    with path.open("r+b") as file:
        file.seek(where)
        file.write(b"\xff" * 64)
    store = Store.open(f"sqlite:///{path}")
    with pytest.raises(Unsound, match="damaged") as caught:
        stored(store)
    assert "restore" in caught.value.remedy
    store.close()


def test_a_fault_of_the_house_is_not_called_an_outage(store: Store) -> None:
    fault = pytest.raises((OperationalError, ProgrammingError), match=r"no such table|UndefinedTable")
    with fault, store.reading() as connection:
        connection.exec_driver_sql("SELECT * FROM nowhere")


def test_an_error_of_the_database_quotes_no_value(store: Store) -> None:
    with store.transaction() as connection:
        put(connection, "canary-name", "canary-value")
    with pytest.raises(IntegrityError) as caught, store.transaction() as connection:
        put(connection, "canary-name", "canary-value")
    assert "canary" not in f"{caught.value}{caught.value!r}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h",
        "postgresql+asyncpg://h/d",
        "mysql://h/d",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:////f?mode=ro",
        "",
        "no url",
        "sqlite+pysqlite://",
    ],
)
def test_an_engine_that_this_version_does_not_have_is_refused(url: str) -> None:
    with pytest.raises(Unsound) as caught:
        Store.open(url)
    assert caught.value.field == "TEXTKEEP_DATABASE_URL"
