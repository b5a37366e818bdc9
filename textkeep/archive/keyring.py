"""The keyring: named secrets of 32 random bytes, kept apart from all data. Destroying one destroys what it sealed.

The ring is one document, sealed under a data key that a *root* wraps:

    b"textkeep-ring-v1\\n" || header || b"\\n" || nonce (12) || AES-256-GCM

with everything before the nonce as associated data; the header is canonical JSON (root id, generation, wrapped key).
A secret is in the stored ring before anything uses it. Destroying one writes a new root, then the ring under it, then
forgets the old root: every older copy of the ring is then closed. Whatever a crash leaves in between is finished by
`Keyring.finish`.
"""

import hashlib
import json
import os
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol

import rfc8785
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from textkeep.archive.text import HOUSE, Handle
from textkeep.errors import NotFound, Unsound

SECRET_BYTES: Final = 32
NONCE_BYTES: Final = 12
RING: Final = "ring"
HOUSE_SECRET: Final = "house"  # noqa: S105 - a name, not a secret
HOUSE_SHELF: Final = "house"
"""Stands in for a shelf where what is sealed belongs to none: the directory, names of persons."""

DERIVED_KEYS: Final = 100_000
"""How many derived keys are kept in memory before they are derived anew."""

_LENGTH: Final = struct.Struct(">I").pack
_MAGIC: Final = b"textkeep-ring-v1\n"

Purpose = Literal["body", "tag", "token", "vocabulary", "quarantine", "activity", "directory", "hold"]


class SecretMissing(Unsound):
    """The keyring has no secret of that name, and never destroyed one: it is not the keyring of this data."""

    problem = "secret-missing"
    title = "A secret is not in the keyring"
    remedy = "Restore the keyring that belongs to this data; see `textkeep doctor`."


class SecretDestroyed(NotFound):
    """The secret was destroyed by a purge; nothing it sealed can be opened again."""

    problem = "destroyed"
    title = "Destroyed by a purge"
    remedy = "Nothing brings it back; the purge report of its day says when it went."


class Root(Protocol):
    """What wraps the ring's data key.

    `create` and `forget` MUST be durable when they return. `forget` MUST make every copy of what that root wrapped
    unreadable as far as this root reaches, and MUST do nothing for a root that is not there. Nothing here MUST ever
    print or log a key.
    """

    kind: str

    def create(self) -> str:
        """Make a new root and give its id."""

    def wrap(self, root: str, key: bytes) -> bytes:
        """Seal `key` under a root."""

    def unwrap(self, root: str, wrapped: bytes) -> bytes:
        """The key that `wrap` sealed. Raises Unsound where the root is gone or the bytes are not its own."""

    def forget(self, root: str) -> None:
        """Destroy a root."""

    def known(self) -> set[str]:
        """The ids of the roots there are."""


class KeyringStore(Protocol):
    """Where the keyring's documents lie.

    `swap` MUST be durable when it returns, MUST leave either the old or the new document after a crash, and MUST
    refuse with Unsound when the document is no longer `was`. It MUST NOT lie where backups of the data are made.
    """

    def read(self, name: str) -> bytes | None:
        """A document, or None."""

    def swap(self, name: str, was: bytes | None, now: bytes) -> None:
        """Put `now` in the place of `was`."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of a destroyed secret."""

    name: str
    commitment: bytes
    destroyed_at: str
    entry: str


@dataclass(frozen=True, slots=True)
class RingStatus:
    """What may be said of the ring in the open."""

    generation: int
    root: str
    root_kind: str
    secrets: int
    tombstones: int


@dataclass(frozen=True, slots=True)
class _Ring:
    generation: int
    root: str
    secrets: dict[str, bytes]
    tombstones: dict[str, Tombstone]


def commitment_of(name: str, secret: bytes) -> bytes:
    """SHA-256("textkeep-secret-v1" || length-prefixed name || secret): names a secret without telling it."""
    return hashlib.sha256(b"textkeep-secret-v1" + prefixed(name.encode()) + secret).digest()


def prefixed(*parts: bytes) -> bytes:
    """Each part behind its length (4 bytes, big-endian), so that no two lists of parts give the same bytes."""
    return b"".join([piece for part in parts for piece in (_LENGTH(len(part)), part)])


def keyring_missing() -> Unsound:
    """What to say where there is data, and no ring that could open it."""
    return Unsound(
        "there is data here, and its keyring is missing",
        field="TEXTKEEP_KEYRING_URL",
        remedy="Restore the keyring of this data from its own backup; a new one could open none of it.",
    )


def org_secret(org: Handle) -> str:
    """The name of an organisation's secret."""
    return HOUSE_SECRET if org == HOUSE else f"org:{org.hex()}"


def shelf_secret(shelf: str) -> str:
    """The name of a shelf's secret."""
    return HOUSE_SECRET if shelf == HOUSE_SHELF else f"shelf:{shelf}"


class Keyring:
    """The secrets, in memory and in their store."""

    def __init__(self, store: KeyringStore, root: Root, document: bytes | None, ring: _Ring) -> None:
        self._store = store
        self._root = root
        self._document = document
        self._ring = ring
        self._changing = threading.RLock()
        self._derived: dict[tuple[str, str, bytes], bytes] = {}
        self._told: list[Callable[[str], None]] = []

    @classmethod
    def open(cls, store: KeyringStore, root: Root, *, create: bool) -> "Keyring":
        """The keyring in `store`; a new one with the house's secret where there is none and `create` is set.

        Raises Unsound where there is no ring and none may be made, and where the ring does not open. Once it is known
        to be the ring of its data, `finish` ends what a crash left half done.
        """
        document = store.read(RING)
        if document is not None:
            return cls(store, root, document, _opened(document, root))
        if not create:
            raise keyring_missing()
        for left_over in root.known():
            root.forget(left_over)
        keyring = cls(store, root, None, _Ring(0, root.create(), {}, {}))
        keyring.make([HOUSE_SECRET])
        return keyring

    def derive(self, purpose: Purpose, shelf: str, org: Handle) -> bytes:
        """A 32-byte key: HKDF-SHA256(shelf secret || org secret, info = length-prefixed purpose, shelf, org handle).

        RFC 5869, without salt. Raises SecretDestroyed or SecretMissing.
        """
        name = (purpose, shelf, org)
        key = self._derived.get(name)
        if key is None:
            key = self._derive(purpose, shelf, org)
            if len(self._derived) >= DERIVED_KEYS:
                self._derived.clear()
            self._derived[name] = key
            if not self.has(shelf_secret(shelf)) or not self.has(org_secret(org)):
                # Destroyed while it was being derived: what was just kept must not outlive it.
                self._derived.pop(name, None)
                raise SecretDestroyed("its shelf has been purged")
        return key

    def _derive(self, purpose: str, shelf: str, org: Handle) -> bytes:
        material = self._secret(shelf_secret(shelf)) + self._secret(org_secret(org))
        info = prefixed(purpose.encode(), shelf.encode(), org)
        return HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=None, info=info).derive(material)

    def has(self, name: str) -> bool:
        """Whether the secret is there."""
        return name in self._ring.secrets

    def names(self) -> set[str]:
        """The names of all secrets there are."""
        return set(self._ring.secrets)

    def tombstones(self) -> dict[str, Tombstone]:
        """What was destroyed, by name."""
        return dict(self._ring.tombstones)

    def tombstone(self, name: str) -> Tombstone | None:
        """What is left of a secret, or None where it was not destroyed."""
        return self._ring.tombstones.get(name)

    def commitment(self, name: str) -> bytes:
        """What names a secret without telling it; of a destroyed one too. Raises SecretMissing."""
        stone = self._ring.tombstones.get(name)
        return stone.commitment if stone else commitment_of(name, self._secret(name))

    def status(self) -> RingStatus:
        """Counts, generation and root, for reports and the doctor."""
        ring = self._ring
        return RingStatus(ring.generation, ring.root, self._root.kind, len(ring.secrets), len(ring.tombstones))

    def subscribe(self, told: Callable[[str], None]) -> None:
        """Call `told` with the name of each secret that is destroyed, so that nothing derived from it is kept."""
        self._told.append(told)

    def make(self, names: Iterable[str]) -> None:
        """Make secrets that are not there yet; they are on disk when it returns.

        Raises SecretDestroyed for a name that has a tombstone: it is never made again.
        """
        with self._changing:
            ring = self._ring
            wanted = [name for name in names if name not in ring.secrets]
            for name in wanted:
                if name in ring.tombstones:
                    raise SecretDestroyed("a destroyed secret is never made again")
            if wanted:
                new = {name: os.urandom(SECRET_BYTES) for name in wanted}
                self._write(_Ring(ring.generation + 1, ring.root, {**ring.secrets, **new}, ring.tombstones))

    def destroy(self, name: str, *, entry: str, now: datetime) -> Tombstone:
        """Destroy a secret for good and leave its tombstone; where that was begun before, finish it.

        `entry` names the ledger entry that decided it. When it returns, no root but the ring's own is left. Raises
        SecretMissing for a name that never was, ValueError for the house's own, Outage where ring or roots cannot be
        written; then call it again.
        """
        if name == HOUSE_SECRET:
            raise ValueError("the house's secret is never destroyed: it closes no shelf, and opens the directory")
        with self._changing:
            stone = self._ring.tombstones.get(name) or self._bury(name, entry, now)
            self.finish()
        return stone

    def _bury(self, name: str, entry: str, now: datetime) -> Tombstone:
        """Put a tombstone in the place of a secret, in a ring under a new root; nothing derived from it is kept."""
        ring = self._ring
        stone = Tombstone(name, self.commitment(name), now.isoformat(), entry)
        kept = {other: secret for other, secret in ring.secrets.items() if other != name}
        self._write(_Ring(ring.generation + 1, self._root.create(), kept, {**ring.tombstones, name: stone}))
        self._derived.clear()
        for told in self._told:
            told(name)
        return stone

    def finish(self) -> None:
        """Forget every root but the ring's own, once the ring as it is stored is seen to open under that one.

        From there on nothing else opens it: a root that went too early would take every secret with it. Raises Unsound
        where the stored ring is not the one in memory.
        """
        left_over = self._root.known() - {self._ring.root}
        document = self._store.read(RING) if left_over else None
        if left_over and (document is None or _opened(document, self._root) != self._ring):
            raise Unsound(
                "the keyring was changed by somebody else",
                remedy="Stop every other process that uses this keyring, then start again.",
            )
        for root in left_over:
            self._root.forget(root)

    def _secret(self, name: str) -> bytes:
        secret = self._ring.secrets.get(name)
        if secret is None:
            if name in self._ring.tombstones:
                raise SecretDestroyed("its secret was destroyed by a purge")
            raise SecretMissing("the keyring has no secret of that name")
        return secret

    def _write(self, ring: _Ring) -> None:
        document = _sealed(ring, self._root)
        self._store.swap(RING, self._document, document)
        self._document = document
        self._ring = ring


def _sealed(ring: _Ring, root: Root) -> bytes:
    key = os.urandom(SECRET_BYTES)
    header = rfc8785.dumps(
        {"root": ring.root, "generation": ring.generation, "wrapped": root.wrap(ring.root, key).hex()}
    )
    inside = {
        "secrets": {name: secret.hex() for name, secret in ring.secrets.items()},
        "tombstones": {
            stone.name: {"commitment": stone.commitment.hex(), "at": stone.destroyed_at, "entry": stone.entry}
            for stone in ring.tombstones.values()
        },
    }
    clear = _MAGIC + header + b"\n"
    nonce = os.urandom(NONCE_BYTES)
    return clear + nonce + AESGCM(key).encrypt(nonce, json.dumps(inside).encode(), clear)


def _opened(document: bytes, root: Root) -> _Ring:
    try:
        magic, header, sealed = document.split(b"\n", 2)
        clear = magic + b"\n" + header + b"\n"
        said = json.loads(header)
        key = root.unwrap(said["root"], bytes.fromhex(said["wrapped"]))
        inside: dict[str, Any] = json.loads(AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], clear))
    except (ValueError, KeyError, TypeError, InvalidTag):
        raise Unsound(
            "the keyring does not open",
            remedy="Restore the keyring and its root together, from one backup of the keyring.",
        ) from None
    secrets = {name: bytes.fromhex(secret) for name, secret in inside["secrets"].items()}
    stones = {
        name: Tombstone(name, bytes.fromhex(stone["commitment"]), stone["at"], stone["entry"])
        for name, stone in inside["tombstones"].items()
    }
    return _Ring(said["generation"], said["root"], secrets, stones)
