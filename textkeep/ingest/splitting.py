"""The three doors' forms: one event, a batch, a stream; each split into the exact bytes of its records. Pure."""

import re
import zlib
from collections.abc import Sequence
from itertools import islice
from typing import Final, Literal

import msgspec

from textkeep.errors import Malformed, TooLarge

MAX_REQUEST_BYTES: Final = 16 * 1024 * 1024
"""Bytes of one request, and of what a compressed one unpacks to."""

MAX_RECORDS: Final = 10_000
"""Records of one request."""

MAX_COMMAS: Final = 1_000_000
"""Commas in a batch; each may begin an element, and telling elements apart takes memory for each."""

Form = Literal["event", "batch", "stream"]

FORMS: Final[dict[str, Form]] = {
    "application/cloudevents+json": "event",
    "application/cloudevents-batch+json": "batch",
    "application/x-ndjson": "stream",
}
"""The content types that are taken."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_BOM: Final = b"\xef\xbb\xbf"
_LINE: Final = re.compile(rb"[^\n]+")
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])


def split(form: Form, body: bytes) -> Sequence[bytes]:
    """The records in a request's body. Raises Malformed where it is not a batch at all, TooLarge over MAX_RECORDS.

    A bad record is that record's own fault; only what cannot be told apart into records is refused whole.
    """
    if form == "event":
        if not body.strip():
            raise Malformed("the request is empty", remedy="Send one event in the body.")
        return [body]
    records = _of_batch(body) if form == "batch" else _of_stream(body)
    if len(records) > MAX_RECORDS:
        raise TooLarge(f"a request has at most {MAX_RECORDS} records")
    return records


def unpack(packed: bytes) -> bytes:
    """What a gzip body unpacks to (RFC 1952, several members too).

    Raises TooLarge as soon as it is over MAX_REQUEST_BYTES, Malformed where it is cut off or not gzip.
    """
    parts: list[bytes] = []
    room = MAX_REQUEST_BYTES
    while packed:
        reader = zlib.decompressobj(_GZIP)
        try:
            part = reader.decompress(packed, room + 1)
        except zlib.error:
            raise Malformed("the body is not gzip", field="Content-Encoding") from None
        room -= len(part)
        if room < 0:
            raise TooLarge(f"a request unpacks to at most {MAX_REQUEST_BYTES} bytes")
        if not reader.eof:
            raise Malformed("the gzip body is cut off", field="Content-Encoding")
        parts.append(part)
        packed = reader.unused_data
    return b"".join(parts)


def _of_batch(body: bytes) -> list[bytes]:
    if body.count(b",") > MAX_COMMAS:
        raise TooLarge(f"a batch has at most {MAX_COMMAS} commas", remedy="Send it in smaller parts, or as a stream.")
    try:
        return [bytes(element) for element in _elements.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed(
            "the body is not a JSON array", remedy="Send [event, event, ...], or one event a line as a stream."
        ) from None


def _of_stream(body: bytes) -> list[bytes]:
    lines = (found[0] for found in _LINE.finditer(body.removeprefix(_BOM)))
    return list(islice((line.removesuffix(b"\r") for line in lines if not line.isspace()), MAX_RECORDS + 1))
