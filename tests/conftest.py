"""What every room's tests stand on: a store, a clock that is set by hand, and the shared data."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.housing import NOON, House, SetClock, event
from textkeep.store.engine import Store
from textkeep.store.schema import migrate

SHARED = Path(os.environ.get("TEXTKEEP_SHARED", Path(__file__).parents[2] / "shared"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long tests, and only those")
    parser.addoption("--require-engines", action="store_true", help="a tool or engine that is missing is a failure")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = bool(config.getoption("--soak"))
    left = [item for item in items if (item.get_closest_marker("soak") is not None) != wanted]
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=left)


@pytest.fixture
def shared() -> Path:
    """The folder of real data and the feed tool."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}: set TEXTKEEP_SHARED to the folder that holds data/ and tools/")
    return SHARED


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A migrated store, on every engine there is."""
    url = "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'textkeep.db'}"
    opened = Store.open(url)
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


@pytest.fixture(params=["sqlite", "memory"])
def house(request: pytest.FixtureRequest, built: Path, tmp_path: Path, clock: SetClock) -> Iterator[House]:
    """A vault with its keyring and open shelves, on every engine there is."""
    shutil.copytree(built / "keyring", tmp_path / "keyring")
    if request.param == "memory":
        opened = Store.open("sqlite://")
        with closing(sqlite3.connect(built / "textkeep.db")) as source, opened.transaction() as connection:
            inside = connection.connection.driver_connection
            assert isinstance(inside, sqlite3.Connection)
            connection.exec_driver_sql("COMMIT")
            source.backup(inside)
            connection.exec_driver_sql("BEGIN")
    else:
        shutil.copy(built / "textkeep.db", tmp_path / "textkeep.db")
        opened = Store.open(f"sqlite:///{tmp_path / 'textkeep.db'}")
    yield House.build(opened, tmp_path / "keyring", clock)
    opened.close()


__all__ = ["NOON", "House", "SetClock", "event"]
