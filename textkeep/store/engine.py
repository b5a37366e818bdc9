"""One engine, one `transaction()`.

SQLite is opened with `synchronous=FULL` in WAL mode: what a transaction committed is on disk when it returns. There is
one writing connection, because several hit the WAL-reset bug before SQLite 3.51.3, and because two writers would only
wait for each other. Readers have connections of their own and see a snapshot.

On PostgreSQL many transactions are open at once, in this process and in others (READ COMMITTED); what must not happen
at once is kept apart by row locks. Readers see a snapshot (REPEATABLE READ, READ ONLY).
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Final, Literal

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as NoneFree
from sqlalchemy.pool import QueuePool, StaticPool

from textkeep.errors import Outage, TextkeepError, Unsound
from textkeep.store import postgres, sqlite
from textkeep.store.marks import OPTION, Marks
from textkeep.store.sqlite import PRAGMAS, WAIT_MS

READERS: Final = 16
"""How many reading connections there may be at once."""

STATEMENTS: Final = 2_048
"""How many compiled statements are kept, about 27 KB each: a few for each of some 430 shelves.

SQLAlchemy keeps up to half as many more before those used longest ago go: 83 MB of a process, no more.
"""

RETRY_AFTER: Final = 5
"""Seconds after which a caller may try again when the database does not answer."""

AGAIN_AFTER: Final = 1
"""Seconds after which a caller may try again when somebody else was in the way."""

SETTLE_MS: Final = 500
"""How long `settle` waits for a reader in the way, in milliseconds; nobody writes in the meantime."""

_PRAGMAS: Final = (*PRAGMAS, "PRAGMA foreign_keys=ON", "PRAGMA secure_delete=ON")


class Vanished(Outage):
    """A shelf's table was dropped while it was being read; asked again, the shelf is told to be purged."""


class Store:
    """The database: everything Textkeep keeps but the keyring and the index."""

    def __init__(self, writer: Engine, reader: Engine) -> None:
        self._writer = writer
        self._reader = reader
        self.dialect: Literal["sqlite", "postgresql"] = (
            "postgresql" if writer.dialect.name == "postgresql" else "sqlite"
        )
        self._one_writer: AbstractContextManager[object] = nullcontext() if self.shared else threading.Lock()
        self._busy = threading.local()

    @classmethod
    def open(cls, url: str) -> "Store":
        """The store at a SQLAlchemy URL. Raises Unsound for an engine that this version does not have."""
        if url == "sqlite://":
            engine = _sqlite(url, memory=True)
            return cls(engine, engine)
        named = _parsed(url)
        if named is not None and _is_file(named):
            return cls(_sqlite(url, pool=1), _sqlite(url, pool=READERS, reading=True))
        if named is not None and named.drivername == "postgresql" and named.database:
            engine = postgres.engine(named, **_quiet())
            return cls(engine, engine.execution_options(**postgres.SNAPSHOT))
        raise Unsound(
            "the database's address names no engine that this version has",
            field="TEXTKEEP_DATABASE_URL",
            remedy="Leave it out, or name a file (sqlite:////path/textkeep.db) or a server"
            " (postgresql://user@host/database).",
        )

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it at the same time."""
        return self.dialect == "postgresql"

    def mark_with(self, marks: Marks) -> None:
        """Have its connections carry what marks rows (`marks.py`). For whoever opened it, before anybody uses it."""
        alone = self._reader is self._writer
        self._writer = self._writer.execution_options(**{OPTION: marks})
        self._reader = self._writer if alone else self._reader.execution_options(**{OPTION: marks})

    def clock(self) -> datetime | None:
        """What the database's own clock says; None where it has none but the host's."""
        if not self.shared:
            return None
        with self.reading() as connection:
            return postgres.now(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The only way to write: committed and on disk when it returns, undone when it raises.

        On SQLite one at a time; other threads wait. Raises Outage where the database does not take it, and
        RuntimeError where the thread is inside another transaction or reading already.
        """
        with self._alone(), self._one_writer, _translated(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A snapshot to read from; writes are refused. Raises like `transaction`."""
        if self._reader is self._writer:  # in memory there is one connection
            with self.transaction() as connection:
                raw = _driver(connection)
                raw.execute("PRAGMA query_only=ON")
                try:
                    yield connection
                finally:
                    raw.execute("PRAGMA query_only=OFF")
            return
        with self._alone(), _translated(), self._reader.begin() as connection:
            yield connection

    def settle(self) -> bool:
        """Write everything committed into the main file and empty the write-ahead log; True where it is empty now.

        The log keeps pages of dropped tables until then. A reader in the way only postpones it to the next call.
        PostgreSQL recycles its log by itself, and copies of it hold nothing that opens; there is nothing to do.
        """
        if self.shared:
            with self._alone():
                return True
        with self._alone(), self._one_writer, _translated(), self._writer.connect() as connection:
            raw = connection.connection.driver_connection
            if not isinstance(raw, sqlite3.Connection):
                return True
            raw.execute(f"PRAGMA busy_timeout={SETTLE_MS}")
            try:
                busy: int = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                raw.execute(f"PRAGMA busy_timeout={WAIT_MS}")
            return not busy

    def close(self) -> None:
        """Give every connection back to the system."""
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if getattr(self._busy, "now", False):
            raise RuntimeError("this thread is inside a transaction or reading already")
        self._busy.now = True
        try:
            yield
        finally:
            self._busy.now = False


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, sqlite3.Error, psycopg.Error) as exc:
        problem = _problem(exc.orig if isinstance(exc, DBAPIError) else exc)
        if problem is None:
            _hush(exc)
            raise
        raise problem from exc
    except NoneFree as exc:
        raise Outage("every connection to the database is in use", retry_after=RETRY_AFTER) from exc


def _problem(exc: BaseException | None) -> TextkeepError | None:
    """What an error of the database means to the house; None where the house itself is at fault."""
    cause = postgres.cause_of(exc) if isinstance(exc, psycopg.Error) else sqlite.cause_of(exc)
    if cause == "outage":
        return Outage("the database does not answer", retry_after=RETRY_AFTER)
    if cause == "again":
        return Outage("the database was busy with something that was in the way", retry_after=AGAIN_AFTER)
    if cause == "gone":
        return Vanished("a day was purged in this very moment", retry_after=AGAIN_AFTER)
    if cause == "damage":
        return Unsound(
            "the database is damaged, or is none",
            field="TEXTKEEP_DATABASE_URL",
            remedy="Stop the archive and restore the database from its last backup; the keyring stays as it is.",
        )
    return None


def _hush(exc: Exception) -> None:
    """Take the values that PostgreSQL quotes ("Key (name)=(...)") out of what an error says."""
    driver = exc.orig if isinstance(exc, DBAPIError) else exc
    if isinstance(driver, psycopg.Error):
        driver.args = (f"{type(driver).__name__} ({driver.sqlstate})",)
        if exc is not driver:
            exc.args = driver.args


def _parsed(url: str) -> URL | None:
    try:
        return make_url(url)
    except ArgumentError:
        return None


def _is_file(named: URL) -> bool:
    """Whether a URL names a file; what SQLite would take for a memory of each connection's own does not."""
    return named.drivername == "sqlite" and not named.query and named.database not in (None, "", ":memory:")


def _sqlite(url: str, *, memory: bool = False, pool: int = 1, reading: bool = False) -> Engine:
    shared = {"check_same_thread": False, "isolation_level": None, "cached_statements": 2048}
    if memory:
        engine = create_engine(url, poolclass=StaticPool, connect_args=shared, **_quiet())
    else:
        engine = create_engine(
            url, poolclass=QueuePool, pool_size=pool, max_overflow=0, connect_args=shared, **_quiet()
        )

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        if reading:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        _driver(connection).execute("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _driver(connection: Connection) -> sqlite3.Connection:
    """SQLite itself: what each transaction says is not worth what SQLAlchemy takes for a statement."""
    raw = connection.connection.driver_connection
    if not isinstance(raw, sqlite3.Connection):
        raise TypeError("that is no connection to SQLite")
    return raw


def _quiet() -> dict[str, int | bool]:
    return {"hide_parameters": True, "query_cache_size": STATEMENTS}
