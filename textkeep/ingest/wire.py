"""The wire: bytes to a business text, or to why they are none. Pure.

What is well formed takes the fast path, straight into `archive.text.Event`. Only what fails there is looked at again,
to name the reason and the member; no value of it is ever repeated.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from textkeep.archive.text import EVENT_TYPE, Direction, Disposition, Event, read_event
from textkeep.directory.numbers import kind_of

SPEC_VERSION: Final = "1.0"

MAX_BODY_BYTES: Final = 64 * 1024
"""UTF-8 bytes of a text's body."""

MAX_RECORD_BYTES: Final = 256 * 1024
"""Bytes of one record; a longer one is `too-long`."""

MAX_NESTING: Final = 32
"""How deep objects and arrays of one record may lie in each other."""

_MOST_BYTES_A_CHARACTER: Final = 4
_TOO_DEEP: Final = f"objects and arrays lie in each other at most {MAX_NESTING} deep"
_Rule = Callable[[object], str | None]

Reason = Literal["unreadable", "malformed", "too-long"]


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """A record of the documented form. `sent_at` is in UTC; `group` tells that it names several numbers on one side."""

    event: Event
    sent_at: datetime
    group: bool = False
    international: bool = False

    def __repr__(self) -> str:
        return "Parsed()"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is not of the documented form: why, and what could be read of it all the same.

    `field` is the JSON path of the member that is amiss, `what` says what it must be; neither repeats what came.
    """

    reason: Reason
    what: str
    field: str | None = None
    id: str | None = None
    source: str | None = None
    sent_at: datetime | None = None
    org_id: str | None = None

    def __repr__(self) -> str:
        return f"Rejected({self.reason}, {self.field})"


class Arrived(NamedTuple):
    """A record as a door hands it over: its bytes, where it lay, and what the door itself found amiss with it."""

    raw: bytes
    origin: Mapping[str, str | int] | None = None
    fault: Rejected | None = None

    def __repr__(self) -> str:
        return f"Arrived({self.fault})"


_anything: Final = msgspec.json.Decoder()


def parse(raw: bytes) -> Parsed | Rejected:
    """The text in `raw`, or why there is none.

    What comes out as Parsed can be read again by every JSON reader there is: valid UTF-8, no lone surrogates, no
    number that some of them refuse, bounded nesting.
    """
    if len(raw) > MAX_RECORD_BYTES:
        return _oversized(raw)
    try:
        record = _anything.decode(raw)
    except RecursionError:
        return Rejected("malformed", _TOO_DEEP)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Rejected("unreadable", "it is not JSON")
    if raw.count(b"{") + raw.count(b"[") > MAX_NESTING and _too_deep(record):
        return _rejected(record, "malformed", _TOO_DEEP)
    try:
        event = read_event(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _examine(record)
    return _checked(event) or _examine(record)


def _checked(event: Event) -> Parsed | None:
    """The fast path's last look at what types cannot tell; None where anything is amiss."""
    data = event.data
    sent_at = _in_utc(data.sent_at)
    here, there = kind_of(data.from_), kind_of(data.to)
    if here is None or there is None or sent_at is None or _over(data.body):
        return None
    if event.specversion != SPEC_VERSION or event.type != EVENT_TYPE:
        return None
    if not (event.id and event.source and data.org_id and data.user_id):
        return None
    return Parsed(event, sent_at, False, here == "international" or there == "international")


def _in_utc(moment: datetime) -> datetime | None:
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        return None
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None


def _over(body: str) -> bool:
    return len(body) * _MOST_BYTES_A_CHARACTER > MAX_BODY_BYTES and len(body.encode()) > MAX_BODY_BYTES


def _too_deep(record: object) -> bool:
    level: list[object] = [record]
    for _ in range(MAX_NESTING + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: object) -> Iterable[object]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _oversized(raw: bytes) -> Rejected:
    """Read without building what is not read, so that a long record costs no more memory than its length."""
    what = f"a record has at most {MAX_RECORD_BYTES} bytes"
    try:
        event = read_event(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Rejected("too-long", what)
    return Rejected("too-long", what, None, event.id, event.source, _in_utc(event.data.sent_at), event.data.org_id)


def _examine(record: object) -> Parsed | Rejected:
    """The slow path: name what is amiss, or find that one side is a list of numbers and nothing else is."""
    if not isinstance(record, dict):
        return Rejected("malformed", "a record is a JSON object")
    data = record.get("data")
    if not isinstance(data, dict):
        return _rejected(record, "malformed", "is missing, or is not an object", "data")
    for where, members, rules in (("", record, _ENVELOPE), ("data.", data, _DATA)):
        for name, rule in rules.items():
            fault = rule(members[name]) if name in members else _absent(name)
            if fault is not None:
                return _rejected(record, "malformed", fault, where + name)
    if _over(data["body"]):
        return _rejected(record, "too-long", f"has at most {MAX_BODY_BYTES} bytes", "data.body")
    return _group(record, data)


def _group(record: dict[str, Any], data: dict[str, Any]) -> Parsed | Rejected:
    one = {name: data[name][0] if isinstance(data[name], list) else data[name] for name in ("from", "to")}
    try:
        event = msgspec.convert({**record, "data": {**data, **one}}, Event)
    except msgspec.ValidationError:
        return _rejected(record, "malformed", "it is not of the documented form")
    sent_at = _in_utc(event.data.sent_at)
    if sent_at is None:
        return _rejected(record, "malformed", "it is not of the documented form")
    return Parsed(event, sent_at, group=True)


def _rejected(record: object, reason: Reason, what: str, field: str | None = None) -> Rejected:
    members = record if isinstance(record, dict) else {}
    data = members.get("data")
    data = data if isinstance(data, dict) else {}
    return Rejected(
        reason,
        what,
        field,
        _string(members.get("id")),
        _string(members.get("source")),
        _moment(data.get("sent_at")),
        _string(data.get("org_id")),
    )


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return _in_utc(msgspec.convert(value, datetime))
    except msgspec.ValidationError:
        return None


_OPTIONAL: Final = frozenset({"reason", "decided_by", "campaign_id", "app_version"})


def _absent(name: str) -> str | None:
    return None if name in _OPTIONAL else "is missing"


def _is_name(value: object) -> str | None:
    return None if _string(value) else "must be a string that is not empty"


def _is_string(value: object) -> str | None:
    return None if isinstance(value, str) else "must be a string"


def _is_optional(value: object) -> str | None:
    return None if value is None or isinstance(value, str) else "must be a string, or left out"


def _is_number(value: object) -> str | None:
    numbers = value if isinstance(value, list) else [value]
    if numbers and all(isinstance(number, str) and kind_of(number) for number in numbers):
        return None
    return "must be an E.164 number, like +12125550100, or a short code of 5 or 6 digits"


def _is_moment(value: object) -> str | None:
    return None if _moment(value) else "must be a moment with a zone (RFC 3339), like 2026-11-22T09:00:00Z"


def _is_one_of(*values: str) -> _Rule:
    return lambda value: None if value in values else f"must be one of: {', '.join(values)}"


_ENVELOPE: Final[Mapping[str, _Rule]] = {
    "specversion": _is_one_of(SPEC_VERSION),
    "type": _is_one_of(EVENT_TYPE),
    "id": _is_name,
    "source": _is_name,
}
_DATA: Final[Mapping[str, _Rule]] = {
    "org_id": _is_name,
    "user_id": _is_name,
    "direction": _is_one_of(*get_args(Direction)),
    "channel": _is_string,
    "from": _is_number,
    "to": _is_number,
    "body": _is_string,
    "sent_at": _is_moment,
    "disposition": _is_one_of(*get_args(Disposition)),
    "reason": _is_optional,
    "decided_by": _is_optional,
    "campaign_id": _is_optional,
    "app_version": _is_optional,
}
"""Each member's rule, in the order in which faults are named."""
