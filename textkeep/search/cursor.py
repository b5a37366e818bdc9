"""The cursor: where a page of results ended. Opaque, stable, and good for the very same search only."""

import base64
import binascii
import hmac
from typing import Final

from textkeep.archive.keyring import HOUSE_SHELF, Keyring, prefixed
from textkeep.archive.text import HOUSE, Handle, TextId
from textkeep.errors import Malformed
from textkeep.search.index import Hit

MAC_BYTES: Final = 16
_AT_BYTES: Final = 8


class Cursors:
    """Writes and reads cursors, bound by a MAC under the house's `token` key to organisation and query."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def write(self, after: Hit, org: Handle, query: str) -> str:
        """The cursor of a page that ended with this text."""
        place = after.at.to_bytes(_AT_BYTES, "big", signed=True) + str(after.id).encode("ascii")
        return base64.urlsafe_b64encode(self._mac(place, org, query) + place).decode("ascii").rstrip("=")

    def read(self, cursor: str, org: Handle, query: str) -> Hit:
        """Where that page ended. Raises Malformed for anything that `write` did not give for this search."""
        refusal = Malformed(
            "the cursor belongs to no page of this search",
            field="cursor",
            remedy="Send the cursor of the last answer with the same query and organisation, or none to start again.",
        )
        try:
            whole = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError, ValueError):
            raise refusal from None
        mac, place = whole[:MAC_BYTES], whole[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(place, org, query)):
            raise refusal
        return Hit(
            int.from_bytes(place[:_AT_BYTES], "big", signed=True), TextId.parse(place[_AT_BYTES:].decode("ascii"))
        )

    def _mac(self, place: bytes, org: Handle, query: str) -> bytes:
        key = self._keyring.derive("token", HOUSE_SHELF, HOUSE)
        bound = prefixed(b"cursor", place, org, query.encode("utf-8", "surrogatepass"))
        return hmac.digest(key, bound, "sha256")[:MAC_BYTES]
