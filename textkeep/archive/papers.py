"""A shelf's papers: what else is sealed on it and goes with it, beside the texts.

Quarantined records, vocabulary segments and activity detail. Each is sealed under the key of its own purpose, bound to
its kind, its id, its commitment, its slice and the moment it was made; the salt of the commitment stands before the
content, as with a text.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, delete, func, select

from textkeep.archive.sealing import CannotOpen, Sealer
from textkeep.archive.text import SALT_BYTES, Handle, commitment
from textkeep.store.bulk import insert_paper
from textkeep.store.tables import papers_of, ticks

Kind = Literal["quarantine", "vocabulary", "activity"]
PAPER_ID_BYTES: Final = 16

LOOKUP: Final = 500
"""How many ids one statement takes."""


@dataclass(frozen=True, slots=True)
class Paper:
    """One sealed side record, opened."""

    id: bytes
    kind: Kind
    org: Handle
    slice: int | None
    made_at: datetime
    commitment: bytes
    plain: bytes


class Papers:
    """Adds, opens and counts the papers of a shelf, in the caller's transaction."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def add(
        self,
        connection: Connection,
        shelf: str,
        kind: Kind,
        org: Handle,
        plain: bytes,
        *,
        now: datetime,
        slice_id: int | None = None,
    ) -> Paper:
        """Seal `plain` on a shelf that the caller holds locked, and give the paper it became."""
        paper_id, salt = os.urandom(PAPER_ID_BYTES), os.urandom(SALT_BYTES)
        committed = commitment(salt, plain)
        sealed = self._sealer.seal(kind, shelf, org, _bound(kind, paper_id, committed, now, slice_id), salt + plain)
        row = (paper_id, kind, org, slice_id, committed, len(plain), ticks(now), sealed)
        insert_paper(connection, shelf, row)
        return Paper(paper_id, kind, org, slice_id, now, committed, plain)

    def of_kind(self, connection: Connection, shelf: str, kind: Kind, org: Handle | None = None) -> Iterator[Paper]:
        """The papers of one kind, of one organisation or of all, oldest first. Raises CannotOpen at a damaged one."""
        table = papers_of(shelf)
        wanted = select(table).where(table.c.kind == kind).order_by(table.c.made_at, table.c.id)
        if org is not None:
            wanted = wanted.where(table.c.org == org)
        for row in connection.execute(wanted):
            yield self._opened(shelf, row)

    def get(self, connection: Connection, shelf: str, paper_id: bytes) -> Paper | None:
        """One paper by its id, or None."""
        table = papers_of(shelf)
        row = connection.execute(select(table).where(table.c.id == paper_id)).one_or_none()
        return None if row is None else self._opened(shelf, row)

    def remove(self, connection: Connection, shelf: str, ids: Sequence[bytes]) -> None:
        """Take papers out that others have replaced in the same transaction (vocabulary that was compacted)."""
        table = papers_of(shelf)
        for start in range(0, len(ids), LOOKUP):
            connection.execute(delete(table).where(table.c.id.in_(ids[start : start + LOOKUP])))

    def counts(self, connection: Connection, shelf: str) -> dict[str, int]:
        """How many papers of each kind there are."""
        table = papers_of(shelf)
        counted = connection.execute(select(table.c.kind, func.count()).group_by(table.c.kind))
        return {row[0]: row[1] for row in counted}

    def _opened(self, shelf: str, row: Row[Any]) -> Paper:
        bound = _bound(row.kind, row.id, row.commitment, row.made_at, row.slice)
        opened = self._sealer.open(row.kind, shelf, row.org, bound, row.sealed)
        plain = opened[SALT_BYTES:]
        if commitment(opened[:SALT_BYTES], plain) != row.commitment or len(plain) != row.size:
            raise CannotOpen("a sealed record does not match its row")
        return Paper(row.id, row.kind, row.org, row.slice, row.made_at, row.commitment, plain)


def _bound(kind: str, paper_id: bytes, committed: bytes, made_at: datetime, slice_id: int | None) -> list[bytes]:
    """What binds a paper to its row; the moment and the slice in 8 bytes each, no slice in none."""
    at = ticks(made_at).to_bytes(8, "big", signed=True)
    return [kind.encode(), paper_id, committed, at, b"" if slice_id is None else slice_id.to_bytes(8, "big")]
