"""A shelf's papers: what else is sealed on it and goes with it, beside the texts.

Quarantined records, vocabulary segments and activity detail; on a shelf of held texts also what could not be opened
when it was carried there (`undecided`). Each is sealed under the key of its own purpose, bound to its kind, its id, its
commitment, its slice and the moment it was made; the salt of the commitment stands before the content, as with a text.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, delete, func, select

from textkeep.archive.keyring import Purpose, SecretMissing
from textkeep.archive.permit import Permit
from textkeep.archive.sealing import CannotOpen, Sealer
from textkeep.archive.text import SALT_BYTES, Handle, commitment
from textkeep.store.bulk import insert_paper
from textkeep.store.columns import ticks
from textkeep.store.tables import papers_of

Kind = Literal["quarantine", "vocabulary", "activity", "undecided"]
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
    plain: bytes = field(repr=False)
    salt: bytes = field(default=b"", repr=False)


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
        paper_id: bytes | None = None,
    ) -> Paper:
        """Seal `plain` on a shelf that the caller holds locked, and give the paper it became; under a new id as a rule.

        `paper_id` is for what must not be there twice.
        """
        salt = os.urandom(SALT_BYTES)
        named = paper_id or os.urandom(PAPER_ID_BYTES)
        paper = Paper(named, kind, org, slice_id, now, commitment(salt, plain), plain, salt)
        self.carry(connection, shelf, paper)
        return paper

    def carry(self, connection: Connection, shelf: str, paper: Paper) -> None:
        """Seal a paper that was opened elsewhere on a shelf that the caller holds locked, with its own id and salt."""
        kind, org, slice_id, at, committed = paper.kind, paper.org, paper.slice, paper.made_at, paper.commitment
        bound = _bound(kind, paper.id, committed, at, slice_id)
        sealed = self._sealer.seal(_purpose(kind), shelf, org, bound, paper.salt + paper.plain)
        insert_paper(connection, shelf, (paper.id, kind, org, slice_id, committed, len(paper.plain), ticks(at), sealed))

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

    def ids(self, connection: Connection, shelf: str, kinds: Collection[Kind]) -> list[bytes]:
        """The ids of the papers of some kinds, whether or not they open."""
        table = papers_of(shelf)
        return list(connection.scalars(select(table.c.id).where(table.c.kind.in_(kinds)).order_by(table.c.id)))

    def examine(
        self, connection: Connection, shelf: str, ids: Sequence[bytes]
    ) -> Iterator[tuple[Row[Any], Paper | None]]:
        """Rows of papers by their ids, `LOOKUP` at most, each with what it opens to; None where it does not open."""
        table = papers_of(shelf)
        for row in connection.execute(select(table).where(table.c.id.in_(ids))).all():
            try:
                yield row, self._opened(shelf, row)
            except (CannotOpen, SecretMissing, OverflowError):
                yield row, None

    def unauthenticated(self, shelf: str, row: Row[Any]) -> bytes:
        """What a row that does not open was sealed from, as far as that can be told; nothing vouches for it."""
        try:
            return self._sealer.unauthenticated(_purpose(row.kind), shelf, row.org, row.sealed)
        except SecretMissing:
            return b""

    def remove(self, connection: Connection, shelf: str, ids: Sequence[bytes]) -> None:
        """Take vocabulary out that other segments have replaced in the same transaction, and no other paper."""
        table = papers_of(shelf)
        for start in range(0, len(ids), LOOKUP):
            some = ids[start : start + LOOKUP]
            connection.execute(delete(table).where(table.c.kind == "vocabulary", table.c.id.in_(some)))

    def take_out(self, connection: Connection, shelf: str, paper_id: bytes, permit: Permit) -> None:
        """Take one paper out whose end was permitted for that shelf. Raises ValueError for a permit for another."""
        if permit.shelf != shelf:
            raise ValueError("the permit is for another shelf")
        table = papers_of(shelf)
        connection.execute(delete(table).where(table.c.id == paper_id))

    def counts(self, connection: Connection, shelf: str) -> dict[str, int]:
        """How many papers of each kind there are."""
        table = papers_of(shelf)
        counted = connection.execute(select(table.c.kind, func.count()).group_by(table.c.kind))
        return {row[0]: row[1] for row in counted}

    def _opened(self, shelf: str, row: Row[Any]) -> Paper:
        bound = _bound(row.kind, row.id, row.commitment, row.made_at, row.slice)
        opened = self._sealer.open(_purpose(row.kind), shelf, row.org, bound, row.sealed)
        salt, plain = opened[:SALT_BYTES], opened[SALT_BYTES:]
        if commitment(salt, plain) != row.commitment or len(plain) != row.size:
            raise CannotOpen("a sealed record does not match its row")
        return Paper(row.id, row.kind, row.org, row.slice, row.made_at, row.commitment, plain, salt)


def _purpose(kind: Kind) -> Purpose:
    return "quarantine" if kind == "undecided" else kind


def _bound(kind: str, paper_id: bytes, committed: bytes, made_at: datetime, slice_id: int | None) -> list[bytes]:
    """What binds a paper to its row; the moment and the slice in 8 bytes each, no slice in none."""
    at = ticks(made_at).to_bytes(8, "big", signed=True)
    return [kind.encode(), paper_id, committed, at, b"" if slice_id is None else slice_id.to_bytes(8, "big")]
