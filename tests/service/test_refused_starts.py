"""A start that is refused leaves nothing where a backup goes; one that was killed at its beginning is gone on with."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.housing import NOON, SetClock
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import Keyring
from textkeep.errors import Unsound
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive
from textkeep.store import schema
from textkeep.store.engine import Store


@pytest.fixture(autouse=True)
def umask_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("TEXTKEEP_")]:
        monkeypatch.delenv(name)
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def inside(tmp_path: Path) -> Settings:
    """The database in the archive's folder, which whoever opens it has made and holds."""
    (tmp_path / "archive").mkdir()
    return Settings(data=tmp_path / "archive")


@pytest.fixture
def outside(tmp_path: Path) -> Settings:
    """Database and keyring in folders of their own."""
    (tmp_path / "archive").mkdir()
    return Settings(
        data=tmp_path / "archive",
        database_url=f"sqlite:///{tmp_path}/else/where.db",
        keyring_url=f"file://{tmp_path}/keys/ring",
    )


@pytest.fixture(params=["inside", "outside"])
def settings(request: pytest.FixtureRequest) -> Settings:
    chosen: Settings = request.getfixturevalue(request.param)
    return chosen


def start(settings: Settings, *orgs: str) -> None:
    """Open the archive, register organisations, and close it."""
    archive = Archive.open(settings, SetClock(NOON))
    for org in orgs:
        archive.organisations.register(org)
    archive.close()


def everything(below: Path) -> set[Path]:
    return set(below.rglob("*"))


def database_file(settings: Settings) -> Path:
    return Path(settings.database.removeprefix("sqlite:///"))


def new_ring(settings: Settings) -> Keyring:
    folder = settings.keyring_folder
    return Keyring.open(FolderStore(folder), LocalRoot(folder / "roots"), create=True)


def test_without_its_data_a_keyring_is_left_alone_and_no_database_is_made(settings: Settings, tmp_path: Path) -> None:
    start(settings, "org-001")
    for folder in {settings.folder, database_file(settings).parent}:
        folder.rename(tmp_path / f"{folder.name}-away")
    settings.folder.mkdir()
    before = everything(tmp_path)
    with pytest.raises(Unsound) as refused:
        start(settings)
    assert "data it belongs to is missing" in refused.value.detail
    assert everything(tmp_path) == before


def test_a_keyring_whose_only_trace_of_data_is_a_tombstone_is_no_new_one(inside: Settings) -> None:
    ring = new_ring(inside)
    ring.make(["shelf:2026-11-22"])
    ring.destroy("shelf:2026-11-22", entry="1", now=NOON)
    with pytest.raises(Unsound):
        start(inside)
    assert everything(inside.folder) == set()


def test_without_its_keyring_data_is_left_alone_and_no_keyring_is_made(settings: Settings, tmp_path: Path) -> None:
    start(settings)
    away = tmp_path / "backup"
    settings.keyring_folder.rename(away)
    before = everything(tmp_path)
    with pytest.raises(Unsound) as refused:
        start(settings)
    assert "keyring is missing" in refused.value.detail
    assert refused.value.field == "TEXTKEEP_KEYRING_URL"
    assert everything(tmp_path) == before
    away.rename(settings.keyring_folder)
    start(settings)


def test_data_is_refused_beside_a_keyrings_empty_folder_too(settings: Settings, tmp_path: Path) -> None:
    start(settings)
    settings.keyring_folder.rename(tmp_path / "backup")
    settings.keyring_folder.mkdir()
    with pytest.raises(Unsound) as refused:
        start(settings)
    assert "keyring is missing" in refused.value.detail
    assert everything(settings.keyring_folder) == set()


def test_a_start_that_was_killed_before_it_made_its_tables_is_gone_on_with(settings: Settings) -> None:
    database_file(settings).parent.mkdir(exist_ok=True)
    database_file(settings).touch()
    start(settings, "org-001")
    start(settings)


def test_a_start_that_was_killed_before_it_made_its_keyring_is_gone_on_with(settings: Settings) -> None:
    database_file(settings).parent.mkdir(exist_ok=True)
    store = Store.open(settings.database)
    schema.migrate(store)
    store.close()
    start(settings, "org-001")
    start(settings)


def test_a_start_that_was_killed_between_its_secrets_and_their_rows_is_gone_on_with(settings: Settings) -> None:
    new_ring(settings).make(["shelf:2026-11-22"])
    start(settings, "org-001")
    start(settings)


def test_what_a_newer_textkeep_wrote_is_still_told_as_that(settings: Settings) -> None:
    start(settings, "org-001")
    store = Store.open(settings.database)
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(Unsound) as refused:
        start(settings)
    assert "newer Textkeep" in refused.value.detail
