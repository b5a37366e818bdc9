"""A state that is behind what was signed, because the keyring's store was put back: brought forward, or refused.

Checkpoints carry the ledger's own signature, which nobody makes who has the database or a copy of the log alone. Where
each of them is a tree that begins with the one before, and all entries are those, the newest one is what was signed
last. Whoever signed on from the older one would sign a fork.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from textkeep.ledger import checkpoints, log
from textkeep.ledger.edge import Edge
from textkeep.ledger.integrating import KEY_CHANGE, places
from textkeep.ledger.key_change import KeyChange, KeyLost, old_key
from textkeep.ledger.keys import becomes
from textkeep.ledger.log import moment
from textkeep.ledger.note import Checkpoint
from textkeep.ledger.state import Forked, State, signs, state_of
from textkeep.ledger.tree import leaf_hash

_CHANGES = f'"kind":"{KEY_CHANGE}"'.encode()
"""Canonical JSON: a member stands there as it is looked for."""


@dataclass(slots=True)
class Passing:
    """The tree and the key that a log comes to from a state on, entry by entry.

    `certain` is False once a key was lost on the way, which the new one alone says.
    """

    origin: str
    edge: Edge
    key: str
    certain: bool = True

    @classmethod
    def of(cls, state: State, changes: Iterable[Mapping[str, Any]]) -> "Passing":
        """Where a state is. `changes` are the log's changes of key: in a state of nothing it is the first key's."""
        key = state.key if state.size else _first_key(changes, state.key)
        return cls(state.origin, state.tree(), key)

    def take(self, entries: Collection[bytes]) -> str | None:
        """The next entries; gives the key that took the place of a lost one in them, if one did."""
        taken = None
        for body in (msgspec.json.decode(entry) for entry in entries if _CHANGES in entry):
            lost = becomes(KeyLost, body, self.key, self.origin)
            self.key = lost or becomes(KeyChange, body, self.key, self.origin) or self.key
            taken, self.certain = lost or taken, self.certain and lost is None
        self.edge = self.edge.grown(leaf_hash(entry) for entry in entries)
        return taken

    def signed(self, note: bytes, key: str) -> bool:
        """Whether that key has signed a checkpoint of exactly this tree."""
        return signs(key, note) == Checkpoint(self.origin, self.edge.size, self.edge.root())


def brought_forward(connection: Connection, state: State, own: Collection[str]) -> State:
    """The state of the newest checkpoint in the database. Raises Forked where one of them does not follow.

    Where there was no state at all, the key of the first checkpoints is the one that the first change of key names; the
    last must be one that this machine has, else nothing is signed with it. `own` are the verifier keys of those: where
    a key was lost on the way, which the new one alone says, nothing is believed that does not end with one of them.
    """
    newer = checkpoints.beyond(connection, state.size)
    passed = Passing.of(state, (each.body for each in log.entries(connection, kinds=[KEY_CHANGE])))
    for each in newer:
        before = passed.key
        for rows in places(connection, passed.edge.size, each.size):
            before = passed.take([row.entry.encode() for row in rows]) or before
        if passed.edge.size != each.size or not passed.signed(each.note, before):
            raise _not_following(each.size)
    newest = newer[-1]
    if not passed.certain and passed.key not in own:
        raise _not_following(newest.size)
    return state_of(state.origin, passed.edge, newest.note, passed.key, moment(newest.at))


def told_forward(connection: Connection, was: State, becomes: State, now: datetime) -> None:
    """Write the entry that says so."""
    said = {"what": "state", "from": was.size, "to": becomes.size, "root": becomes.root}
    log.append(connection, "restore", said, now=now)


def _not_following(size: int) -> Forked:
    return Forked(
        f"the keyring's store is older than the database, whose checkpoint of {size} entries does not follow from what"
        " was signed"
    )


def _first_key(changes: Iterable[Mapping[str, Any]], known: str) -> str:
    """The key that the first change of key in the log names as the old one; the known one where there was none."""
    named = (old_key(body) for body in changes)
    return next((str(each) for each in named if each is not None), known)
