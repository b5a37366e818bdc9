"""The port to legal holds: what a purge must ask before its point of no return."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
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
    or decided and counts as covered.
    """

    id: str
    examined: int
    kept: int
    undecided: int
    records: int
    review_overdue: bool


@dataclass(frozen=True, slots=True)
class Covered:
    """What is held of a shelf: of texts the leaves, by its own slices, of quarantined and undecided records the ids."""

    texts: Mapping[int, frozenset[bytes]] = field(default_factory=dict)
    records: frozenset[bytes] = frozenset()

    def lies_in(self, there: "Covered") -> bool:
        """Whether everything that is held is there."""
        none: frozenset[bytes] = frozenset()
        texts = all(members <= there.texts.get(slice_id, none) for slice_id, members in self.texts.items())
        return texts and self.records <= there.records

    def beside(self, held: "Covered") -> frozenset[bytes]:
        """The leaves of texts that lie here and are not among those that are held."""
        none: frozenset[bytes] = frozenset()
        return none.union(*(members - held.texts.get(slice_id, none) for slice_id, members in self.texts.items()))


@dataclass(frozen=True, slots=True)
class Kept:
    """What the holds in force did with a shelf: texts looked at, kept, and kept because undecided.

    Each text counts once, however many holds cover it. `slices` names (hex) those in which something was undecided;
    `records` counts quarantined records looked at and kept, `undecided_records` those of them that did not open.
    `covered` says which they are. A `digest` of no bytes is that of no set: the holds changed under way.
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
    covered: Covered = field(default_factory=Covered)


class HoldsInForce(Protocol):
    """Legal holds, as a purge sees them.

    `digest` MUST take, in the caller's transaction, the lock that placing and releasing a hold take first, and MUST
    differ whenever the set of active holds does. `keep` MUST leave every covered text and record, and every one that
    cannot be opened or decided, on a shelf of held texts, committed and read back, before it returns; it works in
    transactions of its own under that lock, MUST be idempotent and MUST NOT decide by the index. What it gives counts
    only while the digest is the one it names: where the set changes under way it may have left things out, and MUST
    name none. `there` MUST read back what is kept of a shelf from where it is kept: of texts SHA-256(org handle ||
    commitment), by slice. `check` MUST raise where it cannot be shown that every hold is known.
    """

    def agree(self) -> None:
        """Before a run: mend what ledger, database and keyring can mend of each other. Raises Unsound for the rest."""

    def digest(self, connection: Connection) -> bytes:
        """What names the set of active holds."""

    def check(self, connection: Connection) -> None:
        """Raise Unsound where ledger, database and keyring do not name the same holds now."""

    def keep(self, transaction: Transaction, shelf: str) -> Kept:
        """Carry over what is covered."""

    def there(self, connection: Connection, shelf: str) -> Covered:
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

    def there(self, _connection: Connection, _shelf: str) -> Covered:
        """Nothing is kept."""
        return Covered()
