"""Putting signed entries back that a database has lost, from a copy of the published log whose root is the signed one.

Every entry of the copy is hashed first: unless all of them give exactly the root that was signed last, nothing is
written. What the database still has stays; an entry that was altered is set aside and the true one stands in its place.
Entries that came since and were never signed wait to be signed behind them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from textkeep.errors import Conflict
from textkeep.ledger import checkpoints, tree
from textkeep.ledger.edge import EMPTY, Edge
from textkeep.ledger.integrating import PORTION, Members, assign, fault_of, places, remake
from textkeep.ledger.note import Checkpoint, NoteRefused, parse
from textkeep.ledger.published import Published, Source, SourceFailed, checkpoint_of
from textkeep.ledger.state import State
from textkeep.store.evidence import leaves
from textkeep.store.once import insert_once
from textkeep.store.tables import ledger_entries

_C = ledger_entries.c

NOT_THIS: Final = "Name another copy: an export, or the copy of a witness, made at or after the last signed checkpoint."


@dataclass(slots=True)
class PutBack:
    """What was done. `entries` were written, `known` waited without a place and have theirs again.

    `set_aside` are places whose altered row gave way to the true one; `leaves` are sets of leaves written,
    `without_leaves` the ids of those that the copy does not have.
    """

    size: int
    entries: int = 0
    known: int = 0
    set_aside: list[int] = field(default_factory=list)
    leaves: int = 0
    without_leaves: list[str] = field(default_factory=list)


Numbered = tuple[int, bytes]


def copied(source: Source, signed: Edge) -> Published:
    """The copy of the log in which the signed tree is whole. Raises Conflict where it is not, or cannot be read."""
    try:
        told = Checkpoint.parse(parse(checkpoint_of(source)).text)
        log = Published(source, told.size)
        edge = EMPTY
        for portion in _portions(log, signed.size):
            edge = edge.grown(tree.leaf_hash(entry) for _, entry in portion)
    except (SourceFailed, NoteRefused) as exc:
        raise Conflict(f"the copy cannot be read: {exc}; nothing was changed", field="DIR", remedy=NOT_THIS) from exc
    if edge != signed:
        raise Conflict(
            f"the copy has {edge.size} of the {signed.size} signed entries, or others than those; nothing was changed",
            field="DIR",
            remedy=NOT_THIS,
        )
    return log


def put_back(connection: Connection, state: State, log: Published) -> PutBack:
    """Put the signed entries of a copy, which `copied` has looked at, back into the database; tiles and leaves too."""
    done = PutBack(state.size)
    connection.execute(update(ledger_entries).where(_C.leaf_index >= state.size).values(leaf_index=None))
    waiting: dict[str, list[int]] = {}
    for row in connection.execute(select(_C.seq, _C.entry).where(_C.leaf_index.is_(None)).order_by(_C.seq)):
        waiting.setdefault(row.entry, []).append(row.seq)
    for portion in _portions(log, state.size):
        _put(connection, portion, waiting, done, log)
    remake(connection, state.size)
    checkpoints.publish(connection, state.size, datetime.fromisoformat(state.time), state.note.encode())
    return done


def _put(
    connection: Connection, portion: Sequence[Numbered], waiting: dict[str, list[int]], done: PutBack, log: Published
) -> None:
    first, end = portion[0][0], portion[-1][0] + 1
    there = {row.leaf_index: row for rows in places(connection, first, end) for row in rows}
    aside: list[tuple[int, int | None]] = []
    again: list[tuple[int, int | None]] = []
    new: list[dict[str, object]] = []
    lowest = min(connection.execute(select(func.min(_C.leaf_index))).scalar_one() or 0, 0)
    for place, raw in portion:
        row = there.get(place)
        entry = raw.decode()
        if row is not None and _is(row, entry):
            continue
        if row is not None:
            aside.append((row.seq, lowest - 1 - len(aside)))
            done.set_aside.append(place)
        if waiting.get(entry):
            again.append((waiting[entry].pop(0), place))
        else:
            new.append(_row(entry, place))
    assign(connection, aside)
    assign(connection, again)
    if new:
        connection.execute(insert(ledger_entries), new)
    done.entries += len(new)
    done.known += len(again)
    for each in new:
        _put_leaves(connection, str(each["entry"]), log, done)


def _is(row: Row[Any], entry: str) -> bool:
    return bool(row.entry == entry) and fault_of(row) is None


def _row(entry: str, place: int) -> dict[str, object]:
    told = msgspec.json.decode(entry, type=Members)
    return {
        "kind": told.kind,
        "shelf": told.shelf,
        "entry": entry,
        "made_at": datetime.fromisoformat(told.time),
        "leaf_index": place,
        "batch": told.batch,
    }


def _put_leaves(connection: Connection, entry: str, log: Published, done: PutBack) -> None:
    """Put the leaves behind an entry's root back, where they are those of that root."""
    body = msgspec.json.decode(entry)
    shelf, root = body.get("shelf"), body.get("root")
    if not shelf or not root or not ("slice" in body or body["kind"] == "quarantine"):
        return
    name = body.get("slice") or f"{body['batch']}:{shelf}"
    held = (log.leaves(shelf) or {}).get(name)
    if held is None or tree.root_of_set(held).hex() != root:
        done.without_leaves.append(name)
    elif insert_once(connection, leaves, {"id": name, "shelf": shelf, "hashes": b"".join(sorted(held))}):
        done.leaves += 1


def _portions(log: Published, size: int) -> Iterator[list[Numbered]]:
    """The first `size` entries of a log, or as many as it has, in portions."""
    numbered = islice(log.entries(), size)
    while portion := list(islice(numbered, PORTION)):
        yield portion
