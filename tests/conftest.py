"""What every room's tests stand on: a store, a clock that is set by hand, and the shared data."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.engines import need
from tests.engines.databases import Baseline, Prepared, fresh
from tests.housing import NOON, House, SetClock, event
from textkeep.store.engine import Store
from textkeep.store.schema import migrate

pytest_plugins = ["tests.engines.fixtures"]

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
"""How long an example takes says something about the machine, and nothing about the code."""

SHARED = Path(os.environ.get("TEXTKEEP_SHARED", Path(__file__).parents[2] / "shared"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long tests, and only those")
    parser.addoption("--require-engines", action="store_true", help="a tool or engine that is missing is a failure")


FIRST = ("whole", "service", "retention")
"""The folders with the longest files: one that began last would keep all other processors waiting for its end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = bool(config.getoption("--soak"))
    left = [item for item in items if (item.get_closest_marker("soak") is not None) != wanted]
    items[:] = sorted((item for item in items if item not in left), key=_turn)
    config.hook.pytest_deselected(items=left)


def _turn(item: pytest.Item) -> int:
    return FIRST.index(item.path.parent.name) if item.path.parent.name in FIRST else len(FIRST)


@pytest.fixture
def shared() -> Path:
    """The folder of real data and the feed tool."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}: set TEXTKEEP_SHARED to the folder that holds data/ and tools/")
    return SHARED


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A migrated store, on every engine there is; on PostgreSQL opened by the owner of its tables."""
    if request.param == "postgresql":
        blank: Prepared = request.getfixturevalue("blank_postgres")
        blank.baseline.restore()
        opened = Store.open(blank.database.owner)
    else:
        opened = Store.open("sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'textkeep.db'}")
        migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> SetClock:
    """Noon of a Sunday in November 2026, until a test says otherwise."""
    return SetClock(NOON)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a freshly opened archive: opening some 430 shelves anew for every test would take minutes."""
    folder = tmp_path_factory.mktemp("built")
    opened = Store.open(f"sqlite:///{folder / 'textkeep.db'}")
    migrate(opened)
    House.build(opened, folder / "keyring", SetClock(NOON))
    opened.settle()
    opened.close()
    return folder


@pytest.fixture(scope="session")
def blank_postgres(request: pytest.FixtureRequest) -> Iterator[Prepared]:
    """A migrated database without a shelf."""
    with fresh(need(request, "postgres").address) as database:
        opened = Store.open(database.owner)
        migrate(opened, service_role=database.role)
        opened.close()
        yield Prepared(database, Baseline(database.owner))


@pytest.fixture(scope="session")
def built_postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """What `built` is, in a database; its keyring lies in the folder `keyring`."""
    folder = tmp_path_factory.mktemp("built-postgres") / "keyring"
    with fresh(need(request, "postgres").address) as database:
        owned = Store.open(database.owner)
        migrate(owned, service_role=database.role)
        owned.close()
        opened = Store.open(database.service)
        House.build(opened, folder, SetClock(NOON))
        opened.close()
        yield Prepared(database, Baseline(database.owner), folder)


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path, clock: SetClock) -> Iterator[House]:
    """A vault with its keyring and open shelves, on every engine there is (PostgreSQL: as a role that owns nothing)."""
    behind = None
    if request.param == "postgresql":
        prepared: Prepared = request.getfixturevalue("built_postgres")
        prepared.baseline.restore()
        shutil.copytree(prepared.keyring, tmp_path / "keyring")
        opened, behind = Store.open(prepared.database.service), Store.open(prepared.database.owner)
    else:
        built: Path = request.getfixturevalue("built")
        shutil.copytree(built / "keyring", tmp_path / "keyring")
        opened = _in_memory(built) if request.param == "memory" else _copied(built, tmp_path)
    yield House.build(opened, tmp_path / "keyring", clock, behind=behind)
    opened.close()
    if behind is not None:
        behind.close()


def _in_memory(built: Path) -> Store:
    opened = Store.open("sqlite://")
    with closing(sqlite3.connect(built / "textkeep.db")) as source, opened.transaction() as connection:
        inside = connection.connection.driver_connection
        assert isinstance(inside, sqlite3.Connection)
        connection.exec_driver_sql("COMMIT")
        source.backup(inside)
        connection.exec_driver_sql("BEGIN")
    return opened


def _copied(built: Path, folder: Path) -> Store:
    shutil.copy(built / "textkeep.db", folder / "textkeep.db")
    return Store.open(f"sqlite:///{folder / 'textkeep.db'}")


__all__ = ["NOON", "House", "SetClock", "event"]
