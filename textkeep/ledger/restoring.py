"""Putting signed entries back that a database has lost, from a copy of the published log whose root is the signed one.

Every entry of the copy is hashed first: unless all of them give exactly the root that was signed last, nothing is
written. What the database still has stays; an entry that was altered is set aside and the true one stands in its place.
Entries that came since and were never signed wait to be signed behind them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from textkeep.errors import Conflict
from textkeep.ledger import checkpoints, log, tree
from textkeep.ledger.edge import EMPTY
from textkeep.ledger.integrating import KEY_CHANGE, PORTION, Members, assign, fault_of, places, remake
from textkeep.ledger.note import Checkpoint, Note, NoteRefused, parse
from textkeep.ledger.passing import Passing, told_forward
from textkeep.ledger.published import Published, Source, SourceFailed, checkpoint_of
from textkeep.ledger.state import State, state_of
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


def copied(source: Source, state: State, own: Collection[str]) -> tuple[Published, State]:
    """The copy of the log in which the signed tree is whole, and what was signed last, as far as the copy shows.

    That is the state, or a larger checkpoint of the copy, which begins with it and has the log's own signature. `own`
    are the verifier keys that this machine has. Raises Conflict where the copy is not so, or cannot be read.
    """
    try:
        note = parse(checkpoint_of(source))
        told = Checkpoint.parse(note.text)
        copy = Published(source, told.size)
        edge = EMPTY
        for portion in _portions(copy, 0, state.size):
            edge = edge.grown(tree.leaf_hash(entry) for _, entry in portion)
        if edge != state.tree():
            raise _refused(f"the copy has {edge.size} of the {state.size} signed entries, or others than those")
        return copy, _newer(copy, state, note, own) if told.size > state.size else state
    except (SourceFailed, NoteRefused) as exc:
        raise _refused(f"the copy cannot be read: {exc}") from exc


def _newer(copy: Published, state: State, note: Note, own: Collection[str]) -> State:
    """The state of the copy's own checkpoint, which is larger.

    It was signed: whoever has seen it would see a fork if anything else were signed behind the state.
    """
    changes = (entry for _, entry in copy.entries() if KEY_CHANGE.encode() in entry)
    passed, last = Passing.of(state, map(msgspec.json.decode, changes)), state.time
    for portion in _portions(copy, state.size, copy.size):
        passed.take([entry for _, entry in portion])
        last = msgspec.json.decode(portion[-1][1], type=Members).time
    mine = Note(note.text, tuple(each for each in note.signatures if each.name == state.origin)).format()
    if not passed.signed(mine, passed.key) or not (passed.certain or passed.key in own):
        raise _refused(
            f"the copy's own checkpoint of {copy.size} entries is not one that this log has signed over its entries"
        )
    forward = state_of(state.origin, passed.edge, mine, passed.key, last)
    return msgspec.structs.replace(forward, refused=state.refused)


def _refused(why: str) -> Conflict:
    return Conflict(f"{why}; nothing was changed", field="DIR", remedy=NOT_THIS)


def put_back(connection: Connection, was: State, state: State, copy: Published, now: datetime) -> PutBack:
    """Put the signed entries of a copy, which `copied` has looked at, back into the database; tiles and leaves too.

    `was` is the state before, `state` the one that `copied` gave.
    """
    done = PutBack(state.size)
    connection.execute(update(ledger_entries).where(_C.leaf_index >= state.size).values(leaf_index=None))
    waiting: dict[str, list[int]] = {}
    for row in connection.execute(select(_C.seq, _C.entry).where(_C.leaf_index.is_(None)).order_by(_C.seq)):
        waiting.setdefault(row.entry, []).append(row.seq)
    for portion in _portions(copy, 0, state.size):
        _put(connection, portion, waiting, done, copy)
    remake(connection, state.size)
    checkpoints.publish(connection, state.size, datetime.fromisoformat(state.time), state.note.encode())
    if state.size > was.size:
        told_forward(connection, was, state, now)
    return done


def told_resumed(connection: Connection, state: State, agreed: Mapping[str, Any], now: datetime) -> None:
    """Write the entry of two persons who go on after the refusal that the state names."""
    if state.refused is None or state.refused.approval is None:
        raise ValueError("nothing is refused, or nobody has agreed to go on")
    said = {"what": "database", "size": state.size, "root": state.root, "refused": state.refused.reason}
    said |= {"since": state.refused.at, "approval": state.refused.approval}
    log.append(connection, "restore", {**said, **agreed}, now=now)


def _put(
    connection: Connection, portion: Sequence[Numbered], waiting: dict[str, list[int]], done: PutBack, copy: Published
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
        connection.execute(insert(ledger_entries), log.marked(connection, new))
    done.entries += len(new)
    done.known += len(again)
    for each in new:
        _put_leaves(connection, str(each["entry"]), copy, done)


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


def _put_leaves(connection: Connection, entry: str, copy: Published, done: PutBack) -> None:
    """Put the leaves behind an entry's root back, where they are those of that root."""
    body = msgspec.json.decode(entry)
    shelf, root = body.get("shelf"), body.get("root")
    part = body.get("batch") if body["kind"] == "quarantine" else body.get("part")
    name = body.get("slice") or (part and f"{part}:{shelf}")
    if not shelf or not root or not name:
        return
    held = (copy.leaves(shelf) or {}).get(name)
    if held is None or tree.root_of_set(held).hex() != root:
        done.without_leaves.append(name)
    elif insert_once(connection, leaves, {"id": name, "shelf": shelf, "hashes": b"".join(sorted(held))}):
        done.leaves += 1


def _portions(copy: Published, first: int, end: int) -> Iterator[list[Numbered]]:
    """The entries of a log from `first` up to, and without, `end`, or as many as it has, in portions."""
    numbered = islice(copy.entries(first), end - first)
    while portion := list(islice(numbered, PORTION)):
        yield portion
