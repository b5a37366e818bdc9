"""Proofs of entries against signed checkpoints, made from the tiles."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from textkeep.errors import Conflict, Unsound
from textkeep.ledger import checkpoints, tree
from textkeep.ledger.checkpoints import Published
from textkeep.ledger.proof import proof_of
from textkeep.ledger.tiles import Stored, TileDamaged, TileHashes
from textkeep.store.tables import ledger_entries

AT_ONCE: Final = 500
"""How many entries one statement asks for."""


class Pending(Conflict):
    """The entry is committed, and no signed checkpoint holds it yet. It is signed within 2 seconds, as a rule."""

    problem = "pending"
    title = "Not signed yet"
    remedy = "Ask again in some seconds. Where that does not help, `textkeep ledger status` says why nothing is signed."


@dataclass(frozen=True, slots=True)
class Covered:
    """A signed checkpoint, and the places in the log of the entries that were asked for."""

    checkpoint: Published
    indices: Mapping[int, int]


def places_of(connection: Connection, seqs: Collection[int]) -> dict[int, int | None]:
    """The place of each of these entries, by `seq`; None for one that waits. Raises Unsound where one is not there."""
    wanted = sorted(set(seqs))
    found: dict[int, int | None] = {}
    for at in range(0, len(wanted), AT_ONCE):
        asked = select(ledger_entries.c.seq, ledger_entries.c.leaf_index)
        found.update(
            connection.execute(asked.where(ledger_entries.c.seq.in_(wanted[at : at + AT_ONCE]))).tuples().all()
        )
    if len(found) < len(wanted) or any(place is not None and place < 0 for place in found.values()):
        raise Unsound("entries of the ledger that must be there are not, or were found altered")
    return found


def covering(connection: Connection, seqs: Collection[int]) -> Covered | None:
    """The newest checkpoint with all these entries in it that a witness has signed, else the newest of all.

    None where there is none yet. Raises Unsound where an entry is not there.
    """
    places = places_of(connection, seqs)
    known = {seq: place for seq, place in places.items() if place is not None}
    if len(known) < len(places):
        return None
    published = checkpoints.best(connection, max(known.values(), default=-1))
    return None if published is None else Covered(published, known)


def proof(connection: Connection, seq: int) -> bytes:
    """The C2SP tlog-proof of an entry: against the newest checkpoint that a witness has signed, else the newest.

    Raises Pending where none holds it yet, Unsound where there is no such entry.
    """
    row = connection.execute(select(ledger_entries).where(ledger_entries.c.seq == seq)).one_or_none()
    if row is None or (row.leaf_index is not None and row.leaf_index < 0):
        raise Unsound("an entry of the ledger that must be there is not")
    published = None if row.leaf_index is None else checkpoints.best(connection, row.leaf_index)
    if published is None:
        raise Pending("no signed checkpoint holds the entry yet")
    try:
        path = tree.inclusion_path(TileHashes(Stored(connection), published.size), row.leaf_index, published.size)
    except TileDamaged:
        raise Unsound(
            "the ledger's tiles are damaged", remedy="The next check of the ledger makes them anew: ask again then."
        ) from None
    return proof_of(row.entry.encode(), row.leaf_index, path, published.served()).format()
