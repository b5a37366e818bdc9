"""Looking at the whole log again: every entry, every tile, against the tree that was signed last."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row

from textkeep.ledger import tiles
from textkeep.ledger.edge import EMPTY, Edge
from textkeep.ledger.integrating import fault_of, places
from textkeep.ledger.paths import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, widths
from textkeep.ledger.state import Forked
from textkeep.ledger.tree import leaf_hash

NAMED: Final = 10
"""How many places are named."""


@dataclass(slots=True)
class Examined:
    """What was found of the first `size` entries.

    Of places, `absent` are those without an entry, `differing` those whose entry is not the one of its tile, `untrue`
    those whose columns do not repeat what the entry says. `tiles_differ` says that tiles are not those of the entries,
    which alone does not matter: where the entries have the signed root, tiles can be made anew.
    """

    size: int
    found: int = 0
    root: str = ""
    absent: list[int] = field(default_factory=list)
    differing: list[int] = field(default_factory=list)
    untrue: list[int] = field(default_factory=list)
    tiles_differ: bool = False


def examine(connection: Connection, signed: Edge) -> Examined:
    """Read every entry that was signed, and every tile."""
    seen = Examined(signed.size)
    edge, at = EMPTY, 0
    held: dict[int, list[bytes]] = {}

    def keep(level: int, node: bytes) -> None:
        if level and level % TILE_HEIGHT == 0:
            held.setdefault(level // TILE_HEIGHT, []).append(node)

    for rows in places(connection, 0, signed.size):
        for row in rows:
            seen.absent += range(at, min(row.leaf_index, at + NAMED))
            at = row.leaf_index + 1
        seen.found += len(rows)
        leaves = [leaf_hash(row.entry.encode()) for row in rows]
        edge = edge.grown(leaves, keep)
        _compare(connection, seen, rows, leaves)
    if at < signed.size:
        seen.absent += range(at, min(signed.size, at + NAMED))
    seen.root = edge.root().hex()
    seen.tiles_differ = seen.tiles_differ or not all(
        _same(connection, level, b"".join(nodes), signed.size) for level, nodes in held.items()
    )
    return seen


def demand(seen: Examined, signed: Edge) -> None:
    """Raises Forked, with what is the matter and where, unless every signed entry is there as it was signed."""
    if seen.found < seen.size:
        where = ", ".join(str(place) for place in seen.absent[:NAMED])
        raise Forked(
            f"of {seen.size} signed entries {seen.size - seen.found} are not in the database, from place {where} on:"
            " it is older than the last checkpoint, or was cut short"
        )
    if seen.root != signed.root().hex():
        where = ", ".join(str(place) for place in seen.differing[:NAMED]) or "which, the tiles do not tell"
        raise Forked(f"signed entries are not as they were signed: {where}")
    if seen.untrue:
        where = ", ".join(str(place) for place in seen.untrue[:NAMED])
        raise Forked(f"the columns beside signed entries do not say what the entries say: {where}")


def older(there: int, signed: int) -> Forked:
    """What to say of a database with fewer entries than were signed."""
    return Forked(
        f"the database holds {there} of {signed} signed entries: it is older than the last checkpoint, or was cut short"
    )


def _compare(connection: Connection, seen: Examined, rows: Sequence[Row[Any]], leaves: Sequence[bytes]) -> None:
    """Hold a portion of leaves against their tiles, and columns against entries. A portion begins with a tile."""
    told: dict[int, bytes] = {}
    for row, leaf in zip(rows, leaves, strict=True):
        number, within = divmod(row.leaf_index, TILE_WIDTH)
        if number not in told:
            told[number] = _tile(connection, seen, number)
        if told[number][within * HASH_BYTES : (within + 1) * HASH_BYTES] != leaf:
            seen.tiles_differ = True
            seen.differing.append(row.leaf_index)
        if fault_of(row) is not None:
            seen.untrue.append(row.leaf_index)


def _tile(connection: Connection, seen: Examined, number: int) -> bytes:
    full, width = widths(0, seen.size)
    try:
        return tiles.hashes_of(connection, 0, number, width if number == full else TILE_WIDTH)
    except tiles.TileDamaged:
        seen.tiles_differ = True
        return b""


def _same(connection: Connection, level: int, nodes: bytes, size: int) -> bool:
    full, width = widths(level, size)
    try:
        held = [tiles.hashes_of(connection, level, number, TILE_WIDTH) for number in range(full)]
        return b"".join(held) + tiles.hashes_of(connection, level, full, width) == nodes
    except tiles.TileDamaged:
        return False
