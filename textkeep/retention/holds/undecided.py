"""What cannot be opened or decided, and so is held whole: its row as it was, and its bytes without any proof of them.

It lies on a shelf of held texts as a paper of kind `undecided`: a header (JSON, one line), then what its sealed bytes
decrypt to where nobody altered them. Nothing vouches for those; the header's `sealed` is what there was.
"""

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from textkeep.archive.papers import PAPER_ID_BYTES

_OPAQUE: Final = "sealed"


class Undecided(msgspec.Struct, frozen=True):
    """The header. `shelf` and `slice` (hex) are where it lay when it did not open, `row` the columns it had there.

    It is of organisation `org` (hex handle; None where nobody can say) and was sent from `first` to `last` (None is not
    known). `leaf` (hex) is SHA-256(org handle || commitment) of its row. `what` is a text, or a quarantined record.
    """

    what: Literal["text", "record"]
    shelf: str
    slice: str | None
    org: str | None
    first: datetime | None
    last: datetime | None
    leaf: str
    row: dict[str, str | int | None]

    @property
    def handle(self) -> bytes | None:
        """The organisation's handle, or None."""
        return None if self.org is None else bytes.fromhex(self.org)


def columns(row: Mapping[str, Any]) -> dict[str, str | int | None]:
    """The columns of a row as a header has them: short bytes as hex, what is sealed as base64."""
    return {name: _written(name, value) for name, value in row.items()}


def written(header: Undecided, opened: bytes) -> bytes:
    """The content of the paper."""
    return msgspec.json.encode(header) + b"\n" + opened


def read(plain: bytes) -> tuple[Undecided, bytes]:
    """Header and bytes of a paper. Raises ValueError for what is none."""
    header, _, opened = plain.partition(b"\n")
    return msgspec.json.decode(header, type=Undecided), opened


def paper_id(shelf: str, *parts: bytes) -> bytes:
    """The id of the paper of a text that lay on a shelf: the same each time, so that it is carried over once."""
    whole = hashlib.sha256(b"textkeep-undecided-v1\0" + shelf.encode() + b"\0")
    for part in parts:
        whole.update(len(part).to_bytes(4, "big") + part)
    return whole.digest()[:PAPER_ID_BYTES]


def _written(name: str, value: Any) -> str | int | None:
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode() if name == _OPAQUE else bytes(value).hex()
    return value.isoformat() if isinstance(value, datetime) else value
