"""Audit of a shelf that is still there: its texts and papers opened, and held as sets against the ledger's entries."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from textkeep.archive.keyring import SecretDestroyed
from textkeep.archive.papers import Paper, Papers
from textkeep.archive.rows import Opened, open_row
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelf import is_kept
from textkeep.archive.text import leaf
from textkeep.ledger import log
from textkeep.ledger.log import Entry, moment
from textkeep.retention.audit.book import Book, Members, check_leaves, sets
from textkeep.retention.audit.findings import SOON, UNOPENED, UNREADABLE, Finding, Line
from textkeep.retention.counting import leaves
from textkeep.retention.counting.census import count_of
from textkeep.retention.holds import undecided
from textkeep.retention.holds.carrying import KEPT_BATCH
from textkeep.store.bulk import TextRow, texts_of_slices
from textkeep.store.evidence import kept_papers, kept_slices
from textkeep.store.tables import batches, papers_of, slices

ROWS_AT_ONCE: Final = 1_000
"""About how many texts are in memory at once; a slice is never divided."""

PAPERS_AT_ONCE: Final = 100

_SLICE: Final = attrgetter("slice")


class RowsAudit:
    """One shelf whose tables are there. `closed` says that its secret may be destroyed already."""

    def __init__(
        self,
        connection: Connection,
        book: Book,
        sealer: Sealer,
        papers: Papers,
        *,
        closed: bool,
        came_back: Collection[str],
        go_on: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._book = book
        self._sealer = sealer
        self._papers = papers
        self._closed = closed
        self._came_back = came_back
        self._go_on = go_on
        shelf = book.shelf
        self._texts = Line("texts", shelf)
        self._slices = Line("slices", shelf)
        self._sets = Line("conservation", shelf)
        self._records = Line("quarantine", shelf)
        self._other = Line("papers", shelf)
        self._counted: Counter[str] = Counter()
        self._rows: dict[int, Row[Any]] = {}
        self._orgs: set[str] = set()
        self._gone = False

    def findings(self) -> list[Finding]:
        """What was found."""
        with self._slices.reading("a slice"):
            self._read_slices()
        with self._texts.reading("a text"):
            self._walk()
        with self._sets.reading("a set of leaves"):
            check_leaves(self._connection, self._book, self._sets)
        with self._records.reading("a record"):
            self._walk_papers()
        if self._gone:
            self._texts.doubt("its secret is destroyed: texts were not opened, and their sets compared")
        of, counted = self._book, self._counted
        taken = sum(map(count_of, of.slices.values()))
        waiting, back = counted["waiting"], len(of.returned)
        return [
            *self._texts.findings(f"{counted['opened']} texts opened to what they are committed to"),
            *self._slices.findings(f"{len(of.slices)} slices are as their entries say"),
            *self._sets.findings(
                f"taken {taken} = alive {counted['alive']} + kept 0 + destroyed 0 + lost 0,"
                f" {len(of.slices)} sets of {len(self._orgs)} organisations"
            ),
            *self._records.findings(f"quarantined {of.quarantined} = waiting {waiting} + returned {back}"),
            *self._other.findings(f"{counted['papers']} other papers opened; {counted['activity']} acts are on record"),
        ]

    def _read_slices(self) -> None:
        wanted = select(slices).where(slices.c.shelf == self._book.shelf)
        self._rows = {row.id: row for row in self._connection.execute(wanted)}
        for number in self._rows:
            self._slices.demand(number in self._book.slices, f"slice {number:016x}: no entry speaks of it")
        sources = self._sources()
        for number, entry in self._book.slices.items():
            with self._slices.reading("its row", entry):
                self._slice(entry, self._rows.get(number))
                told = (entry.body["from"], int(entry.body["from_slice"], 16)) if entry.kind == "kept" else None
                self._slices.demand(sources.pop(number, None) == told, "where it was carried from is not noted", entry)
        for number in sources:
            self._slices.fail(f"slice {number:016x} is noted as carried over, and no entry says so")

    def _sources(self) -> dict[int, tuple[str, int]]:
        wanted = select(kept_slices).where(kept_slices.c.shelf == self._book.shelf)
        return {row.slice: (row.source_shelf, row.source_slice) for row in self._connection.execute(wanted)}

    def _slice(self, entry: Entry, row: Row[Any] | None) -> None:
        if row is None:
            self._slices.fail("its row in the table of slices is not there", entry)
            return
        body = entry.body
        said = (body.get("batch", KEPT_BATCH), body["accepted"], body["versions"], body["root"])
        there = (row.batch, row.accepted, row.versions, bytes(row.root).hex())
        self._slices.demand(said == there, "its row in the table of slices says otherwise", entry)
        by_org = [sum(counts[at] for counts in body["orgs"].values()) for at in (0, 1)]
        self._slices.demand(by_org == [body["accepted"], body["versions"]], "its organisations do not add up", entry)
        came, told = row.received_at, entry.made_at
        on_time = came <= told + SOON if entry.kind == "slice" else moment(came) == moment(told)
        self._slices.demand(on_time, "its row says that it came at another time", entry)

    def _walk(self) -> None:
        book = self._book
        there = leaves.numbers(self._connection, book.shelf)
        for number in there.keys() - book.slices.keys():
            self._sets.fail(f"{there[number]} texts of slice {number:016x} were never taken")
        wanted = {number: max(1, there.get(number, 0)) for number in book.slices}
        for part in leaves.portions(wanted, ROWS_AT_ONCE):
            self._go_on()
            taken = dict(self._taken(part))
            rows = sorted(texts_of_slices(self._connection, book.shelf, part), key=_SLICE)
            found = {number: list(group) for number, group in groupby(rows, key=_SLICE)}
            for number in part:
                entry = book.slices[number]
                with self._sets.reading("its texts", entry):
                    self._compare(entry, found.get(number, []), taken.get(number))

    def _taken(self, part: Sequence[int]) -> list[tuple[int, Members]]:
        entries = [self._book.slices[number] for number in part]
        found = sets(self._connection, entries, self._sets)
        return [(int(entry.body["slice"], 16), members) for entry, members in found]

    def _compare(self, entry: Entry, rows: Sequence[TextRow], taken: Members | None) -> None:
        alive = {leaf(row.org, row.commitment) for row in rows}
        self._counted["alive"] += len(rows)
        if taken is not None:
            lost, strays = len(set(taken) - alive), len(alive - set(taken))
            if lost or strays or len(rows) != len(taken):
                self._sets.fail(
                    f"slice {entry.body['slice']}: taken {len(taken)}, alive {len(rows)}; {lost} are lost and"
                    f" {max(strays, len(rows) - len(taken))} were never taken",
                    entry,
                )
        orgs: dict[str, list[int]] = {}
        for row in rows:
            orgs.setdefault(bytes(row.org).hex(), [0, 0])[row.version > 1] += 1
        self._orgs.update(orgs)
        if orgs != entry.body["orgs"]:
            self._sets.fail(f"slice {entry.body['slice']}: organisations have other numbers of texts", entry)
        for row in rows:
            self._open(entry, row)

    def _open(self, entry: Entry, row: TextRow) -> None:
        try:
            text = open_row(self._sealer, self._book.shelf, TextRow(*row))
        except SecretDestroyed:
            self._gone = True
            if not self._closed:
                self._texts.fail("its secret is destroyed, and its purge is not past the point of no return", entry)
            return
        except UNOPENED:
            self._texts.fail(f"a text of slice {row.slice:016x} does not open to what its row is committed to", entry)
            return
        self._counted["opened"] += 1
        if not self._came_in_time(entry, text):
            self._texts.fail(f"a text of slice {row.slice:016x} came at another time than its slice", entry)

    def _came_in_time(self, entry: Entry, text: Opened) -> bool:
        """A text says when it came, and so does its slice, but for what was set aside first or carried over."""
        row = self._rows.get(text.slice)
        if row is None or is_kept(self._book.shelf):
            return True
        if entry.body["batch"] in self._came_back:
            return bool(text.received_at <= row.received_at)
        return bool(text.received_at == row.received_at)

    def _walk_papers(self) -> None:
        table = papers_of(self._book.shelf)
        waiting: set[bytes] = set()
        acts = self._acts()
        noted = self._noted_papers()
        ids = list(self._connection.scalars(select(table.c.id).order_by(table.c.id)))
        for start in range(0, len(ids), PAPERS_AT_ONCE):
            self._go_on()
            some = ids[start : start + PAPERS_AT_ONCE]
            examined = self._examined(some)
            for row, paper in examined:
                self._paper(row, paper, waiting, acts, noted)
            if not is_kept(self._book.shelf):
                self._batches([paper for _, paper in examined if paper is not None and paper.kind == "quarantine"])
        for entry in acts.values():
            self._other.fail("the act is on record in the ledger, and its detail is not there", entry)
        for _ in noted:
            self._records.fail("a record is noted as carried over, and is not there")
        self._weigh(waiting)

    def _examined(self, ids: Sequence[bytes]) -> list[tuple[Row[Any], Paper | None]]:
        try:
            return list(self._papers.examine(self._connection, self._book.shelf, ids))
        except UNREADABLE:
            pass
        table = papers_of(self._book.shelf)  # the secret is gone
        self._gone = True
        self._other.demand(self._closed, "papers cannot be opened")
        return [(row, None) for row in self._connection.execute(select(table).where(table.c.id.in_(ids)))]

    def _acts(self) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for entry in log.entries(self._connection, shelf=self._book.shelf, kinds=("activity",)):
            with self._other.reading("an act", entry):
                self._other.demand(entry.body["id"] not in found, "the act is there twice", entry)
                found[entry.body["id"]] = entry
        return found

    def _noted_papers(self) -> Counter[bytes]:
        wanted = select(kept_papers).where(kept_papers.c.shelf == self._book.shelf)
        by_source: Counter[str] = Counter()
        found: Counter[bytes] = Counter()
        for row in self._connection.execute(wanted):
            by_source[row.source_shelf] += 1
            found[bytes(row.id)] += 1
        said: Counter[str] = Counter()
        for entry in self._book.parts.values():
            if entry.kind == "kept":
                said[str(entry.body["from"])] += int(entry.body["papers"])
        self._records.demand(by_source == said, "other numbers of records are noted as carried over than entries say")
        return found

    def _paper(
        self,
        row: Row[Any],
        paper: Paper | None,
        waiting: set[bytes],
        acts: dict[str, Entry],
        noted: Counter[bytes],
    ) -> None:
        line = self._records if row.kind in ("quarantine", "undecided") else self._other
        if paper is None and not self._gone:
            line.fail(f"a paper of kind {row.kind} does not open to what its row is committed to")
        if row.kind in ("quarantine", "undecided"):
            self._counted["waiting"] += 1
            waiting.add(self._leaf_of(row, paper))
            if is_kept(self._book.shelf) and not noted.pop(bytes(row.id), 0):
                self._records.fail("a record lies among held texts, and is not noted as carried over")
            return
        self._counted["papers"] += 1
        if row.kind == "activity":
            self._act(row, acts.pop(bytes(row.id).hex(), None))

    def _act(self, row: Row[Any], entry: Entry | None) -> None:
        if entry is None:
            self._other.fail("the detail of an act is there that no entry speaks of")
            return
        self._counted["activity"] += 1
        there = (bytes(row.org).hex(), bytes(row.commitment).hex(), moment(row.made_at))
        said = (entry.body["org"], entry.body["digest"], moment(entry.made_at))
        self._other.demand(there == said, "the detail of an act is not what its entry names", entry)

    def _leaf_of(self, row: Row[Any], paper: Paper | None) -> bytes:
        """The leaf that a record had where it was first set aside."""
        if paper is not None and row.kind == "undecided":
            return bytes.fromhex(undecided.read(paper.plain)[0].leaf)
        return leaf(row.org, row.commitment)

    def _weigh(self, waiting: set[bytes]) -> None:
        """quarantined = waiting + returned, as sets; what is kept of a shelf lies here too until it is dropped."""
        taken: set[bytes] = set()
        for _, members in sets(self._connection, self._book.parts.values(), self._records):
            taken.update(members)
        for entry in self._book.returned:
            with self._records.reading("what was returned", entry):
                self._records.demand(bytes.fromhex(entry.body["leaf"]) in taken, "it was never set aside here", entry)
                taken.discard(bytes.fromhex(entry.body["leaf"]))
        if self._closed and self._gone:
            return
        lacking, strays = len(taken - waiting), len(waiting - taken)
        entry_of = next(iter(self._book.parts.values()), None)
        if lacking or strays or self._counted["waiting"] != len(taken):
            self._records.fail(
                f"quarantined {self._book.quarantined}, returned {len(self._book.returned)}, waiting"
                f" {self._counted['waiting']}: {lacking} are lost and {strays} were never set aside",
                entry_of,
            )

    def _batches(self, papers: Sequence[Paper]) -> None:
        """Each record says in its seal which batch it came with, and its row when; both are those of that batch."""
        came: dict[str, set[Any]] = {}
        for paper in papers:
            came.setdefault(json.loads(paper.plain.partition(b"\n")[0])["batch"], set()).add(paper.made_at)
        wanted = select(batches.c.id, batches.c.received_at).where(batches.c.id.in_(list(came)))
        for row in self._connection.execute(wanted):
            self._records.demand(came[row.id] == {row.received_at}, f"batch {row.id} came at another time")
        known = {f"{batch}:{self._book.shelf}" for batch in came}
        self._records.demand(known <= self._book.parts.keys(), "a record came with a batch that no entry names")
