"""The archive's folder: one holder at a time, whose address is private."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from textkeep.errors import Unsound
from textkeep.service.folder import Address, Folder, Held, address, write_private

HOLD_AND_DIE = """
import os, sys
from pathlib import Path
from textkeep.service.folder import Folder
folder = Folder.hold(Path(sys.argv[1]), "load")
folder.announce("http://127.0.0.1:1", "secret")
os._exit(9)
"""


@pytest.fixture(autouse=True)
def umask_as_before() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_and_all_in_it_are_its_users_alone(tmp_path: Path) -> None:
    folder = Folder.hold(tmp_path / "deep" / "archive", "up")
    folder.announce("http://127.0.0.1:1", "secret")
    (folder.path / "later").write_text("made by somebody who gave no mode")
    assert mode(folder.path) == 0o700
    assert {mode(path) for path in folder.path.iterdir()} == {0o600}
    folder.release()


def test_nobody_else_gets_a_folder_that_is_held_and_is_told_who_has_it(tmp_path: Path) -> None:
    folder = Folder.hold(tmp_path, "load")
    with pytest.raises(Held) as refused:
        Folder.hold(tmp_path, "up", wait=0)
    assert f"`textkeep load` (process {os.getpid()})" in refused.value.detail
    folder.release()
    Folder.hold(tmp_path, "up", wait=0).release()


def test_the_address_goes_with_its_holder(tmp_path: Path) -> None:
    folder = Folder.hold(tmp_path, "up")
    assert address(tmp_path) == Address(pid=os.getpid(), command="up")
    folder.announce("http://127.0.0.1:1", "secret")
    assert address(tmp_path) == Address(pid=os.getpid(), command="up", url="http://127.0.0.1:1", secret="secret")
    folder.release()
    assert address(tmp_path) is None


def test_an_address_that_a_killed_holder_left_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", HOLD_AND_DIE, str(tmp_path)], check=False)
    left = address(tmp_path)
    assert left is not None
    assert left.url is not None
    folder = Folder.hold(tmp_path, "days", wait=0)
    assert address(tmp_path) == Address(pid=os.getpid(), command="days")
    folder.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff"])
def test_an_address_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "service.json").write_bytes(content)
    assert address(tmp_path) is None


def test_the_secret_is_not_shown_with_the_address() -> None:
    assert "canary" not in repr(Address(pid=1, command="up", url="http://127.0.0.1:1", secret="canary"))


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unsound):
        Folder.hold(tmp_path / "file", "up")


def test_a_private_file_is_private_from_its_first_byte_and_replaces_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "token"
    target.write_text("before")
    target.chmod(0o644)
    write_private(target, b"after")
    assert (target.read_bytes(), mode(target)) == (b"after", 0o600)
    assert list(tmp_path.iterdir()) == [target]
