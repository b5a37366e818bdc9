"""What accepting stands on while its transaction is open, and what it will tell the ledger."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from textkeep.archive.papers import Papers
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelf import Shelf, State
from textkeep.archive.text import Handle
from textkeep.errors import Unsound
from textkeep.ledger import tree

OPEN_AGAIN: Final = "Start the archive again: shelves are opened 30 days ahead at every start and every hour."

Covered = Callable[[Handle, bytes, datetime], bool]
"""Whether a hold in force covers a record: its organisation, its exact bytes, when it came."""

Holds = Callable[[Connection], Covered]
"""Port: the legal holds in force, read in the caller's transaction. It MUST count as covered what it cannot decide."""

Keeps = Callable[[Connection, Handle], Shelf | None]
"""The open shelf of an organisation's held texts, locked until the transaction ends; None where there is none."""


def no_holds(_connection: Connection) -> Covered:
    """The holds of an archive in which none can be placed."""
    return lambda _org, _raw, _at: False


def keeps_nothing(_connection: Connection, _org: Handle) -> Shelf | None:
    """The shelves of held texts of such an archive."""
    return None


@dataclass(frozen=True, slots=True)
class Accepting:
    """What accepting stands on while its transaction is open."""

    connection: Connection
    states: dict[str, State]
    sealer: Sealer
    papers: Papers
    now: datetime
    holds: Holds = no_holds
    keeps: Keeps = keeps_nothing
    entries: list[tuple[str, dict[str, object], str | None]] = field(default_factory=list)
    """What the ledger will be told when everything else is written: kind, body, shelf."""
    leaves: list[dict[str, object]] = field(default_factory=list)
    """The leaves behind the roots of these entries, as rows."""

    def tell(self, kind: str, body: dict[str, object], shelf: Shelf, of: str, members: Sequence[bytes]) -> str:
        """Remember an entry whose root is over the set of these leaves, and give the root (hex)."""
        root = tree.root_of_set(members).hex()
        self.entries.append((kind, {**body, "root": root}, shelf))
        self.leaves.append({"id": of, "shelf": shelf, "hashes": b"".join(sorted(members))})
        return root

    def takes(self, shelf: str) -> bool:
        """Whether a shelf still takes texts."""
        return self.states.get(shelf) == "open"

    def has_closed(self, shelf: str) -> bool:
        """Whether a shelf's purge has begun. Raises Unsound where a day that is not over has no shelf at all."""
        if shelf not in self.states:
            raise Unsound("a day that is not over has no shelf", remedy=OPEN_AGAIN)
        return not self.takes(shelf)
