"""The port to legal holds: what a purge must ask before its point of no return."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection

NO_HOLDS: Final = hashlib.sha256(b"[]").digest()
"""The digest of the empty set: SHA-256 of the canonical JSON list of nothing."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the holds in force did with a shelf: texts looked at, carried over, and carried because undecided."""

    digest: bytes
    holds: tuple[str, ...]
    examined: int
    kept: int
    undecided: int


class HoldsInForce(Protocol):
    """Legal holds, as a purge sees them.

    `digest` MUST take, in the caller's transaction, the lock that placing and releasing a hold take first, and MUST
    differ whenever the set of active holds does. `keep` MUST leave every covered text, and every one that cannot be
    opened or decided, on a shelf of held texts, read back, when the caller's transaction commits; it MUST be idempotent
    and MUST NOT decide by the index. `leaves` MUST read back what is kept of a shelf, by slice, from where it is kept:
    SHA-256(org handle || commitment) of each text.
    """

    def digest(self, connection: Connection) -> bytes:
        """What names the set of active holds."""

    def keep(self, connection: Connection, shelf: str) -> Kept:
        """Carry over what is covered."""

    def leaves(self, connection: Connection, shelf: str) -> Mapping[int, frozenset[bytes]]:
        """What is kept of a shelf."""


class NoHolds:
    """The holds in force in a version in which no hold can be placed: the empty set."""

    def digest(self, _connection: Connection) -> bytes:
        """The digest of the empty set."""
        return NO_HOLDS

    def keep(self, _connection: Connection, _shelf: str) -> Kept:
        """Nothing is covered, so nothing is looked at and nothing carried over."""
        return Kept(NO_HOLDS, (), 0, 0, 0)

    def leaves(self, _connection: Connection, _shelf: str) -> Mapping[int, frozenset[bytes]]:
        """Nothing is kept."""
        return {}
