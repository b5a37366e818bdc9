"""A state that is behind the database, because the keyring's store was put back: brought forward, or refused.

The database's checkpoints carry the ledger's own signature, which nobody makes who has the database alone. Where each
of them is a tree that begins with the one before, and all entries are those, the newest one is what was signed last.
"""

from contextlib import suppress

import msgspec
from sqlalchemy import Connection

from textkeep.ledger import checkpoints, log
from textkeep.ledger.integrating import KEY_CHANGE, places
from textkeep.ledger.key_change import KeyChange
from textkeep.ledger.keys import changed_to
from textkeep.ledger.log import moment
from textkeep.ledger.note import Checkpoint, NoteRefused
from textkeep.ledger.state import Forked, State, signs, state_of
from textkeep.ledger.tree import leaf_hash


def brought_forward(connection: Connection, state: State) -> State:
    """The state of the newest checkpoint in the database. Raises Forked where one of them does not follow.

    Where there was no state at all, the key of the first checkpoints is the one that the first change of key names; the
    last must be one that this machine has, else nothing is signed with it.
    """
    edge, key = state.tree(), state.key
    newer = checkpoints.beyond(connection, state.size)
    if not state.size:
        key = _first_key(connection, key)
    for each in newer:
        before = key
        for rows in places(connection, edge.size, each.size):
            edge = edge.grown(leaf_hash(row.entry.encode()) for row in rows)
            for row in rows:
                if row.kind == KEY_CHANGE:
                    key = changed_to(msgspec.json.decode(row.entry), key, state.origin) or key
        told = signs(before, each.note)
        if told != Checkpoint(state.origin, each.size, edge.root()) or edge.size != each.size:
            raise Forked(
                f"the keyring's store is older than the database, whose checkpoint of {each.size} entries does not"
                " follow from what was signed"
            )
    newest = newer[-1]
    return state_of(state.origin, edge, newest.note, key, moment(newest.at))


def _first_key(connection: Connection, known: str) -> str:
    """The key that the first change of key in the log names as the old one; the known one where there was none."""
    changes = [each for each in log.entries(connection, kinds=[KEY_CHANGE]) if each.index is not None]
    for each in sorted(changes, key=lambda each: each.index or 0):
        with suppress(NoteRefused):
            return str(KeyChange.of(each.body).old)
    return known
