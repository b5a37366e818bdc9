"""Going on after the ledger's private key was lost: a new key, begun by two persons, that signs alone.

First the state names the new key, then the entry is committed, then the state takes the key over. So a crash leaves
either the lost key, or an entry that the next start finishes. The entry by itself does nothing: the state decides.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from textkeep.errors import Conflict
from textkeep.ledger import checkpoints, log
from textkeep.ledger.edge import EMPTY
from textkeep.ledger.integrating import KEY_CHANGE, places
from textkeep.ledger.key_change import signed_loss
from textkeep.ledger.keys import Keys
from textkeep.ledger.log import moment
from textkeep.ledger.note import Checkpoint, Verifier
from textkeep.ledger.state import Anew, Forked, State, noted, signs, state_of
from textkeep.ledger.tree import leaf_hash


def check(state: State, keys: Keys) -> None:
    """Raises Conflict where the key is there, Forked where signing is refused: that is ended first."""
    if keys.signer(state.key) is not None:
        raise Conflict(
            "the ledger's key is there; nothing was changed", remedy="`textkeep ledger key --rotate` changes it."
        )
    if state.refused is not None:
        raise Forked(f"nothing has been signed since {state.refused.at}: {state.refused.reason}")


def begun(
    connection: Connection, state: State, keys: Keys, approval: str, agreed: Mapping[str, Any], now: datetime
) -> State:
    """Make the new key and write the entry; the state that this gives MUST be stored before the entry is committed."""
    new = keys.begin_anew(state.origin)
    note = signed_loss(state.origin, Verifier.parse(state.key), new)
    log.append(connection, KEY_CHANGE, {"note": note, "approval": approval, **agreed}, now=now)
    return msgspec.structs.replace(state, anew=Anew(key=str(new.verifier), approval=approval))


def taken_over(connection: Connection, state: State, keys: Keys) -> State | None:
    """The state with the new key, and its last checkpoint signed by that; None where no entry is committed."""
    new = None if state.anew is None else keys.signer(state.anew.key)
    if state.anew is None or new is None or not log.says(connection, KEY_CHANGE, approval=state.anew.approval):
        return None
    note = noted(Checkpoint(state.origin, state.size, bytes.fromhex(state.root)), [new]).decode()
    return msgspec.structs.replace(state, note=note, key=state.anew.key, anew=None)


def recovered(connection: Connection, origin: str, key: str) -> State:
    """The state where it was lost with the key: the database's newest checkpoint, as that verifier key signed it.

    Raises Conflict where there is none, or where it is not that key's, or not of the entries that are there.
    """
    newest = checkpoints.newest(connection)
    if newest is None:
        raise Conflict("the database has no signed checkpoint; nothing was changed")
    edge = EMPTY
    for rows in places(connection, 0, newest.size):
        edge = edge.grown(leaf_hash(row.entry.encode()) for row in rows)
    if edge.size != newest.size or signs(key, newest.note) != Checkpoint(origin, newest.size, edge.root()):
        raise Conflict(
            "the last checkpoint is not signed by that key, or not of the entries that are there; nothing was changed",
            field="--old",
            remedy="Ask an auditor for the key that they verify with; it is in `key` of each export, too.",
        )
    return state_of(origin, edge, newest.note, key, moment(newest.at))
