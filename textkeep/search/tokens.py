"""Tokens: what stands in the index for a word, a number, a user or an organisation.

A token is the first 8 bytes, as lower-case hex, of

    HMAC-SHA256(`token` key of (shelf, organisation), length-prefixed field name || length-prefixed value)

so that equal words of two days, or of two organisations, have nothing in common for whoever holds only the index.
"""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from textkeep.archive.keyring import EVERY_SECRET, Keyring, prefixed
from textkeep.archive.recent import Recent
from textkeep.archive.text import Handle

TOKEN_BYTES: Final = 8
PADDED_SIZES: Final = (8, 16, 32, 64, 128)
"""How many word tokens a document has; above the last, multiples of it."""

CACHED_TOKENS: Final = 200_000
"""Tokens already made that are kept in memory (about 170 bytes each), over all shelves and organisations."""

LEFT_TOKENS: Final = 150_000
"""How many of them are left when these are too many: so many that it is looked seldom who goes."""

CACHED_SHELVES: Final = 8_192
"""Shelves, each with one organisation, whose keys are kept (up to 4 KB each): 398 days of 20 organisations."""

_BLOCK: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_HEX: Final = 2 * TOKEN_BYTES
_NOISE: Final[deque[str]] = deque()
_NOISE_TOKENS: Final = 1024


class ShelfTokens:
    """Makes the tokens of one organisation on one shelf; those of words, numbers and users seen before are kept.

    `grown` hears how many more are kept from now on.
    """

    def __init__(self, key: bytes, org: Handle, grown: Callable[[int], None] = lambda _: None) -> None:
        # HMAC (RFC 2104) with its first blocks hashed once: 0.8 microseconds a token, hmac.digest takes 1.9.
        block = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER))
        self._outer = hashlib.sha256(block.translate(_OUTER))
        self._fields: dict[str, Any] = {}
        self._grown = grown
        self.kept: dict[str, dict[str, str]] = {}
        self.organisation = self.token("organisation", org)

    def token(self, field: str, value: bytes) -> str:
        """The token of a value in a field."""
        inner = self._field(field).copy()
        inner.update(len(value).to_bytes(4, "big") + value)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return str(outer.hexdigest()[:_HEX])

    def of(self, field: str, value: str) -> str:
        """The token of a value that is text; not kept, for queries."""
        kept = self.kept.get(field)
        return (kept.get(value) if kept else None) or self.token(field, value.encode("utf-8"))

    def keep(self, field: str, values: Iterable[str]) -> list[str]:
        """The tokens of values, kept for the next text. What `token` does, flat: some 15 of them for every text."""
        kept = self.kept.get(field)
        if kept is None:
            kept = self.kept[field] = {}
        new_inner, new_outer = self._field(field).copy, self._outer.copy
        before = len(kept)
        found = []
        for value in values:
            token = kept.get(value)
            if token is None:
                encoded = value.encode("utf-8")
                inner = new_inner()
                inner.update(len(encoded).to_bytes(4, "big") + encoded)
                outer = new_outer()
                outer.update(inner.digest())
                token = kept[value] = outer.hexdigest()[:_HEX]
            found.append(token)
        if len(kept) > before:
            self._grown(len(kept) - before)
        return found

    def size(self) -> int:
        """How many tokens are kept."""
        return sum(len(kept) for kept in self.kept.values())

    def _field(self, field: str) -> Any:
        inner = self._fields.get(field)
        if inner is None:
            inner = self._inner.copy()
            inner.update(prefixed(field.encode("ascii")))
            self._fields[field] = inner
        return inner


class Tokens:
    """The tokens of every shelf and organisation, as far as they are warm: those used last, within two bounds."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._shelves: Recent[tuple[str, Handle], ShelfTokens] = Recent(CACHED_SHELVES)
        self._kept = 0
        self._changing = threading.Lock()
        keyring.subscribe(self.forget)

    def of(self, shelf: str, org: Handle) -> ShelfTokens:
        """The tokens of one organisation on one shelf. Raises like `Keyring.derive`."""
        self._keyring.live()
        with self._changing:
            made = self._shelves.recall((shelf, org))
        if made is None:
            made = ShelfTokens(self._keyring.derive("token", shelf, org), org, self._grown)
            with self._changing:
                made = self._shelves.get((shelf, org), made)
                self._shelves.keep((shelf, org), made)
            if not self._keyring.opens(shelf, org):  # destroyed in the meantime: what was just kept must not outlive it
                self.forget(f"shelf:{shelf}")
                self._keyring.derive("token", shelf, org)
        return made

    def _grown(self, count: int) -> None:
        """Count tokens that are kept now; where they are too many, those of the days not used for longest go."""
        with self._changing:
            self._kept += count
            if self._kept <= CACHED_TOKENS:
                return
            self._kept = sum(made.size() for made in self._shelves.values())  # without those that went meanwhile
            while self._kept > LEFT_TOKENS and self._shelves:
                _, gone = self._shelves.popitem(last=False)
                self._kept -= gone.size()

    def forget(self, name: str) -> None:
        """Drop what was derived from a secret (`shelf:NAME`, `org:HANDLE`, or every one) before it counts as gone."""
        kind, _, rest = name.partition(":")
        with self._changing:
            if name == EVERY_SECRET:
                self._shelves.clear()
            gone = [key for key in self._shelves if (key[0] == rest if kind == "shelf" else key[1].hex() == rest)]
            for key in gone:
                del self._shelves[key]


def padded(tokens: Sequence[str]) -> list[str]:
    """Distinct word tokens in sorted order, filled up with random ones so that only a size class can be told."""
    missing = size_class(len(tokens)) - len(tokens)
    return sorted([*tokens, *_noise(missing)])


def _noise(count: int) -> list[str]:
    pop = _NOISE.pop
    try:
        return [pop() for _ in range(count)]
    except IndexError:
        drawn = os.urandom((_NOISE_TOKENS + count) * TOKEN_BYTES).hex()
        _NOISE.extend(drawn[at : at + _HEX] for at in range(count * _HEX, len(drawn), _HEX))
        return [drawn[at : at + _HEX] for at in range(0, count * _HEX, _HEX)]


def size_class(count: int) -> int:
    """To how many word tokens a document with `count` distinct ones is filled up."""
    for size in PADDED_SIZES:
        if count <= size:
            return size
    largest = PADDED_SIZES[-1]
    return -(-count // largest) * largest
