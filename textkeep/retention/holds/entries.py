"""The ledger entries of holds and releases, found by what they say; and rows that name them, set right.

A row names its entry by `seq`, a number of the database's own: an entry that was put back after a loss has another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, select, update

from textkeep.ledger import log
from textkeep.ledger.log import Entry
from textkeep.store.evidence import holds, releases

KINDS = ("hold", "restore", "release")


@dataclass(frozen=True, slots=True)
class HoldEntries:
    """By hold, the entry of its start: the first, or where that was lost for good the first that put it right.

    And by approval, the entry of the release that was approved.
    """

    started: Mapping[str, Entry] = field(default_factory=dict)
    released: Mapping[str, Entry] = field(default_factory=dict)


def of_holds(connection: Connection) -> HoldEntries:
    """What the ledger says of holds."""
    started: dict[str, Entry] = {}
    released: dict[str, Entry] = {}
    for entry in log.entries(connection, kinds=KINDS):
        hold, approval = entry.body.get("hold"), entry.body.get("approval")
        if entry.kind == "release":
            released.setdefault(str(approval), entry)
        elif hold is not None:
            known = started.get(hold)
            if known is None or (known.kind, entry.kind) == ("restore", "hold"):
                started[hold] = entry
    return HoldEntries(started, released)


def name_again(connection: Connection) -> None:
    """Let every hold and release whose row names no entry of its own name it again, after entries were put back."""
    said = of_holds(connection)
    for row in connection.execute(select(holds.c.id, holds.c.entry)).all():
        known, mine = log.entry_at(connection, row.entry), said.started.get(row.id)
        if mine is not None and (known is None or known.body.get("hold") != row.id):
            connection.execute(update(holds).where(holds.c.id == row.id).values(entry=mine.seq))
    for row in connection.execute(select(releases.c.hold, releases.c.approval, releases.c.entry)).all():
        mine = said.released.get(row.approval)
        if mine is not None and mine.seq != row.entry:
            connection.execute(update(releases).where(releases.c.hold == row.hold).values(entry=mine.seq))
