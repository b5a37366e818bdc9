"""What PostgreSQL has of its own: how it is connected to, what its errors mean, and how long it may be silent.

A connection whose server, or a machine on the way, stops answering would wait for ever: TCP notices a peer that is
gone, not one that is stalled. So each wait for an answer has an end (`ANSWER_SECONDS`), after which the connection is
cut and the caller told of an outage.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal

import psycopg
from psycopg.errors import _WaitTimeout as _Silent
from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    cast,
    create_engine,
    event,
    extract,
    func,
    text,
)
from sqlalchemy.pool import QueuePool

from textkeep.errors import Unsound
from textkeep.store.columns import ticks_of

CONNECT_SECONDS: Final = 5
"""How long making a connection may take."""

ANSWER_SECONDS: Final = 45
"""How long one answer of the server may take before the connection is cut."""

STATEMENT_MS: Final = 40_000
"""How long the server works on one statement, in milliseconds: less, so that it says so itself where it can."""

UNHEARD_MS: Final = 45_000
"""How long what was sent may remain without TCP's acknowledgement, in milliseconds."""

LOCK_MS: Final = 10_000
"""How long a statement waits for a lock, in milliseconds."""

IDLE_MS: Final = 120_000
"""How long a transaction may be idle (the follower asks the index meanwhile), in milliseconds."""

CONNECTIONS: Final = 24
"""Connections of one process, at most."""

INCOMING: Final = "incoming"
"""The staging table of each connection: what is copied in waits there to be inserted, and is gone at the commit."""

_OPTIONS: Final = (
    f"-c lock_timeout={LOCK_MS} -c statement_timeout={STATEMENT_MS}"
    f" -c idle_in_transaction_session_timeout={IDLE_MS} -c synchronous_commit=on -c timezone=UTC"
    " -c client_min_messages=warning -c plan_cache_mode=force_generic_plan -c jit=off"
)

_STAGING: Final = (
    f"CREATE TEMPORARY TABLE IF NOT EXISTS {INCOMING} (shelf TEXT NOT NULL, org BYTEA NOT NULL, tag BYTEA NOT NULL,"
    " version INTEGER NOT NULL, slice BIGINT NOT NULL, commitment BYTEA NOT NULL, size INTEGER NOT NULL,"
    " sealed BYTEA NOT NULL) ON COMMIT DELETE ROWS"
)

SNAPSHOT: Final[dict[str, Any]] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""How readers begin."""

_REFUSALS: Final = {
    "password authentication failed": "the server does not take this user and password",
    "no password supplied": "the server asks for a password",
    "no pg_hba.conf entry": "the server lets this user in from nowhere on this network",
    "does not exist": "the server has no such database, or no such user",
    "certificate verify failed": "the server's certificate is not one that is trusted",
    "invalid sslmode value": "it asks for TLS in a way that there is not",
    "server does not support SSL": "it asks for TLS, which the server does not have",
}
"""Signs, in what the client says of an attempt to connect, that waiting does not help. It gives no SQLSTATE then."""

Cause = Literal["outage", "again", "gone", "damage", "fault"]

_OUTAGES: Final = frozenset({"08", "53", "57", "58"})
"""Classes of SQLSTATE (PostgreSQL, appendix A): connection, resources, operator, system."""

_STATES: Final[dict[str, Cause]] = {
    "55P03": "again",  # lock_not_available
    "40001": "again",  # serialization_failure
    "40P01": "again",  # deadlock_detected
    "25006": "outage",  # read_only_sql_transaction: a standby
    "25P03": "outage",  # idle_in_transaction_session_timeout
    "25P04": "outage",  # transaction_timeout
    "XX001": "damage",  # data_corrupted
    "XX002": "damage",  # index_corrupted
}


_UNDEFINED_TABLE: Final = "42P01"
_OF_A_SHELF: Final = re.compile(r'"(texts|papers)_[0-9a-z_]+"')


def cause_of(exc: BaseException | None) -> Cause:
    """What an error of PostgreSQL means, by its SQLSTATE.

    `outage`: wait. `again`: somebody else was in the way for a moment. `gone`: a shelf's table is. `damage`: the
    database says that its files are not what they were. `fault`: the house itself is wrong.
    """
    state = getattr(exc, "sqlstate", None)
    if state is None:
        return "outage" if isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError) else "fault"
    if state == _UNDEFINED_TABLE and _OF_A_SHELF.search(str(exc)):
        return "gone"
    known = _STATES.get(state)
    if known is not None:
        return known
    return "outage" if state[:2] in _OUTAGES else "fault"


class PromptConnection(psycopg.Connection[Any]):
    """A connection that does not wait for ever for an answer."""

    answer_seconds: ClassVar[int] = ANSWER_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """What `gen` gives. Raises OperationalError, and the connection is cut, where the server stays silent."""
        try:
            return super().wait(gen, interval=interval, timeout=timeout or self.answer_seconds)
        except _Silent:
            self.pgconn.finish()
            raise psycopg.OperationalError("the server did not answer in time") from None


def _not_an_address(why: str) -> Unsound:
    return Unsound(
        f"the database cannot be used at its address: {why}",
        field="TEXTKEEP_DATABASE_URL",
        remedy="Set the address right: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full.",
    )


def engine(url: URL, **options: Any) -> Engine:
    """An engine whose connections answer, or fail, in time; durable when a commit returns."""
    made = create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=QueuePool,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        pool_use_lifo=True,
        **options,
    )

    @event.listens_for(made, "do_connect")
    def _connect(_dialect: object, _record: object, args: list[Any], given: dict[str, Any]) -> PromptConnection:
        told = {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "textkeep",
            **given,
            # What the address asks for comes first: the last word about durability and patience is ours.
            "options": f"{given.get('options', '')} {_OPTIONS}".strip(),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": UNHEARD_MS,
            "prepare_threshold": None,
        }
        try:
            return PromptConnection.connect(*args, **told)
        except psycopg.ProgrammingError:
            raise _not_an_address("it names an option that PostgreSQL's client does not have") from None
        except psycopg.OperationalError as exc:
            refused = next((words for sign, words in _REFUSALS.items() if sign in str(exc)), None)
            if refused is None:
                raise
            raise _not_an_address(refused) from None

    @event.listens_for(made, "connect")
    def _connected(connection: psycopg.Connection[Any], _record: object) -> None:
        connection.execute(_STAGING)
        connection.commit()

    return made


def now(connection: Connection) -> datetime:
    """What the server's clock says right now."""
    told: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return told.astimezone(UTC)


def from_now(seconds: float) -> ColumnElement[int]:
    """So many seconds after what the server's clock says then, as moments are stored: told by the server itself."""
    epoch = extract("epoch", func.clock_timestamp())
    return cast(epoch * 1_000_000, BigInteger) + ticks_of(seconds)


def grant(connection: Connection, role: str, rights: Mapping[str, str]) -> None:
    """Give a role what the service needs, and no more: `rights` by table, and the making and dropping of shelves.

    The role owns nothing. Raises Unsound where there is no such role, or where it could help itself.
    """
    found = connection.execute(
        text("SELECT rolsuper OR pg_has_role(:role, current_user, 'MEMBER') FROM pg_roles WHERE rolname = :role"),
        {"role": role},
    ).scalar_one_or_none()
    if found is None:
        raise Unsound("the server has no such role", field="--service-role", remedy="Create it first, with LOGIN.")
    if found:
        raise Unsound(
            "that role is, or may become, the tables' owner: it could delete what must stay",
            field="--service-role",
            remedy="Name a role of its own that owns nothing.",
        )
    quoted = connection.dialect.identifier_preparer.quote(role)
    schema = connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO {quoted}"))
    for table, allowed in rights.items():
        connection.execute(text(f"GRANT {allowed} ON {table} TO {quoted}"))
    connection.execute(text(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {quoted}"))
    connection.execute(
        text(
            "GRANT EXECUTE ON FUNCTION textkeep_open_shelf(TEXT), textkeep_close_shelf(TEXT), textkeep_drop_shelf(TEXT)"
            f" TO {quoted}"
        )
    )
    connection.execute(text("INSERT INTO grantees (role) VALUES (:role) ON CONFLICT DO NOTHING"), {"role": role})
    # Those that are open already get their rights where they are opened again.
    for name in connection.scalars(
        text("SELECT name FROM shelves WHERE state NOT IN ('dropped','verified','reported')")
    ):
        connection.execute(text("SELECT textkeep_open_shelf(:name)"), {"name": name})


def alone(connection: Connection) -> None:
    """Wait until no other transaction is migrating; until the caller's ends, none will."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('textkeep_migrate', 0))"))
