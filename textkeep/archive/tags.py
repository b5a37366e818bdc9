"""Tags: where a record of one source and id belongs, so that its double is found without storing ids."""

import hmac
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple

from textkeep.archive.batch import Batch, Incoming
from textkeep.archive.keyring import Keyring, SecretDestroyed, SecretMissing, prefixed
from textkeep.archive.shelf import Day, Shelf, expired
from textkeep.archive.text import TAG_BYTES, Handle, TextId


class Tagged(NamedTuple):
    """A record that ingest would accept, with its place: the id of its first version."""

    record: Incoming
    shelf: Shelf
    org: Handle
    first: TextId


@dataclass(frozen=True, slots=True)
class TaggedBatch:
    """A batch with a place for each record that has one; the others stay as ingest decided them."""

    batch: Batch
    tagged: list[Tagged]
    others: list[Incoming]
    gone: list[Incoming]
    shelves: set[Shelf]


class Tags:
    """Computes tags under the `tag` key of a shelf and an organisation."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def tag(self, shelf: str, org: Handle, source: str, message_id: str) -> bytes:
        """HMAC-SHA256 under the `tag` key of length-prefixed source and id, its first 16 bytes.

        Raises SecretDestroyed or SecretMissing where the day takes no texts.
        """
        key = self._keyring.derive("tag", shelf, org)
        return hmac.digest(key, prefixed(source.encode(), message_id.encode()), "sha256")[:TAG_BYTES]

    def of_batch(self, batch: Batch) -> TaggedBatch:
        """Tag what can be accepted. Records of a day whose secret is destroyed, or that is too long ago, are `gone`.

        Raises SecretMissing for any other day without one: shelves were not opened ahead, and nothing may be refused
        for that.
        """
        result = TaggedBatch(batch, [], [], [], set())
        for record in batch.records:
            day = None if record.sent_at is None else _day_of(record.sent_at)
            if day is not None:
                result.shelves.add(day[1])
            if record.verdict == "accept":
                self._place(record, day, result, batch.received_at)
            else:
                result.others.append(record)
        return result

    def _place(
        self, record: Incoming, day: tuple[date, Shelf] | None, result: TaggedBatch, batch_now: datetime
    ) -> None:
        if record.sent_at is None or day is None or record.org is None or record.source is None or record.id is None:
            raise ValueError("what is accepted has an id, a source, an organisation and a moment")
        sent_on, shelf = day
        try:
            tag = self.tag(shelf, record.org, record.source, record.id)
        except SecretDestroyed:
            result.gone.append(record)
        except SecretMissing:
            if not expired(record.sent_at, batch_now):
                raise
            result.gone.append(record)
        else:
            result.tagged.append(Tagged(record, shelf, record.org, TextId(sent_on, tag, 1)))


def _day_of(moment: datetime) -> tuple[date, Shelf]:
    """The UTC day of a moment, and its shelf."""
    return _named(moment.date()) if moment.tzinfo is UTC else _named(Day.of(moment).date)


@lru_cache(maxsize=1024)
def _named(day: date) -> tuple[date, Shelf]:
    return day, Day(day).shelf
