"""Looking at the whole log again: every entry, every tile, against the tree that was signed last."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import BigInteger, Connection, Row, bindparam, select, type_coerce

from textkeep.ledger.edge import Edge
from textkeep.ledger.integrating import PORTION, fault_in
from textkeep.ledger.log import moment
from textkeep.ledger.paths import HASH_BYTES, TILE_WIDTH, widths
from textkeep.ledger.state import Forked
from textkeep.ledger.tiles import TileDamaged, hashes_of
from textkeep.ledger.tree import leaf_hash, root
from textkeep.store.columns import instant
from textkeep.store.evidence import tiles
from textkeep.store.tables import ledger_entries

NAMED: Final = 10
"""How many places are named."""

_C: Final = ledger_entries.c
_MADE_AT: Final = type_coerce(_C.made_at, BigInteger)
_WITHIN: Final = (_C.leaf_index >= bindparam("first"), _C.leaf_index < bindparam("end"))
_SIGNED: Final = (
    select(_C.leaf_index, _C.entry, _C.kind, _C.shelf, _C.batch, _MADE_AT).where(*_WITHIN).order_by(_C.leaf_index)
)
_LEAVES: Final = select(tiles.c.number, tiles.c.hashes).where(
    tiles.c.level == 0, tiles.c.number.between(bindparam("first"), bindparam("last"))
)

_Columns = tuple[int, str, str, str | None, str | None, int]
"""Place, entry, and what stands beside it: kind, shelf, batch, microseconds since 1970."""


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
    at = 0
    above: list[bytes] = []
    rest: list[bytes] = []
    for rows in _portions(connection, signed.size):
        for row in rows:
            if row[0] != at:
                seen.absent += range(at, min(row[0], at + NAMED))
            at = row[0] + 1
        seen.found += len(rows)
        leaves = _look(seen, rows)
        _compare(connection, seen, [row[0] for row in rows], leaves)
        rest += leaves
        whole = len(rest) - len(rest) % TILE_WIDTH
        above += [root(rest[start : start + TILE_WIDTH]) for start in range(0, whole, TILE_WIDTH)]
        del rest[:whole]
    if at < signed.size:
        seen.absent += range(at, min(signed.size, at + NAMED))
    seen.root = root([*above, root(rest)] if rest else above).hex()
    seen.tiles_differ = seen.tiles_differ or not all(
        _same(connection, level, b"".join(nodes), signed.size) for level, nodes in _levels(above)
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


def _portions(connection: Connection, size: int) -> Iterator[Sequence[Row[_Columns]]]:
    """The rows of the first `size` entries, as many as there are, in order; a portion begins with a tile."""
    for first in range(0, size, PORTION):
        yield connection.execute(_SIGNED, {"first": first, "end": min(first + PORTION, size)}).all()


def _look(seen: Examined, rows: Sequence[Row[_Columns]]) -> list[bytes]:
    """The leaf of each entry; names those whose columns are not what they say. Entries of one moment are neighbours."""
    leaves: list[bytes] = []
    written_at: int | None = None
    time = ""
    for place, entry, kind, shelf, batch, made_at in rows:
        if made_at != written_at:
            written_at, time = made_at, moment(instant(made_at))
        raw = entry.encode()
        leaves.append(leaf_hash(raw))
        if fault_in(raw, kind, shelf, batch, time) is not None:
            seen.untrue.append(place)
    return leaves


def _compare(connection: Connection, seen: Examined, places: Sequence[int], leaves: Sequence[bytes]) -> None:
    """Hold a portion of leaves against their tiles: a tile as a whole, and where it is another one by one."""
    if not places:
        return
    held = _tiles(connection, seen, places[0] // TILE_WIDTH, places[-1] // TILE_WIDTH)
    start = 0
    for number, tile in held.items():
        end = bisect_left(places, (number + 1) * TILE_WIDTH, start)
        if tile != b"".join(leaves[start:end]):
            for place, leaf in zip(places[start:end], leaves[start:end], strict=True):
                within = place % TILE_WIDTH * HASH_BYTES
                if tile[within : within + HASH_BYTES] != leaf:
                    seen.tiles_differ = True
                    seen.differing.append(place)
        start = end


def _tiles(connection: Connection, seen: Examined, first: int, last: int) -> dict[int, bytes]:
    """The hashes of these tiles of leaves; none of one that is not there or too short, which is noted."""
    there = dict(connection.execute(_LEAVES, {"first": first, "last": last}).tuples().all())
    full, width = widths(0, seen.size)
    found: dict[int, bytes] = {}
    for number in range(first, last + 1):
        wanted = (width if number == full else TILE_WIDTH) * HASH_BYTES
        found[number] = bytes(there.get(number, b"")[:wanted])
        if len(found[number]) < wanted:
            found[number] = b""
            seen.tiles_differ = True
    return found


def _levels(nodes: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """The levels of tiles above the leaves, each with what its tiles must hold; `nodes` are those of the first."""
    level = 1
    while nodes:
        yield level, nodes
        whole = len(nodes) - len(nodes) % TILE_WIDTH
        nodes = [root(nodes[start : start + TILE_WIDTH]) for start in range(0, whole, TILE_WIDTH)]
        level += 1


def _same(connection: Connection, level: int, nodes: bytes, size: int) -> bool:
    full, width = widths(level, size)
    try:
        held = [hashes_of(connection, level, number, TILE_WIDTH) for number in range(full)]
        return b"".join(held) + hashes_of(connection, level, full, width) == nodes
    except TileDamaged:
        return False
