"""Carrying: what is held is put on a shelf of held texts, in one transaction, and read back by opening it there.

Each part leaves its leaves and an entry `kept` in the ledger: for texts of one slice one that looks like a slice's own,
with the shelf and slice they come from; for records one with their number and the root over their leaves. Those are
what the rows had where they come from, so that taken = kept + destroyed + lost can be told as sets.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from textkeep.archive.papers import Paper, Papers
from textkeep.archive.rows import Opened, open_with_salt, seal_again
from textkeep.archive.sealing import Sealer
from textkeep.archive.text import Handle, leaf
from textkeep.errors import Outage, Unsound
from textkeep.ledger import log, tree
from textkeep.store.bulk import TextRow, insert_texts, texts_with_tags
from textkeep.store.evidence import kept_papers, kept_slices, leaves
from textkeep.store.once import insert_once
from textkeep.store.tables import papers_of, slices

KEPT_BATCH = "kept"
"""Stands for the batch of a slice that no producer sent."""


@dataclass(frozen=True, slots=True)
class HeldText:
    """A covered text, opened, with the salt of its commitment."""

    opened: Opened
    salt: bytes


@dataclass(frozen=True, slots=True)
class HeldRecord:
    """A covered record as the paper it will be, and the leaf (32 bytes) of the row it was.

    `slice` is that of a text that did not open: it was no record where it lay.
    """

    paper: Paper
    leaf: bytes
    slice: int | None = None


class Carrier:
    """Carries from one shelf to those of held texts (`targets`, by organisation), which the caller holds locked."""

    def __init__(
        self,
        connection: Connection,
        source: str,
        targets: Mapping[Handle, str],
        sealer: Sealer,
        papers: Papers,
        now: datetime,
    ) -> None:
        self._connection = connection
        self._source = source
        self._targets = targets
        self._sealer = sealer
        self._papers = papers
        self._now = now

    def texts(self, org: Handle, covered: Sequence[HeldText]) -> None:
        """Put texts of one organisation on its shelf, but those that are there, and read all of them back.

        Raises Unsound where one does not read back as it was.
        """
        shelf = self._targets[org]
        there = self._there(shelf, org, covered)
        by_slice: dict[int, list[HeldText]] = defaultdict(list)
        for each in covered:
            if (each.opened.id.tag, each.opened.id.version) not in there:
                by_slice[each.opened.slice].append(each)
        if by_slice:
            rows = [row for slice_id, part in by_slice.items() for row in self._slice(shelf, slice_id, part)]
            if not insert_texts(self._connection, {shelf: rows}):
                raise Outage("somebody else is carrying over the same texts", retry_after=1)
            there = self._there(shelf, org, covered)
        for each in covered:
            self._must_be(shelf, there.get((each.opened.id.tag, each.opened.id.version)), each)

    def records(self, org: Handle, covered: Sequence[HeldRecord]) -> None:
        """Put records on an organisation's shelf, or on the house's, but those that are there, and read all back."""
        shelf = self._targets[org]
        wanted = [each.paper.id for each in covered]
        table = papers_of(shelf)
        known = set(self._connection.scalars(select(table.c.id).where(table.c.id.in_(wanted))))
        new = [each for each in covered if each.paper.id not in known]
        for each in new:
            self._papers.carry(self._connection, shelf, each.paper)
        if new:
            self._note_records(shelf, new)
        opened = {row.id: paper for row, paper in self._papers.examine(self._connection, shelf, wanted)}
        for each in covered:
            back = opened.get(each.paper.id)
            if back is None or (back.kind, back.plain) != (each.paper.kind, each.paper.plain):
                raise _lost_on_the_way()

    def _slice(self, shelf: str, source_slice: int, part: Sequence[HeldText]) -> list[TextRow]:
        slice_id = int.from_bytes(os.urandom(8), "big") >> 1
        rows = seal_again(self._sealer, shelf, [(each.opened, each.salt) for each in part], slice_id=slice_id)
        members = [leaf(row.org, row.commitment) for row in rows]
        accepted = sum(row.version == 1 for row in rows)
        versions = len(rows) - accepted
        body = {
            "slice": f"{slice_id:016x}",
            "accepted": accepted,
            "versions": versions,
            "orgs": {rows[0].org.hex(): [accepted, versions]},
            "from_slice": f"{source_slice:016x}",
        }
        root = self._tell(body, shelf, f"{slice_id:016x}", members)
        self._connection.execute(
            insert(slices).values(
                id=slice_id,
                batch=KEPT_BATCH,
                shelf=shelf,
                accepted=accepted,
                versions=versions,
                root=root,
                received_at=self._now,  # from now on it waits to be findable there
                indexed=False,
            )
        )
        self._connection.execute(
            insert(kept_slices).values(
                slice=slice_id, shelf=shelf, source_shelf=self._source, source_slice=source_slice
            )
        )
        return rows

    def _note_records(self, shelf: str, new: Sequence[HeldRecord]) -> None:
        part = os.urandom(8).hex()
        undecided = [each for each in new if each.paper.kind == "undecided"]
        body = {
            "part": part,
            "papers": len(new),
            "undecided": len(undecided),
            "texts": sum(each.slice is not None for each in new),
        }
        self._tell(body, shelf, f"{part}:{shelf}", [each.leaf for each in new])
        for each in new:  # one that vanished from there is noted already
            noted = {"id": each.paper.id, "shelf": shelf, "source_shelf": self._source}
            insert_once(self._connection, kept_papers, noted)

    def _tell(self, body: dict[str, Any], shelf: str, of: str, members: Sequence[bytes]) -> bytes:
        """Write the entry, and the leaves behind its root, which is given."""
        root = tree.root_of_set(list(members))
        said = {**body, "root": root.hex(), "from": self._source}
        log.append(self._connection, "kept", said, now=self._now, shelf=shelf)
        hashes = b"".join(sorted(members))
        self._connection.execute(insert(leaves).values(id=of, shelf=shelf, hashes=hashes))
        return root

    def _there(self, shelf: str, org: Handle, wanted: Sequence[HeldText]) -> dict[tuple[bytes, int], TextRow]:
        tags = sorted({each.opened.id.tag for each in wanted})
        rows = texts_with_tags(self._connection, shelf, tags)
        return {(row.tag, row.version): row for row in rows if row.org == org}

    def _must_be(self, shelf: str, row: TextRow | None, wanted: HeldText) -> None:
        """Raises Unsound unless a row opens to exactly that text. What it raises where it does not open says so."""
        if row is None:
            raise _lost_on_the_way()
        back, salt = open_with_salt(self._sealer, shelf, row)
        one, other = wanted.opened, back
        same = (one.id, one.raw, one.commitment, one.received_at) == (
            other.id,
            other.raw,
            other.commitment,
            other.received_at,
        )
        if not same or salt != wanted.salt:
            raise _lost_on_the_way()


def _lost_on_the_way() -> Unsound:
    return Unsound(
        "what was carried over to a shelf of held texts does not read back as it was; nothing was destroyed",
        remedy="Run `textkeep audit`: it names the entry. The next purge run tries again.",
    )
