"""What every room's tests stand on: a store, a clock that is set by hand, and the shared data."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from textkeep.archive.activity import Activity
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.handles import Persons
from textkeep.archive.keyring import Keyring
from textkeep.archive.organisations import Organisations
from textkeep.archive.papers import Papers
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelves import Shelves
from textkeep.archive.tags import Tags
from textkeep.archive.vault import Vault
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


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> SetClock:
    """Noon of a Sunday in November 2026, until a test says otherwise."""
    return SetClock(NOON)


@dataclass
class House:
    """The vault and all it stands on, built as the service builds it."""

    folder: Path
    store: Store
    clock: SetClock
    keyring: Keyring
    sealer: Sealer
    shelves: Shelves
    organisations: Organisations
    persons: Persons
    papers: Papers
    vault: Vault
    activity: Activity

    @classmethod
    def build(cls, store: Store, folder: Path, clock: SetClock) -> "House":
        """Open the keyring in `folder` (a new one where there is none) over a migrated store, and run the checks."""
        keyring = Keyring.open(FolderStore(folder), LocalRoot(folder / "roots"), create=True)
        sealer = Sealer(keyring)
        shelves = Shelves(store, keyring)
        organisations = Organisations(store, keyring, sealer, clock)
        with store.reading() as connection:
            shelves.check(connection)
            organisations.load(connection)
        shelves.ensure(clock())
        papers = Papers(sealer)
        vault = Vault(store, shelves, sealer, Tags(keyring), papers, clock)
        activity = Activity(store, shelves, papers, clock)
        persons = Persons(keyring, sealer)
        return cls(folder, store, clock, keyring, sealer, shelves, organisations, persons, papers, vault, activity)

    def reopened(self) -> "House":
        """The same house after a restart over the same store and keyring."""
        return House.build(self.store, self.folder, self.clock)


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


def event(number: int = 1, **data: Any) -> dict[str, Any]:
    """A wire record as a messaging backend sends it; keyword arguments replace members of `data`."""
    body = {
        "org_id": "org-001",
        "user_id": "org-001-user-0001",
        "direction": "outbound",
        "channel": "sms",
        "from": "+12125550101",
        "to": "+13125550102",
        "body": f"Text number {number}",
        "sent_at": "2026-11-20T10:00:00.000Z",
        "disposition": "delivered",
        **data,
    }
    return {
        "specversion": "1.0",
        "type": "textkeep.text.v1",
        "datacontenttype": "application/json",
        "id": f"txt-{number:010d}",
        "source": f"/messaging/{body['org_id']}",
        "time": body["sent_at"],
        "data": body,
    }
