"""The control totals of organisations, by handle: what was taken, and what became of it.

What was taken comes from ledger entries, what was found and destroyed from rows. Of a slice that is lost it is not
known which rows were whose; where its texts were of several organisations and a part of it is kept, nobody can say
what each of them lost, and the parts are not told.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from textkeep.ledger.log import Entry, moment
from textkeep.retention.counting.leaves import NOTHING, Found

PARTS: Final = ("kept", "destroyed", "lost")


class OrgTotals(msgspec.Struct, frozen=True):
    """The totals of one organisation; texts and versions together are what was taken.

    taken = kept + destroyed + lost; None where the parts are not known, for all organisations alike.
    """

    org: str
    taken_texts: int
    taken_versions: int
    found: int
    first_received: str | None
    last_received: str | None
    kept: int | None = None
    destroyed: int | None = None
    lost: int | None = None


class Parts:
    """What became of the texts of each organisation, slice by slice."""

    def __init__(self) -> None:
        self.known = True
        self.of: dict[str, Counter[str]] = defaultdict(Counter)

    def whole(self, found: Found, rest: Found) -> None:
        """A slice that is there as it was taken, of which `rest` goes."""
        for org, number in found.orgs.items():
            goes, part = rest.orgs.get(org, 0), self.of[org]
            part["destroyed"] += goes
            part["kept"] += number - goes

    def lost(self, entry: Entry, kept: int) -> None:
        """A slice that is not as it was taken, of which so many texts lie where held texts are."""
        taken = taken_by(entry)
        if kept and len(taken) > 1:
            self.known = False
            return
        for org, number in taken.items():
            part = self.of[org]
            part["kept"] += kept
            part["lost"] += max(0, number - kept)


def taken_by(entry: Entry) -> dict[str, int]:
    """How many texts and versions of each organisation the entry of a slice says were taken."""
    return {org: int(texts) + int(versions) for org, (texts, versions) in entry.body["orgs"].items()}


def totals(
    taken: Mapping[int, Entry], found: Mapping[int, Found], received: Mapping[int, datetime], parts: Parts
) -> list[OrgTotals]:
    """The totals of every organisation of which something was taken or found, by handle."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    moments: dict[str, list[datetime]] = defaultdict(list)
    for slice_id, entry in taken.items():
        at = received.get(slice_id)
        for org, (texts, versions) in entry.body["orgs"].items():
            count = counts[org]
            count[0] += texts
            count[1] += versions
            if at is not None:
                moments[org].append(at)
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
            **({part: parts.of[org][part] for part in PARTS} if parts.known else {}),
        )
        for org in sorted(counts)
    ]


def parts_of(
    whole: Iterable[int],
    lost: Iterable[int],
    taken: Mapping[int, Entry],
    found: Mapping[int, Found],
    rest: Mapping[int, Found],
    kept: Mapping[int, Collection[bytes]],
) -> Parts:
    """What became of each slice: `rest` is what goes of those of which something is kept."""
    parts = Parts()
    for slice_id in whole:
        there = found.get(slice_id, NOTHING)
        parts.whole(there, rest.get(slice_id, there))
    for slice_id in lost:
        parts.lost(taken[slice_id], len(kept.get(slice_id, ())))
    return parts


def amended(
    before: Iterable[OrgTotals], entries: Iterable[Entry], kept: Mapping[int, Collection[bytes]]
) -> list[OrgTotals]:
    """The totals where slices that were whole at the decision turn out to be lost at the drop."""
    was = list(before)
    moved: Counter[str] = Counter()
    known = True
    for entry in entries:
        numbers = taken_by(entry)
        held = len(kept.get(int(entry.body["slice"], 16), ()))
        known = known and not (held and len(numbers) > 1)
        for org, number in numbers.items():
            moved[org] += max(0, number - held)
    return [_moved(each, moved[each.org] if known else None) for each in was]


def _moved(total: OrgTotals, number: int | None) -> OrgTotals:
    if number is None or total.destroyed is None or total.lost is None:
        return msgspec.structs.replace(total, kept=None, destroyed=None, lost=None)
    return msgspec.structs.replace(total, destroyed=total.destroyed - number, lost=total.lost + number)
