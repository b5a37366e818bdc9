"""Sealing: a key for each (purpose, shelf, organisation), and what is sealed bound to its place.

Byte layout of what is sealed, format 1:

    0x01 || nonce (12, random) || AES-256-GCM ciphertext || tag (16)

Associated data: length-prefixed format version, shelf, organisation handle, and whatever else binds the row (for a text
its id and its commitment). A row moved to any other place does not open.
"""

import os
import struct
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from textkeep.archive.keyring import Keyring, Purpose, prefixed
from textkeep.archive.recent import Recent
from textkeep.archive.ring import NONCE_BYTES
from textkeep.archive.text import Handle
from textkeep.errors import Unsound

FORMAT: Final = b"\x01"
GCM_TAG_BYTES: Final = 16

CIPHERS: Final = 8_192
"""How many ciphers are kept in memory (about 2.9 KB each), those used last: two purposes of 398 days, ten times."""

_LENGTH: Final = struct.Struct(">I").pack


class CannotOpen(Unsound):
    """Sealed bytes are not what was sealed in this place: altered, moved, or under another key."""

    problem = "cannot-open"
    title = "A sealed record does not open"
    remedy = "Restore the database, or ask for the audit of that day; the record counts as held until it is decided."


class Sealer:
    """Seals and opens under the keys of a keyring.

    Its ciphers go as soon as the secret behind them is destroyed, and are not used without the keyring's lease.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._ciphers: Recent[tuple[str, str, bytes], tuple[AESGCM, bytes]] = Recent(CIPHERS)
        self._sealed = self._opened = self._derived = 0
        keyring.subscribe(lambda _name: self._ciphers.clear())

    def operations(self) -> dict[str, int]:
        """How often keys were derived, and used to seal and to open; threads that meet may lose a count."""
        return {"derive": self._derived, "seal": self._sealed, "open": self._opened}

    def seal(self, purpose: Purpose, shelf: str, org: Handle, bound: Sequence[bytes], plain: bytes) -> bytes:
        """Seal `plain` in its place. Raises SecretDestroyed or SecretMissing, and Outage without a lease."""
        nonce = os.urandom(NONCE_BYTES)
        cipher, place = self._cipher(purpose, shelf, org)
        self._sealed += 1
        return FORMAT + nonce + cipher.encrypt(nonce, plain, place + prefixed(*bound))

    def seal_all(
        self, purpose: Purpose, shelf: str, org: Handle, wanted: Sequence[tuple[bytes, bytes, Sequence[bytes]]]
    ) -> list[bytes]:
        """Seal many of one place at once: each what binds it, in two parts, and its content in pieces.

        Raises like `seal`.
        """
        cipher, place = self._cipher(purpose, shelf, org)
        self._sealed += len(wanted)
        nonces = os.urandom(NONCE_BYTES * len(wanted))
        sealed: list[bytes] = []
        for at, (one, other, pieces) in enumerate(wanted):
            nonce = nonces[at * NONCE_BYTES : (at + 1) * NONCE_BYTES]
            bound = b"".join((place, _LENGTH(len(one)), one, _LENGTH(len(other)), other))
            sealed.append(FORMAT + nonce + cipher.encrypt(nonce, b"".join(pieces), bound))
        return sealed

    def open(self, purpose: Purpose, shelf: str, org: Handle, bound: Sequence[bytes], sealed: bytes) -> bytes:
        """What was sealed in that place. Raises like `seal`, and CannotOpen."""
        if sealed[:1] != FORMAT:
            raise CannotOpen("a sealed record is of no known format")
        start = 1 + NONCE_BYTES
        try:
            cipher, place = self._cipher(purpose, shelf, org)
            self._opened += 1
            return cipher.decrypt(sealed[1:start], sealed[start:], place + prefixed(*bound))
        except (InvalidTag, ValueError):
            raise CannotOpen("a sealed record does not open in its place") from None

    def unauthenticated(self, purpose: Purpose, shelf: str, org: Handle, sealed: bytes) -> bytes:
        """What these bytes decrypt to if nobody altered them, without any proof of it: for what is carried over.

        AES-GCM encrypts in counter mode from block 2 on (NIST SP 800-38D, 7.1); its tag is left aside. Nothing where
        there are too few bytes. Raises like `seal`.
        """
        nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES : -GCM_TAG_BYTES]
        if len(nonce) < NONCE_BYTES or not body:
            return b""
        key = self._keyring.derive(purpose, shelf, org)
        counter = modes.CTR(nonce + (2).to_bytes(4, "big"))
        return Cipher(algorithms.AES(key), counter).decryptor().update(body)

    def _cipher(self, purpose: Purpose, shelf: str, org: Handle) -> tuple[AESGCM, bytes]:
        """A cipher and the part of the associated data that all it seals has in common."""
        self._keyring.live()
        name = (purpose, shelf, org)
        found = self._ciphers.recall(name)
        if found is None:
            self._derived += 1
            place = prefixed(FORMAT, shelf.encode(), org)
            found = (AESGCM(self._keyring.derive(purpose, shelf, org)), place)
            self._ciphers.keep(name, found)
            if not self._keyring.opens(shelf, org):  # destroyed in the meantime: what was just kept must not outlive it
                self._ciphers.pop(name, None)
                self._keyring.derive(purpose, shelf, org)
        return found
