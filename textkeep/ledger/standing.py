"""How the ledger stands: what waits to be signed, since when, what stands against signing, how silent witnesses are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from textkeep.ledger import checkpoints
from textkeep.ledger.state import State
from textkeep.store.evidence import cosignatures, witnesses
from textkeep.store.tables import ledger_entries

_WAITING: Final = select(func.count(), func.min(ledger_entries.c.made_at)).where(ledger_entries.c.leaf_index.is_(None))
_HEARD: Final = (
    select(witnesses.c.name, witnesses.c.since, func.max(cosignatures.c.at).label("at"))
    .join(cosignatures, cosignatures.c.witness == witnesses.c.name, isouter=True)
    .where(witnesses.c.until.is_(None))
    .group_by(witnesses.c.name, witnesses.c.since)
)


@dataclass(frozen=True, slots=True)
class Standing:
    """One look at the ledger. Moments are None where there is none; `key_missing` where this process cannot tell.

    `heard` has for each witness of now when it cosigned last, or else when it was added.
    """

    waiting: int
    waiting_since: datetime | None
    signed_at: datetime | None
    refused: str | None = None
    key_missing: bool | None = None
    heard: Mapping[str, datetime] = field(default_factory=dict)


def standing(connection: Connection, state: State | None, *, key_missing: bool | None = None) -> Standing:
    """What the database and the signer's state tell."""
    waiting, since = connection.execute(_WAITING).one()
    newest = checkpoints.newest(connection)
    heard = {row.name: max(row.since, row.at or row.since) for row in connection.execute(_HEARD)}
    refused = state.refused.reason if state and state.refused else None
    return Standing(int(waiting), since, newest.at if newest else None, refused, key_missing, heard)
