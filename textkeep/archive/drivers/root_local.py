"""A root key in a file: for one machine, or for machines that share a folder, and as strong as that folder's disk."""

import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from textkeep.archive.drivers.files import blank_durably, make_folder, sync_folder, write_durably
from textkeep.archive.ring import Fate
from textkeep.errors import Outage, Unsound

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12

_ID: Final = re.compile(r"[0-9a-f]{16}")


class LocalRoot:
    """`Root` over a folder of key files (0600), named by random ids.

    Forgetting one overwrites its bytes before the name goes. On copy-on-write and flash storage the old blocks may
    outlive that; docs/cryptographic-erase.md says so, and an HSM or a KMS is the way out.

    Processes that share a folder run as one user. Each key is written once and read by its name, so a file that is
    half there (being made, being overwritten) is a key that does not open anything; whoever reads one that is just
    being forgotten finds a newer ring. Each keyring has a folder of its own (`shared_folder`): who finishes what a
    crash left over forgets every root that its ring does not stand on.
    """

    kind = "local"
    waiting: timedelta | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            make_folder(folder)
        except OSError as exc:
            raise Outage("the folder of the root keys cannot be made", retry_after=30) from exc

    def create(self) -> str:
        """A new key of 32 random bytes in a file of its own."""
        root = os.urandom(8).hex()
        try:
            write_durably(self._folder / root, os.urandom(KEY_BYTES))
            sync_folder(self._folder)
        except OSError as exc:
            raise Outage("no root key can be written", retry_after=30) from exc
        return root

    def wrap(self, root: str, key: bytes) -> bytes:
        """nonce (12) || AES-256-GCM of `key`, with the root's id as associated data."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self._key(root)).encrypt(nonce, key, root.encode())

    def unwrap(self, root: str, wrapped: bytes) -> bytes:
        """The key that `wrap` sealed. Raises Unsound where the root is gone or the bytes are not its own."""
        try:
            return AESGCM(self._key(root)).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], root.encode())
        except (InvalidTag, ValueError):  # or too short to be anything
            raise Unsound("the keyring was not sealed under this root") from None

    def forget(self, root: str) -> None:
        """Overwrite the key, then remove it. Raises Outage where that cannot be done; then it is still there."""
        path = self._folder / root
        if root not in self.known():
            return
        try:
            with suppress(FileNotFoundError):  # somebody else forgets it too
                blank_durably(path)
            path.unlink(missing_ok=True)
            sync_folder(self._folder)
        except OSError as exc:
            raise Outage("a root key cannot be destroyed", retry_after=30) from exc

    def known(self) -> set[str]:
        """The ids of the roots in the folder; whatever else lies there is none."""
        try:
            return {path.name for path in self._folder.iterdir() if _ID.fullmatch(path.name)}
        except OSError as exc:
            raise Outage("the root keys cannot be read", retry_after=30) from exc

    def fate(self, root: str) -> Fate:
        """Gone from this folder, or there; of copies of the file nothing is known."""
        return Fate(gone=root not in self.known())

    def _key(self, root: str) -> bytes:
        if not _ID.fullmatch(root):
            raise _missing()
        try:
            key = (self._folder / root).read_bytes()
        except FileNotFoundError:
            raise _missing() from None
        except OSError as exc:
            raise Outage("the root keys cannot be read", retry_after=30) from exc
        if len(key) != KEY_BYTES:
            raise Unsound("the root key of the keyring is damaged")
        return key


def shared_folder(folder: Path, keyring: str) -> Path:
    """Where in a folder that machines share the roots of one keyring lie, by its id (`keyring.identity`)."""
    if not _ID.fullmatch(keyring):
        raise ValueError("not the id of a keyring")
    return folder / keyring


def _missing() -> Unsound:
    return Unsound(
        "the root key of the keyring is missing",
        remedy="Restore the keyring and its root together, from one backup of the keyring.",
    )
