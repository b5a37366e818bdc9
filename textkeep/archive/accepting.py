"""How a batch becomes rows, inside the vault's transaction: duplicates, versions, slices, quarantine, entries."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import insert

from textkeep.archive.acceptance import Accepting
from textkeep.archive.batch import Incoming, Item, Outcome, Receipt, receipt_of
from textkeep.archive.rows import REWRITTEN, UPDATED, Placed, open_row, seal_rows
from textkeep.archive.sealing import CannotOpen
from textkeep.archive.setting_aside import UNDER_HOLD, quarantine, refuse, tell_duplicates
from textkeep.archive.shelf import Day, Shelf, expired
from textkeep.archive.tags import Tagged, TaggedBatch
from textkeep.archive.text import Handle, TextId, content_of, leaf, only_disposition_differs
from textkeep.errors import Outage
from textkeep.ledger import log, tree
from textkeep.store.bulk import TextRow, insert_texts, texts_with_tags
from textkeep.store.evidence import leaves
from textkeep.store.tables import batches, slices

ORGS_PER_SLICE: Final = 64
"""How many organisations one slice may hold, so that its ledger entry stays under 4 KiB."""

Place = tuple[Shelf, Handle, bytes]
Known = dict[Place, list[bytes]]


class Overtaken(Outage):
    """Another process has just stored one of these records: what each of them is must be decided anew."""


class _New(NamedTuple):
    """A record that will be stored, and as which version."""

    tagged: Tagged
    text_id: TextId
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Slice:
    """The texts of one (batch, shelf), sealed, and its row."""

    shelf: Shelf
    rows: list[TextRow]
    root: bytes
    columns: dict[str, object]


def insert_batches(accepting: Accepting, wanted: Sequence[TaggedBatch]) -> list[Receipt]:
    """Store batches and give their receipts; nothing counts until the caller's transaction commits.

    Raises Overtaken where another process stores one of the records at the same time; the caller undoes its
    transaction, and may try again.
    """
    alive = [_alive(accepting, batch) for batch in wanted]
    known = _known(accepting, [tagged for part, _ in alive for tagged in part])
    made: list[_Slice] = []
    receipts = [
        _receipt(accepting, batch, part, refused, known, made)
        for batch, (part, refused) in zip(wanted, alive, strict=True)
    ]
    by_shelf: dict[str, list[TextRow]] = defaultdict(list)
    for each in made:
        by_shelf[each.shelf] += each.rows
    if not insert_texts(accepting.connection, by_shelf):
        raise Overtaken("another process is storing the same records", retry_after=1)
    if made:
        accepting.connection.execute(insert(slices), [each.columns for each in made])
    rows = [_stored(batch.batch.producer, receipt) for batch, receipt in zip(wanted, receipts, strict=True)]
    accepting.connection.execute(insert(batches), rows)
    if accepting.leaves:
        accepting.connection.execute(insert(leaves), accepting.leaves)
    log.append_all(accepting.connection, accepting.entries, accepting.now)
    return receipts


def _alive(accepting: Accepting, batch: TaggedBatch) -> tuple[list[Tagged], list[Incoming]]:
    """What of a batch can be stored as texts, and what comes too late."""
    alive: list[Tagged] = []
    refused: list[Incoming] = list(batch.gone)
    for tagged in batch.tagged:
        if _is_expired(tagged.record, accepting.now) or accepting.has_closed(tagged.shelf):
            refused.append(tagged.record)
        else:
            alive.append(tagged)
    return alive, refused


def _receipt(
    accepting: Accepting,
    batch: TaggedBatch,
    alive: Sequence[Tagged],
    refused: list[Incoming],
    known: Known,
    made: list[_Slice],
) -> Receipt:
    items: list[Item] = []
    own_entries = len(accepting.entries)
    new = list(_decide(alive, known, items))
    duplicates = len(items)
    own = [_seal_slice(accepting, batch, shelf, part) for shelf, part in _slices(new)]
    made += own
    items += [_item_of(each) for each in new]
    held, refused = _held(accepting, batch, [*refused, *(each for each in batch.others if each.verdict == "refuse")])
    quarantined = [*(record for record in batch.others if record.verdict == "quarantine"), *held]
    items += quarantine(accepting, batch, quarantined)
    items += refuse(accepting, batch, refused)
    tell_duplicates(accepting, duplicates, own_entries)
    root = tree.root([tree.leaf_hash(each.root) for each in own]) if own else None
    return receipt_of(batch.batch, root, items)


def _held(
    accepting: Accepting, batch: TaggedBatch, refused: Sequence[Incoming]
) -> tuple[list[Incoming], list[Incoming]]:
    """Of what comes too late, what a hold in force covers, as it will be quarantined, and the rest.

    Asked here, under the locks of the shelves, so that no hold is missed that was placed while the batch waited.
    """
    if not refused:
        return [], []
    covered = accepting.holds(accepting.connection)
    held = {
        record.index for record in refused if record.org and covered(record.org, record.raw, batch.batch.received_at)
    }
    kept = [
        msgspec.structs.replace(record, verdict="quarantine", reason=UNDER_HOLD, field="data.sent_at", flags=())
        for record in refused
        if record.index in held
    ]
    return kept, [record for record in refused if record.index not in held]


def _is_expired(record: Incoming, now: datetime) -> bool:
    return record.sent_at is not None and expired(record.sent_at, now)


def _item_of(new: _New) -> Item:
    outcome: Outcome = "accepted" if new.text_id.version == 1 else "version"
    return Item(new.tagged.record.index, new.tagged.record.id, outcome, str(new.text_id), None, new.flags)


def _decide(alive: Sequence[Tagged], known: Known, items: list[Item]) -> Iterator[_New]:
    """Tell new texts and versions from duplicates; the latter become items at once. `known` learns of the new ones."""
    for tagged in alive:
        place = (tagged.shelf, tagged.org, tagged.first.tag)
        earlier = known.setdefault(place, [])
        record = tagged.record
        if not earlier:
            earlier.append(record.raw)
            yield _New(tagged, tagged.first, record.flags)
            continue
        content = content_of(record.raw)
        same = next((at for at, raw in enumerate(earlier, 1) if raw == record.raw or content_of(raw) == content), None)
        if same is not None:
            text_id = TextId(tagged.first.day, tagged.first.tag, same)
            items.append(Item(record.index, record.id, "duplicate", str(text_id), None, ()))
            continue
        what = UPDATED if any(only_disposition_differs(raw, record.raw) for raw in earlier) else REWRITTEN
        earlier.append(record.raw)
        text_id = TextId(tagged.first.day, tagged.first.tag, len(earlier))
        yield _New(tagged, text_id, (*record.flags, what))


def _known(accepting: Accepting, alive: Sequence[Tagged]) -> Known:
    """The exact bytes of the versions that are stored already, first to last, by place."""
    wanted: dict[Shelf, set[bytes]] = defaultdict(set)
    for tagged in alive:
        wanted[tagged.shelf].add(tagged.first.tag)
    known: Known = {}
    for shelf, tags in wanted.items():
        for row in texts_with_tags(accepting.connection, shelf, sorted(tags)):
            known.setdefault((shelf, Handle(row.org), row.tag), []).append(_raw_of(accepting, shelf, row))
    return known


def _raw_of(accepting: Accepting, shelf: Shelf, row: TextRow) -> bytes:
    """What a stored row says; nothing where it is damaged, so that what comes again is kept as a further version."""
    try:
        return open_row(accepting.sealer, shelf, row).raw
    except CannotOpen:
        return b""


def _slices(new: Iterable[_New]) -> Iterator[tuple[Shelf, list[_New]]]:
    """One slice for each shelf, oldest day first; a further one where a slice would name too many organisations."""
    by_shelf: dict[Shelf, dict[Handle, list[_New]]] = defaultdict(lambda: defaultdict(list))
    for each in new:
        by_shelf[each.tagged.shelf][each.tagged.org].append(each)
    for shelf in sorted(by_shelf):
        orgs = sorted(by_shelf[shelf])
        for start in range(0, len(orgs), ORGS_PER_SLICE):
            yield shelf, [each for org in orgs[start : start + ORGS_PER_SLICE] for each in by_shelf[shelf][org]]


def _seal_slice(accepting: Accepting, batch: TaggedBatch, shelf: Shelf, part: Sequence[_New]) -> _Slice:
    slice_id = int.from_bytes(os.urandom(8), "big") >> 1
    received_at = batch.batch.received_at
    wanted = [Placed(tagged.org, text_id, tagged.record.raw, flags) for tagged, text_id, flags in part]
    came_at = batch.batch.came_at or received_at
    rows = seal_rows(accepting.sealer, shelf, wanted, received_at=came_at, slice_id=slice_id)
    orgs: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        orgs[row.org.hex()][row.version > 1] += 1
    accepted = sum(counts[0] for counts in orgs.values())
    body = {
        "batch": batch.batch.id,
        "producer": batch.batch.producer.hex(),
        "slice": f"{slice_id:016x}",
        "accepted": accepted,
        "versions": len(part) - accepted,
        "orgs": orgs,
    }
    members = [leaf(row.org, row.commitment) for row in rows]
    root = bytes.fromhex(accepting.tell("slice", body, shelf, f"{slice_id:016x}", members))
    columns = {
        "id": slice_id,
        "batch": batch.batch.id,
        "shelf": shelf,
        "accepted": accepted,
        "versions": len(part) - accepted,
        "root": root,
        "received_at": received_at,
        "indexed": False,
    }
    return _Slice(shelf, rows, root, columns)


def _stored(producer: bytes, receipt: Receipt) -> dict[str, object]:
    """What is kept of a receipt once its ids have left."""
    return {
        "id": receipt.batch_id,
        "shelf": Day.of(receipt.received_at).shelf,
        "received_at": receipt.received_at,
        "producer": producer,
        "read": receipt.read,
        "accepted": receipt.accepted,
        "versions": receipt.versions,
        "duplicates": receipt.duplicates,
        "quarantined": receipt.quarantined,
        "refused": receipt.refused,
        "root": None if receipt.root is None else bytes.fromhex(receipt.root),
    }
