"""One sealed text as a row of its shelf's table, and back.

On a day's shelf a text is bound to its id. On a shelf of held texts, which come from many days, it is bound to its id
without the day (`TAG-VERSION`): the day is that of the moment it was sent, which its own bytes say.

What is sealed: salt (32) || received at (8, microseconds since 1970, big-endian) || slice (8) || length of flags (2) ||
flags (ASCII, comma-separated) || the exact bytes received. The commitment covers salt and exact bytes only, so that it
stays the same when a text is sealed again elsewhere.
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from textkeep.archive.sealing import CannotOpen, Sealer
from textkeep.archive.shelf import Day, is_kept
from textkeep.archive.text import SALT_BYTES, Event, Handle, TextId, commitment, read_event
from textkeep.store.bulk import TextRow

REWRITTEN: Final = "rewritten"
UPDATED: Final = "updated"

_ENVELOPE: Final = struct.Struct(">qqH")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
_ORG: Final = attrgetter("org")


@dataclass(frozen=True, slots=True)
class Opened:
    """A text, opened from its shelf.

    `flags` are those it was accepted with and, where a later version says otherwise than it, `rewritten`.
    """

    id: TextId
    org: Handle
    event: Event
    received_at: datetime
    flags: tuple[str, ...]
    slice: int
    raw: bytes
    commitment: bytes

    def __repr__(self) -> str:
        return f"Opened({self.id})"


class Placed(NamedTuple):
    """What of a record stands outside its seal, and what beside its bytes inside it."""

    org: Handle
    text_id: TextId
    raw: bytes
    flags: tuple[str, ...]


def seal_rows(
    sealer: Sealer, shelf: str, wanted: Sequence[Placed], *, received_at: datetime, slice_id: int
) -> list[TextRow]:
    """Seal the exact bytes of records as rows of `shelf`, in their order."""
    received = (received_at - _EPOCH) // _TICK
    salts = os.urandom(SALT_BYTES * len(wanted))
    rows: list[TextRow] = []
    for org, group in groupby(wanted, key=_ORG):
        some = list(group)
        committed: list[bytes] = []
        inside: list[tuple[bytes, bytes, tuple[bytes, ...]]] = []
        for at, (_, text_id, raw, flags) in enumerate(some, len(rows)):
            salt = salts[at * SALT_BYTES : (at + 1) * SALT_BYTES]
            written = ",".join(flags).encode("ascii")
            one = commitment(salt, raw)
            committed.append(one)
            envelope = _ENVELOPE.pack(received, slice_id, len(written))
            inside.append((str(text_id).encode(), one, (salt, envelope, written, raw)))
        sealed = sealer.seal_all("body", shelf, org, inside)
        rows += [
            TextRow(org, text_id.tag, text_id.version, slice_id, one, len(raw), closed)
            for (_, text_id, raw, _), one, closed in zip(some, committed, sealed, strict=True)
        ]
    return rows


def seal_again(sealer: Sealer, shelf: str, wanted: Sequence[tuple[Opened, bytes]], *, slice_id: int) -> list[TextRow]:
    """Seal opened texts of one organisation, each with the salt it had, as rows of a shelf of held texts.

    What is sealed is the same but for the slice, and so is the commitment. Flags are those that each text carries now.
    """
    inside: list[tuple[bytes, bytes, tuple[bytes, ...]]] = []
    for opened, salt in wanted:
        written = ",".join(opened.flags).encode("ascii")
        envelope = _ENVELOPE.pack((opened.received_at - _EPOCH) // _TICK, slice_id, len(written))
        inside.append(
            (_undated(opened.id.tag, opened.id.version), opened.commitment, (salt, envelope, written, opened.raw))
        )
    org = wanted[0][0].org
    closed = sealer.seal_all("body", shelf, org, inside)
    return [
        TextRow(org, each.id.tag, each.id.version, slice_id, each.commitment, len(each.raw), sealed)
        for (each, _), sealed in zip(wanted, closed, strict=True)
    ]


def open_row(sealer: Sealer, shelf: str, row: TextRow) -> Opened:
    """Open a row of a shelf's table.

    Raises CannotOpen where it was altered or moved, SecretDestroyed where its shelf has been purged.
    """
    return open_with_salt(sealer, shelf, row)[0]


def open_with_salt(sealer: Sealer, shelf: str, row: TextRow) -> tuple[Opened, bytes]:
    """What `open_row` gives, and the salt of its commitment. Raises like it."""
    org, tag, version, row_slice, committed, size, sealed = row
    day = _date_of(shelf)
    bound = _undated(tag, version) if day is None else str(TextId(day, tag, version)).encode()
    plain = sealer.open("body", shelf, Handle(org), (bound, committed), sealed)
    received, slice_id, length = _ENVELOPE.unpack_from(plain, SALT_BYTES)
    start = SALT_BYTES + _ENVELOPE.size + length
    raw = plain[start:]
    if commitment(plain[:SALT_BYTES], raw) != committed or slice_id != row_slice or len(raw) != size:
        raise CannotOpen("a sealed text does not match its row")
    written = plain[start - length : start].decode("ascii")
    flags = tuple(written.split(",")) if written else ()
    event = read_event(raw)
    text_id = TextId(day or Day.of(event.data.sent_at).date, tag, version)
    opened = Opened(text_id, Handle(org), event, _EPOCH + received * _TICK, flags, slice_id, raw, committed)
    return opened, plain[:SALT_BYTES]


def with_derived_flags(versions: list[Opened]) -> list[Opened]:
    """The versions of one text, first to last, each `rewritten` where it or a later one is."""
    derived: list[Opened] = []
    rewritten = False
    for opened in sorted(versions, key=lambda each: each.id.version, reverse=True):
        own = REWRITTEN in opened.flags
        derived.append(replace(opened, flags=(*opened.flags, REWRITTEN)) if rewritten and not own else opened)
        rewritten = rewritten or own
    return derived[::-1]


def _undated(tag: bytes, version: int) -> bytes:
    """A text's id without the day."""
    return f"{tag.hex()}-{version}".encode()


@lru_cache(maxsize=1024)
def _date_of(shelf: str) -> date | None:
    """The day of all that lies on a shelf; None where it holds texts of many days."""
    return None if is_kept(shelf) else Day.named(shelf).date
