"""The census of a shelf, taken just before its point of no return: what came in, against what is there.

*Taken* comes from ledger entries alone; *found* from the shelf's own rows alone. A slice whose found set has not the
root of its entry is lost, whole: of such a slice nobody can say which texts are those that were taken.

All rows are counted, slice by slice, at the decision. What they are was read ahead of time (`survey.py`) for most of
them; read now is what was not, what may have changed, and a few slices by chance.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, select

from textkeep.errors import Unsound
from textkeep.ledger import log, tree
from textkeep.ledger.log import Entry, moment
from textkeep.retention.counting import leaves, org_totals, survey
from textkeep.retention.counting.leaves import NOTHING, Found, Numbers
from textkeep.retention.counting.org_totals import OrgTotals
from textkeep.retention.counting.survey import Surveyed
from textkeep.store.tables import papers_of, shelf_tables, slices, texts_of

SAMPLE: Final = 8
"""How many slices that were read ahead are read again at the decision, chosen by chance."""

COUNTED: Final = ("slice", "kept", "quarantine", "returned", "refusals")
"""The kinds of entries that a census counts."""

Span = tuple[int, int]
"""First and last place in the log of a run of ledger entries without a gap."""

UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError, Unsound)
"""What reading an entry raises that is not one of its kind any more."""

NO_ROOT: Final = ""
"""Stands for the root of a slice that no entry speaks of."""


class Differing(msgspec.Struct, frozen=True):
    """A slice whose found set is not the one that was taken; `taken` is 0 where no ledger entry speaks of it.

    `found_root` is `unknown` where the slice was only counted, when it was dropped.
    """

    slice: str
    taken: int
    found: int
    taken_root: str
    found_root: str


class Reading(msgspec.Struct, frozen=True):
    """When the rows were read: `ahead` slices between `first` and `last`, the others at the decision.

    Of those read ahead `sampled` were read again at the decision; where any of them was `altered`, all were.
    """

    ahead: int
    first: str | None
    last: str | None
    sampled: int
    altered: int
    at_decision: int


class Census(msgspec.Struct, frozen=True):
    """taken = kept + destroyed + lost; `found` is every row there was, `strays` those that were never taken.

    `taken_root` is over the roots of the slices in the order of their entries, `found_root` over those of the sets
    found, in the same order, `kept_root` and `destroyed_root` over those of the parts kept and destroyed, of slices
    that have such a part. Where nothing is lost or kept, taken, found and destroyed are equal. Of the quarantined
    records `returned` became texts and are not there any more, `records_kept` lie where held records are, and
    `records_left` were there and lie nowhere else; None where that was not counted. `places` are those in the log of
    what was counted: slices, quarantine, returned, refusals; none where nothing is signed.
    """

    taken: int
    versions: int
    kept: int
    destroyed: int
    lost: int
    found: int
    strays: int
    slices: int
    differing: list[Differing]
    orgs: list[OrgTotals]
    taken_root: str
    found_root: str
    kept_root: str
    destroyed_root: str
    quarantined: int
    quarantine_found: int
    quarantine_reasons: dict[str, int]
    refused: int
    refusal_reasons: dict[str, int]
    refused_by_producer: dict[str, int]
    papers: dict[str, int]
    first_received: str | None
    last_received: str | None
    reading: Reading | None = None
    returned: int = 0
    records_kept: int | None = None
    records_left: int | None = None
    places: dict[str, list[Span]] = {}


class _Rows:
    """What is there of a shelf, and how that came to be known; the caller holds the shelf's lock."""

    def __init__(self, connection: Connection, shelf: str, numbers: Numbers) -> None:
        self.found: dict[int, Found] = {}
        self.rest: dict[int, Found] = {}
        self._connection = connection
        self._shelf = shelf
        self._numbers = numbers

    def read(
        self, ahead: Mapping[int, Surveyed], taken: Mapping[int, Entry], kept: Mapping[int, frozenset[bytes]]
    ) -> Reading:
        """Find every slice, and of those with texts that are kept also what is left without these.

        What is read again by chance is read before it is known how many rows there are: they are counted meanwhile.
        """
        said = {
            slice_id: each
            for slice_id, each in ahead.items()
            if not kept.get(slice_id) and slice_id in taken and taken[slice_id].body["root"] == each.found.root
        }
        sample = random.SystemRandom().sample(sorted(said), min(SAMPLE, len(said)))
        self._look({slice_id: said[slice_id].found.number for slice_id in sample}, kept)
        there = self._numbers()
        known = {slice_id: each for slice_id, each in said.items() if there.get(slice_id) == each.found.number}
        sampled = [slice_id for slice_id in sample if slice_id in known]
        altered = sum(self.found.get(slice_id, NOTHING) != known[slice_id].found for slice_id in sampled)
        if altered:
            known = {}
        self._look({each: there[each] for each in there.keys() - known.keys() - self.found.keys()}, kept)
        self.found = {slice_id: each.found for slice_id, each in known.items()} | self.found
        moments = [each.at for each in known.values()]
        return Reading(
            ahead=len(known),
            first=moment(min(moments)) if moments else None,
            last=moment(max(moments)) if moments else None,
            sampled=len(sampled),
            altered=altered,
            at_decision=len(self.found) - len(known),
        )

    def _look(self, wanted: Mapping[int, int], kept: Mapping[int, frozenset[bytes]]) -> None:
        """Read the rows of slices, given with about how many they have."""
        for part in leaves.portions(wanted):
            for slice_id, each in leaves.members(self._connection, self._shelf, part):
                self.found[slice_id] = each.found()
                if kept.get(slice_id):
                    self.rest[slice_id] = each.without(kept[slice_id])

    def destroyed(self, slice_id: int) -> Found:
        """What goes of a slice: all of it, or what is left without what is kept."""
        return self.rest.get(slice_id) or self.found.get(slice_id, NOTHING)


def take_census(
    connection: Connection,
    shelf: str,
    kept: Mapping[int, frozenset[bytes]],
    numbers: Numbers | None = None,
    *,
    records: Collection[bytes] = (),
    signed: bool = False,
) -> Census:
    """Count a shelf, by slice, organisation and reason.

    `kept` are the leaves that holds have carried over, `records` the ids of records that they have. `numbers` gives how
    many rows each slice has where that is counted meanwhile. The caller holds the shelf's lock, so nothing comes in
    between but refusals. Where the archive is `signed`, all that came in has its place in the log, and of the refusals
    those count that have one. Raises Unsound where an entry cannot be read.
    """
    tables = set(shelf_tables(connection, shelf))
    wanted = select(slices.c.id, slices.c.received_at).where(slices.c.shelf == shelf)
    received: dict[int, datetime] = dict(connection.execute(wanted).tuples().all())
    papers = _papers(connection, shelf) if papers_of(shelf).name in tables else {}
    left = _records_but(connection, shelf, records) if papers else 0
    try:
        written = counted(connection, shelf, signed=signed)
        taken = slices_of(written)
        ahead = survey.load(connection, shelf)
        if texts_of(shelf).name not in tables:
            ahead, numbers = {}, dict
        rows = _Rows(connection, shelf, numbers or partial(leaves.numbers, connection, shelf))
        reading = rows.read(ahead, taken, kept)
        census = _weighed(written, taken, rows, reading, received, kept, papers)
        census = msgspec.structs.replace(census, records_kept=len(records), records_left=left)
        return msgspec.structs.replace(census, places=places(written)) if signed else census
    except UNREADABLE:
        raise Unsound(
            "a ledger entry of this day cannot be read, so that nobody could say what was taken",
            remedy="Restore the database from before the entry was damaged. Nothing of the day was destroyed.",
        ) from None


def _weighed(
    written: Sequence[Entry],
    taken: Mapping[int, Entry],
    rows: _Rows,
    reading: Reading,
    received: Mapping[int, datetime],
    kept: Mapping[int, frozenset[bytes]],
    papers: dict[str, int],
) -> Census:
    found = rows.found
    counts = {slice_id: count_of(entry) for slice_id, entry in taken.items()}
    said = {slice_id: entry.body["root"] for slice_id, entry in taken.items()}
    roots = {slice_id: found.get(slice_id, NOTHING).root for slice_id in taken}
    whole = [slice_id for slice_id, root in said.items() if roots[slice_id] == root]
    lost = [slice_id for slice_id, root in said.items() if roots[slice_id] != root]
    uneven = [slice_id for slice_id in whole if found.get(slice_id, NOTHING).number != counts[slice_id]]
    unsaid = sorted((found.keys() | received.keys()) - taken.keys())
    kept_leaves = {slice_id: kept[slice_id] for slice_id in taken if kept.get(slice_id)}
    destroyed = [each for slice_id in whole if (each := rows.destroyed(slice_id)).number]
    set_aside = [entry for entry in written if is_set_aside(entry)]
    refusals = [entry for entry in written if entry.kind == "refusals"]
    in_order = list(said.values())
    taken_root = over_roots(in_order)

    def over(roots: list[str]) -> str:  # of most days nothing is lost or kept: all three roots are one
        return taken_root if roots == in_order else over_roots(roots)

    return Census(
        taken=sum(counts.values()),
        versions=sum(int(entry.body["versions"]) for entry in taken.values()),
        kept=sum(map(len, kept_leaves.values())),
        destroyed=sum(each.number for each in destroyed),
        lost=sum(max(0, counts[slice_id] - len(kept_leaves.get(slice_id, ()))) for slice_id in lost),
        found=sum(each.number for each in found.values()),
        strays=sum(found.get(slice_id, NOTHING).number for slice_id in unsaid),
        slices=len(taken),
        differing=[
            _differing(slice_id, taken.get(slice_id), found.get(slice_id, NOTHING))
            for slice_id in (*lost, *uneven, *unsaid)
        ],
        orgs=org_totals.totals(
            taken, found, received, org_totals.parts_of(whole, lost, taken, found, rows.rest, kept_leaves)
        ),
        taken_root=taken_root,
        found_root=over(list(roots.values())),
        kept_root=over_roots(tree.root_of_set(list(each)).hex() for each in kept_leaves.values()),
        destroyed_root=over([each.root for each in destroyed]),
        quarantined=sum(map(_records, set_aside)),
        quarantine_found=papers.get("quarantine", 0) + papers.get("undecided", 0),
        quarantine_reasons=_reasons(set_aside),
        refused=sum(int(entry.body["count"]) for entry in refusals),
        refusal_reasons=_reasons(refusals),
        refused_by_producer=_producers(refusals),
        papers=papers,
        first_received=moment(min(received.values())) if received else None,
        last_received=moment(max(received.values())) if received else None,
        reading=reading,
        returned=sum(int(entry.body["count"]) for entry in written if entry.kind == "returned"),
    )


def counted(connection: Connection, shelf: str, *, signed: bool) -> list[Entry]:
    """The entries of a shelf that are counted, in the log's order."""
    written = log.entries(connection, shelf=shelf, kinds=COUNTED)
    return [entry for entry in written if not signed or entry.kind != "refusals" or entry.index is not None]


def slices_of(entries: Iterable[Entry]) -> dict[int, Entry]:
    """Those of the entries that speak of a slice, by the slice: from a producer or carried over."""
    return {int(entry.body["slice"], 16): entry for entry in entries if is_slice(entry)}


def is_slice(entry: Entry) -> bool:
    """Whether an entry speaks of a slice."""
    return entry.kind == "slice" or (entry.kind == "kept" and "papers" not in entry.body)


def is_set_aside(entry: Entry) -> bool:
    """Whether an entry speaks of quarantined records, or of what was carried over like them."""
    return entry.kind == "quarantine" or (entry.kind == "kept" and "papers" in entry.body)


def _records(entry: Entry) -> int:
    return int(entry.body["count"] if entry.kind == "quarantine" else entry.body["papers"])


def places(written: Iterable[Entry]) -> dict[str, list[Span]]:
    """The spans of places in the log of what is counted, by what it speaks of."""
    found: dict[str, list[int]] = {"slices": [], "quarantine": [], "returned": [], "refusals": []}
    for entry in written:
        if entry.index is not None:
            name = "slices" if is_slice(entry) else "quarantine" if is_set_aside(entry) else entry.kind
            found[name].append(entry.index)
    return {name: _spans(indices) for name, indices in found.items()}


def _papers(connection: Connection, shelf: str) -> dict[str, int]:
    table = papers_of(shelf)
    rows = connection.execute(select(table.c.kind, func.count().label("number")).group_by(table.c.kind))
    return {row.kind: row.number for row in rows}


def _records_but(connection: Connection, shelf: str, kept: Collection[bytes]) -> int:
    """How many quarantined and undecided records are there, but for those with these ids."""
    table = papers_of(shelf)
    there = select(table.c.id).where(table.c.kind.in_(("quarantine", "undecided")))
    return sum(bytes(paper_id) not in kept for paper_id in connection.scalars(there))


def count_of(entry: Entry) -> int:
    """How many texts and versions an entry of a slice says were taken."""
    return int(entry.body["accepted"]) + int(entry.body["versions"])


def _differing(slice_id: int, entry: Entry | None, found: Found) -> Differing:
    return Differing(
        slice=f"{slice_id:016x}",
        taken=count_of(entry) if entry else 0,
        found=found.number,
        taken_root=entry.body["root"] if entry else NO_ROOT,
        found_root=found.root,
    )


def over_roots(roots: Iterable[str]) -> str:
    """The root (hex) over the roots (hex) of slices, in their order."""
    return tree.root([tree.leaf_hash(bytes.fromhex(each)) for each in roots]).hex()


def _reasons(entries: Iterable[Entry]) -> dict[str, int]:
    return _summed(entry.body.get("reasons", {}) for entry in entries)


def _producers(entries: Iterable[Entry]) -> dict[str, int]:
    return _summed({entry.body["producer"]: entry.body["count"]} for entry in entries)


def _summed(counts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update({name: int(number) for name, number in each.items()})
    return dict(sorted(total.items()))


def _spans(numbers: Iterable[int]) -> list[Span]:
    spans: list[Span] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return spans
