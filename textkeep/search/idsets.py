"""Sets of text ids of one shelf, small enough to compare a day of a million texts: 20 bytes an id.

Ids lie in 256 buckets by the first byte of their tags, as they came; a bucket becomes a set only while it is compared.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from textkeep.archive.text import TAG_BYTES

VERSION_BYTES: Final = 4
ID_BYTES: Final = TAG_BYTES + VERSION_BYTES
_BUCKETS: Final = 256


class IdSet:
    """Text ids of one shelf: tag and version. The same id may be added more than once."""

    def __init__(self, ids: Iterable[tuple[bytes, int]] = ()) -> None:
        self._buckets = [bytearray() for _ in range(_BUCKETS)]
        self.update(ids)

    def add(self, tag: bytes, version: int) -> None:
        """Add one id."""
        self._buckets[tag[0]] += tag + version.to_bytes(VERSION_BYTES, "big")

    def update(self, ids: Iterable[tuple[bytes, int]]) -> None:
        """Add ids."""
        buckets = self._buckets
        for tag, version in ids:
            buckets[tag[0]] += tag + version.to_bytes(VERSION_BYTES, "big")

    def bucket(self, number: int) -> set[bytes]:
        """The packed ids of one of the 256 buckets."""
        packed = bytes(self._buckets[number])
        return {packed[at : at + ID_BYTES] for at in range(0, len(packed), ID_BYTES)}

    def __len__(self) -> int:
        """How many ids were added."""
        return sum(map(len, self._buckets)) // ID_BYTES

    def nth(self, number: int) -> bytes:
        """The packed id at a place, counted from 0 through all buckets."""
        at = number * ID_BYTES
        for bucket in self._buckets:
            if at < len(bucket):
                return bytes(bucket[at : at + ID_BYTES])
            at -= len(bucket)
        raise IndexError(number)


def buckets() -> Iterator[int]:
    """The numbers of all buckets."""
    return iter(range(_BUCKETS))


def unpacked(packed: bytes) -> tuple[bytes, int]:
    """Tag and version of a packed id."""
    return packed[:TAG_BYTES], int.from_bytes(packed[TAG_BYTES:], "big")
