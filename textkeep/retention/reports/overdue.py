"""Holds whose review is due. They never end by that; every report names all of them, whosever they are."""

from datetime import datetime

from sqlalchemy import Connection, select

from textkeep.ledger.log import moment
from textkeep.retention.holds.rows import in_force
from textkeep.retention.reports.facts import Overdue
from textkeep.store.evidence import holds
from textkeep.store.tables import ledger_entries


def overdue(connection: Connection, now: datetime) -> list[Overdue]:
    """The holds in force at a moment whose review is due, by id."""
    wanted = (
        select(holds.c.id, holds.c.org, holds.c.review_at, ledger_entries.c.leaf_index)
        .outerjoin(ledger_entries, ledger_entries.c.seq == holds.c.entry)
        .where(in_force(now), holds.c.review_at <= now)
        .order_by(holds.c.id)
    )
    return [
        Overdue(hold, bytes(org).hex(), index if index is not None and index >= 0 else None, moment(review_at))
        for hold, org, review_at, index in connection.execute(wanted).tuples()
    ]
