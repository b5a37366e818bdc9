"""The ring: what the keyring's one document holds, how it is sealed, and which ring may come after which.

The document is sealed under a data key that a *root* wraps:

    b"textkeep-ring-v1\\n" || header || b"\\n" || nonce (12) || AES-256-GCM

with everything before the nonce as associated data; the header is canonical JSON (root id, generation, wrapped key).

Every change makes a ring of the next generation. A ring never goes back: generations grow, secrets keep their bytes
until they are destroyed, tombstones stay. The roots of earlier rings are *spent*: a ring that names them says that no
ring will ever be sealed under them again, which is why anybody may forget them, at any time and twice.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import rfc8785
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from textkeep.errors import Unsound

SECRET_BYTES: Final = 32
NONCE_BYTES: Final = 12

_MAGIC: Final = b"textkeep-ring-v1\n"


@dataclass(frozen=True, slots=True)
class Fate:
    """What has become of a root: `gone` for good, or going at `ends_at`, or neither, and then it is there."""

    gone: bool
    ends_at: datetime | None = None


class Root(Protocol):
    """What wraps the ring's data key; the roots that one object knows belong to one keyring and one use of it.

    `create` and `forget` MUST be durable when they return. `forget` MUST make every copy of what that root wrapped
    unreadable as far as this root reaches, and MUST do nothing for a root that is not there. Nothing here MUST ever
    print or log a key. Several processes may use the same roots at once. Everything raises Outage where the roots
    cannot be reached.
    """

    kind: str

    waiting: timedelta | None
    """How long after `forget` a root may still be brought back by who controls it. None where a root is a file: then
    only people know whether there is another copy of it."""

    def create(self) -> str:
        """Make a new root and give its id."""

    def wrap(self, root: str, key: bytes) -> bytes:
        """Seal `key` under a root. Raises Unsound where the root is gone."""

    def unwrap(self, root: str, wrapped: bytes) -> bytes:
        """The key that `wrap` sealed. Raises Unsound where the root is gone or the bytes are not its own."""

    def forget(self, root: str) -> None:
        """Destroy a root."""

    def known(self) -> set[str]:
        """The ids of the roots there are, without those that were forgotten."""

    def fate(self, root: str) -> Fate:
        """What has become of a root, as its keeper tells now."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of a destroyed secret.

    `generation` is that of the first ring without it, and `root` the last one that sealed a ring with it; 0 and "" for
    one that a version before these were recorded has left.
    """

    name: str
    commitment: bytes
    destroyed_at: str
    entry: str
    generation: int = 0
    root: str = ""


@dataclass(frozen=True, slots=True)
class Ring:
    """The secrets of one generation. One without any is a ring whose secrets this process has let go, or none yet."""

    generation: int
    root: str
    secrets: Mapping[str, bytes] = field(repr=False)
    tombstones: Mapping[str, Tombstone]
    spent: frozenset[str]


NO_RING: Final = Ring(0, "", {}, {}, frozenset())


def check_follows(old: Ring, new: Ring) -> None:
    """Raises Unsound where `new` cannot have come of `old`: it is older, or of another line.

    Nothing may be derived from such a ring: it may hold what was destroyed, and lack what was made since.
    """
    older = new.generation < old.generation or not old.tombstones.items() <= new.tombstones.items()
    lost = old.secrets.keys() - new.secrets.keys() - new.tombstones.keys()
    altered = any(new.secrets.get(name, secret) != secret for name, secret in old.secrets.items())
    forked = bool(old.secrets) and new.generation == old.generation and new != old
    if older or lost or altered or forked or new.secrets.keys() & new.tombstones.keys():
        raise Unsound(
            "an older keyring, or another one, was restored under a running archive",
            field="TEXTKEEP_KEYRING_URL",
            remedy="Stop every process, restore the newest keyring there is, then start again.",
        )


def sealed(ring: Ring, root: Root) -> bytes:
    """The document of a ring, under a data key of its own. Raises Unsound where its root is gone."""
    key = os.urandom(SECRET_BYTES)
    header = rfc8785.dumps(
        {"root": ring.root, "generation": ring.generation, "wrapped": root.wrap(ring.root, key).hex()}
    )
    inside = written(ring)
    clear = _MAGIC + header + b"\n"
    nonce = os.urandom(NONCE_BYTES)
    return clear + nonce + AESGCM(key).encrypt(nonce, json.dumps(inside).encode(), clear)


def opened(document: bytes, root: Root) -> Ring:
    """The ring of a document. Raises Unsound where it does not open."""
    try:
        magic, header, body = document.split(b"\n", 2)
        clear = magic + b"\n" + header + b"\n"
        said = json.loads(header)
        key = root.unwrap(said["root"], bytes.fromhex(said["wrapped"]))
        inside: dict[str, Any] = json.loads(AESGCM(key).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], clear))
    except (ValueError, KeyError, TypeError, InvalidTag):
        raise Unsound(
            "the keyring does not open",
            remedy="Restore the keyring and its root together, from one backup of the keyring.",
        ) from None
    return told(said["generation"], said["root"], inside)


def written(ring: Ring) -> dict[str, Any]:
    """What a ring holds, as JSON: the inside of its document, and of a backup."""
    return {
        "secrets": {name: secret.hex() for name, secret in ring.secrets.items()},
        "tombstones": {
            stone.name: {
                "commitment": stone.commitment.hex(),
                "at": stone.destroyed_at,
                "entry": stone.entry,
                "generation": stone.generation,
                "root": stone.root,
            }
            for stone in ring.tombstones.values()
        },
        "spent": sorted(ring.spent),
    }


def told(generation: int, root: str, inside: Mapping[str, Any]) -> Ring:
    """The ring that `written` gave. Raises KeyError, ValueError or TypeError where it gave something else."""
    secrets = {name: bytes.fromhex(secret) for name, secret in inside["secrets"].items()}
    stones = {
        name: Tombstone(
            name,
            bytes.fromhex(stone["commitment"]),
            stone["at"],
            stone["entry"],
            stone.get("generation", 0),
            stone.get("root", ""),
        )
        for name, stone in inside["tombstones"].items()
    }
    return Ring(generation, root, secrets, stones, frozenset(inside.get("spent", ())))
