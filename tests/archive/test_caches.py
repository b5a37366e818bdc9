"""What is derived from a secret goes with it, also where it is being derived in that very moment."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.housing import NOON
from textkeep.archive import sealing
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import Keyring, Purpose, SecretDestroyed
from textkeep.archive.sealing import Sealer
from textkeep.archive.text import Handle
from textkeep.search import tokens as searching
from textkeep.search.tokens import Tokens

DAY = "2026-10-01"
ORG = Handle(b"8 bytes!")


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    made = Keyring.open(FolderStore(tmp_path), LocalRoot(tmp_path / "roots"), create=True)
    made.make([f"shelf:{DAY}", f"org:{ORG.hex()}"])
    return made


class _Between:
    """Stands in for what is made of a key: destroys the shelf's secret and has another thread's key put away."""

    def __init__(self, keyring: Keyring, made: Any) -> None:
        self._keyring = keyring
        self._made = made

    def __call__(self, key: bytes, *rest: Any) -> Any:
        purposes: tuple[Purpose, ...] = ("body", "token")
        for purpose in purposes:
            self._keyring.derive(purpose, DAY, ORG)
        warm = dict(self._keyring._derived)
        self._keyring.destroy(f"shelf:{DAY}", entry="1", now=NOON)
        self._keyring._derived.update(warm)
        return self._made(key, *rest)


def test_no_cipher_is_kept_of_a_secret_that_went_while_it_was_made(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealer = Sealer(keyring)
    monkeypatch.setattr(sealing, "AESGCM", _Between(keyring, AESGCM))
    sealer.seal("body", DAY, ORG, (), b"plain")  # began before the destruction
    assert [name for name in sealer._ciphers if name[1] == DAY] == []
    keyring._derived.clear()
    with pytest.raises(SecretDestroyed):
        sealer.seal("body", DAY, ORG, (), b"plain")


def test_no_token_is_kept_of_a_secret_that_went_while_it_was_made(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(keyring)
    monkeypatch.setattr(searching, "ShelfTokens", _Between(keyring, searching.ShelfTokens))
    tokens.of(DAY, ORG)
    assert [key for key in tokens._shelves if key[0] == DAY] == []
    keyring._derived.clear()
    with pytest.raises(SecretDestroyed):
        tokens.of(DAY, ORG)
