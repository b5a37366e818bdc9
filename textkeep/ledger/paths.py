"""Where the parts of a log lie, over HTTP and in a folder: C2SP tlog-tiles. Pure.

`checkpoint`, `tile/LEVEL/NUMBER[.p/WIDTH]`, `tile/entries/NUMBER[.p/WIDTH]`; a number is written in groups of three
digits, all but the last behind an `x`: 1234067 is `x001/x234/067`. Beside them lie `key` and `leaves/SHELF`.
"""

import re
from typing import Final

CHECKPOINT: Final = "checkpoint"
KEY: Final = "key"

TILE_WIDTH: Final = 256
"""Hashes of a full tile, and entries of a full bundle."""

TILE_HEIGHT: Final = 8
"""Levels of the tree that a tile spans."""

HASH_BYTES: Final = 32

MOST_LEVEL: Final = 7
"""The highest level of tiles that a number of entries in 63 bits has."""

_NUMBER: Final = re.compile(r"(?:x[0-9]{3}/)*[0-9]{3}")


def number_path(number: int) -> str:
    """A tile's number as it stands in a path."""
    written = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        written = f"x{number % 1000:03d}/{written}"
    return written


def tile_path(level: int, number: int, width: int = TILE_WIDTH) -> str:
    """Where a tile of hashes lies."""
    return f"tile/{level}/{number_path(number)}{_partial(width)}"


def bundle_path(number: int, width: int = TILE_WIDTH) -> str:
    """Where a bundle of entries lies."""
    return f"tile/entries/{number_path(number)}{_partial(width)}"


def leaves_path(shelf: str) -> str:
    """Where the leaves of a shelf lie."""
    return f"leaves/{shelf}"


def parse_tile(written: str) -> tuple[int, int] | None:
    """Number and width of `NUMBER[.p/WIDTH]`; None for what is not written as it must be."""
    number, partial, width = written.partition(".p/")
    if not _NUMBER.fullmatch(number):
        return None
    value = int(number.replace("x", "").replace("/", ""))
    if number_path(value) != number:
        return None
    if not partial:
        return value, TILE_WIDTH
    if not width.isascii() or not width.isdigit() or width.startswith("0") or not 0 < int(width) < TILE_WIDTH:
        return None
    return value, int(width)


def widths(level: int, size: int) -> tuple[int, int]:
    """How many full tiles a level has in a tree of `size`, and how many hashes its partial one; 0 where it has none."""
    return divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)


def _partial(width: int) -> str:
    return "" if width == TILE_WIDTH else f".p/{width}"
