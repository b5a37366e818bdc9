"""Every table, the same on every engine.

Clear columns hold what design calls clear and nothing else: shelf, handles, slice, tag, version, commitment, size,
counts, roots and times of arrival. Everything a person wrote or is named by lies in a column called `sealed`.
"""

import json
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    select,
    text,
)
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from textkeep.store.columns import Instant, metadata

_SAMPLE: Final = "sample0shelf"

_WAITING: Final = text("leaf_index IS NULL")

CLOSE_MS: Final = 300
"""How long closing a shelf waits for those who write to it, in milliseconds."""

_CATALOGUE: Final = (
    "SELECT relname FROM pg_catalog.pg_class WHERE relname = ANY(CAST(string_to_array(:names, ' ') AS name[]))"
    " AND pg_catalog.pg_table_is_visible(oid) AND relkind IN "
)
_TABLES_THERE: Final = text(f"{_CATALOGUE} ('r', 'p')")
_READABLE_THERE: Final = text(f"{_CATALOGUE} ('r', 'p', 'f', 'v', 'm')")
_TABLES_IN_FILE: Final = text(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN (SELECT value FROM json_each(:names))"
)
_READABLE_IN_FILE: Final = text(
    "SELECT value FROM json_each(:names) WHERE EXISTS (SELECT 1 FROM pragma_table_info(value))"
)

notes = Table(
    "notes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""Small named facts of the archive: its id, the demo mark, the last time seen."""

shelves = Table(
    "shelves",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("commitment", LargeBinary, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("due_at", Instant),
)
"""One row a shelf. `commitment` is its secret's; the row and its tables exist only after the secret is on disk."""

batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("shelf", Text, nullable=False, index=True),
    Column("received_at", Instant, nullable=False),
    Column("producer", LargeBinary, nullable=False),
    Column("read", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("versions", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("quarantined", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("root", LargeBinary),
)
"""What a receipt says once its ids have left. `shelf` is that of the day it came; it goes with it."""

slices = Table(
    "slices",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("batch", Text, nullable=False),
    Column("shelf", Text, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("versions", Integer, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("indexed", Boolean, nullable=False),
    Index("slices_of_shelf", "shelf", "indexed"),
    Index("slices_unindexed", "indexed", "received_at"),
)
"""One row for each (batch, shelf): the unit of claiming, vocabulary, Merkle roots and ledger entries."""

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("shelf", Text, index=True),
    Column("entry", Text, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("leaf_index", BigInteger),
    Column("batch", Text, index=True),
    Column("mark", LargeBinary),
    Index("ledger_entries_leaf", "leaf_index", unique=True),
    Index("ledger_entries_kind", "kind"),
    Index("ledger_entries_waiting", "seq", postgresql_where=_WAITING, sqlite_where=_WAITING),
    sqlite_autoincrement=True,
)
"""Canonical JSON entries written in the transaction they speak of; `leaf_index` is given when one is integrated.

`batch` is the member of that name, so that a receipt finds its entries; `mark` shows the signer that the service wrote
the entry, and says nothing once it is signed. What waits is found by an index of its own, however long the log is. A
row with a negative `leaf_index` was found altered and set aside: the
true entry stands in its place again, in a row of its own.
"""

orgs = Table(
    "orgs",
    metadata,
    Column("handle", LargeBinary, primary_key=True),
    Column("lookup", LargeBinary, nullable=False, unique=True),
    Column("commitment", LargeBinary, nullable=False),
    Column("registered_at", Instant, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Organisations by handle; `lookup` is a keyed token of the name, `sealed` the name itself."""

directory = Table(
    "directory",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("org", LargeBinary, nullable=False, index=True),
    Column("since", Instant, nullable=False),
    Column("until", Instant),
    Column("sealed", LargeBinary, nullable=False),
)
"""Directory records over time; kind, key and members are sealed."""

persons = Table(
    "persons",
    metadata,
    Column("handle", LargeBinary, primary_key=True),
    Column("lookup", LargeBinary, nullable=False, unique=True),
    Column("sealed", LargeBinary, nullable=False),
)
"""People by handle, like organisations."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("person", LargeBinary, nullable=False),
    Column("roles", Text, nullable=False),
    Column("orgs", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("side", Text),
    Column("mark", LargeBinary),
    ForeignKeyConstraint(["person", "side"], ["sides.person", "sides.side"], name="tokens_side_of_person"),
    CheckConstraint(
        "revoked_at IS NOT NULL OR roles NOT LIKE '%approver%' OR COALESCE(side, '') IN ('approves', 'both')",
        name="tokens_approver_side",
    ),
    CheckConstraint(
        "revoked_at IS NOT NULL OR (roles NOT LIKE '%officer%' AND roles NOT LIKE '%counsel%'"
        " AND roles NOT LIKE '%operator%') OR COALESCE(side, '') IN ('asks', 'both')",
        name="tokens_asking_side",
    ),
)
"""Bearer tokens by SHA-256. `roles` is space-separated; `orgs` hex handles likewise, or `*`.

`side` is that of the roles in the table `sides`; a token that was ended has none. `mark` binds every other column
under a key that is not in the database: a row without the right one is refused like a token that is none.
"""

purges = Table(
    "purges",
    metadata,
    Column("shelf", Text, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("attempt", Integer, nullable=False),
    Column("facts", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("closed_at", Instant),
)
"""What a purge has found so far, as JSON; the shelf's `state` says how far it is."""

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("outcome", Text),
)
"""Each purge run, whatever it found, so that a day without one can be told."""

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Instant, nullable=False),
)
"""Who does what only one process may do at a time, and until when unless it is renewed."""

nodes = Table(
    "nodes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("generation", BigInteger, nullable=False),
)
"""The processes of this archive, and the generation of the keyring that each has confirmed."""

offsets = Table(
    "offsets",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),
)
"""For each partition the offset of the first record that is not archived yet."""

surveys = Table(
    "surveys",
    metadata,
    Column("slice", BigInteger, primary_key=True, autoincrement=False),
    Column("shelf", Text, nullable=False, index=True),
    Column("found", Integer, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("orgs", Text, nullable=False),
    Column("at", Instant, nullable=False),
)
"""What was found of a slice when its rows were read ahead of its shelf's purge; `orgs` is JSON, counts by handle."""

reports = Table(
    "reports",
    metadata,
    Column("name", Text, primary_key=True),
    Column("document", LargeBinary, nullable=False),
)
"""The canonical bytes of each report, for processes that do not see the keeper's folder."""

coverage = Table(
    "coverage",
    metadata,
    Column("shelf", Text, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("expected", BigInteger, nullable=False),
    Column("found", BigInteger, nullable=False),
    Column("missing", BigInteger, nullable=False),
    Column("strays", BigInteger, nullable=False),
    Column("altered", BigInteger, nullable=False),
    Column("rebuilt_at", Instant),
)
"""How much of each open shelf the index was last seen to hold."""


@lru_cache(maxsize=2048)
def texts_of(shelf: str) -> Table:
    """The sealed texts of a shelf."""
    name = texts_name(shelf)
    return Table(
        name,
        MetaData(),
        Column("org", LargeBinary, nullable=False),
        Column("tag", LargeBinary, nullable=False),
        Column("version", Integer, nullable=False),
        Column("slice", BigInteger, nullable=False),
        Column("commitment", LargeBinary, nullable=False),
        Column("size", Integer, nullable=False),
        Column("sealed", LargeBinary, nullable=False),
        PrimaryKeyConstraint("tag", "version", "org"),
        Index(f"{name}_slice", "slice"),
    )


@lru_cache(maxsize=2048)
def papers_of(shelf: str) -> Table:
    """What else is sealed on a shelf and goes with it: quarantine, vocabulary segments, activity detail."""
    name = papers_name(shelf)
    return Table(
        name,
        MetaData(),
        Column("id", LargeBinary, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("org", LargeBinary, nullable=False),
        Column("slice", BigInteger),
        Column("commitment", LargeBinary, nullable=False),
        Column("size", Integer, nullable=False),
        Column("made_at", Instant, nullable=False),
        Column("sealed", LargeBinary, nullable=False),
        Index(f"{name}_kind", "kind", "org"),
    )


def texts_name(shelf: str) -> str:
    """The name of the table of a shelf's sealed texts."""
    return f"texts_{_suffix(shelf)}"


def papers_name(shelf: str) -> str:
    """The name of the table of a shelf's papers."""
    return f"papers_{_suffix(shelf)}"


def _suffix(shelf: str) -> str:
    if not shelf.replace("-", "").isalnum() or not shelf.isascii():
        raise ValueError("not a shelf's name")
    return shelf.replace("-", "_")


@lru_cache(maxsize=4)
def _creation(dialect: Dialect) -> tuple[str, ...]:
    """The statements that make a shelf's tables, compiled once: some 430 shelves are opened at the first start."""
    made: list[str] = []
    for table in (texts_of(_SAMPLE), papers_of(_SAMPLE)):
        made.append(str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)))
        made += [str(CreateIndex(each, if_not_exists=True).compile(dialect=dialect)) for each in table.indexes]
    return tuple(made)


def create_shelf_tables(connection: Connection, shelf: str) -> None:
    """Make a shelf's tables where they are not there yet; on PostgreSQL by a function of their owner's."""
    suffix = _suffix(shelf)
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.textkeep_open_shelf(shelf)))
        return
    for statement in _creation(connection.dialect):
        connection.exec_driver_sql(statement.replace(_SAMPLE, suffix))


def close_shelf(connection: Connection, shelf: str) -> None:
    """Keep everybody from writing to a shelf's texts until the caller's transaction ends; PostgreSQL alone needs it.

    Its function refuses for an open shelf. It waits for those who write, and fails like any lock where they take long.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = {CLOSE_MS}"))
        connection.execute(select(func.textkeep_close_shelf(shelf)))


def drop_shelf_tables(connection: Connection, shelf: str) -> None:
    """Drop a shelf's tables where they are there; on PostgreSQL by a function, which refuses for an open shelf."""
    own = (texts_of(shelf), papers_of(shelf))
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.textkeep_drop_shelf(shelf)))
        return
    for table in own:
        connection.execute(DropTable(table, if_exists=True))


def shelf_tables(connection: Connection, shelf: str) -> list[str]:
    """The names of those of a shelf's tables that are there; a view in the place of one counts as it."""
    names = [texts_name(shelf), papers_name(shelf)]
    there = tables_there(connection, names, views=True)
    return [name for name in names if name in there]


def tables_there(connection: Connection, names: Collection[str], *, views: bool = False) -> set[str]:
    """Those of these names that a table has, or with `views` what can be read like one, where the connection looks.

    One statement that looks them up: an inspector tells of every table, and of these there are some 900.
    """
    if connection.dialect.name == "postgresql":
        statement, told = _READABLE_THERE if views else _TABLES_THERE, " ".join(names)
    else:
        statement, told = _READABLE_IN_FILE if views else _TABLES_IN_FILE, json.dumps(list(names))
    return set(connection.scalars(statement, {"names": told}))
