"""When a destroyed secret is gone for good: told by root keys and the keyring's copies, and never too early."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.archive.backing import Backed
from tests.archive.rooting import Rooting, rooting
from tests.engines.kms import CREDENTIALS, KmsServer
from tests.engines.needed import missing
from tests.engines.process import EngineFailed
from tests.housing import NOON, SetClock
from textkeep.archive.backup import LIFE
from textkeep.archive.drivers.roots import Use, in_token
from textkeep.archive.ring import Root
from textkeep.errors import Unsound

DAY = "shelf:2026-11-22"


def destroyed(backed: Backed, name: str = DAY) -> None:
    backed.keyring.destroy(name, entry="1", now=backed.clock())


@pytest.fixture
def hsm(request: pytest.FixtureRequest, tmp_path: Path) -> Backed:
    """Root keys in a token."""
    return Backed(rooting(request, "pkcs11", tmp_path / "roots"), tmp_path, SetClock(NOON))


@pytest.fixture
def local(request: pytest.FixtureRequest, tmp_path: Path) -> Backed:
    """Root keys in files."""
    return Backed(rooting(request, "local", tmp_path / "roots"), tmp_path, SetClock(NOON))


def without_backups(backed: Backed) -> None:
    for copy in backed.known():
        if copy.ended_at is None:
            backed.backups.end(copy)


def test_a_secret_that_was_not_destroyed_is_not_erased(hsm: Backed) -> None:
    hsm.keyring.make([DAY])
    found = hsm.erasures.of(DAY)
    assert (found.erased_at, found.done) == (None, False)
    assert [copy.id for copy in found.known] == [hsm.newest().id]


def test_with_root_keys_in_a_token_and_no_backup_it_is_at_once(hsm: Backed) -> None:
    hsm.keyring.make([DAY])
    without_backups(hsm)
    hsm.clock.forward(hours=3)
    destroyed(hsm)
    found = hsm.erasures.of(DAY)
    assert (found.erased_at, found.done) == (hsm.clock(), True)
    assert found.known == ()


def test_with_a_backup_it_is_when_the_last_one_that_holds_the_secret_has_expired(hsm: Backed) -> None:
    hsm.keyring.make([DAY])
    hsm.clock.forward(days=2)
    hsm.backups.tend(hsm.keyring.ring)
    last = hsm.newest()
    hsm.clock.forward(days=1)
    destroyed(hsm)
    hsm.clock.forward(hours=1)
    hsm.backups.tend(hsm.keyring.ring)
    assert hsm.newest().generation > last.generation
    found = hsm.erasures.of(DAY)
    assert found.erased_at == last.expires_at == NOON + timedelta(days=2) + LIFE
    assert not found.done
    assert hsm.newest().id not in {copy.id for copy in found.known}
    assert last.id in {copy.id for copy in found.known}


def test_it_is_done_only_when_every_root_was_seen_to_be_gone(hsm: Backed) -> None:
    hsm.keyring.make([DAY])
    content = hsm.content(hsm.newest())
    destroyed(hsm)
    erased_at = hsm.erasures.of(DAY).erased_at
    assert erased_at is not None
    hsm.clock.now = erased_at - timedelta(seconds=1)
    assert not hsm.erasures.of(DAY).done
    assert DAY in hsm.opened(content).ring.secrets
    hsm.clock.now = erased_at
    assert not hsm.erasures.of(DAY).done
    hsm.backups.tend(hsm.keyring.ring)
    found = hsm.erasures.of(DAY)
    assert (found.erased_at, found.done) == (erased_at, True)
    hsm.clock.now = NOON
    with pytest.raises(Unsound):
        hsm.opened(content)


def test_a_backup_that_should_be_gone_and_is_not_makes_it_unknown(hsm: Backed) -> None:
    hsm.keyring.make([DAY])
    copy = hsm.newest()
    destroyed(hsm)
    hsm.clock.now = copy.expires_at + timedelta(hours=2, seconds=1)
    found = hsm.erasures.of(DAY)
    assert (found.erased_at, found.done) == (None, False)
    assert copy.id in found.reason
    hsm.backups.tend(hsm.keyring.ring)
    found = hsm.erasures.of(DAY)
    assert (found.erased_at, found.done) == (hsm.clock(), True)


def test_with_root_keys_in_files_it_is_not_known_and_the_reason_says_why(local: Backed) -> None:
    local.keyring.make([DAY])
    destroyed(local)
    for moment in (NOON, NOON + LIFE, NOON + timedelta(days=90)):
        local.clock.now = moment
        local.backups.tend(local.keyring.ring)
        found = local.erasures.of(DAY)
        assert (found.erased_at, found.done) == (None, False)
        assert "file" in found.reason
        assert "only people know" in found.reason


@pytest.fixture
def kms_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[KmsServer]:
    """A KMS of this test's own, whose days pass when the test says so."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server = KmsServer()
    try:
        server.start()
    except EngineFailed as exc:
        missing(request, str(exc))
    yield server
    server.end()


def test_with_root_keys_in_a_kms_it_is_when_the_waiting_periods_have_ended(
    kms_server: KmsServer, tmp_path: Path
) -> None:
    def opened(keyring: str, use: Use) -> Root:
        root = in_token(kms_server.address, keyring, use)
        assert root is not None
        return root

    backed = Backed(Rooting("aws", opened, "00112233aabbccdd"), tmp_path, SetClock(now := _now()))
    backed.keyring.make([DAY])
    copy = backed.newest()
    destroyed(backed)
    week = timedelta(days=7)
    found = backed.erasures.of(DAY)
    assert found.erased_at == copy.expires_at + week
    backed.clock.now = copy.expires_at
    kms_server.days_later(7)  # the ring's root is gone by then, and the backup's begins to wait
    backed.backups.tend(backed.keyring.ring)
    ended = next(each.ended_at for each in backed.known() if each.id == copy.id)
    assert ended is not None
    found = backed.erasures.of(DAY)
    assert not found.done
    assert found.erased_at is not None
    assert found.erased_at >= now + week
    backed.clock.now = max(ended, found.erased_at)
    assert not backed.erasures.of(DAY).done or backed.roots.backup().fate(copy.root).gone
    kms_server.days_later(14.01)
    found = backed.erasures.of(DAY)
    assert found.done


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def test_a_second_purge_leaves_what_is_said_of_the_first_as_it_was(hsm: Backed) -> None:
    hsm.keyring.make([DAY, "shelf:2026-11-23"])
    destroyed(hsm)
    first = hsm.erasures.of(DAY)
    hsm.clock.forward(days=1)
    hsm.backups.tend(hsm.keyring.ring)
    destroyed(hsm, "shelf:2026-11-23")
    again = hsm.erasures.of(DAY)
    assert (again.erased_at, again.known) == (first.erased_at, first.known)
    later = hsm.erasures.of("shelf:2026-11-23").erased_at
    assert later is not None
    assert first.erased_at is not None
    assert later > first.erased_at
