"""Copies of holds in the keyring's store, so that a restored database forgets none.

Document `hold:ID`: organisation handle (8 bytes) || what follows sealed under purpose `hold`, bound to the id: JSON of
the row's members and of the end, if it has one. An empty document says that the hold's definition is gone: 400 days
have passed since it was released.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from textkeep.archive.keyring import HOUSE_SHELF, KeyringStore, SecretDestroyed, SecretMissing
from textkeep.archive.sealing import CannotOpen, Sealer
from textkeep.archive.text import Handle
from textkeep.retention.holds.hold import written

PREFIX: Final = "hold:"
_GONE: Final = b""
_HANDLE_BYTES: Final = 8


@dataclass(frozen=True, slots=True, repr=False)
class Held:
    """What a copy holds: the members of the row, and when the hold ends by its release, None where it has none."""

    id: str
    org: Handle
    placed_by: bytes
    placed_at: datetime
    review_at: datetime
    sealed: bytes
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Copy:
    """How a hold lies in the keyring's store. `gone`: its definition was dropped in time; `damaged`: does not open."""

    state: Literal["held", "gone", "damaged"]
    held: Held | None = None


class HoldCopies:
    """Reads and writes them. Writers hold the advisory lock `holds`."""

    def __init__(self, documents: KeyringStore, sealer: Sealer) -> None:
        self._documents = documents
        self._sealer = sealer

    def all(self) -> Mapping[str, Copy]:
        """Every copy, by the hold's id. Raises Outage where the keyring's store does not answer."""
        named = {name.removeprefix(PREFIX): body for name, body in self._documents.all(PREFIX).items()}
        return {hold_id: self._copy(hold_id, body) for hold_id, body in named.items()}

    def write(self, held: Held) -> None:
        """Put a copy in the place of what is there; durable when it returns. Raises Outage."""
        said = {
            "placed_by": held.placed_by.hex(),
            "placed_at": written(held.placed_at),
            "review_at": written(held.review_at),
            "sealed": base64.b64encode(held.sealed).decode(),
            "ends_at": None if held.ends_at is None else written(held.ends_at),
        }
        sealed = self._sealer.seal("hold", HOUSE_SHELF, held.org, _bound(held.id), json.dumps(said).encode())
        self._put(held.id, held.org + sealed)

    def drop(self, hold_id: str) -> None:
        """Leave nothing of a copy but that there was one."""
        self._put(hold_id, _GONE)

    def _put(self, hold_id: str, body: bytes) -> None:
        name = PREFIX + hold_id
        self._documents.swap(name, self._documents.read(name), body)

    def _copy(self, hold_id: str, body: bytes) -> Copy:
        if body == _GONE:
            return Copy("gone")
        org = Handle(body[:_HANDLE_BYTES])
        try:
            plain = self._sealer.open("hold", HOUSE_SHELF, org, _bound(hold_id), body[_HANDLE_BYTES:])
        except (CannotOpen, SecretMissing, SecretDestroyed):
            return Copy("damaged")
        said = json.loads(plain)
        ends_at = said["ends_at"]
        return Copy(
            "held",
            Held(
                hold_id,
                org,
                bytes.fromhex(said["placed_by"]),
                datetime.fromisoformat(said["placed_at"]),
                datetime.fromisoformat(said["review_at"]),
                base64.b64decode(said["sealed"]),
                None if ends_at is None else datetime.fromisoformat(ends_at),
            ),
        )


def _bound(hold_id: str) -> list[bytes]:
    return [b"copy", hold_id.encode()]
