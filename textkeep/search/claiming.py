"""Claiming: which slices a step of a follower takes, so that several followers never do the same work.

Shelves come first, then slices: the shelves of the slices that have waited longest, few of them for a step however thin
the slices lie (a backfill over 400 days), locked shared in the order of their days; then slices of these, oldest first.
What another follower has claimed is passed over (PostgreSQL: `FOR UPDATE SKIP LOCKED`; on SQLite a step is alone).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from textkeep.archive.shelves import Shelves
from textkeep.archive.vault import SliceRow
from textkeep.store import advisory
from textkeep.store.tables import shelves, slices

WINDOW: Final = 20_000
"""Waiting slices, the oldest, among which shelves are chosen. The very oldest one is always among what is chosen."""

_TEXTS: Final = slices.c.accepted + slices.c.versions


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What waits on a shelf, among the oldest slices; `last` is when the last of them was received."""

    shelf: str
    slices: int
    texts: int
    last: datetime


class Claims:
    """Takes slices for one step, in the caller's transaction."""

    def __init__(self, shelves: Shelves) -> None:
        self._shelves = shelves

    def take(self, connection: Connection, texts: int, passed_over: dict[int, int]) -> list[SliceRow]:
        """Claim slices of open shelves that no index holds yet: one at least where one is free, `texts` at most.

        They are the caller's, and their shelves stay open, until its transaction ends. `passed_over` are those (and
        their texts) that are not wanted.
        """
        waiting = self._waiting(connection, WINDOW + len(passed_over))
        wanted = texts + sum(passed_over.values())
        first = _fill(waiting, wanted)
        claimed = self._claim(connection, first, texts, passed_over)
        if not claimed and len(first) < len(waiting):  # other followers are at these
            claimed = self._claim(connection, waiting[len(first) :], texts, passed_over)
        return claimed

    def _waiting(self, connection: Connection, window: int) -> list[_Waiting]:
        """By shelf, the one whose slice has waited longest first."""
        oldest = (
            select(slices.c.shelf, slices.c.received_at, _TEXTS.label("texts"))
            .join(shelves, shelves.c.name == slices.c.shelf)
            .where(slices.c.indexed.is_(False), shelves.c.state == "open")
            .order_by(slices.c.received_at)
            .limit(window)
            .subquery()
        )
        last = func.max(oldest.c.received_at)
        wanted = (
            select(oldest.c.shelf, func.count(), func.sum(oldest.c.texts), last)
            .group_by(oldest.c.shelf)
            .order_by(func.min(oldest.c.received_at), oldest.c.shelf)
        )
        return [_Waiting(shelf, int(count), int(texts), at) for shelf, count, texts, at in connection.execute(wanted)]

    def _claim(
        self, connection: Connection, chosen: Sequence[_Waiting], texts: int, passed_over: dict[int, int]
    ) -> list[SliceRow]:
        names = self._lock(connection, [each.shelf for each in chosen])
        if not names:
            return []
        per_slice = sum(each.texts for each in chosen) / sum(each.slices for each in chosen)
        wanted = (
            select(slices)
            .where(slices.c.indexed.is_(False), slices.c.shelf.in_(names))
            .where(slices.c.received_at <= max(each.last for each in chosen))
            .order_by(slices.c.received_at, slices.c.id)
            # A slice that is claimed and then not needed is kept from the others: as many as the step takes, no more.
            .limit(1 + int(texts / per_slice) + len(passed_over))
            .with_for_update(of=slices, skip_locked=True)
        )
        claimed: list[SliceRow] = []
        for row in connection.execute(wanted):
            if row.id in passed_over:
                continue
            found = SliceRow(row.id, row.shelf, row.accepted + row.versions, row.received_at)
            texts -= found.texts
            if claimed and texts < 0:
                break
            claimed.append(found)
        return claimed

    def _lock(self, connection: Connection, names: Collection[str]) -> list[str]:
        """Those of the shelves that are open, kept so; without those whose index is just being swapped."""
        states = self._shelves.lock(connection, names)
        return sorted(writers(connection, [name for name in sorted(names) if states.get(name) == "open"]))


def writers(connection: Connection, names: Sequence[str]) -> set[str]:
    """Be one of those who add to the indexes of shelves, until the transaction ends; gives those it may add to.

    It may not where an index is just being swapped: what is added to the old one then is lost.
    """
    held = set(advisory.try_share(connection, [_adding(name) for name in names]))
    return {name for name in names if _adding(name) in held}


def only_writer(connection: Connection, shelf: str) -> None:
    """Be the only one who writes a shelf's index, until the transaction ends; waits for those who add to it."""
    advisory.hold(connection, _adding(shelf))


def _adding(shelf: str) -> str:
    return f"index {shelf}"


def _fill(waiting: Sequence[_Waiting], texts: int) -> list[_Waiting]:
    chosen: list[_Waiting] = []
    for each in waiting:
        if texts <= 0:
            break
        chosen.append(each)
        texts -= each.texts
    return chosen
