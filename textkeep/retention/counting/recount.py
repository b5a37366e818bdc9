"""The recount: what is there of a shelf when it is dropped, slice by slice, against what the decision found.

The decision and the drop each count the rows themselves, and neither takes a number from the other. A slice that has
another number of rows at the drop than at the decision is lost, whole, like one that was not as the ledger has it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection

from textkeep.ledger import log
from textkeep.ledger.log import Entry
from textkeep.retention.counting import org_totals
from textkeep.retention.counting.census import NO_ROOT, Census, Differing, count_of, over_roots, slices_of

NOT_READ: Final = "unknown"
"""Stands for the root of a set that was counted and not read."""

Kept = Callable[[], Mapping[int, Collection[bytes]]]
"""The leaves that holds have carried over, by slice; asked for only where something is lost."""


@dataclass(frozen=True, slots=True)
class Recounted:
    """The census as it stands after the recount, and the slices (hex) that changed since the decision."""

    census: Census
    changed: tuple[str, ...]


def recount(
    connection: Connection,
    shelf: str,
    census: Census,
    there: Mapping[int, int],
    kept: Kept,
    decided: Mapping[int, int] | None = None,
) -> Recounted:
    """Weigh how many rows each slice has at the drop (`there`) against the decision's census.

    Where this process took the decision, `decided` is what it counted then, and the ledger's entries are read only
    where that differs. What changed counts as lost and not as destroyed, or as strays where nobody took it; `found`
    stays what the decision found. The caller holds the shelf's lock. Raises what is in UNREADABLE where an entry cannot
    be read any more.
    """
    if decided == there:
        return Recounted(census, ())
    taken = slices_of(log.entries(connection, shelf=shelf, kinds=("slice", "kept")))
    named = {int(each.slice, 16): each.found for each in census.differing}
    before = {slice_id: count_of(entry) for slice_id, entry in taken.items()} | named
    changed = sorted(each for each in before.keys() | there.keys() if before.get(each, 0) != there.get(each, 0))
    if not changed:
        return Recounted(census, ())
    new = [each for each in changed if each not in named]
    carried = kept()
    lost = sum(max(0, count_of(taken[each]) - len(carried.get(each, ()))) for each in new if each in taken)
    amended = msgspec.structs.replace(
        census,
        destroyed=census.destroyed - lost,
        lost=census.lost + lost,
        strays=census.strays + sum(there[each] for each in new if each not in taken),
        destroyed_root=_root_of_the_rest(taken, census, new, carried) if lost else census.destroyed_root,
        orgs=org_totals.amended(census.orgs, (taken[each] for each in new if each in taken), carried),
        differing=[*census.differing, *(_differing(each, taken.get(each), there.get(each, 0)) for each in new)],
    )
    return Recounted(amended, tuple(f"{each:016x}" for each in changed))


def _root_of_the_rest(
    taken: Mapping[int, Entry], census: Census, changed: Collection[int], kept: Mapping[int, Collection[bytes]]
) -> str:
    """The root over the slices that go as they were taken; not told where a part of any is kept."""
    if any(kept.values()):
        return NOT_READ
    lost = {int(each.slice, 16) for each in census.differing if each.found_root != each.taken_root}
    return over_roots(
        entry.body["root"] for each, entry in taken.items() if each not in lost.union(changed) and count_of(entry)
    )


def _differing(slice_id: int, entry: Entry | None, number: int) -> Differing:
    return Differing(
        slice=f"{slice_id:016x}",
        taken=count_of(entry) if entry else 0,
        found=number,
        taken_root=entry.body["root"] if entry else NO_ROOT,
        found_root=NOT_READ,
    )
