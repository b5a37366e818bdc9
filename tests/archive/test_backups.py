"""Backups of the keyring: made before a new secret is stored, sealed each under a key of its own, ended in time."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from tests.archive.backing import Backed
from tests.archive.keeping import Between, child
from tests.archive.rooting import Rooting, rooting
from tests.housing import NOON, SetClock
from textkeep.archive.backup import LIFE, header_of
from textkeep.archive.copies import COPIES
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.keyring import RING, Keyring
from textkeep.errors import Conflict, Outage, Unsound


@pytest.fixture
def backed(roots: Rooting, tmp_path: Path) -> Backed:
    """By each kind of root."""
    return Backed(roots, tmp_path, SetClock(NOON))


@pytest.fixture
def local(request: pytest.FixtureRequest, tmp_path: Path) -> Backed:
    """Where the kind of root makes no difference."""
    return Backed(rooting(request, "local", tmp_path / "roots"), tmp_path, SetClock(NOON))


def test_a_backup_opens_to_the_ring_it_was_made_of_and_tells_in_the_open_only_names(backed: Backed) -> None:
    backed.keyring.make(["shelf:2026-11-22", "org:0011223344556677"])
    backed.store.swap("hold:7", None, b"a sealed hold")
    backed.backups.make(backed.keyring.ring(), folder=str(backed.folder / "asked"))
    copy = next(copy for copy in backed.known() if copy.by_hand)
    content = backed.content(copy)
    found = backed.opened(content)
    ring = backed.keyring.ring()
    assert (found.ring.secrets, found.ring.tombstones) == (ring.secrets, ring.tombstones)
    assert found.documents["hold:7"] == b"a sealed hold"
    assert found.header == header_of(content)
    assert found.header.secrets == {"house", "shelf:2026-11-22", "org:0011223344556677"}
    assert (found.header.generation, found.header.keyring) == (ring.generation, backed.keyring.identity())
    assert found.header.expires_at - found.header.made_at == LIFE
    for secret in (*ring.secrets.values(), b"a sealed hold"):
        assert secret not in content
        assert secret.hex().encode() not in content
    assert (Path(copy.folder) / copy.file).stat().st_mode & 0o077 == 0


def test_each_backup_has_a_root_of_its_own_and_it_is_none_of_the_rings(backed: Backed) -> None:
    backed.keyring.make(["shelf:2026-11-22"])
    backed.clock.forward(hours=2)
    backed.keyring.make(["shelf:2026-11-23"])
    own = {copy.root for copy in backed.known() if copy.ended_at is None}
    assert len(own) == 2
    assert not own & backed.roots.ring().known()
    backed.keyring.destroy("shelf:2026-11-22", entry="1", now=backed.clock())
    for copy in backed.known():
        if copy.ended_at is None:
            assert backed.opened(backed.content(copy)).ring.secrets["shelf:2026-11-22"]


def test_a_backup_whose_root_was_destroyed_opens_for_nobody(backed: Backed) -> None:
    backed.keyring.make(["shelf:2026-11-22"])
    copy = backed.newest()
    content = backed.content(copy)
    backed.backups.end(copy)
    assert backed.files().keys() == set()
    assert backed.newest().ended_at is not None
    with pytest.raises(Unsound):
        backed.opened(content)
    backed.backups.end(copy)


def test_a_backup_altered_anywhere_does_not_open(local: Backed) -> None:
    local.keyring.make(["shelf:2026-11-22"])
    content = local.content(local.newest())
    for at in range(0, len(content), 3):
        with pytest.raises((Unsound, Conflict)):
            local.opened(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    for cut in range(0, len(content), 11):
        with pytest.raises(Unsound):
            local.opened(content[:cut])
    local.opened(content)


@pytest.mark.parametrize("life", [timedelta(days=7, seconds=1), timedelta(), timedelta(days=-1), timedelta(days=400)])
def test_no_backup_lives_longer_than_seven_days(local: Backed, life: timedelta) -> None:
    before = local.known()
    with pytest.raises(ValueError, match="7 days"):
        local.backups.make(local.keyring.ring(), folder=str(local.to), life=life)
    assert local.known() == before


def test_an_expired_backup_is_refused_even_while_its_key_lies_there(local: Backed) -> None:
    local.keyring.make(["shelf:2026-11-22"])
    content = local.content(local.newest())
    local.clock.now = NOON + LIFE - timedelta(seconds=1)
    local.opened(content)
    local.clock.now = NOON + LIFE
    with pytest.raises(Conflict, match="expired"):
        local.opened(content)


def test_a_new_secret_is_in_a_backup_before_it_is_in_the_ring(local: Backed) -> None:
    stored: list[bool] = []
    between = Between(local.store)

    def look(call: str) -> None:
        document = local.store.read(RING)
        if call == "swap" and document is not None:
            newest = local.newest()
            file = Path(newest.folder) / newest.file
            if file.exists() and "shelf:2026-11-22" in header_of(file.read_bytes()).secrets:
                there = Keyring.open(local.store, local.roots.ring(), create=False)
                stored.append(there.has("shelf:2026-11-22"))

    between.before = look
    again = Backed(local.roots, local.folder, local.clock, between)
    again.keyring.make(["shelf:2026-11-22"])
    assert stored
    assert stored[0] is False
    assert again.keyring.has("shelf:2026-11-22")


def test_where_no_backup_can_be_written_no_secret_is_made(local: Backed) -> None:
    before = local.store.read(RING)
    local.to.mkdir(exist_ok=True)
    for file in local.to.iterdir():
        file.unlink()
    local.to.rmdir()
    local.to.write_bytes(b"a file stands in the folder's place")
    with pytest.raises(Outage):
        local.keyring.make(["shelf:2026-11-22"])
    assert local.store.read(RING) == before
    assert not local.keyring.has("shelf:2026-11-22")
    local.to.unlink()
    local.keyring.make(["shelf:2026-11-22"])
    assert local.keyring.has("shelf:2026-11-22")


def test_the_backup_of_a_ring_that_another_process_forestalled_goes_again(local: Backed) -> None:
    other = Keyring.open(local.store, local.roots.ring(), create=False)
    between = Between(local.store)
    forestalled: list[str] = []

    def forestall(call: str) -> None:
        if call == "swap" and between.calls.count("swap") == 2 and not forestalled:  # the record's was the first
            forestalled.append("org:1122334455667788")
            other.make(forestalled)

    again = Backed(local.roots, local.folder, local.clock, between)
    between.calls.clear()
    between.before = forestall
    again.keyring.make(["shelf:2026-11-22"])
    assert forestalled
    ring = again.keyring.ring().secrets
    assert {"shelf:2026-11-22", *forestalled} <= ring.keys()
    alive = [copy for copy in local.known() if copy.ended_at is None]
    assert len(alive) == len(local.files()) == len(list(Path(local.keys).iterdir()))
    for content in local.files().values():
        assert local.opened(content).ring.secrets.items() <= ring.items()


def test_of_many_new_secrets_within_an_hour_only_the_newest_backup_stays(local: Backed) -> None:
    for number in range(8):
        local.keyring.make([f"org:{number:016x}"])
        local.clock.forward(minutes=1)
    assert len(local.files()) == len(list(Path(local.keys).iterdir())) == 1
    (content,) = local.files().values()
    assert local.opened(content).ring.secrets == local.keyring.ring().secrets


def test_every_hour_expired_backups_end_and_every_day_there_is_a_new_one(backed: Backed) -> None:
    backed.keyring.make(["shelf:2026-11-22"])
    first = backed.newest()
    content = backed.content(first)
    made = len(backed.known())
    backed.backups.tend(backed.keyring.ring)
    assert len(backed.known()) == made
    backed.clock.forward(hours=24)
    backed.backups.tend(backed.keyring.ring)
    assert len(backed.known()) == made + 1
    backed.clock.now = first.expires_at
    backed.backups.tend(backed.keyring.ring)
    assert next(copy for copy in backed.known() if copy.id == first.id).ended_at is not None
    assert first.file not in backed.files()
    backed.clock.now = NOON
    with pytest.raises(Unsound):
        backed.opened(content)
    assert len([copy for copy in backed.known() if copy.ended_at is None]) >= 1


def test_a_purge_is_followed_by_a_backup_that_lacks_the_secret(local: Backed) -> None:
    local.keyring.make(["shelf:2026-11-22"])
    local.clock.forward(hours=1)
    local.keyring.destroy("shelf:2026-11-22", entry="1", now=local.clock())
    local.backups.tend(local.keyring.ring)
    newest = local.opened(local.content(local.newest())).ring
    assert "shelf:2026-11-22" not in newest.secrets
    assert "shelf:2026-11-22" in newest.tombstones


def test_backups_made_by_hand_stay_until_they_expire(local: Backed) -> None:
    made = local.backups.make(
        local.keyring.ring(), folder=str(local.folder / "asked"), keys=str(local.folder / "apart")
    )
    local.keyring.make(["shelf:2026-11-22"])
    assert (Path(made.folder) / made.file).exists()
    local.clock.now = made.expires_at
    local.another().tend(local.keyring.ring)
    assert not (Path(made.folder) / made.file).exists()
    assert not list((local.folder / "apart").iterdir())


def test_a_root_that_a_crash_left_without_a_backup_goes_when_it_was_seen_twice(backed: Backed) -> None:
    root = backed.roots.backup() if not backed.keys else backed.backups.root_of(backed.newest())
    stray = root.create()
    backups = backed.another()
    backups.tend(backed.keyring.ring)
    assert stray in root.known()
    backups.tend(backed.keyring.ring)
    assert stray not in root.known()
    assert backed.newest().root in root.known()


def test_the_record_outlives_a_kill_between_it_and_the_file(local: Backed) -> None:
    def work(_say: object) -> None:
        place = local.another()
        place._documents = lambda: os.kill(os.getpid(), 9)  # type: ignore[method-assign,assignment,return-value]
        place.make(local.keyring.ring())

    with child(work) as running:
        assert running.lines() == []
    assert len(local.known()) == len(local.files()) + 1
    local.clock.now = NOON + LIFE
    local.another().tend(local.keyring.ring)
    assert all(copy.ended_at for copy in local.known() if copy.expires_at <= local.clock())


def test_a_record_that_cannot_be_read_stops_backups_and_reports_and_is_not_made_anew(local: Backed) -> None:
    was = local.store.read(COPIES)
    for broken in (b"", b"{}x", b'{"v":1,"copies":[{}]}'):
        local.store.swap(COPIES, local.store.read(COPIES), broken)
        with pytest.raises(Unsound, match="copies"):
            local.keyring.make(["shelf:2026-11-25"])
        with pytest.raises(Unsound):
            local.erasures.of("shelf:2026-11-22")
        assert local.store.read(COPIES) == broken
    local.store.swap(COPIES, local.store.read(COPIES), was or b"")
    local.keyring.make(["shelf:2026-11-25"])


def test_without_backups_set_nothing_is_written_anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    roots = rooting(request, "local", tmp_path / "roots")
    keyring = Keyring.open(FolderStore(tmp_path / "ring"), roots.ring(), create=True)
    keyring.make(["shelf:2026-11-22"])
    assert {path.name for path in (tmp_path / "ring").iterdir()} == {RING}
