"""The keyring's documents in a PostgreSQL database of their own, for many processes on many machines."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, ClassVar, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from textkeep.archive.confirmed import Changed
from textkeep.errors import Outage, TextkeepError, Unsound
from textkeep.store.postgres import PromptConnection, cause_of

CONNECT_SECONDS: Final = 5
"""How long making a connection may take, for each host of the address."""

ANSWER_SECONDS: Final = 10
"""How long one answer may take before the connection is cut: well under the lease, to leave time to try again."""

STATEMENT_MS: Final = 8_000
"""How long the server works on one statement, and waits for a lock, in milliseconds."""

RETRY_AFTER: Final = 5
"""Seconds after which a caller may try again."""

TABLE: Final = "keyring_documents"
RIGHTS: Final = "SELECT, INSERT, UPDATE"
SETTING: Final = "TEXTKEEP_KEYRING_URL"

_OPTIONS: Final = (
    f"-c statement_timeout={STATEMENT_MS} -c lock_timeout={STATEMENT_MS}"
    f" -c idle_in_transaction_session_timeout={2 * STATEMENT_MS} -c client_min_messages=warning"
)
_READ: Final = "SELECT body FROM keyring_documents WHERE name = %s"
_DIGEST: Final = "SELECT sha256(body) FROM keyring_documents WHERE name = %s"
_ALL: Final = "SELECT name, body FROM keyring_documents WHERE starts_with(name, %s)"
_INSERT: Final = "INSERT INTO keyring_documents (name, body) VALUES (%s, %b) ON CONFLICT DO NOTHING"
_UPDATE: Final = "UPDATE keyring_documents SET body = %b WHERE name = %s AND sha256(body) = %b"


class _Connection(PromptConnection):
    answer_seconds: ClassVar[int] = ANSWER_SECONDS


class SqlStore:
    """`KeyringStore` over a table of documents (name, body); one connection, made anew when it was lost.

    A document is swapped by one statement in one transaction, which is on the server's disk (and on that of every
    standby the server waits for) when it commits. An asynchronous standby that is promoted may lack the last rings:
    then the archive refuses to work with it.

    PostgreSQL keeps earlier versions of a row until it is vacuumed, and in its write-ahead log for longer. They are
    earlier rings. Each is sealed under a root that is forgotten with the next secret that is destroyed, so none of them
    opens from then on, and nothing has to be cleaned away here.
    """

    shared = True

    def __init__(self, url: str) -> None:
        """Nothing is connected to yet. Raises Unsound for what is no address of a database."""
        self._connecting = _parsed(url)
        self._connection: _Connection | None = None
        self._using = threading.Lock()

    def prepare(self, service_role: str | None = None) -> bool:
        """Make the table where it is not there yet; `service_role` may use it and owns nothing. True where it was made.

        Raises Unsound where this user may not, or where there is no such role.
        """
        with self._connected() as connection, connection.transaction():
            # CREATE TABLE IF NOT EXISTS races with itself.
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('textkeep_keyring', 0))")
            made = _one(connection, "SELECT to_regclass('keyring_documents') IS NULL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS keyring_documents (name TEXT PRIMARY KEY, body BYTEA NOT NULL)"
            )
            # What is sealed does not compress.
            connection.execute("ALTER TABLE keyring_documents ALTER COLUMN body SET STORAGE EXTERNAL")
            if service_role is not None:
                role = sql.Identifier(service_role)
                schema = sql.Identifier(str(_one(connection, "SELECT current_schema()")))
                connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role))
                connection.execute(sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(RIGHTS), sql.Identifier(TABLE), role))
        return bool(made)

    def read(self, name: str) -> bytes | None:
        """A document, or None. Raises Outage, and Unsound where the table is not there."""
        with self._connected() as connection:
            body = _one(connection, _READ, name)
        return None if body is None else bytes(body)

    def holds(self, name: str, body: bytes | None) -> bool:
        """Whether a document is exactly this, or is not there for None; 32 bytes come over the wire."""
        with self._connected() as connection:
            digest = _one(connection, _DIGEST, name)
        return digest is None if body is None else digest == sha256(body).digest()

    def swap(self, name: str, was: bytes | None, now: bytes) -> None:
        """Put `now` in the place of `was`. Raises Changed where it is not `was` any more.

        After an Outage it may have been written or not: whoever reads it next sees which.
        """
        with self._connected() as connection, connection.transaction():
            connection.execute("SET LOCAL synchronous_commit = on")
            if was is None:
                written = connection.execute(_INSERT, (name, now)).rowcount
            else:
                written = connection.execute(_UPDATE, (now, name, sha256(was).digest())).rowcount
        if written != 1:
            raise Changed("the keyring was changed by somebody else")

    def all(self, prefix: str) -> dict[str, bytes]:
        """The documents whose names begin so."""
        with self._connected() as connection:
            found = connection.cursor().execute(_ALL, (prefix,)).fetchall()
        return {str(name): bytes(body) for name, body in sorted(found)}

    def place(self) -> "Place":
        """Where the documents lie, as the server tells."""
        with self._connected() as connection:
            return _place(connection)

    def close(self) -> None:
        """Give the connection back."""
        with self._using:
            self._cut()

    @contextmanager
    def _connected(self) -> Iterator[_Connection]:
        """The connection, for one thread at a time; after any error the next caller gets a new one."""
        with self._using, _translated():
            try:
                if self._connection is None:
                    self._connection = _connect(self._connecting)
                yield self._connection
            except BaseException:
                self._cut()
                raise

    def _cut(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


@dataclass(frozen=True, slots=True)
class Place:
    """A database as its server tells of it, whatever the address was that led there.

    `system` identifies the data directory since it was made, also that of a copy (None where this user may not ask);
    `started` is when the server was started, to the microsecond, which no two servers have in common.
    """

    system: int | None
    started: datetime
    database: str

    def same_server(self, other: "Place") -> bool:
        """Whether one base backup, and one write-ahead log, holds both."""
        told_apart = None not in (self.system, other.system) and self.system != other.system
        return self.started == other.started and not told_apart

    def same_database(self, other: "Place") -> bool:
        """Whether one dump holds both."""
        return self.same_server(other) and self.database == other.database


def place_of(url: str) -> Place:
    """Where an address leads. Raises Outage where nobody answers there."""
    store = SqlStore(url)
    try:
        return store.place()
    finally:
        store.close()


def _place(connection: _Connection) -> Place:
    may_ask = _one(connection, "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')")
    system = _one(connection, "SELECT system_identifier FROM pg_control_system()") if may_ask else None
    started = _one(connection, "SELECT pg_postmaster_start_time()")
    return Place(system, started, _one(connection, "SELECT current_database()"))


def _parsed(url: str) -> dict[str, Any]:
    """What an address says. It may hold a password, so nothing of it is quoted."""
    try:
        parsed = conninfo_to_dict(url)
    except psycopg.Error:
        raise Unsound(
            "the keyring's address is not one of a PostgreSQL database",
            field=SETTING,
            remedy="Write postgresql://user:password@host/database, with special characters as %XX.",
        ) from None
    options = f"{_OPTIONS} {parsed.pop('options', '')}".strip()
    usual = {"connect_timeout": CONNECT_SECONDS, "application_name": "textkeep keyring"}
    silence = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2}
    return {**usual, **silence, "tcp_user_timeout": ANSWER_SECONDS * 1000, **parsed, "options": options}


def _connect(parsed: dict[str, Any]) -> _Connection:
    return _Connection.connect(**parsed, autocommit=True, prepare_threshold=None)


def _one(connection: _Connection, statement: str, *values: Any) -> Any:
    row = connection.cursor(binary=True).execute(statement, values).fetchone()
    return None if row is None else row[0]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as exc:
        raise _problem(exc) from exc


def _problem(exc: psycopg.Error) -> TextkeepError:
    """What an error of PostgreSQL means to the keyring."""
    if exc.sqlstate in ("42P01", "3F000"):
        return Unsound(
            "the keyring's database has no table for it yet",
            field=SETTING,
            remedy="Run `textkeep migrate` as the owner of the keyring's database, then start again.",
        )
    if exc.sqlstate in ("42501", "42704"):
        return Unsound(
            "this user may not do that in the keyring's database",
            field=SETTING,
            remedy="Run `textkeep migrate` as its owner, with the service's role in --service-role.",
        )
    if cause_of(exc) in ("outage", "again"):
        return Outage("the keyring's database does not answer", retry_after=RETRY_AFTER)
    return Unsound(
        "the keyring's database is damaged, or is none of Textkeep's",
        field=SETTING,
        remedy="Stop the archive and restore the keyring's database from its own newest backup.",
    )
