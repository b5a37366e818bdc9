"""The port to legal holds: what a purge must ask before its point of no return."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from sqlalchemy import Connection

NO_HOLDS: Final = hashlib.sha256(b"[]").digest()
"""The digest of the empty set: SHA-256 of the canonical JSON list of nothing."""

Transaction = Callable[[], AbstractContextManager[Connection]]
"""Begins a transaction of the run's own, which commits when it is left."""


class HoldKept(msgspec.Struct, frozen=True):
    """What one hold did with a shelf: `examined` are the texts of its organisation that were looked at.

    `kept` counts the texts it covers, `records` the quarantined records, `undecided` what of both could not be opened
    or decided and counts as covered. `entry` is the `seq` of the hold's ledger entry.
    """

    id: str
    entry: int
    examined: int
    kept: int
    undecided: int
    records: int
    review_overdue: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """What the holds in force did with a shelf: texts looked at, kept, and kept because undecided.

    Each text counts once, however many holds cover it. `slices` names (hex) those in which something was undecided;
    `records` counts quarantined records looked at and kept, `undecided_records` those of them that did not open.
    """

    digest: bytes
    holds: tuple[HoldKept, ...]
    examined: int
    kept: int
    undecided: int
    slices: tuple[str, ...] = ()
    records_examined: int = 0
    records_kept: int = 0
    records_undecided: int = 0


class HoldsInForce(Protocol):
    """Legal holds, as a purge sees them.

    `digest` MUST take, in the caller's transaction, the lock that placing and releasing a hold take first, and MUST
    differ whenever the set of active holds does. `keep` MUST leave every covered text and record, and every one that
    cannot be opened or decided, on a shelf of held texts, committed and read back, before it returns; it works in
    transactions of its own under that lock, MUST be idempotent and MUST NOT decide by the index. What it gives counts
    only while the digest is the one it names: where the set changes under way it may have left things out. `leaves`
    MUST read back what is kept of a shelf, by slice, from where it is kept: SHA-256(org handle || commitment) of each
    text. `check` MUST raise where it cannot be shown that every hold is known.
    """

    def agree(self) -> None:
        """Before a run: mend what ledger, database and keyring can mend of each other. Raises Unsound for the rest."""

    def digest(self, connection: Connection) -> bytes:
        """What names the set of active holds."""

    def check(self, connection: Connection) -> None:
        """Raise Unsound where ledger, database and keyring do not name the same holds now."""

    def keep(self, transaction: Transaction, shelf: str) -> Kept:
        """Carry over what is covered."""

    def leaves(self, connection: Connection, shelf: str) -> Mapping[int, frozenset[bytes]]:
        """What is kept of a shelf."""


class NoHolds:
    """The holds in force in an archive in which no hold can be placed: the empty set."""

    def agree(self) -> None:
        """There is nothing to agree on."""

    def digest(self, _connection: Connection) -> bytes:
        """The digest of the empty set."""
        return NO_HOLDS

    def check(self, _connection: Connection) -> None:
        """There is none that could be missing."""

    def keep(self, _transaction: Transaction, _shelf: str) -> Kept:
        """Nothing is covered, so nothing is looked at and nothing carried over."""
        return Kept(NO_HOLDS, (), 0, 0, 0)

    def leaves(self, _connection: Connection, _shelf: str) -> Mapping[int, frozenset[bytes]]:
        """Nothing is kept."""
        return {}
