"""A backup of the keyring: one file, sealed under a root of its own, that says in the open what it can open.

    b"textkeep-keyring-backup-v1\\n" || header || b"\\n" || nonce (12) || AES-256-GCM

with everything before the nonce as associated data. The header is canonical JSON: `id`, `keyring` (its id), `made_at`,
`expires_at`, `generation`, `root_kind`, `root`, `wrapped` (the data key, under that root), and the names of the secrets
and of the tombstones. Sealed are the ring as in its own document, and the other documents of the keyring's store.
"""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import rfc8785
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from textkeep.archive.ring import NONCE_BYTES, SECRET_BYTES, Ring, Root, told, written
from textkeep.errors import Conflict, Unsound

LIFE: Final = timedelta(days=7)
"""How long a backup may live. Nothing makes it longer, and none is read after it."""

_MAGIC: Final = b"textkeep-keyring-backup-v1"


@dataclass(frozen=True, slots=True)
class Header:
    """What a backup says of itself; `secrets` and `tombstones` are names."""

    id: str
    keyring: str
    made_at: datetime
    expires_at: datetime
    generation: int
    root_kind: str
    root: str
    secrets: frozenset[str] = field(repr=False)
    tombstones: frozenset[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was opened. Its ring stands on no root: it is to be written under a new one."""

    header: Header
    ring: Ring = field(repr=False)
    documents: Mapping[str, bytes] = field(repr=False)


def sealed(header: Header, ring: Ring, documents: Mapping[str, bytes], root: Root) -> bytes:
    """The bytes of a backup. Raises ValueError for one that would live longer than 7 days."""
    if not timedelta() < header.expires_at - header.made_at <= LIFE:
        raise ValueError("a backup of the keyring lives for 7 days at most")
    key = os.urandom(SECRET_BYTES)
    said: dict[str, Any] = {
        "id": header.id,
        "keyring": header.keyring,
        "made_at": header.made_at.isoformat(),
        "expires_at": header.expires_at.isoformat(),
        "generation": header.generation,
        "root_kind": header.root_kind,
        "root": header.root,
        "wrapped": root.wrap(header.root, key).hex(),
        "secrets": sorted(header.secrets),
        "tombstones": sorted(header.tombstones),
    }
    inside = {
        **written(ring),
        "documents": {name: base64.b64encode(body).decode() for name, body in documents.items()},
    }
    clear = _MAGIC + b"\n" + rfc8785.dumps(said) + b"\n"
    nonce = os.urandom(NONCE_BYTES)
    return clear + nonce + AESGCM(key).encrypt(nonce, json.dumps(inside).encode(), clear)


def header_of(content: bytes) -> Header:
    """What a backup says of itself, not yet shown to be true. Raises Unsound for what is no backup."""
    return _parsed(content)[0]


def opened(content: bytes, root: Root, now: datetime) -> Backup:
    """The backup, where it may still be used. Raises Conflict once it has expired, Unsound where it does not open."""
    header, wrapped, clear, body = _parsed(content)
    if now >= header.expires_at or now >= header.made_at + LIFE:
        raise Conflict(
            f"this backup of the keyring expired on {header.expires_at.isoformat()}; nothing was restored",
            field="FILE",
            remedy="Use a newer one. A backup is used for 7 days at most: what was purged since must not come back.",
        )
    try:
        key = root.unwrap(header.root, wrapped)
        inside: dict[str, Any] = json.loads(AESGCM(key).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], clear))
        ring = told(header.generation, "", inside)
        documents = {name: base64.b64decode(value) for name, value in inside["documents"].items()}
    except (ValueError, KeyError, TypeError, InvalidTag):
        raise Unsound(
            "the backup of the keyring is damaged, or its key is another one; nothing was restored",
            field="FILE",
            remedy="Use another one.",
        ) from None
    return Backup(header, ring, documents)


def _parsed(content: bytes) -> tuple[Header, bytes, bytes, bytes]:
    try:
        magic, header, body = content.split(b"\n", 2)
        said = json.loads(header)
        found = Header(
            id=said["id"],
            keyring=said["keyring"],
            made_at=_moment(said["made_at"]),
            expires_at=_moment(said["expires_at"]),
            generation=int(said["generation"]),
            root_kind=said["root_kind"],
            root=said["root"],
            secrets=frozenset(said["secrets"]),
            tombstones=frozenset(said["tombstones"]),
        )
        wrapped = bytes.fromhex(said["wrapped"])
    except (ValueError, KeyError, TypeError):
        raise _none() from None
    if magic != _MAGIC:
        raise _none()
    return found, wrapped, magic + b"\n" + header + b"\n", body


def _none() -> Unsound:
    return Unsound(
        "this is no backup of a keyring, or a damaged one; nothing was restored",
        field="FILE",
        remedy="Use another one: `textkeep keyring backup` wrote it as keyring-....backup.",
    )


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError
    return found
