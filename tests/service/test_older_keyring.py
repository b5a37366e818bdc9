"""A keyring put back that is older than the last purge or the newest organisation: noticed, named, repaired.

On a keyring in files and on one in PostgreSQL.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.housing import NOON, SetClock
from tests.service.conftest import as_before
from tests.service.many import sharing
from textkeep.access.principal import Principal
from textkeep.archive.keyring import RING, org_secret, shelf_secret
from textkeep.errors import Unsound
from textkeep.service import wiring
from textkeep.service.restoring import restore
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive


@dataclass
class Aged:
    """An archive whose keyring can be put back as it was."""

    settings: Settings
    clock: SetClock
    roots: Callable[[], Path]
    read: Callable[[], bytes]
    put: Callable[[bytes], None]
    beside: Path

    def opened(self) -> Archive:
        return Archive.open(self.settings, self.clock)

    def register(self, org: str) -> str:
        with closing(self.opened()) as archive:
            return org_secret(archive.organisations.register(org))

    def back_up(self) -> Path:
        with closing(self.opened()) as archive:
            made = archive.keys.back_up(self.beside / "backups", self.beside / "apart", 7)
        return Path(made["file"])

    def restore(self, file: Path) -> list[str]:
        done = restore(self.settings, wiring.DRIVERS, file, self.beside / "apart", self.clock)
        return list(done.gone)

    def copy(self, name: str) -> "Older":
        to = self.beside / name
        shutil.copytree(self.roots(), to)
        return Older(self, self.read(), to)

    def refusal(self) -> Unsound:
        """What the start says."""
        with pytest.raises(Unsound) as refused:
            self.opened()
        return refused.value

    def purge(self) -> list[str]:
        """Purge what is due; gives the days that are closed."""
        with closing(self.opened()) as archive:
            result = archive.purge.run(self.clock())
            assert result.stopped is None, result.stopped
        return [day.day for day in result.days if day.state == "reported"]


@dataclass
class Older:
    """Ring and roots as they were."""

    aged: Aged
    ring: bytes
    kept: Path

    def put_back(self) -> None:
        roots = self.aged.roots()
        shutil.rmtree(roots)
        shutil.copytree(self.kept, roots)
        self.aged.put(self.ring)


@pytest.fixture(params=["file", "sql"])
def aged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Aged]:
    folder = tmp_path / "archive"
    folder.mkdir()
    with as_before(), pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TEXTKEEP_")]:
            patch.delenv(name)
        if request.param == "file":
            settings = Settings(data=folder)
            ring = settings.keyring_folder / RING
            roots = settings.roots_folder
            yield Aged(settings, SetClock(NOON), lambda: roots, ring.read_bytes, _write_to(ring), tmp_path)
        else:
            with sharing(request, folder) as shared:
                url = str(shared.owner.keyring_url)
                settings = shared.service.model_copy(update={"index_url": None})
                yield Aged(
                    settings,
                    SetClock(NOON),
                    lambda: _roots(settings, url),
                    lambda: _ring(url),
                    lambda body: _put(url, body),
                    tmp_path,
                )


def _write_to(path: Path) -> Callable[[bytes], None]:
    def put(body: bytes) -> None:
        path.write_bytes(body)

    return put


def _roots(settings: Settings, url: str) -> Path:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT body FROM keyring_documents WHERE name = 'id'").fetchone()
    assert row is not None
    return settings.roots_folder / bytes(row[0]).decode()


def _ring(url: str) -> bytes:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT body FROM keyring_documents WHERE name = 'ring'").fetchone()
    assert row is not None
    return bytes(row[0])


def _put(url: str, body: bytes) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE keyring_documents SET body = %s WHERE name = 'ring'", (body,))


def test_each_older_keyring_is_noticed_and_named_and_a_backup_repairs_it(aged: Aged) -> None:
    aged.register("org-001")
    before_org = aged.copy("before-org")
    new = aged.register("org-002")
    newest = aged.back_up()

    before_org.put_back()
    refused = aged.refusal()
    assert "no secret of that name" in refused.detail
    assert aged.restore(newest) == []
    with closing(aged.opened()) as archive:
        assert new in archive.keyring.names()
        two_persons_resumed(archive)

    before_purge = aged.copy("before-purge")
    aged.clock.forward(days=1)
    with closing(aged.opened()):
        pass  # opens the day ahead
    newest = aged.back_up()
    (day,) = aged.purge()

    before_purge.put_back()
    refused = aged.refusal()
    assert refused.detail == f"the database has purged {day}, and the keyring still holds its secret"
    assert "older than the last purge" in refused.remedy
    assert aged.restore(newest) == [shelf_secret(day)]
    with closing(aged.opened()) as archive:
        assert not archive.keyring.has(shelf_secret(day))
        assert archive.keyring.tombstone(shelf_secret(day)) is not None
        assert {new, org_secret(next(iter(archive.organisations.all().values())))} <= archive.keyring.names()
        assert archive.keys.resuming.waiting() is not None


def two_persons_resumed(archive: Archive) -> None:
    waiting = archive.keys.resuming.waiting()
    assert waiting is not None
    operator = Principal(b"\x01" * 8, "t-1", frozenset({"operator"}), None)
    approver = Principal(b"\x02" * 8, "t-2", frozenset({"approver"}), None)
    asked = archive.approvals.put(operator, "resume", "keyring", {"restore": waiting["id"]}, None)
    archive.approvals.decide(approver, asked.id, "approved", asked.digest)
    archive.keys.resuming.resume(asked.id)


def test_keyring_and_database_older_together_are_purged_again_and_open_no_expired_text(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with as_before(), pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TEXTKEEP_")]:
            patch.delenv(name)
        settings, clock = Settings(data=tmp_path / "archive"), SetClock(NOON)
        Archive.open(settings, clock).close()
        for folder in (settings.folder, settings.keyring_folder):
            shutil.copytree(folder, tmp_path / "older" / folder.name)
        clock.forward(days=1)

        def purge() -> list[str]:
            with closing(Archive.open(settings, clock)) as archive:
                result = archive.purge.run(clock())
                assert result.stopped is None, result.stopped
                assert not any(archive.keyring.has(shelf_secret(day.day)) for day in result.days)
            return [day.day for day in result.days if day.state == "reported"]

        first = purge()
        for folder in (settings.folder, settings.keyring_folder):
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / "older" / folder.name, folder)
        assert purge() == first != []
