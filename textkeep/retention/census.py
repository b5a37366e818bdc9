"""The census of a shelf, taken just before its point of no return: what came in, against what is there.

*Taken* comes from ledger entries alone; *found* from the shelf's own rows alone. A slice whose found set has not the
root of its entry is lost, whole: of such a slice nobody can say which texts are those that were taken.

All rows are counted, slice by slice, at the decision. What they are was read ahead of time (`survey.py`) for most of
them; read now is what was not, what may have changed, and a few slices by chance.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, select

from textkeep.errors import Unsound
from textkeep.ledger import log, tree
from textkeep.ledger.log import Entry, moment
from textkeep.retention import leaves, survey
from textkeep.retention.leaves import NOTHING, Found
from textkeep.retention.survey import Surveyed
from textkeep.store.tables import papers_of, shelf_tables, slices, texts_of

SAMPLE: Final = 8
"""How many slices that were read ahead are read again at the decision, chosen by chance."""

Span = tuple[int, int]
"""First and last `seq` of a run of ledger entries without a gap."""

NO_ROOT: Final = ""
"""Stands for the root of a slice that no entry speaks of."""


class Differing(msgspec.Struct, frozen=True):
    """A slice whose found set is not the one that was taken; `taken` is 0 where no ledger entry speaks of it."""

    slice: str
    taken: int
    found: int
    taken_root: str
    found_root: str


class OrgTotals(msgspec.Struct, frozen=True):
    """The control totals of one organisation, by handle; texts and versions together are what was taken."""

    org: str
    taken_texts: int
    taken_versions: int
    found: int
    first_received: str | None
    last_received: str | None


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
    that have such a part. Where nothing is lost or kept, taken, found and destroyed are equal.
    """

    taken: int
    versions: int
    kept: int
    destroyed: int
    lost: int
    found: int
    strays: int
    slices: int
    entries: list[Span]
    differing: list[Differing]
    orgs: list[OrgTotals]
    taken_root: str
    found_root: str
    kept_root: str
    destroyed_root: str
    quarantined: int
    quarantine_found: int
    quarantine_reasons: dict[str, int]
    quarantine_entries: list[Span]
    refused: int
    refusal_reasons: dict[str, int]
    refused_by_producer: dict[str, int]
    refusal_entries: list[Span]
    papers: dict[str, int]
    first_received: str | None
    last_received: str | None
    reading: Reading | None = None


class _Rows:
    """What is there of a shelf, and how that came to be known; the caller holds the shelf's lock."""

    def __init__(self, connection: Connection, shelf: str, there: Mapping[int, int]) -> None:
        self.found: dict[int, Found] = {}
        self.rest: dict[int, Found] = {}
        self._connection = connection
        self._shelf = shelf
        self._there = there

    def read(
        self, ahead: Mapping[int, Surveyed], taken: Mapping[int, Entry], kept: Mapping[int, frozenset[bytes]]
    ) -> Reading:
        """Find every slice, and of those with texts that are kept also what is left without these."""
        known = {
            slice_id: each
            for slice_id, each in ahead.items()
            if not kept.get(slice_id)
            and self._there.get(slice_id) == each.found.number
            and slice_id in taken
            and taken[slice_id].body["root"] == each.found.root
        }
        sample = random.SystemRandom().sample(sorted(known), min(SAMPLE, len(known)))
        self._look(sample, kept)
        altered = sum(self.found.get(slice_id, NOTHING) != known[slice_id].found for slice_id in sample)
        if altered:
            known = {}
        self._look(self._there.keys() - known.keys() - set(sample), kept)
        self.found = {slice_id: each.found for slice_id, each in known.items()} | self.found
        moments = [each.at for each in known.values()]
        return Reading(
            ahead=len(known),
            first=moment(min(moments)) if moments else None,
            last=moment(max(moments)) if moments else None,
            sampled=len(sample),
            altered=altered,
            at_decision=len(self.found) - len(known),
        )

    def _look(self, wanted: Collection[int], kept: Mapping[int, frozenset[bytes]]) -> None:
        for part in leaves.portions({slice_id: self._there[slice_id] for slice_id in wanted}):
            for slice_id, each in leaves.members(self._connection, self._shelf, part):
                self.found[slice_id] = each.found()
                if kept.get(slice_id):
                    self.rest[slice_id] = each.without(kept[slice_id])

    def destroyed(self, slice_id: int) -> Found:
        """What goes of a slice: all of it, or what is left without what is kept."""
        return self.rest.get(slice_id) or self.found.get(slice_id, NOTHING)


def take_census(connection: Connection, shelf: str, kept: Mapping[int, frozenset[bytes]]) -> Census:
    """Count a shelf, by slice, organisation and reason; `kept` are the leaves that holds have carried over.

    The caller holds the shelf's lock, so nothing comes in between. Raises Unsound where an entry cannot be read.
    """
    tables = set(shelf_tables(connection, shelf))
    there = leaves.numbers(connection, shelf) if texts_of(shelf).name in tables else {}
    received: dict[int, datetime] = {
        row.id: row.received_at
        for row in connection.execute(select(slices.c.id, slices.c.received_at).where(slices.c.shelf == shelf))
    }
    papers = _papers(connection, shelf) if papers_of(shelf).name in tables else {}
    try:
        written = log.entries(connection, shelf=shelf, kinds=("slice", "quarantine", "refusals"))
        taken = {int(entry.body["slice"], 16): entry for entry in written if entry.kind == "slice"}
        rows = _Rows(connection, shelf, there)
        reading = rows.read(survey.load(connection, shelf), taken, kept)
        return _weighed(written, taken, rows, reading, received, kept, papers)
    except (KeyError, TypeError, ValueError, AttributeError):
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
    roots = {slice_id: found.get(slice_id, NOTHING).root for slice_id in taken}
    whole = [slice_id for slice_id, entry in taken.items() if roots[slice_id] == entry.body["root"]]
    lost = [slice_id for slice_id in taken if roots[slice_id] != taken[slice_id].body["root"]]
    unsaid = sorted((found.keys() | received.keys()) - taken.keys())
    kept_leaves = {slice_id: kept[slice_id] for slice_id in taken if kept.get(slice_id)}
    destroyed = [each for slice_id in whole if (each := rows.destroyed(slice_id)).number]
    set_aside = [entry for entry in written if entry.kind == "quarantine"]
    refusals = [entry for entry in written if entry.kind == "refusals"]
    return Census(
        taken=sum(_count(entry) for entry in taken.values()),
        versions=sum(int(entry.body["versions"]) for entry in taken.values()),
        kept=sum(map(len, kept_leaves.values())),
        destroyed=sum(each.number for each in destroyed),
        lost=sum(max(0, _count(taken[slice_id]) - len(kept_leaves.get(slice_id, ()))) for slice_id in lost),
        found=sum(each.number for each in found.values()),
        strays=sum(found.get(slice_id, NOTHING).number for slice_id in unsaid),
        slices=len(taken),
        entries=_spans(entry.seq for entry in taken.values()),
        differing=[
            _differing(slice_id, taken.get(slice_id), found.get(slice_id, NOTHING)) for slice_id in (*lost, *unsaid)
        ],
        orgs=_orgs(taken, found, received),
        taken_root=_over_roots(entry.body["root"] for entry in taken.values()),
        found_root=_over_roots(roots.values()),
        kept_root=_over_roots(tree.root_of_set(list(each)).hex() for each in kept_leaves.values()),
        destroyed_root=_over_roots(each.root for each in destroyed),
        quarantined=sum(int(entry.body["count"]) for entry in set_aside),
        quarantine_found=papers.get("quarantine", 0),
        quarantine_reasons=_reasons(set_aside),
        quarantine_entries=_spans(entry.seq for entry in set_aside),
        refused=sum(int(entry.body["count"]) for entry in refusals),
        refusal_reasons=_reasons(refusals),
        refused_by_producer=_producers(refusals),
        refusal_entries=_spans(entry.seq for entry in refusals),
        papers=papers,
        first_received=moment(min(received.values())) if received else None,
        last_received=moment(max(received.values())) if received else None,
        reading=reading,
    )


def _papers(connection: Connection, shelf: str) -> dict[str, int]:
    table = papers_of(shelf)
    rows = connection.execute(select(table.c.kind, func.count().label("number")).group_by(table.c.kind))
    return {row.kind: row.number for row in rows}


def _count(entry: Entry) -> int:
    return int(entry.body["accepted"]) + int(entry.body["versions"])


def _differing(slice_id: int, entry: Entry | None, found: Found) -> Differing:
    return Differing(
        slice=f"{slice_id:016x}",
        taken=_count(entry) if entry else 0,
        found=found.number,
        taken_root=entry.body["root"] if entry else NO_ROOT,
        found_root=found.root,
    )


def _orgs(taken: Mapping[int, Entry], found: Mapping[int, Found], received: Mapping[int, datetime]) -> list[OrgTotals]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    moments: dict[str, list[datetime]] = defaultdict(list)
    for slice_id, entry in taken.items():
        for org, (texts, versions) in entry.body["orgs"].items():
            counts[org][0] += texts
            counts[org][1] += versions
            if slice_id in received:
                moments[org].append(received[slice_id])
    for each in found.values():
        for org, number in each.orgs.items():
            counts[org][2] += number
    return [
        OrgTotals(
            org,
            taken_texts=counts[org][0],
            taken_versions=counts[org][1],
            found=counts[org][2],
            first_received=moment(min(moments[org])) if moments[org] else None,
            last_received=moment(max(moments[org])) if moments[org] else None,
        )
        for org in sorted(counts)
    ]


def _over_roots(roots: Iterable[str]) -> str:
    return tree.root([tree.leaf_hash(bytes.fromhex(each)) for each in roots]).hex()


def _reasons(entries: Iterable[Entry]) -> dict[str, int]:
    return _summed(entry.body["reasons"] for entry in entries)


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
