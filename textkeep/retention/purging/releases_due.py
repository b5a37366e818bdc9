"""Releases that are due: 24 hours after the approval what only a released hold kept goes, with the shelf it lies on.

A shelf of held texts is due from the moment such a release takes effect. The house's own, which holds what nobody can
say the organisation of, is due with any release since it was opened.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, select, update

from textkeep.archive.shelf import Generation, is_kept
from textkeep.archive.text import HOUSE
from textkeep.ledger.log import moment
from textkeep.retention.holds.rows import in_force
from textkeep.retention.reports.facts import Released
from textkeep.store.evidence import holds, releases
from textkeep.store.tables import shelves

_LEFT: Final = select(shelves.c.name, shelves.c.state).where(shelves.c.due_at.is_(None), shelves.c.state != "reported")
_NOT_DONE: Final = select(releases.c.hold, releases.c.org).where(
    releases.c.effective_at <= bindparam("cutoff"), releases.c.done_at.is_(None)
)


def due(connection: Connection, shelf: str, cutoff: datetime) -> list[Released]:
    """The releases for which a shelf of held texts goes, oldest first; none where it may not go.

    `cutoff` is the earliest clock. A release whose hold is in force again counts for nothing.
    """
    keeps = select(holds.c.id).where(in_force(cutoff))
    wanted = _of_shelf(shelf).where(releases.c.effective_at <= cutoff, releases.c.hold.not_in(keeps))
    return [_released(row) for row in connection.execute(wanted)]


def in_effect(connection: Connection, shelf: str, in_force: Collection[str]) -> list[Released]:
    """The releases by which a shelf of held texts is decided about: of holds that are not among those `in_force`."""
    return [_released(row) for row in connection.execute(_of_shelf(shelf)) if row.hold not in in_force]


def _of_shelf(shelf: str) -> Select[Any]:
    """The releases that concern a shelf of held texts and were not done, oldest first."""
    org = Generation.named(shelf).org
    wanted = select(releases).order_by(releases.c.effective_at, releases.c.hold)
    if org == HOUSE:
        opened = select(shelves.c.opened_at).where(shelves.c.name == shelf).scalar_subquery()
        return wanted.where(releases.c.effective_at > opened)
    return wanted.where(releases.c.org == org, releases.c.done_at.is_(None))


def shelves_due(connection: Connection, cutoff: datetime) -> list[str]:
    """The shelves of held texts that are due, and those whose purge has begun; the house's own come last.

    Of an organisation only its oldest generation that is not reported: the next one is where its survivors go.
    """
    oldest: dict[bytes, tuple[Generation, str]] = {}
    for name, state in _generations_left(connection):
        found = Generation.named(name)
        oldest[found.org] = min(oldest.get(found.org, (found, state)), (found, state))
    chosen = [
        found.shelf for found, state in oldest.values() if state != "open" or due(connection, found.shelf, cutoff)
    ]
    return sorted(chosen, key=lambda shelf: (Generation.named(shelf).org == HOUSE, shelf))


def done(connection: Connection, shelf: str, released: Iterable[Released], now: datetime) -> None:
    """Note that what these releases let go of a shelf is gone. The caller's transaction writes the report of it.

    Those for which the house's own shelf goes are noted with their organisation's.
    """
    names = [each.hold for each in released]
    if names and Generation.named(shelf).org != HOUSE:
        ended = update(releases).where(releases.c.hold.in_(names), releases.c.done_at.is_(None))
        connection.execute(ended.values(done_at=now))


def without_shelf(connection: Connection, cutoff: datetime, now: datetime) -> None:
    """Note that releases of organisations of which nothing was ever held are done."""
    waiting = connection.execute(_NOT_DONE, {"cutoff": cutoff}).tuples().all()
    if not waiting:
        return
    held = {Generation.named(name).org for name, _ in _generations_left(connection)}
    idle = [hold for hold, org in waiting if bytes(org) not in held]
    if idle:
        connection.execute(update(releases).where(releases.c.hold.in_(idle)).values(done_at=now))


def _generations_left(connection: Connection) -> list[tuple[str, str]]:
    """Name and state of the shelves of held texts that are not reported."""
    return [(name, state) for name, state in connection.execute(_LEFT).tuples() if is_kept(name)]


def _released(row: Row[Any]) -> Released:
    return Released(
        row.hold,
        row.approval,
        moment(row.approved_at),
        moment(row.effective_at),
        bytes(row.asked_by).hex(),
        bytes(row.approved_by).hex(),
    )
