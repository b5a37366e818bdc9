"""The Merkle tree of the log in the database, as C2SP tlog-tiles: up to 256 hashes of 32 bytes a tile.

Tile NUMBER of level L holds the hashes of the tree's level 8 L from 256 NUMBER on. Adding entries touches the last tile
of each level and makes new ones behind it; what a tile holds never changes. Tiles are derived: the entries say what
they must be, and `rewrite` makes them anew.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, and_, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from textkeep.ledger.edge import EMPTY, Edge
from textkeep.ledger.paths import HASH_BYTES, MOST_LEVEL, TILE_HEIGHT, TILE_WIDTH, widths
from textkeep.ledger.tree import full_subtrees, root
from textkeep.store.evidence import tiles

CACHED: Final = 1024
"""How many tiles a reader keeps: 8 MiB."""

_TILES: Final = select(tiles.c.level, tiles.c.number, tiles.c.hashes)

Tile = tuple[int, int]
"""Level and number."""


class TileDamaged(Exception):
    """A tile is not there, or holds fewer hashes than the tree has. The entries are the truth; tiles can be remade."""


def append(connection: Connection, edge: Edge, leaves: Sequence[bytes], stored: "Stored | None" = None) -> Edge:
    """Add leaf hashes behind the tree of `edge`, whose tiles are there, and give the edge then.

    What a tile holds beyond that tree counts for nothing and is written over; what `stored` has read of the tiles is of
    before that. Raises TileDamaged.
    """
    stored = stored or Stored(connection)
    made: dict[int, list[bytes]] = defaultdict(list)

    def keep(level: int, node: bytes) -> None:
        if level % TILE_HEIGHT == 0:
            made[level // TILE_HEIGHT].append(node)

    grown = edge.grown(leaves, keep)
    rows: list[dict[str, object]] = []
    for level, hashes in sorted(made.items()):
        number, have = widths(level, edge.size)
        held = stored.hashes(level, number, have) + b"".join(hashes)
        for at in range(0, len(held), TILE_WIDTH * HASH_BYTES):
            part = held[at : at + TILE_WIDTH * HASH_BYTES]
            rows.append({"level": level, "number": number + at // (TILE_WIDTH * HASH_BYTES), "hashes": part})
    if rows:
        _put(connection, rows)
    return grown


def edge_of(hashes: "TileHashes", size: int) -> Edge:
    """The edge of the tree of the first `size` entries, of its hashes. Raises what they raise."""
    return Edge(size, tuple(hashes.read(level, index) for level, index in full_subtrees(size)))


def hashes_of(connection: Connection, level: int, number: int, width: int) -> bytes:
    """The first `width` hashes of a tile. Raises TileDamaged where there are not as many."""
    return Stored(connection).hashes(level, number, width)


def rewrite(connection: Connection, leaves: Iterable[Sequence[bytes]]) -> Edge:
    """Make the tiles anew from leaf hashes, which come in portions from the first on, and give the edge."""
    edge = EMPTY
    for portion in leaves:
        edge = append(connection, edge, portion)
    return edge


def split(held: bytes) -> list[bytes]:
    """The hashes of a tile, one by one."""
    return [held[at : at + HASH_BYTES] for at in range(0, len(held), HASH_BYTES)]


class Stored:
    """The tiles as they are stored; each is asked for once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._held: dict[Tile, bytes | None] = {}

    def hashes(self, level: int, number: int, width: int) -> bytes:
        """The first `width` hashes of a tile. Raises TileDamaged where there are not as many."""
        if width == 0:
            return b""
        if (level, number) not in self._held:
            self._ask([(level, number)])
        held = self._held[level, number]
        if held is None or len(held) < width * HASH_BYTES:
            raise TileDamaged(f"tile {number} of level {level} does not hold {width} hashes")
        return held[: width * HASH_BYTES]

    def at_edge(self, size: int) -> None:
        """Ask at once for the tiles that the right edge, and the last entry, of a tree of that size are in."""
        partial = ((level, *widths(level, size)) for level in range(MOST_LEVEL + 1))
        wanted = {(level, number) for level, number, width in partial if width}
        if size:
            wanted.add((0, (size - 1) // TILE_WIDTH))
        self._ask(sorted(wanted - self._held.keys()))

    def _ask(self, wanted: Sequence[Tile]) -> None:
        if len(self._held) >= CACHED:
            self._held.clear()
        self._held.update(dict.fromkeys(wanted))
        if wanted:
            each = (and_(tiles.c.level == level, tiles.c.number == number) for level, number in wanted)
            for level, number, hashes in self._connection.execute(_TILES.where(or_(*each))):
                self._held[level, number] = bytes(hashes)


class TileHashes:
    """`tree.Hashes` over the tiles of the tree of the first `size` entries.

    Everything raises TileDamaged where a tile is not there or too short.
    """

    def __init__(self, stored: Stored, size: int) -> None:
        self._stored = stored
        self._size = size

    def read(self, level: int, index: int) -> bytes:
        """The root of a full subtree within the tree."""
        at, within = divmod(level, TILE_HEIGHT)
        number, first = divmod(index << within, TILE_WIDTH)
        held = self._tile(at, number)[first * HASH_BYTES : (first + (1 << within)) * HASH_BYTES]
        if len(held) != HASH_BYTES << within:
            raise TileDamaged("a hash outside of the tree was asked for")
        return root(split(held))

    def _tile(self, level: int, number: int) -> bytes:
        full, width = widths(level, self._size)
        return self._stored.hashes(level, number, width if number == full else TILE_WIDTH)


def _put(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    insert = postgresql.insert(tiles) if connection.dialect.name == "postgresql" else sqlite.insert(tiles)
    made = insert.on_conflict_do_update(
        index_elements=[tiles.c.level, tiles.c.number], set_={"hashes": insert.excluded.hashes}
    )
    connection.execute(made, list(rows))
