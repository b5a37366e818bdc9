"""What goes into the vault and what comes back: a batch of decided records, and its receipt. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec

from textkeep.archive.text import Handle

Outcome = Literal["accepted", "version", "duplicate", "quarantined", "refused"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("accepted", "version", "duplicate", "quarantined", "refused")


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """One record, as ingest decided it; `raw` is exactly what came.

    `id`, `sent_at`, `org` and `source` are there where they could be read; for verdict `accept` all of them are.
    `field` is the JSON path of the member that was amiss; `origin` says where in a topic the record lay, if it
    came from one.
    """

    raw: bytes
    index: int
    id: str | None
    sent_at: datetime | None
    org: Handle | None
    source: str | None
    verdict: Literal["accept", "quarantine", "refuse"]
    reason: str | None
    field: str | None = None
    flags: tuple[str, ...] = ()
    origin: Mapping[str, str | int] | None = None

    def __repr__(self) -> str:
        return f"Incoming({self.index}, {self.verdict})"


@dataclass(frozen=True, slots=True)
class Batch:
    """The records of one request, in the order they came; `producer` is a person's handle.

    `came_at` is when they first came, where that was before: what had been set aside and is returned.
    """

    id: str
    received_at: datetime
    producer: bytes
    records: Sequence[Incoming]
    came_at: datetime | None = None


@dataclass(slots=True)  # not frozen: that triples what making one costs, and every record has one
class Item:
    """What became of one record."""

    index: int
    id: str | None
    outcome: Outcome
    text_id: str | None = None
    reason: str | None = None
    flags: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Item({self.index}, {self.outcome})"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch, once it is on disk. `read` sums the five; `root` is hex, None without a slice."""

    batch_id: str
    received_at: datetime
    read: int
    accepted: int
    versions: int
    duplicates: int
    quarantined: int
    refused: int
    root: str | None
    items: tuple[Item, ...]


def receipt_of(batch: Batch, root: bytes | None, items: Sequence[Item]) -> Receipt:
    """The receipt over the items of a batch. Raises ValueError where one record has no item, or two."""
    if sorted(item.index for item in items) != sorted(record.index for record in batch.records):
        raise ValueError("every record has exactly one outcome")
    counts = dict.fromkeys(OUTCOMES, 0)
    for item in items:
        counts[item.outcome] += 1
    return Receipt(
        batch.id,
        batch.received_at,
        len(items),
        counts["accepted"],
        counts["version"],
        counts["duplicate"],
        counts["quarantined"],
        counts["refused"],
        None if root is None else root.hex(),
        tuple(sorted(items, key=lambda item: item.index)),
    )
