"""An archive on servers of a test's own, and what is compared: the texts its vault has, and those its index has."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import psycopg
import pytest
from psycopg import sql

from tests.engines.needed import missing
from tests.engines.postgres import PostgresServer
from tests.engines.process import EngineFailed
from tests.service.many import Process, Shared
from tests.whole import living
from textkeep.archive.text import TextId
from textkeep.errors import Outage
from textkeep.search.drivers.opensearch import OpenSearchIndex
from textkeep.search.index import NoIndex
from textkeep.service import wiring
from textkeep.service.parts import Part
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive

PATIENCE: Final = 180.0
"""Seconds after which something that must come has not, on a busy machine."""

LOOK: Final = 0.2

API: Final[tuple[Part, ...]] = ("api",)
ROLE: Final = "textkeep_service"

Sets = dict[str, set[str]]
"""The ids of texts by their shelf; no shelf without one."""


class _Engine(Protocol):
    def start(self) -> None: ...

    def end(self) -> None: ...


Made = TypeVar("Made", bound=_Engine)


@contextmanager
def private(request: pytest.FixtureRequest, kind: Callable[..., Made], *given: Any, **options: Any) -> Iterator[Made]:
    """An engine of a test's own, started, and ended with the block; a skip aloud where this machine cannot have it."""
    try:
        made = kind(*given, **options)
    except EngineFailed as exc:
        missing(request, f"no engine of a test's own: {exc}")
    try:
        made.start()
        yield made
    finally:
        made.end()


def migrated(data: PostgresServer, keyring: PostgresServer, folder: Path, index: str) -> Shared:
    """Two databases on two servers (or on one), migrated; the service's role owns nothing in either."""
    made = {"database_url": _database(data, "archive"), "keyring_url": _database(keyring, "keyring")}
    owner = Settings(data=folder, index_url=index, **made)  # type: ignore[arg-type]
    wiring.migrate(owner, ROLE)
    service = {name: url.replace("//postgres@", f"//{ROLE}@") for name, url in made.items()}
    return Shared(owner, Settings(data=folder, index_url=index, **service), ROLE)  # type: ignore[arg-type]


def _database(server: PostgresServer, name: str) -> str:
    with psycopg.connect(server.address, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(ROLE)))
    return server.address.rpartition("/")[0] + f"/{name}"


def begun(shared: Shared) -> str:
    """Open every shelf, register an organisation with a user, and give a token that may send and search."""
    archive = Archive.open(shared.service, parts=API, kind="api")
    try:
        living.register(archive, [living.organisation(), living.location(), living.user("u-1", "+12125550101")])
        roles = ["producer", "officer", "auditor"]
        return archive.tokens.create(person="a test", roles=roles, orgs=None, by=archive.local)[0]
    finally:
        archive.close()


def in_vault(database: str) -> Sets:
    """Every text of every shelf that is not purged, as the owner of the tables sees it."""
    found: Sets = {}
    with psycopg.connect(database) as connection:
        there = "SELECT DISTINCT shelf FROM slices WHERE to_regclass('texts_' || replace(shelf, '-', '_')) IS NOT NULL"
        for (shelf,) in connection.execute(there).fetchall():
            table = sql.Identifier(f"texts_{shelf.replace('-', '_')}")
            rows = connection.execute(sql.SQL("SELECT tag, version FROM {}").format(table)).fetchall()
            ids = {str(TextId(date.fromisoformat(shelf), bytes(tag), version)) for tag, version in rows}
            assert len(ids) == len(rows)
            if ids:
                found[shelf] = ids
    return found


def in_index(url: str) -> Sets:
    """Every text that an OpenSearch holds for us. Raises Outage."""
    index = OpenSearchIndex.open(url)
    try:
        found: Sets = {}
        for shelf in index.shelves():
            try:
                ids = {str(text_id) for text_id in index.ids(shelf)}
            except NoIndex:
                ids = {f"an index of {shelf} that is none of ours"}
            if ids:
                found[shelf] = ids
        return found
    finally:
        index.close()


def until(so: Callable[[], bool], what: str, patience: float = PATIENCE) -> float:
    """Wait until something is so, and give how many seconds that took. Fails where it does not come to that."""
    start = time.monotonic()
    while not so():
        assert time.monotonic() - start < patience, what
        time.sleep(LOOK)
    return time.monotonic() - start


def until_equal(shared: Shared, patience: float = PATIENCE) -> float:
    """Wait until the index holds exactly the texts of the vault, shelf by shelf; seconds."""
    return until(lambda: _equal(shared), "index and vault do not hold the same texts", patience)


def _equal(shared: Shared) -> bool:
    try:
        return in_index(str(shared.owner.index_url)) == in_vault(shared.owner.database)
    except (Outage, psycopg.OperationalError):
        return False


@contextmanager
def showing_last_words(processes: Sequence[Process]) -> Iterator[None]:
    """Where the block fails, print what those of the processes that have ended wrote into their logs."""
    try:
        yield
    except BaseException:
        for each in processes:
            if each.process.poll() is not None and each.process.stderr is not None:
                print(each.told, each.process.returncode, each.process.stderr.read().decode()[-5000:])
        raise
