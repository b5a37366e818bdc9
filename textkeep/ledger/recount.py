"""The report of a shelf against the ledger: its entries counted anew, its roots computed anew. Pure."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .published import Published
from .report_form import Document, counts, digest, indices, items, number, text
from .step import Failed, NotShown
from .tree import leaf_hash, root, root_of_set

REPORTS: Final = frozenset({"purge", "missed-run"})
"""The kinds of entries that speak of a report."""

DECISIONS: Final = frozenset({"approval", "release"})
"""The kinds of entries that speak of what persons decide."""

ENTRIES_OF: Final = {"intent": "intent", "committed": "committed", "shredded": "key-destroyed"}
"""The kinds of the entries that steps of a purge name."""

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of a ledger, by index: of one shelf, of reports, of what persons decided, of the log's key."""

    leaves: list[bytes] = field(default_factory=list)
    """The leaf hash of every entry."""
    of_shelf: dict[int, Body] = field(default_factory=dict)
    kept_from: dict[int, Body] = field(default_factory=dict)
    """What was carried over from this shelf."""
    reports: dict[int, Body] = field(default_factory=dict)
    key_changes: dict[int, Body] = field(default_factory=dict)
    decisions: dict[int, Body] = field(default_factory=dict)
    """What persons asked for, approved and released."""


def gather(published: Published, shelf: str | None) -> Entries:
    """Read every entry once; keep what a report of `shelf` is checked against. Raises SourceFailed, Failed."""
    found = Entries()
    wanted = [f'"kind":"{each}"'.encode() for each in (*sorted(REPORTS | DECISIONS), "key-change")]
    if shelf is not None:
        wanted.append(json.dumps(shelf).encode())
    for index, entry in published.entries():
        found.leaves.append(leaf_hash(entry))
        if any(each in entry for each in wanted):  # canonical JSON: a member stands there as it is looked for
            _sort(found, index, entry, shelf)
    return found


def _sort(found: Entries, index: int, entry: bytes, shelf: str | None) -> None:
    try:
        body = json.loads(entry)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Failed(f"entry {index} is no JSON object")
    kind = body.get("kind")
    if shelf is not None and body.get("shelf") == shelf:
        found.of_shelf[index] = body
    if shelf is not None and kind == "kept" and body.get("from") == shelf:
        found.kept_from[index] = body
    if kind in REPORTS:
        found.reports[index] = body
    if kind in DECISIONS:
        found.decisions[index] = body
    if kind == "key-change":
        found.key_changes[index] = body


def check_recount(document: Document, entries: Entries, published: Published, own: int) -> str:
    """Count the shelf's entries anew; `own` is the index of the report's entry.

    Raises Failed, NotShown, SourceFailed.
    """
    if document["kind"] == "missed-run":
        return "a day without a run counts nothing"
    shelf = text(document, "shelf")
    taken = {index: body for index, body in entries.of_shelf.items() if _holds_texts(body)}
    if max(taken, default=-1) > own:
        raise Failed("an entry says that texts came onto this shelf after it was reported as gone")
    _counted(document, "slices", taken)
    _texts(document, taken)
    _steps(document, entries, own)
    _set_aside(document, {at: body for at, body in entries.of_shelf.items() if _holds_records(body)}, own)
    _returned(document, {at: body for at, body in entries.of_shelf.items() if body.get("kind") == "returned"})
    _refusals(document, {at: body for at, body in entries.of_shelf.items() if body.get("kind") == "refusals"})
    return f"{len(taken)} slices counted, {_leaves(document, taken, entries, published, shelf)}"


def _holds_texts(body: Body) -> bool:
    return body.get("kind") in ("slice", "kept") and "slice" in body


def _holds_records(body: Body) -> bool:
    return body.get("kind") == "quarantine" or (body.get("kind") == "kept" and "papers" in body)


def _records(body: Body) -> int:
    return number(body, "papers" if body.get("kind") == "kept" else "count")


def _counted(document: Document, part: str, there: Mapping[int, Body]) -> None:
    told = indices(document, f"{part}.entries")
    if told != sorted(there):
        amiss = min(set(told) ^ there.keys(), default=None)
        raise Failed(f"the {part} it counts are not the ledger's: see entry {amiss}")


def _texts(document: Document, taken: Mapping[int, Body]) -> None:
    if number(document, "slices.counted") != len(taken):
        raise Failed("it counts another number of slices than the ledger has")
    accepted, versions = (_sum(taken.values(), name) for name in ("accepted", "versions"))
    if (number(document, "totals.taken"), number(document, "totals.versions")) != (accepted + versions, versions):
        raise Failed(f"the ledger says that {accepted} texts and {versions} versions were taken, the report does not")
    organisations: dict[str, list[int]] = {}
    for index, body in taken.items():
        for org, each in _organisations(index, body):
            mine = organisations.setdefault(org, [0, 0])
            mine[0] += each[0]
            mine[1] += each[1]
    told = {
        text(each, "org"): [number(each, "taken_texts"), number(each, "taken_versions")]
        for each in items(document, "organisations")
        if number(each, "taken_texts") + number(each, "taken_versions")
    }
    if told != organisations:
        raise Failed("the organisations' numbers are not those of the ledger")
    over = root([leaf_hash(_hash(index, body, "root")) for index, body in sorted(taken.items())])
    if over.hex() != digest(document, "roots.taken"):
        raise Failed("the root of what was taken is not that of the ledger's entries")


def _steps(document: Document, entries: Entries, own: int) -> None:
    for step in items(document, "steps"):
        at = step.get("entry")
        if at is None:
            continue
        body = entries.of_shelf.get(at) if type(at) is int and at < own else None
        if body is None or body.get("kind") != ENTRIES_OF.get(str(step.get("step")), body.get("kind")):
            raise Failed(f"the entry that step `{step.get('step')}` names does not speak of it, or not of this shelf")


def _set_aside(document: Document, there: Mapping[int, Body], own: int) -> None:
    _counted(document, "quarantine", {index: body for index, body in there.items() if index < own})
    if number(document, "quarantine.taken") != sum(map(_records, there.values())):
        raise Failed("the ledger says another number of quarantined records")
    if counts(document, "quarantine.reasons") != _by_name(body.get("reasons", {}) for body in there.values()):
        raise Failed("the ledger says other reasons of quarantined records")


def _returned(document: Document, there: Mapping[int, Body]) -> None:
    if indices(document, "quarantine.returned_entries") != sorted(there):
        raise Failed("the returns that it counts are not the ledger's")
    if number(document, "quarantine.returned") != _sum(there.values(), "count"):
        raise Failed("the ledger says another number of returned records")


def _refusals(document: Document, there: Mapping[int, Body]) -> None:
    """Refusals go on after the count, so those that it names must be there, and need not be all."""
    told = indices(document, "refusals.entries")
    if not set(told) <= there.keys():
        raise Failed("it counts refusals that are not in the ledger")
    counted = [there[index] for index in told]
    if number(document, "refusals.count") != _sum(counted, "count"):
        raise Failed("the ledger says another number of refusals")
    if counts(document, "refusals.reasons") != _by_name(body.get("reasons") for body in counted):
        raise Failed("the ledger says other reasons of refusals")
    producers = _by_name({str(body.get("producer")): body.get("count")} for body in counted)
    if counts(document, "refusals.producers") != producers:
        raise Failed("the ledger says other producers of refusals")


def _leaves(document: Document, taken: Mapping[int, Body], entries: Entries, published: Published, shelf: str) -> str:
    """The roots of slices, from the leaves behind them; and of what was kept and destroyed, where nothing was lost."""
    there = published.leaves(shelf)
    if there is None:
        return "roots over the slices' own; the leaves behind them are not in the folder"
    for index, body in taken.items():
        _one_slice(index, body, there)
    for index, body in entries.of_shelf.items():
        if _holds_records(body):
            _of_records(index, body, there)
    kept = _kept(
        entries.kept_from, published, {str(body["slice"]): there[str(body["slice"])] for body in taken.values()}
    )
    if kept is None:
        return "all roots computed from their leaves; those of what was kept are not in the folder"
    texts, records = kept
    if number(document, "quarantine.kept") != len(records):
        raise Failed("the ledger says that another number of quarantined records was kept")
    if not number(document, "totals.lost"):
        _parted(document, [str(body["slice"]) for _, body in sorted(taken.items())], there, texts)
    return "all roots computed from their leaves"


def _of_records(index: int, body: Body, there: Mapping[str, list[bytes]]) -> list[bytes]:
    """The leaves of an entry about records, by the batch they came in or the part they were carried over in."""
    part = body.get("part") if body.get("kind") == "kept" else body.get("batch")
    name = f"{part}:{body.get('shelf')}"
    _one_root(index, body, there.get(name), _records(body))
    return there[name]


def _one_slice(index: int, body: Body, there: Mapping[str, list[bytes]]) -> None:
    _one_root(index, body, there.get(str(body["slice"])), number(body, "accepted") + number(body, "versions"))


def _one_root(index: int, body: Body, hashes: Sequence[bytes] | None, count: int) -> None:
    if hashes is None:
        raise Failed(f"the leaves of entry {index} are missing from the file of its shelf")
    if len(hashes) != count or list(hashes) != sorted(set(hashes)):
        raise Failed(f"the leaves of entry {index} are not as many as it says, each once, in order")
    if root_of_set(hashes) != _hash(index, body, "root"):
        raise Failed(f"the leaves of entry {index} have another root than it says")


def _kept(
    kept_from: Mapping[int, Body], published: Published, taken: Mapping[str, list[bytes]]
) -> tuple[dict[str, set[bytes]], set[bytes]] | None:
    """The leaves of texts that were carried over, by the slice they came from, and those of records.

    None where the folder does not have them. A text that could not be decided is carried over as a record; its leaf is
    that of its slice.
    """
    files: dict[str, dict[str, list[bytes]] | None] = {}
    owner = {leaf: name for name, leaves in taken.items() for leaf in leaves}
    kept: dict[str, set[bytes]] = {}
    records: set[bytes] = set()
    for index, body in kept_from.items():
        shelf = str(body.get("shelf"))
        if shelf not in files:
            files[shelf] = published.leaves(shelf)
        there = files[shelf]
        if there is None:
            return None
        if _holds_texts(body):
            _one_slice(index, body, there)
            kept.setdefault(str(body.get("from_slice")), set()).update(there[str(body["slice"])])
        elif _holds_records(body):
            for leaf in _of_records(index, body, there):
                if leaf in owner:
                    kept.setdefault(owner[leaf], set()).add(leaf)
                else:
                    records.add(leaf)
    return kept, records


def _parted(
    document: Document, order: Sequence[str], there: Mapping[str, list[bytes]], kept: Mapping[str, set[bytes]]
) -> None:
    if not kept.keys() <= set(order) or any(not kept[each] <= set(there[each]) for each in kept):
        raise Failed("something was kept that had not been taken")
    if sum(map(len, kept.values())) != number(document, "totals.kept"):
        raise Failed("the ledger says that another number of texts was kept")
    left = [set(there[each]) - kept.get(each, set()) for each in order]
    if sum(map(len, left)) != number(document, "totals.destroyed"):
        raise Failed("what was taken and not kept is another number than was destroyed")
    wanted = {"kept": [kept[each] for each in order if kept.get(each)], "destroyed": [each for each in left if each]}
    for name, sets in wanted.items():
        if root([leaf_hash(root_of_set(list(each))) for each in sets]).hex() != digest(document, f"roots.{name}"):
            raise Failed(f"the root of what was {name} is not that of the leaves")


def _organisations(index: int, body: Body) -> Iterator[tuple[str, tuple[int, int]]]:
    told = body.get("orgs")
    if not isinstance(told, Mapping):
        raise Failed(f"entry {index} names no organisations")
    for org, each in told.items():
        if not isinstance(each, list) or len(each) != 2 or any(type(count) is not int for count in each):
            raise Failed(f"entry {index} counts its organisations in another way")
        yield org, (each[0], each[1])


def _hash(index: int, body: Body, name: str) -> bytes:
    try:
        return bytes.fromhex(digest(body, name))
    except (Failed, NotShown):
        raise Failed(f"entry {index} has no root") from None


def _sum(bodies: Iterable[Body], name: str) -> int:
    return sum(number(body, name) for body in bodies)


def _by_name(told: Iterable[Any]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in told:
        if not isinstance(each, Mapping):
            raise Failed("an entry counts in another way than by name")
        total.update({name: number(each, name) for name in each})
    return dict(total)
