"""The file of the ledger's key: private, made once, replaced whole, and nothing of what it held stays."""

import os
import stat
from pathlib import Path

import pytest

from textkeep.archive.drivers import ledger_key
from textkeep.archive.drivers.ledger_key import NAME, LedgerKeyFile
from textkeep.errors import Outage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "roots" / "0011223344556677"


def test_it_is_made_once_and_for_this_user_alone(folder: Path) -> None:
    file = LedgerKeyFile(lambda: folder)
    assert file.read() is None
    assert file.create(b"one\n")
    assert not file.create(b"two\n")
    assert file.read() == b"one\n"
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_what_it_held_is_overwritten_when_it_is_replaced(folder: Path) -> None:
    file = LedgerKeyFile(lambda: folder)
    file.create(b"a secret\n")
    before = os.open(folder / NAME, os.O_RDONLY)
    try:
        file.write(b"another one\n")
        assert os.pread(before, 100, 0) == bytes(9)
    finally:
        os.close(before)
    assert file.read() == b"another one\n"
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600


def test_a_crash_before_it_is_replaced_leaves_the_old_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LedgerKeyFile(lambda: folder)
    file.create(b"old\n")

    def gone(self: Path, _target: Path) -> Path:
        raise RuntimeError(f"the process is gone at {self.name}")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", gone)
        with pytest.raises(RuntimeError):
            file.write(b"new\n")
    assert file.read() == b"old\n"
    file.write(b"new\n")
    assert file.read() == b"new\n"


def test_a_disk_that_does_not_take_it_is_an_outage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    file = LedgerKeyFile(lambda: folder)
    file.create(b"old\n")
    monkeypatch.setattr(ledger_key, "write_durably", full)
    with pytest.raises(Outage):
        file.write(b"new\n")
    assert file.read() == b"old\n"
    with pytest.raises(Outage):
        LedgerKeyFile(lambda: folder / "other").create(b"one\n")
