"""The record: a business text as it came, its exact bytes, its commitment. Pure.

The wire form is a CloudEvents 1.0 event of type `textkeep.text.v1` (docs/formats.md). The exact bytes received are
what is sealed and committed to; everything here reads them and never writes them back.
"""

import hashlib
import json
from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal, NewType, Self

import msgspec
import rfc8785

EVENT_TYPE: Final = "textkeep.text.v1"

SALT_BYTES: Final = 32
TAG_BYTES: Final = 16

Handle = NewType("Handle", bytes)
"""Eight random bytes that stand for an organisation or a person wherever data is not sealed."""

HOUSE: Final = Handle(bytes(8))
"""Stands for the house itself: what belongs to no organisation."""

UNDECIDED: Final = "undecided"
"""A flag that a text has on a shelf of held texts only: another version did not open, or was missing, when this one was
carried there. Nobody can say any more what followed from it: a hold takes it to have, and not to have, every flag.
"""

Direction = Literal["inbound", "outbound"]
Disposition = Literal["delivered", "sent", "failed", "blocked", "throttled"]


class Text(msgspec.Struct, frozen=True, gc=False):
    """The members of `data` that Textkeep reads; unknown ones stay in the exact bytes."""

    org_id: str
    user_id: str
    direction: Direction
    channel: str
    to: str
    body: str
    sent_at: datetime
    disposition: Disposition
    from_: str = msgspec.field(name="from")
    reason: str | None = None
    decided_by: str | None = None
    campaign_id: str | None = None
    app_version: str | None = None

    @property
    def own_number(self) -> str:
        """The number of the organisation's user."""
        return self.from_ if self.direction == "outbound" else self.to

    @property
    def peer_number(self) -> str:
        """The number at the other end."""
        return self.to if self.direction == "outbound" else self.from_


class Event(msgspec.Struct, frozen=True, gc=False):
    """The CloudEvents envelope, as far as Textkeep reads it."""

    specversion: str
    id: str
    source: str
    type: str
    data: Text


_events = msgspec.json.Decoder(Event)


def read_event(raw: bytes) -> Event:
    """The event in `raw`. Raises `msgspec.DecodeError` where it is not one; never show its message, it may quote."""
    return _events.decode(raw)


def leaf(org: bytes, commitment: bytes) -> bytes:
    """SHA-256(org handle || commitment): what a text is in every root that speaks of it."""
    return hashlib.sha256(org + commitment).digest()


def commitment(salt: bytes, raw: bytes) -> bytes:
    """SHA-256("textkeep-text-v1" || salt || raw): stands beside a sealed text; tells nothing without the salt."""
    return hashlib.sha256(b"textkeep-text-v1" + salt + raw).digest()


def content_of(raw: bytes) -> bytes:
    """The canonical content of a record: `data`, type, source and id, without transport attributes (RFC 8785).

    A record that RFC 8785 cannot carry exactly (numbers beyond a double, a member named twice, half surrogate pairs)
    stands for itself, byte for byte, so that two different records never look alike.
    """
    return _canonical(raw, without=())


def only_disposition_differs(one: bytes, other: bytes) -> bool:
    """Whether two records of one id say the same but for disposition and reason."""
    without = ("disposition", "reason")
    return _canonical(one, without) == _canonical(other, without)


def _canonical(raw: bytes, without: Collection[str]) -> bytes:
    try:
        record = json.loads(raw, object_pairs_hook=_members, parse_float=_number)
        data = {name: value for name, value in record["data"].items() if name not in without}
        named = {name: record[name] for name in ("type", "source", "id")}
        return rfc8785.dumps({"data": data, **named})
    except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, RecursionError):
        return b"exactly:" + raw


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of distinct members: of one named twice, readers would tell different things."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _number(written: str) -> float:
    """A fraction or power as a double that says the same number when it is written again."""
    number = float(written)
    if Decimal(repr(number)) != Decimal(written):
        raise ValueError("no double is that number")
    return number


class TextId(msgspec.Struct, frozen=True, order=True, gc=False):
    """The public name of a text: the UTC day it was sent, its tag, its version. `20261122-<32 hex>-1`."""

    day: date
    tag: bytes
    version: int

    def __str__(self) -> str:
        return f"{_compact(self.day)}-{self.tag.hex()}-{self.version}"

    @classmethod
    def parse(cls, written: str) -> Self:
        """The text id in `written`. Raises `ValueError` for anything that `str` of one does not give."""
        parts = written.split("-")
        if len(parts) != 3 or len(parts[0]) != 8 or len(parts[1]) != 2 * TAG_BYTES or len(parts[2]) > 9:
            raise ValueError("a text id is DAY-TAG-VERSION")
        found = cls(datetime.strptime(parts[0], "%Y%m%d").date(), bytes.fromhex(parts[1]), int(parts[2]))  # noqa: DTZ007
        if str(found) != written or found.version < 1:
            raise ValueError("a text id is DAY-TAG-VERSION")
        return found


@lru_cache(maxsize=1024)
def _compact(day: date) -> str:
    return day.isoformat().replace("-", "")
