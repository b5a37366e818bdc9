"""What lies in a topic: Kafka messages to the exact bytes of their records, or to why they are none. Pure.

Structured mode (`content-type: application/cloudevents+json`, or no content type): the value is the record. Batch
(`application/cloudevents-batch+json`): each element is one. Binary mode (headers `ce_*`, after the CloudEvents Kafka
binding 1.0.2): the value is `data`, and the record that is stored is composed:

    {"ATTRIBUTE":"value of the header ce_ATTRIBUTE", ..., "datacontenttype":"the content type","data":VALUE}

with the attributes in the order of their headers, and the exact bytes of the value. Other headers, key and time of a
message are transport and not kept. A message that no record can be told from is set aside as it came: its value or,
where that alone does not say everything, a JSON document of value, headers and key.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from textkeep.errors import Malformed, TooLarge
from textkeep.ingest.splitting import split
from textkeep.ingest.wire import Arrived, Rejected

Headers = Sequence[tuple[str, bytes | None]]

CONTENT_TYPE: Final = "content-type"
PREFIX: Final = "ce_"
DATA_TYPE: Final = "datacontenttype"

EVENT: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"

_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,40}")
_DATA: Final = "data"
_one_value: Final = msgspec.json.Decoder(msgspec.Raw)


class Undecodable(Exception):
    """No record can be told from a message; `rejected` says why."""

    def __init__(self, rejected: Rejected) -> None:
        super().__init__(rejected.what)
        self.rejected = rejected


def records_of(
    topic: str, partition: int, offset: int, value: bytes | None, headers: Headers | None, key: bytes | None
) -> Iterator[Arrived]:
    """The records in one message, each with where it lay: one, none for an empty batch, or several."""
    origin: dict[str, str | int] = {"topic": topic, "partition": partition, "offset": offset}
    if value is not None and not headers:
        yield Arrived(value, origin)
        return
    try:
        if value is None:
            raise _unreadable("it has no value")
        declared = _content_type(headers or ())
        if declared == BATCH:
            for element, raw in enumerate(_elements(value)):
                yield Arrived(raw, {**origin, "element": element})
        elif declared == EVENT or not _is_binary(headers or ()):
            yield Arrived(_structured(declared, value), origin)
        else:
            yield Arrived(_composed(declared, headers or (), value), origin)
    except Undecodable as fault:
        yield Arrived(_as_it_came(value, headers or (), key), origin, fault.rejected)


def untold(topic: str, partition: int, offset: int, value: bytes | None) -> Arrived:
    """What is set aside of a message whose headers cannot be read at all: its value, and where it lay."""
    origin: dict[str, str | int] = {"topic": topic, "partition": partition, "offset": offset}
    return Arrived(value or b"", origin, _unreadable("a header's name is not UTF-8").rejected)


def _content_type(headers: Headers) -> str | None:
    """The media type that a message declares, in small letters. Raises Undecodable for two, or another charset."""
    declared = [content for name, content in headers if name.lower() == CONTENT_TYPE]
    if not declared:
        return None
    if len(declared) > 1:
        raise _malformed("is there more than once", CONTENT_TYPE)
    media_type, _, parameters = _text(declared[0], CONTENT_TYPE).partition(";")
    if parameters.strip().lower().removeprefix("charset=").strip('"') not in ("", "utf-8"):
        raise _unreadable("is of another charset than UTF-8", CONTENT_TYPE)
    return media_type.strip().lower()


def _is_binary(headers: Headers) -> bool:
    return any(name.lower().startswith(PREFIX) for name, _ in headers)


def _structured(declared: str | None, value: bytes) -> bytes:
    if declared not in (EVENT, None):
        raise _unreadable("is none that records come in", CONTENT_TYPE)
    return value


def _elements(value: bytes) -> Sequence[bytes]:
    try:
        return split("batch", value)
    except Malformed:
        raise _unreadable("it is not a JSON array") from None
    except TooLarge as error:
        raise Undecodable(Rejected("too-long", error.detail)) from None


def _composed(declared: str | None, headers: Headers, value: bytes) -> bytes:
    """The event that headers and value make. The value must be one JSON value by itself: it could add members else."""
    if declared is not None and declared != "application/json" and not declared.endswith("+json"):
        raise _unreadable("is none that records come in", CONTENT_TYPE)
    try:
        _one_value.decode(value)
    except (msgspec.DecodeError, RecursionError):
        raise _unreadable("it is not JSON", _DATA) from None
    parts = [b'"%s":%s' % (name.encode(), msgspec.json.encode(said)) for name, said in _attributes(declared, headers)]
    return b"{" + b",".join([*parts, b'"data":' + value]) + b"}"


def _attributes(declared: str | None, headers: Headers) -> Iterator[tuple[str, str]]:
    """The event's attributes, each once. Raises Undecodable for a header that is none, or that comes twice."""
    seen: set[str] = {DATA_TYPE} if declared is not None else set()
    for header, content in headers:
        name = header.lower()
        if not name.startswith(PREFIX):
            continue
        attribute = name.removeprefix(PREFIX)
        if not _ATTRIBUTE.fullmatch(attribute) or attribute == _DATA:
            raise _malformed("a header that begins with ce_ is no attribute of an event")
        if attribute in seen:
            raise _malformed("is there more than once", attribute)
        seen.add(attribute)
        yield attribute, _text(content, attribute)
    if declared is not None:
        yield DATA_TYPE, declared


def _text(content: bytes | None, field: str) -> str:
    try:
        return (content or b"").decode()
    except UnicodeDecodeError:
        raise _unreadable("is not UTF-8", field) from None


def _as_it_came(value: bytes | None, headers: Headers, key: bytes | None) -> bytes:
    """Everything of a message, so that nothing of it is lost; the value alone where nothing else speaks of it."""
    if value is not None and not _is_binary(headers) and all(name.lower() != CONTENT_TYPE for name, _ in headers):
        return value
    return msgspec.json.encode(
        {
            "key": _exactly(key),
            "headers": [[name, _exactly(content)] for name, content in headers],
            "value": _exactly(value),
        }
    )


def _exactly(content: bytes | None) -> Any:
    """Bytes as text where they are text, else in Base64."""
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _unreadable(what: str, field: str | None = None) -> Undecodable:
    return Undecodable(Rejected("unreadable", what, field))


def _malformed(what: str, field: str | None = None) -> Undecodable:
    return Undecodable(Rejected("malformed", what, field))
