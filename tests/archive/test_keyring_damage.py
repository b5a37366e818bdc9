"""A keyring whose ring or root was damaged: it does not open, and nothing is made in its place."""

from pathlib import Path

import pytest

from tests.archive.keeping import Keeping
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import Keyring
from textkeep.errors import Unsound


def opened(folder: Path) -> Keyring:
    return Keeping("file", folder, "").opened()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A keyring of a house and a shelf."""
    opened(tmp_path / "keyring").make(["shelf:kept"])
    return tmp_path / "keyring"


def test_a_ring_damaged_in_any_byte_or_cut_anywhere_does_not_open(folder: Path) -> None:
    ring = folder / "ring"
    whole = ring.read_bytes()
    roots = LocalRoot(folder / "roots")
    damaged = [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))]
    damaged += [whole[:at] for at in range(len(whole))]
    damaged += [whole[at:] for at in range(1, len(whole), 7)]
    damaged += [whole + b"\x00", b"\n" + whole, whole + whole, whole.replace(b"v1", b"v2", 1), b"\xff" * len(whole)]
    for document in damaged:
        ring.write_bytes(document)
        with pytest.raises(Unsound):
            Keyring.open(FolderStore(folder), roots, create=True)
    ring.write_bytes(whole)
    assert opened(folder).has("shelf:kept")


def test_a_root_key_damaged_anywhere_cut_or_missing_does_not_open_the_ring(folder: Path) -> None:
    (root,) = (folder / "roots").iterdir()
    key = root.read_bytes()
    damaged = [key[:at] + bytes([key[at] ^ 1 << at % 8]) + key[at + 1 :] for at in range(32)]
    for other in [*damaged, b"", key[:31], key + b"\x00", bytes(32)]:
        root.write_bytes(other)
        with pytest.raises(Unsound):
            opened(folder)
    root.unlink()
    with pytest.raises(Unsound) as caught:
        opened(folder)
    assert "Restore" in caught.value.remedy
    root.write_bytes(key)
    assert opened(folder).has("shelf:kept")
