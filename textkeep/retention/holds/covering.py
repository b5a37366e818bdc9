"""Covering: which texts and records of a shelf the holds in force keep, by opening and matching each of them.

What does not open, and what cannot be decided, counts as held. Where nobody can say whose it is, every hold that may
reach that time keeps it.
"""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, or_, select

from textkeep.archive.keyring import SecretMissing
from textkeep.archive.papers import Paper, Papers
from textkeep.archive.rows import REWRITTEN, Opened, open_with_salt, with_derived_flags
from textkeep.archive.sealing import CannotOpen, Sealer
from textkeep.archive.shelf import Day, is_kept
from textkeep.archive.text import HOUSE, SALT_BYTES, UNDECIDED, Handle, commitment, leaf
from textkeep.retention.holds.carrying import HeldRecord, HeldText
from textkeep.retention.holds.hold import Hold, covers, covers_record, covers_unreadable
from textkeep.retention.holds.in_force import Covered, HoldKept, Kept
from textkeep.retention.holds.undecided import Undecided, columns, paper_id, read, written
from textkeep.store.bulk import TextRow, texts_with_tags
from textkeep.store.tables import texts_of

UNREADABLE: Final = (CannotOpen, SecretMissing, msgspec.MsgspecError, ValueError, ArithmeticError, TypeError)
"""What opening a damaged row raises."""

UNDECIDABLE: Final = (ValueError, ArithmeticError, RecursionError)
"""What a hold raises that cannot be decided for what was opened."""


TICK: Final = timedelta(microseconds=1)


@dataclass(slots=True)
class Count:
    """What one hold did."""

    examined: int = 0
    kept: int = 0
    undecided: int = 0
    records: int = 0


@dataclass(slots=True)
class Tally:
    """What all holds did."""

    by_hold: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))
    examined: int = 0
    kept: int = 0
    undecided: int = 0
    slices: set[int] = field(default_factory=set)
    records_examined: int = 0
    records_kept: int = 0
    records_undecided: int = 0
    covered: list[Covered] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count what another one has counted."""
        for hold_id, count in other.by_hold.items():
            mine = self.by_hold[hold_id]
            for name in ("examined", "kept", "undecided", "records"):
                setattr(mine, name, getattr(mine, name) + getattr(count, name))
        for name in ("examined", "kept", "undecided", "records_examined", "records_kept", "records_undecided"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slices |= other.slices
        self.covered += other.covered

    def all_covered(self) -> Covered:
        """What is held of every portion; no slice is in two of them."""
        texts = {slice_id: members for part in self.covered for slice_id, members in part.texts.items()}
        return Covered(texts, frozenset(chain.from_iterable(part.records for part in self.covered)))

    def told(self, digest: bytes, holds: Iterable[Hold], now: datetime) -> Kept:
        """What is told of it; a hold that had nothing to do is named too."""
        done = [(hold, self.by_hold[hold.id]) for hold in sorted(holds, key=lambda each: each.id)]
        return Kept(
            digest,
            tuple(
                HoldKept(hold.id, did.examined, did.kept, did.undecided, did.records, hold.overdue(now))
                for hold, did in done
            ),
            self.examined,
            self.kept,
            self.undecided,
            tuple(f"{each:016x}" for each in sorted(self.slices)),
            self.records_examined,
            self.records_kept,
            self.records_undecided,
            self.all_covered(),
        )


@dataclass(slots=True)
class Found:
    """What of a portion is held, by the organisation on whose shelf it will lie, and what was counted."""

    texts: dict[Handle, list[HeldText]] = field(default_factory=lambda: defaultdict(list))
    records: dict[Handle, list[HeldRecord]] = field(default_factory=lambda: defaultdict(list))
    tally: Tally = field(default_factory=Tally)

    def owners(self) -> set[Handle]:
        """The organisations that need a shelf."""
        return {*self.texts, *self.records}

    def covered(self) -> Covered:
        """The same as leaves and ids: what must lie on those shelves before anything goes."""
        by_slice: dict[int, set[bytes]] = defaultdict(set)
        records: set[bytes] = set()
        for text in chain.from_iterable(self.texts.values()):
            by_slice[text.opened.slice].add(leaf(text.opened.org, text.opened.commitment))
        for record in chain.from_iterable(self.records.values()):
            if record.slice is None:
                records.add(record.paper.id)
            else:
                by_slice[record.slice].add(record.leaf)
        return Covered({slice_id: frozenset(each) for slice_id, each in by_slice.items()}, frozenset(records))


class Covering:
    """Decides about one shelf. `several` are the tags of texts that have more than one version there.

    `incomplete` says that a later version of some text is missing, and nobody can say of which.
    """

    def __init__(
        self,
        shelf: str,
        holds: Sequence[Hold],
        sealer: Sealer,
        papers: Papers,
        several: Collection[bytes],
        *,
        incomplete: bool = False,
    ) -> None:
        self._incomplete = incomplete
        self._shelf = shelf
        self._holds = holds
        self._by_org: dict[Handle, list[Hold]] = defaultdict(list)
        for hold in holds:
            self._by_org[hold.org].append(hold)
        self._sealer = sealer
        self._papers = papers
        self._several = several
        day = None if is_kept(shelf) else Day.named(shelf)
        self._first = None if day is None else day.start()
        self._last = None if day is None else day.end() - TICK

    def texts(self, connection: Connection, slices: Collection[int], altered: Collection[int]) -> Found:
        """What is held of the texts of these slices; of those that are `altered` every row is looked at."""
        found = Found()
        for row in self._rows(connection, slices, altered):
            found.tally.examined += 1
            try:
                opened, salt = open_with_salt(self._sealer, self._shelf, row)
            except UNREADABLE:
                self._unopened(row, row.slice in altered, found)
                continue
            self._opened(connection, row, opened, salt, found)
        return found

    def records(self, connection: Connection, ids: Sequence[bytes]) -> Found:
        """What is held of quarantined records, and of those that were carried here undecided."""
        found = Found()
        for row, paper in self._papers.examine(connection, self._shelf, ids):
            found.tally.records_examined += 1
            if paper is None:
                self._damaged(row, found)
            elif paper.kind == "undecided":
                self._still_undecided(paper, found)
            else:
                self._quarantined(paper, found)
        return found

    def _rows(self, connection: Connection, slices: Collection[int], altered: Collection[int]) -> list[TextRow]:
        table = texts_of(self._shelf)
        whose = table.c.org.in_([bytes(org) for org in self._by_org])
        wanted = select(table).where(table.c.slice.in_(list(slices)))
        wanted = wanted.where(or_(whose, table.c.slice.in_(list(altered))) if altered else whose)
        return [TextRow(*row) for row in connection.execute(wanted.order_by(table.c.slice))]

    def _opened(self, connection: Connection, row: TextRow, opened: Opened, salt: bytes, found: Found) -> None:
        mine = self._by_org.get(opened.org, [])
        if not mine:
            return
        whole = self._whole(connection, row, opened)
        flags = frozenset(whole.flags)
        doubtful = UNDECIDED in flags
        keeping = []
        for hold in mine:
            count = found.tally.by_hold[hold.id]
            count.examined += 1
            try:
                covered = covers(hold, opened.event, opened.org, flags)
            except UNDECIDABLE:
                covered = doubtful = True
            if covered:
                count.kept += 1
                keeping.append(count)
        if keeping:
            found.texts[opened.org].append(HeldText(whole, salt))
            found.tally.kept += 1
        if keeping and doubtful:
            self._doubt(row, keeping, found)

    def _whole(self, connection: Connection, row: TextRow, opened: Opened) -> Opened:
        """The text with the flags that follow from its other versions.

        Where one of these does not open, or may be missing, it is `undecided` from here on, on whatever shelf it lies
        later: what was not known once is not known any more.
        """
        if row.tag not in self._several:
            return _undecided(opened) if self._incomplete else opened
        try:
            family = [
                open_with_salt(self._sealer, self._shelf, each)[0]
                for each in texts_with_tags(connection, self._shelf, [row.tag])
                if each.org == row.org
            ]
        except UNREADABLE:
            return _undecided(opened)
        whole = next(each for each in with_derived_flags(family) if each.id == opened.id)
        return _undecided(whole) if self._incomplete else whole

    def _unopened(self, row: TextRow, altered: bool, found: Found) -> None:
        """A row that does not open; one of an altered slice may be of any organisation."""
        org = None if altered else Handle(row.org)
        keeping = self._may_cover(found, org, self._first, self._last)
        if not keeping:
            return
        self._doubt(row, keeping, found)
        for count in keeping:
            count.examined += 1
            count.kept += 1
        found.tally.kept += 1
        owner = Handle(row.org) if row.org in self._by_org else HOUSE
        header = Undecided(
            "text",
            self._shelf,
            f"{row.slice:016x}",
            None if org is None else org.hex(),
            self._first,
            self._last,
            leaf(row.org, row.commitment).hex(),
            columns(row._asdict()),
        )
        named = paper_id(self._shelf, row.org, row.tag, row.version.to_bytes(8, "big", signed=True))
        found.records[owner].append(
            HeldRecord(
                _paper(named, owner, header, self._bytes_of(row), self._last),
                leaf(row.org, row.commitment),
                row.slice,
            )
        )

    def _bytes_of(self, row: TextRow) -> bytes:
        try:
            return self._sealer.unauthenticated("body", self._shelf, Handle(row.org), row.sealed)
        except SecretMissing:
            return b""

    def _doubt(self, row: TextRow, keeping: Sequence[Count], found: Found) -> None:
        for count in keeping:
            count.undecided += 1
        found.tally.undecided += 1
        found.tally.slices.add(row.slice)

    def _may_cover(
        self, found: Found, org: Handle | None, first: datetime | None, last: datetime | None
    ) -> list[Count]:
        return [
            found.tally.by_hold[hold.id] for hold in self._holds if covers_unreadable(hold, org, first=first, last=last)
        ]

    def _quarantined(self, paper: Paper, found: Found) -> None:
        raw = paper.plain.partition(b"\n")[2]
        org = None if paper.org == HOUSE else paper.org
        keeping, doubtful = [], False
        for hold in self._holds:
            try:
                covered = covers_record(hold, raw, org, paper.made_at)
            except UNDECIDABLE:
                covered = doubtful = True
            if covered:
                keeping.append(found.tally.by_hold[hold.id])
        if keeping:
            record = HeldRecord(paper, leaf(paper.org, paper.commitment))
            self._keep_record(paper.org, record, keeping, found, undecided=doubtful)

    def _still_undecided(self, paper: Paper, found: Found) -> None:
        header, _ = read(paper.plain)
        keeping = self._may_cover(found, _handle(header), header.first, header.last)
        if keeping:
            record = HeldRecord(paper, bytes.fromhex(header.leaf))
            self._keep_record(paper.org, record, keeping, found, undecided=True)

    def _damaged(self, row: Row[Any], found: Found) -> None:
        """A record that does not open may be anybody's, of any time."""
        keeping = self._may_cover(found, None, None, None)
        if not keeping:
            return
        owner = Handle(row.org) if row.org in self._by_org else HOUSE
        left = leaf(row.org, row.commitment)
        header = Undecided("record", self._shelf, None, None, None, None, left.hex(), columns(row._asdict()))
        paper = _paper(row.id, owner, header, self._papers.unauthenticated(self._shelf, row), row.made_at)
        self._keep_record(owner, HeldRecord(paper, left), keeping, found, undecided=True)

    def _keep_record(
        self, owner: Handle, record: HeldRecord, keeping: Sequence[Count], found: Found, *, undecided: bool
    ) -> None:
        for count in keeping:
            count.records += 1
            count.undecided += undecided
        found.tally.records_kept += 1
        found.tally.records_undecided += undecided
        found.records[owner].append(record)


def _undecided(opened: Opened) -> Opened:
    """A text of which a later version may say otherwise; one that is known to be rewritten is no question."""
    if REWRITTEN in opened.flags or UNDECIDED in opened.flags:
        return opened
    return replace(opened, flags=(*opened.flags, UNDECIDED))


def _handle(header: Undecided) -> Handle | None:
    return None if header.handle is None else Handle(header.handle)


def _paper(named: bytes, owner: Handle, header: Undecided, opened: bytes, made_at: datetime | None) -> Paper:
    plain, salt = written(header, opened), os.urandom(SALT_BYTES)
    at = made_at or datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return Paper(named, "undecided", owner, None, at, commitment(salt, plain), plain, salt)
