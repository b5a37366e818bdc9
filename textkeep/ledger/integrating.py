"""Entries get their place in the log: the rows of `ledger_entries`, from waiting to integrated, and their tiles."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Connection, Row, bindparam, exists, func, select, text, union_all, update

from textkeep.errors import Unsound
from textkeep.ledger import tiles
from textkeep.ledger.edge import Edge
from textkeep.ledger.log import ENTRY_BYTES, KINDS, moment
from textkeep.ledger.state import Forked
from textkeep.ledger.tiles import Stored, TileDamaged, TileHashes
from textkeep.ledger.tree import leaf_hash
from textkeep.store.evidence import checkpoints
from textkeep.store.marks import carried
from textkeep.store.tables import ledger_entries

PORTION: Final = 4096
"""How many entries are integrated in one transaction."""

KEY_CHANGE: Final = "key-change"

_C = ledger_entries.c
_ROWS: Final = select(ledger_entries)
_WAITING: Final = _ROWS.where(_C.leaf_index.is_(None)).order_by(_C.seq).limit(bindparam("portion"))
_FROM: Final = _ROWS.where(_C.leaf_index >= bindparam("first")).order_by(_C.leaf_index)
_NOT_SIGNED: Final = union_all(*(select(each.subquery()) for each in (_FROM, _WAITING)))
_LAST: Final = select(func.max(_C.leaf_index))
_REACHED: Final = select(select(func.max(checkpoints.c.size)).scalar_subquery(), _LAST.scalar_subquery())
_SETTLED: Final = _REACHED.add_columns(~exists().where(_C.leaf_index.is_(None)))
_ASSIGN_MANY: Final = text(
    "UPDATE ledger_entries SET leaf_index = CAST(:first AS bigint) + told.at - 1"
    " FROM unnest(CAST(:seqs AS bigint[])) WITH ORDINALITY AS told(seq, at) WHERE ledger_entries.seq = told.seq"
)
_ASSIGN: Final = (
    update(ledger_entries)
    .where(_C.seq == bindparam("at_seq"))
    .values(leaf_index=bindparam("becomes", type_=BigInteger()))
)


class Members(msgspec.Struct, frozen=True):
    """What every entry has, and what the columns beside it repeat."""

    v: int
    kind: str
    time: str
    shelf: str | None = None
    batch: str | None = None


_MEMBERS: Final = msgspec.json.Decoder(Members)


@dataclass(frozen=True, slots=True)
class NotSigned:
    """The last entry that is signed, if it is there, the entries that have places behind it, and the next that wait.

    `full` says that these were as many as were asked for, so that others may wait behind them.
    """

    last: Row[Any] | None
    placed: Sequence[Row[Any]]
    waiting: Sequence[Row[Any]]
    full: bool


@dataclass(frozen=True, slots=True)
class Part:
    """What the tree is after a portion, and the key changes among the entries that are not signed yet, in order.

    `more` says that the portion was full, so that others may wait behind it.
    """

    edge: Edge
    changes: tuple[dict[str, Any], ...]
    more: bool


def integrated(connection: Connection) -> int:
    """How many entries have a place in the log."""
    return _behind(connection.execute(_LAST).scalar_one())


def reached(connection: Connection) -> tuple[int | None, int]:
    """The size of the newest checkpoint's tree, or None, and how many entries have a place in the log."""
    published, last = connection.execute(_REACHED).one()
    return published, _behind(last)


def settled(connection: Connection) -> bool:
    """Whether no entry waits for its place, and the newest checkpoint holds all that have one."""
    published, last, none_waits = connection.execute(_SETTLED).one()
    return bool(none_waits) and published == _behind(last)


def not_signed(connection: Connection, size: int, portion: int = PORTION) -> NotSigned:
    """What there is beyond the `size` entries that are signed: of those that wait a portion, the first come first."""
    found = connection.execute(_NOT_SIGNED, {"first": max(size - 1, 0), "portion": portion}).all()
    placed = sorted((row for row in found if row.leaf_index is not None), key=lambda row: row.leaf_index)
    waiting = sorted((row for row in found if row.leaf_index is None), key=lambda row: row.seq)
    last = placed.pop(0) if placed and placed[0].leaf_index == size - 1 else None
    return NotSigned(last, placed, waiting, len(waiting) >= portion)


def integrate(connection: Connection, signed: Edge, found: NotSigned, stored: Stored) -> Part:
    """Give the next waiting entries their place behind what is there, and the tiles their hashes.

    `signed` is the tree of the last checkpoint, whose tiles are there; what is integrated beyond it and not signed is
    counted in. The caller holds the signer's lease. Raises Forked where the places beyond the checkpoint are not those
    that come next, Unsound for an entry that the house, or this service, does not write.
    """
    left, new = found.placed, found.waiting
    if [row.leaf_index for row in left] != list(range(signed.size, signed.size + len(left))):
        raise Forked("entries stand in places that nobody gave them")
    edge = signed.grown(_leaves(left))
    if left and not has_edge(stored, edge, left[-1]):
        remake(connection, edge.size)
        stored = Stored(connection)
    for row in new:
        check_form(row)
    check_marks(connection, (*left, *new), signed.size)
    grown = tiles.append(connection, edge, _leaves(new), stored)
    _assign(connection, [row.seq for row in new], edge.size)
    changes = tuple(msgspec.json.decode(row.entry) for row in (*left, *new) if row.kind == KEY_CHANGE)
    return Part(grown, changes, found.full)


def has_edge(stored: Stored, edge: Edge, last: Row[Any] | None) -> bool:
    """Whether the tiles have this right edge, and `last` is the entry that they end with."""
    if not edge.size:
        return True
    stored.at_edge(edge.size)
    hashes = TileHashes(stored, edge.size)
    try:
        return (
            last is not None
            and tiles.edge_of(hashes, edge.size) == edge
            and hashes.read(0, edge.size - 1) == leaf_hash(last.entry.encode())
        )
    except TileDamaged:
        return False


def places(connection: Connection, first: int, end: int, step: int = PORTION) -> Iterator[Sequence[Row[Any]]]:
    """The rows in the places from `first` up to, and without, `end`, in order and in portions; as many as there are."""
    for at in range(first, end, step):
        within = _ROWS.where(_C.leaf_index >= at, _C.leaf_index < min(at + step, end)).order_by(_C.leaf_index)
        yield connection.execute(within).all()


def remake(connection: Connection, size: int) -> Edge:
    """Make the tiles of the first `size` entries anew from the entries, and give the edge."""
    return tiles.rewrite(connection, (_leaves(rows) for rows in places(connection, 0, size)))


def check_form(row: Row[Any]) -> None:
    """Raises Unsound for a row that the house does not write, or whose columns do not repeat what the entry says."""
    fault = fault_of(row)
    if fault is not None:
        raise Unsound(
            f"entry {row.seq} of the ledger {fault}; nothing is signed",
            remedy="Somebody wrote to the database past the service. Restore it from before; see docs/ledger.md.",
        )


def check_marks(connection: Connection, rows: Sequence[Row[Any]], first: int) -> None:
    """Raises Unsound for a row that this service did not write, where it marks what it writes.

    `first` is the place of the first of them. Those that were there before there were marks need none.
    """
    strange = unmarked(connection, rows, first)
    if strange:
        raise Unsound(
            f"entry {strange[0].seq} of the ledger was not written by this service; nothing is signed",
            remedy="Somebody wrote to the database past the service. Find out what else they changed (`textkeep"
            " audit`), then have its owner take that row out; see docs/ledger.md.",
        )


def unmarked(connection: Connection, rows: Sequence[Row[Any]], first: int) -> list[Row[Any]]:
    """The rows that this service did not write, of those that come from the place `first` on."""
    marks = carried(connection)
    if marks is None:
        return []
    found = [(place, row) for place, row in enumerate(rows, first) if not marks.wrote(row.entry, row.mark)]
    before = marks.before() if found else 0
    return [row for place, row in found if place >= before]


def fault_of(row: Row[Any]) -> str | None:
    """What is wrong with a row, or None."""
    return fault_in(row.entry.encode(), row.kind, row.shelf, row.batch, moment(row.made_at))


def fault_in(raw: bytes, kind: str, shelf: str | None, batch: str | None, time: str) -> str | None:
    """What is wrong with an entry, given what the columns beside it say; or None."""
    if len(raw) > ENTRY_BYTES:
        return "is too long"
    try:
        told = _MEMBERS.decode(raw)
    except msgspec.MsgspecError:
        return "cannot be read"
    if told.v != 1 or told.kind not in KINDS:
        return "is of no known kind"
    if told.kind != kind or told.time != time or told.shelf != shelf or told.batch != batch:
        return "does not say what the columns beside it say"
    return None


def assign(connection: Connection, wanted: Sequence[tuple[int, int | None]]) -> None:
    """Give rows, by `seq`, their places; None is waiting."""
    if wanted:
        connection.execute(_ASSIGN, [{"at_seq": seq, "becomes": place} for seq, place in wanted])


def _assign(connection: Connection, seqs: Sequence[int], first: int) -> None:
    if seqs and connection.dialect.name == "postgresql":
        connection.execute(_ASSIGN_MANY, {"first": first, "seqs": list(seqs)})
    else:
        assign(connection, [(seq, first + at) for at, seq in enumerate(seqs)])


def _behind(last: int | None) -> int:
    return 0 if last is None or last < 0 else last + 1


def _leaves(rows: Sequence[Row[Any]]) -> list[bytes]:
    return [leaf_hash(row.entry.encode()) for row in rows]
