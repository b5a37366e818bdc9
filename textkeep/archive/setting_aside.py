"""What of a batch is no text of the archive: set aside sealed, or counted as refused; each in the ledger's entries."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from textkeep.archive.acceptance import OPEN_AGAIN, Accepting
from textkeep.archive.batch import Incoming, Item
from textkeep.archive.shelf import Day, Shelf, expired
from textkeep.archive.tags import TaggedBatch
from textkeep.archive.text import HOUSE, leaf
from textkeep.errors import Unsound
from textkeep.ledger import log

UNDER_HOLD: Final = "expired-under-hold"
"""Why a record is set aside that came too late to be archived, and that a hold covers."""


def quarantine(accepting: Accepting, batch: TaggedBatch, records: Sequence[Incoming]) -> Iterator[Item]:
    """Seal what cannot be archived as a text on the shelf of its day, else on that of the day it came.

    What only a hold keeps goes where held texts lie, and with these once it is released.
    """
    by_shelf: dict[Shelf, list[Incoming]] = defaultdict(list)
    for record in records:
        by_shelf[_quarantine_shelf(accepting, record)].append(record)
    for shelf, part in sorted(by_shelf.items()):
        members = []
        for record in part:
            org = record.org or HOUSE
            envelope: dict[str, object] = {
                "reason": record.reason,
                "field": record.field,
                "index": record.index,
                "batch": batch.batch.id,
            }
            if record.origin is not None:
                envelope["origin"] = dict(record.origin)
            plain = json.dumps(envelope).encode() + b"\n" + record.raw
            paper = accepting.papers.add(
                accepting.connection, shelf, "quarantine", org, plain, now=batch.batch.received_at
            )
            members.append(leaf(org, paper.commitment))
        body = {
            "batch": batch.batch.id,
            "producer": batch.batch.producer.hex(),
            "reasons": _reasons(part),
            "count": len(part),
        }
        accepting.tell("quarantine", body, shelf, f"{batch.batch.id}:{shelf}", members)
    return (Item(record.index, record.id, "quarantined", None, record.reason) for record in records)


def _quarantine_shelf(accepting: Accepting, record: Incoming) -> Shelf:
    if record.reason == UNDER_HOLD:
        kept = accepting.keeps(accepting.connection, record.org or HOUSE)
        if kept is not None:
            return kept
    sent_at = record.sent_at
    if sent_at is not None and sent_at <= accepting.now and not expired(sent_at, accepting.now):
        shelf = Day.of(sent_at).shelf
        if accepting.takes(shelf):
            return shelf
    today = Day.of(accepting.now).shelf
    if not accepting.takes(today):
        raise Unsound("today has no open shelf", remedy=OPEN_AGAIN)
    return today


def refuse(accepting: Accepting, batch: TaggedBatch, records: Sequence[Incoming]) -> list[Item]:
    """Count what came too late: the ledger keeps a number for each day with a shelf, and one for the rest."""
    days: Counter[str | None] = Counter()
    for record in records:
        day = None if record.sent_at is None else Day.of(record.sent_at).shelf
        days[day if day in accepting.states else None] += 1
    for shelf, count in sorted(days.items(), key=lambda each: each[0] or ""):
        body = {
            "batch": batch.batch.id,
            "producer": batch.batch.producer.hex(),
            "received_at": log.moment(batch.batch.received_at),
            "count": count,
            "reasons": {"expired": count},
        }
        accepting.entries.append(("refusals", body, shelf))
    return [Item(record.index, record.id, "refused", None, record.reason or "expired") for record in records]


def tell_duplicates(accepting: Accepting, number: int, first: int) -> None:
    """Say in the first entry of a batch how many duplicates came with it; a batch of nothing else has no entry."""
    if number and len(accepting.entries) > first:
        accepting.entries[first][1]["duplicates"] = number


def _reasons(records: Iterable[Incoming]) -> dict[str, int]:
    return dict(Counter(record.reason or "unreadable" for record in records))
