"""Audit of the ledger: every entry, every tile and every checkpoint, against the state that lies with the keyring."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from textkeep.ledger import log
from textkeep.ledger.cosignature import Witness
from textkeep.ledger.edge import EMPTY, Edge
from textkeep.ledger.integrating import fault_of, integrated, places, unmarked
from textkeep.ledger.key_change import before
from textkeep.ledger.note import Checkpoint, Signature, Verifier, opened, parse
from textkeep.ledger.paths import TILE_HEIGHT, TILE_WIDTH
from textkeep.ledger.state import State
from textkeep.ledger.tree import leaf_hash
from textkeep.retention.audit.findings import Finding, Line
from textkeep.store.evidence import checkpoints, cosignatures, tiles, witnesses
from textkeep.store.tables import ledger_entries

LATE: Final = timedelta(minutes=10)
"""How long after another entry one may be committed that was written before it."""

WAITING: Final = 10_000
"""How many entries that wait to be signed are looked at; more than that is a fault of its own."""

_C = ledger_entries.c


class LedgerAudit:
    """One pass over the log, in the order of its places and in bounded memory."""

    def __init__(self, connection: Connection, state: State, go_on: Callable[[], None]) -> None:
        self._connection = connection
        self._go_on = go_on
        self._state = state
        self._entries = Line("ledger: entries")
        self._tiles = Line("ledger: tiles")
        self._checkpoints = Line("ledger: checkpoints")
        self._waiting = Line("ledger: not signed yet")
        self._half: dict[int, bytearray] = {}
        self._number: dict[int, int] = {}
        self._last: Row[Any] | None = None
        self._signed_root = EMPTY.root() if not state.size else b""
        self._keys = trusted(connection, state)
        self._gapless = connection.dialect.name == "sqlite" and not _put_back(connection)
        self._seen = 0

    def findings(self) -> list[Finding]:
        """What was found."""
        size = integrated(self._connection)
        with self._entries.reading("an entry"):
            self._walk(size)
        with self._tiles.reading("a tile"):
            self._rest_of_tiles()
        with self._checkpoints.reading("a checkpoint"):
            self._newest(size)
            self._cosigned()
        with self._waiting.reading("an entry that waits"):
            self._unsigned()
        state = self._state
        return [
            *self._entries.findings(f"{state.size} signed entries have the signed root, and {size} places are filled"),
            *self._tiles.findings(f"the tiles are those of {size} entries"),
            *self._checkpoints.findings(f"{self._seen} checkpoints are signed, and of this log"),
            *self._waiting.findings("every entry that waits is one that the house writes"),
        ]

    def _walk(self, size: int) -> None:
        edge = EMPTY
        at = 0
        of_nothing = select(checkpoints).where(checkpoints.c.size <= 0)
        for row in self._connection.execute(of_nothing):
            self._check(row, EMPTY.root())
        for rows in places(self._connection, 0, size):
            self._go_on()
            if [row.leaf_index for row in rows] != list(range(at, at + len(rows))):
                there = {row.leaf_index for row in rows}
                lacking = next((each for each in range(at, at + len(rows) + 1) if each not in there), at)
                self._entries.fail("an entry is not there, or stands in another one's place", str(lacking))
            edge = self._grow(edge, rows)
            at += len(rows)
        state = self._state
        if size < state.size:
            self._entries.fail(f"{size} of {state.size} signed entries are there: it was cut short, or put back", None)
        elif self._signed_root != bytes.fromhex(state.root):
            self._entries.fail("the signed entries do not have the signed root; tiles name those that differ", None)

    def _grow(self, edge: Edge, rows: Sequence[Row[Any]]) -> Edge:
        """Add a portion, stopping at each checkpoint to compare its root."""
        end = edge.size + len(rows)
        within = select(checkpoints).where(checkpoints.c.size > edge.size, checkpoints.c.size <= end)
        named = {row.size: row for row in self._connection.execute(within)}
        cuts = sorted({*named, end, *([self._state.size] if edge.size < self._state.size <= end else [])})
        leaves = []
        for row in rows:
            self._look(row)
            leaves.append(leaf_hash(row.entry.encode()))
        first = edge.size
        for cut in cuts:
            edge = edge.grown(leaves[edge.size - first : cut - first], self._keep)
            if cut == self._state.size:
                self._signed_root = edge.root()
            if cut in named:
                self._check(named[cut], edge.root())
        return edge

    def _look(self, row: Row[Any]) -> None:
        fault = fault_of(row)
        if fault is not None:
            self._entries.fail(f"the entry {fault}", str(row.leaf_index))
        after = 0 if self._last is None else self._last.seq
        if self._gapless and row.seq != after + 1:
            self._entries.fail("its number is not the one after that of the entry before it", str(row.leaf_index))
        self._last = row

    def _keep(self, level: int, node: bytes) -> None:
        if level % TILE_HEIGHT:
            return
        tile = level // TILE_HEIGHT
        held = self._half.setdefault(tile, bytearray())
        held += node
        if len(held) == TILE_WIDTH * len(node):
            self._compare(tile)
            held.clear()
            self._number[tile] = self._number.get(tile, 0) + 1

    def _compare(self, level: int) -> None:
        number = self._number.get(level, 0)
        wanted = select(tiles.c.hashes).where(tiles.c.level == level, tiles.c.number == number)
        there = self._connection.execute(wanted).scalar_one_or_none()
        if there is None or bytes(there) != bytes(self._half[level]):
            self._tiles.fail(
                f"tile {number} of level {level} is not that of the entries",
                str((number << TILE_HEIGHT * level) * TILE_WIDTH),
            )

    def _rest_of_tiles(self) -> None:
        for level, held in self._half.items():
            if held:
                self._compare(level)
        expected = sum(self._number.get(level, 0) + bool(held) for level, held in self._half.items())
        there = self._connection.execute(select(func.count()).select_from(tiles)).scalar_one()
        self._tiles.demand(there == expected, f"{there} tiles are there, the entries make {expected}")

    def _check(self, row: Row[Any], root: bytes) -> None:
        self._seen += 1
        what = f"the checkpoint of size {row.size}"
        with self._checkpoints.reading(what):
            note = parse(bytes(row.note))
            opened(note, self._keys)
            wanted = Checkpoint(self._state.origin, row.size, root)
            self._checkpoints.demand(
                Checkpoint.parse(note.text) == wanted, f"{what} is of another tree", str(row.size - 1)
            )

    def _newest(self, size: int) -> None:
        state = self._state
        row = self._connection.execute(select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)).one_or_none()
        newest = 0 if row is None else row.size
        if row is None or newest != state.size:
            self._checkpoints.fail(f"the newest checkpoint is of size {newest}, and {state.size} entries are signed")
        elif row.note != state.note.encode() or log.moment(row.at) != state.time:
            self._checkpoints.fail("the newest checkpoint is not the one that was signed last", str(newest - 1))
        late = select(func.count()).select_from(checkpoints).where(checkpoints.c.size > size)
        beyond_it = self._connection.execute(late).scalar_one()
        self._checkpoints.demand(not beyond_it, f"{beyond_it} checkpoints are of trees larger than the log")
        self._checkpoints.demand(state.refused is None, "signing was refused: `textkeep ledger status` says why")
        self._in_order()

    def _in_order(self) -> None:
        """Checkpoints are published in the order of their sizes."""
        before = func.lag(checkpoints.c.at).over(order_by=checkpoints.c.size)
        told = select(checkpoints.c.size, checkpoints.c.at, before.label("before")).subquery()
        for size in self._connection.scalars(select(told.c.size).where(told.c.at < told.c.before)):
            self._checkpoints.doubt(f"the checkpoint of size {size} is dated before the one before it", str(size - 1))

    def _cosigned(self) -> None:
        keys = {row.name: row.key for row in self._connection.execute(select(witnesses))}
        wanted = select(cosignatures, checkpoints.c.note).join(
            checkpoints, checkpoints.c.size == cosignatures.c.size, isouter=True
        )
        for row in self._connection.execute(wanted):
            told = None
            with self._checkpoints.reading(f"the cosignature of {row.witness} at size {row.size}"):
                signature = Signature.parse(row.line)
                if signature.name == row.witness and row.note is not None:
                    witness = Witness.parse(keys[row.witness])
                    self._checkpoints.demand(
                        signature.key_id == witness.key_id,
                        f"the cosignature of {row.witness} at size {row.size} names another key",
                    )
                    told = witness.time_of(parse(bytes(row.note)).text, signature.raw)
            if told is None or told != int(row.at.timestamp()):
                self._checkpoints.fail(f"the cosignature of {row.witness} at size {row.size} is not one", None)

    def _unsigned(self) -> None:
        connection = self._connection
        aside = select(func.count()).select_from(ledger_entries).where(_C.leaf_index < 0)
        number = connection.execute(aside).scalar_one()
        if number:
            self._waiting.doubt(f"{number} altered entries were set aside when the true ones were put back")
        waiting = connection.execute(
            select(ledger_entries).where(_C.leaf_index.is_(None)).order_by(_C.seq).limit(WAITING)
        ).all()
        for row in unmarked(connection, waiting, integrated(connection)):
            self._waiting.fail("the service did not write the entry, and signs nothing", f"seq {row.seq}")
        if len(waiting) == WAITING:
            self._waiting.doubt(f"{WAITING} entries or more wait to be signed; the others were not looked at")
        for row in waiting:
            where = f"seq {row.seq}"
            fault = fault_of(row)
            self._waiting.demand(fault is None, f"an entry that waits {fault}", where)
            if self._last is not None and row.made_at < self._last.made_at - LATE:
                self._waiting.fail("it waits to be signed, and entries that came long after it are", where)
            same = select(_C.seq).where(_C.entry == row.entry, _C.kind == row.kind, _C.seq != row.seq).limit(1)
            if row.shelf is not None:
                same = same.where(_C.shelf == row.shelf)
            if connection.execute(same).first() is not None:
                self._waiting.fail("the same entry is there twice", where)


def trusted(connection: Connection, state: State) -> list[Verifier]:
    """The keys that have signed this log: the one in use and those that passed it on, newest first."""
    keys = [Verifier.parse(state.key)]
    changes = sorted(log.entries(connection, kinds=("key-change",)), key=lambda each: each.index or 0, reverse=True)
    for entry in changes:
        earlier = before(entry.body, keys[-1])
        if earlier is not None and entry.index is not None and entry.index < state.size:
            keys.append(earlier)
    return keys


def _put_back(connection: Connection) -> bool:
    """Whether entries were put back from a copy: these have new numbers."""
    return any(entry.body.get("what") == "database" for entry in log.entries(connection, kinds=("restore",)))
