"""The mark of a token's row: HMAC-SHA-256, by which the service knows what it wrote itself.

Whoever can write to the database and has no key of the keyring's makes no row that is accepted. Format 1, each part
behind its length in 4 bytes (big-endian), moments as 8 bytes (microseconds since 1970), none as no bytes:

    "textkeep-token-v1" || id || hash || person || roles || orgs || created at || expires at || revoked at || side
"""

import hmac
import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from textkeep.store.columns import ticks

Mac = Callable[[bytes], bytes]
"""Port: HMAC-SHA-256 under a key that MUST NOT lie in the database; MAY raise where the key cannot be used now."""

LABEL: Final = b"textkeep-token-v1"

BOUND: Final = ("id", "hash", "person", "roles", "orgs", "created_at", "expires_at", "revoked_at", "side")
"""The columns that are bound: every one but the mark itself."""

_LENGTH: Final = struct.Struct(">I").pack


def marked(row: Mapping[Any, Any], mac: Mac) -> dict[str, Any]:
    """The columns of a row, with their mark."""
    return {**row, "mark": _mark(row, mac)}


def genuine(row: Mapping[Any, Any], mac: Mac) -> bool:
    """Whether a row is as the service wrote it, found out in constant time. Raises what `mac` raises."""
    found = row["mark"]
    return isinstance(found, bytes) and hmac.compare_digest(found, _mark(row, mac))


def _mark(row: Mapping[Any, Any], mac: Mac) -> bytes:
    parts = [LABEL, *(_bytes(row[name]) for name in BOUND)]
    return mac(b"".join(piece for part in parts for piece in (_LENGTH(len(part)), part)))


def _bytes(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, datetime):
        return ticks(value).to_bytes(8, "big", signed=True)
    return value.encode() if isinstance(value, str) else bytes(value)
