"""A log as it is published, over HTTP or in a folder: checkpoint, tiles, entries, leaves. Pure.

The layout is C2SP tlog-tiles, and `leaves/SHELF` beside it (`paths.py`). Nothing that is read here is believed: who
reads hashes checks them against a signed root, and who reads entries checks their hashes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from .bundles import unpacked
from .note import decode64
from .paths import CHECKPOINT, TILE_HEIGHT, TILE_WIDTH, bundle_path, leaves_path, tile_path
from .tree import HASH_BYTES, root

TILES_KEPT: Final = 64
"""How many tiles are remembered: one proof reads few, and the same ones again."""


class SourceFailed(Exception):
    """A part of a published log is not of its form or cannot be read; the message names the part."""


class PartMissing(SourceFailed):
    """A part of a published log is not there: that shows nothing, for or against the log."""


class Source(Protocol):
    """Where a published log lies."""

    def get(self, path: str) -> bytes | None:
        """What lies at that path, None where nothing does. MUST raise SourceFailed where that cannot be told."""
        ...


class Folder:
    """A log in a folder, as `textkeep ledger export` writes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, path: str) -> bytes | None:
        """The bytes of a file. Raises SourceFailed for one that is there and cannot be read."""
        try:
            return (self._folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):
            raise SourceFailed(f"{path} is there and cannot be read") from None


class Published:
    """A log of which the first `size` entries are looked at; the reader of its hashes, too."""

    def __init__(self, source: Source, size: int) -> None:
        self.size = size
        self._source = source
        self._tiles: dict[tuple[int, int], bytes] = {}

    def read(self, level: int, index: int) -> bytes:
        """The root of a full subtree, from the tile that holds it or what it is made of. Raises SourceFailed."""
        tile_level, below = divmod(level, TILE_HEIGHT)
        first = index << below
        number, offset = divmod(first, TILE_WIDTH)
        tile = self.tile(tile_level, number)
        hashes = tile[offset * HASH_BYTES : (offset + (1 << below)) * HASH_BYTES]
        if len(hashes) != HASH_BYTES << below:
            raise SourceFailed(f"{tile_path(tile_level, number)} has no such hash in a log of this size")
        return root([hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)])

    def tile(self, level: int, number: int) -> bytes:
        """The hashes of a tile, in a row. Raises SourceFailed for a tile that is missing or of another length."""
        known = self._tiles.get((level, number))
        if known is None:
            width = self._width(level, number)
            known = self._either(tile_path(level, number, width), tile_path(level, number))[: width * HASH_BYTES]
            if len(known) != width * HASH_BYTES:
                raise SourceFailed(f"{tile_path(level, number, width)} is too short")
            if len(self._tiles) >= TILES_KEPT:
                self._tiles.clear()
            self._tiles[level, number] = known
        return known

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """The entries from `start` on with their indices, in order. Raises SourceFailed."""
        for number in range(start // TILE_WIDTH, -(-self.size // TILE_WIDTH)):
            width = self._width(0, number)
            path = bundle_path(number, width)
            try:
                bundle = unpacked(self._either(path, bundle_path(number)))
            except ValueError:
                raise SourceFailed(f"{path} is not a bundle of entries") from None
            if len(bundle) < width:
                raise SourceFailed(f"{path} has too few entries")
            for offset, entry in enumerate(bundle[:width]):
                if number * TILE_WIDTH + offset >= start:
                    yield number * TILE_WIDTH + offset, entry

    def leaves(self, shelf: str) -> dict[str, list[bytes]] | None:
        """The leaves of a shelf by what they are of, None where there is no such file.

        A line is `{"id", "hashes"}`; the hashes are base64, 32 bytes each, in bytewise order. Raises SourceFailed where
        the file is of another form, or names something twice.
        """
        content = self._source.get(leaves_path(shelf))
        if content is None:
            return None
        found: dict[str, list[bytes]] = {}
        try:
            for line in content.decode().split("\n"):
                if line:
                    told = json.loads(line)
                    name, hashes = told["id"], decode64(told["hashes"])
                    if name in found or len(hashes) % HASH_BYTES:
                        raise SourceFailed(f"{leaves_path(shelf)} names something twice, or in part")
                    found[name] = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise SourceFailed(f"{leaves_path(shelf)} is not of its format") from None
        return found

    def _width(self, level: int, number: int) -> int:
        width = min(TILE_WIDTH, (self.size >> (TILE_HEIGHT * level)) - number * TILE_WIDTH)
        if width <= 0:
            raise SourceFailed(f"a log of {self.size} entries has no {tile_path(level, number)}")
        return width

    def _either(self, path: str, whole: str) -> bytes:
        """A partial part, or the whole one that it may have grown to since."""
        found = self._source.get(path)
        if found is None and path != whole:
            found = self._source.get(whole)
        if found is None:
            raise PartMissing(f"{path} is missing")
        return found


def checkpoint_of(source: Source) -> bytes:
    """The signed note of a published log. Raises SourceFailed."""
    found = source.get(CHECKPOINT)
    if found is None:
        raise PartMissing(f"{CHECKPOINT} is missing")
    return found
