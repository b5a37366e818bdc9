"""`textkeep keyring backup|restore|status|resume`: what comes back, what never does, and what is refused by name."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.housing import NOON, SetClock
from tests.service.conftest import as_before
from textkeep.access.principal import Principal
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import RING, Keyring, org_secret, shelf_secret
from textkeep.errors import Conflict, Malformed, TextkeepError, Unsound
from textkeep.ledger import log
from textkeep.retention.approvals.resuming import Restored
from textkeep.service import wiring
from textkeep.service.restoring import Done, restore
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    with as_before():
        yield


@dataclass
class Place:
    """An archive in a folder, and what is done to its keyring."""

    settings: Settings
    clock: SetClock
    to: Path
    keys: Path

    def opened(self) -> Archive:
        return Archive.open(self.settings, self.clock)

    def do(self, *orgs: str) -> None:
        """Open it, register organisations, close it."""
        archive = self.opened()
        for org in orgs:
            archive.organisations.register(org)
        archive.close()

    def backed_up_tomorrow(self) -> Path:
        """A backup that has the secrets of the day that opens tomorrow, too; the clock stays."""
        self.clock.forward(days=1)
        self.do()
        self.clock.forward(days=-1)
        return self.back_up()

    @property
    def file(self) -> Path:
        """The backup that was made first."""
        return min(self.to.glob("*.backup"))

    def back_up(self, days: float = 7) -> Path:
        archive = self.opened()
        made = archive.keys.back_up(self.to, self.keys, days)
        archive.close()
        return Path(made["file"])

    def restore(self, file: Path) -> Done:
        return restore(self.settings, wiring.DRIVERS, file, self.keys, self.clock)

    def lose_keyring(self) -> None:
        shutil.rmtree(self.settings.keyring_folder)

    def ring(self) -> Keyring:
        folder = self.settings.keyring_folder
        return Keyring.open(FolderStore(folder), LocalRoot(folder / "roots"), create=False)

    def entries(self) -> list[dict[str, Any]]:
        archive = self.opened()
        with archive.store.reading() as connection:
            found = [entry.body for entry in log.entries(connection, kinds={"restore"})]
        archive.close()
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with one organisation, its keyring, and yesterday's backup of that: `file` names it, `apart` its key.

    Its oldest day is due a day later.
    """
    folder = tmp_path_factory.mktemp("made")
    (folder / "archive").mkdir()
    with as_before(), pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TEXTKEEP_")]:
            patch.delenv(name)
        begun = Place(Settings(data=folder / "archive"), SetClock(NOON), folder / "backups", folder / "apart")
        begun.do("org-001")
        begun.back_up()
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in [name for name in os.environ if name.startswith("TEXTKEEP_")]:
        monkeypatch.delenv(name)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Place(Settings(data=tmp_path / "archive"), SetClock(NOON), tmp_path / "backups", tmp_path / "apart")


def handles(place: Place) -> dict[str, str]:
    archive = place.opened()
    found = {name: org_secret(handle) for name, handle in archive.organisations.all().items()}
    archive.close()
    return found


def test_a_lost_keyring_comes_back_and_opens_everything(place: Place) -> None:
    file = place.file
    before = place.ring()
    place.lose_keyring()
    with pytest.raises(Unsound, match="keyring is missing"):
        place.opened()
    done = place.restore(file)
    after = place.ring()
    assert after.ring().secrets == before.ring().secrets
    assert after.status().generation == done.generation > before.status().generation
    assert after.identity() == before.identity()
    assert handles(place).keys() == {"org-001"}
    assert LocalRoot(place.settings.keyring_folder / "roots").known() == {after.status().root}
    assert done.restore is not None
    assert done.gone == ()


def test_a_restore_is_in_the_ledger_once_and_nothing_is_destroyed_until_two_persons_resume(place: Place) -> None:
    file = place.file
    place.lose_keyring()
    done = place.restore(file)
    (told,) = place.entries()
    assert (told["what"], told["restore"], told["backup"]) == ("keyring", done.restore, done.backup)
    assert len(place.entries()) == 1
    archive = place.opened()
    with pytest.raises(Restored, match="restored"):
        archive.keys.resuming.check()
    assert archive.keys.status()["restored"]["id"] == done.restore
    result = archive.purge.run(place.clock())
    assert result.stopped is not None
    assert result.stopped.reason == "restored"
    archive.close()


def test_a_keyring_that_is_there_and_whole_is_not_restored_over(place: Place) -> None:
    file = place.file
    before = (place.settings.keyring_folder / RING).read_bytes()
    with pytest.raises(Conflict, match="nothing was restored"):
        place.restore(file)
    assert (place.settings.keyring_folder / RING).read_bytes() == before


def test_an_expired_backup_is_refused(place: Place) -> None:
    file = place.back_up(days=2)
    place.lose_keyring()
    place.clock.now = NOON + timedelta(days=2)
    with pytest.raises(Conflict, match="expired"):
        place.restore(file)
    assert not (place.settings.keyring_folder / RING).exists()


def test_a_backup_older_than_the_newest_organisation_is_refused_and_the_organisation_named(place: Place) -> None:
    file = place.file
    place.do("org-002")
    new = handles(place)["org-002"]
    place.lose_keyring()
    with pytest.raises(Conflict) as refused:
        place.restore(file)
    assert new in refused.value.detail
    assert handles_in(refused.value) == {new}
    assert not (place.settings.keyring_folder / RING).exists()


def handles_in(refused: TextkeepError) -> set[str]:
    return {word.strip(",;") for word in refused.detail.split() if word.startswith(("org:", "shelf:"))}


def test_a_backup_older_than_the_newest_day_is_refused_and_the_day_named(place: Place) -> None:
    file = place.file
    place.clock.forward(days=1)
    place.do()
    place.lose_keyring()
    with pytest.raises(Conflict) as refused:
        place.restore(file)
    assert handles_in(refused.value) == {"shelf:2026-12-23"}


def test_with_backups_set_the_newest_backup_is_never_too_old(place: Place, tmp_path: Path) -> None:
    apart = {"keyring_backups": tmp_path / "backups", "keyring_backup_keys": tmp_path / "apart"}
    place.settings = Settings(data=place.settings.data, **apart)  # type: ignore[arg-type]
    for days in range(3):
        place.do(f"org-{days}")
        place.clock.forward(days=1)
    place.do("org-last")
    files = sorted(place.to.glob("*.backup"), key=lambda path: path.name)
    place.lose_keyring()
    place.restore(files[-1])
    assert handles(place).keys() == {"org-001", "org-0", "org-1", "org-2", "org-last"}


def purged(place: Place) -> str:
    """Let the oldest day be purged."""
    archive = place.opened()
    place.clock.forward(days=1)
    result = archive.purge.run(place.clock())
    archive.close()
    assert [day.state for day in result.days] == ["reported"], result
    return result.days[0].day


def test_what_was_purged_since_the_backup_stays_destroyed(place: Place) -> None:
    file = place.backed_up_tomorrow()
    day = purged(place)
    place.lose_keyring()
    done = place.restore(file)
    assert done.gone == (shelf_secret(day),)
    ring = place.ring()
    assert not ring.has(shelf_secret(day))
    assert ring.tombstone(shelf_secret(day)) is not None
    place.do()


def test_a_tombstone_of_the_stored_ring_is_believed_even_where_the_database_is_older(
    place: Place, tmp_path: Path
) -> None:
    file = place.backed_up_tomorrow()
    shutil.copytree(place.settings.folder, tmp_path / "older")
    day = purged(place)
    shutil.rmtree(place.settings.folder)
    shutil.copytree(tmp_path / "older", place.settings.folder)
    with pytest.raises(Unsound) as noticed:
        place.opened()
    assert "older than its last purge" in noticed.value.remedy
    with pytest.raises(Conflict) as refused:
        place.restore(file)
    assert handles_in(refused.value) == {shelf_secret(day)}


def test_the_backup_of_another_keyring_is_refused(place: Place, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Place(Settings(data=tmp_path / "other"), SetClock(NOON), place.to, place.keys)
    other.do("org-009")
    theirs = other.back_up()
    place.ring().make(["shelf:9999-01-01"])
    with pytest.raises(Unsound, match="another keyring"):
        place.restore(theirs)
    place.lose_keyring()
    with pytest.raises(Conflict, match="would not open"):
        place.restore(theirs)
    assert not (place.settings.keyring_folder / RING).exists()


def test_a_backup_without_its_key_or_that_is_none_is_refused(place: Place, tmp_path: Path) -> None:
    file = place.file
    place.lose_keyring()
    (tmp_path / "none").write_bytes(b"not a backup")
    with pytest.raises(Unsound):
        place.restore(tmp_path / "none")
    with pytest.raises(Malformed):
        place.restore(tmp_path / "not there")
    (key,) = place.keys.iterdir()
    key.rename(tmp_path / "elsewhere")
    with pytest.raises(Unsound, match="root key"):
        place.restore(file)


def test_a_damaged_ring_is_restored_with_what_is_still_there(place: Place) -> None:
    file = place.file
    ring = place.settings.keyring_folder / RING
    ring.write_bytes(ring.read_bytes()[:-1])
    with pytest.raises(Unsound, match="does not open"):
        place.opened()
    assert place.restore(file).restore is not None
    assert handles(place).keys() == {"org-001"}


def test_an_archive_that_runs_is_not_restored_under(place: Place) -> None:
    file = place.file
    archive = place.opened()
    with pytest.raises(TextkeepError, match="another process"):
        place.restore(file)
    archive.close()


def test_two_persons_resume_and_the_ledger_says_who(place: Place) -> None:
    place.lose_keyring()
    done = place.restore(place.file)
    archive = place.opened()
    operator = Principal(b"\x01" * 8, "t-1", frozenset({"operator"}), None)
    approver = Principal(b"\x02" * 8, "t-2", frozenset({"approver"}), None)
    wrong = archive.approvals.put(operator, "resume", "keyring", {"restore": "another", "why": "test"}, None)
    asked = archive.approvals.put(operator, "resume", "keyring", {"restore": done.restore, "why": "test"}, None)
    for each in (wrong, asked):
        with pytest.raises(TextkeepError):
            archive.keys.resuming.resume(each.id)
        archive.approvals.decide(approver, each.id, "approved", each.digest)
    with pytest.raises(Conflict, match="not this restore"):
        archive.keys.resuming.resume(wrong.id)
    with pytest.raises(Restored):
        archive.keys.resuming.check()
    archive.keys.resuming.resume(asked.id)
    archive.keys.resuming.check()
    with pytest.raises(Conflict, match="nothing was changed"):
        archive.keys.resuming.resume(asked.id)
    assert archive.purge.run(place.clock()).stopped is None
    archive.close()
    keyring, resumed = place.entries()
    assert (keyring["what"], resumed["what"]) == ("keyring", "resumed")
    assert (resumed["asked_by"], resumed["approved_by"]) == ("01" * 8, "02" * 8)


def test_backup_and_key_are_not_put_into_one_folder(place: Place) -> None:
    archive = place.opened()
    for keys in (place.to, place.to / "keys", place.to.parent):
        with pytest.raises(Malformed, match="apart"):
            archive.keys.back_up(place.to, keys, 7)
    with pytest.raises(Malformed, match="7 days"):
        archive.keys.back_up(place.to, place.keys, 8)
    archive.close()
