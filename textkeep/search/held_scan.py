"""Asking the index for what is held: on the days, past their 400 days too, and on the shelves of held texts.

A shelf of held texts spans all days, so it is walked beside the days and merged with them. A text that is on both for a
moment, while its day is purged, is given once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from heapq import merge
from typing import Final

from sqlalchemy import Connection, exists, select

from textkeep.archive.keyring import SecretDestroyed
from textkeep.archive.shelf import Day, Generation, is_kept
from textkeep.archive.text import Handle
from textkeep.archive.vault import oldest_unindexed
from textkeep.search.documents import milliseconds
from textkeep.search.index import Hit, NoIndex, Window
from textkeep.search.query import Query
from textkeep.search.scan import AHEAD, ASKED_AT_ONCE, PlanOf, Scan, Scans, ceiling
from textkeep.store.engine import AGAIN_AFTER, Store, Vanished
from textkeep.store.tables import shelves, slices

LOOKED_AT: Final = ("open", "intent", "kept", "witnessed")
"""The states in which a shelf is looked at: until its point of no return a hold may keep what is there."""


class HeldScan:
    """One walk over the days and the shelves of held texts of an organisation."""

    def __init__(
        self,
        days: Scan,
        kept: list[str],
        plan_of: PlanOf,
        window: Window,
        scans: Scans,
        still: Callable[[str], bool],
    ) -> None:
        self.org = days.org
        self.unindexed_since = days.unindexed_since
        self._days = days
        self._kept = kept
        self._plan_of = plan_of
        self._window = window
        self._scans = scans
        self._still = still

    @property
    def shelves_searched(self) -> int:
        """How many shelves it has come to."""
        return self._days.shelves_searched + len(self._kept)

    def hits(self) -> Iterator[Hit]:
        """What the index proposes, in order, each once."""
        walks = [self._days.hits(), *map(self._of_shelf, self._kept)]
        last: Hit | None = None
        for hit in merge(*walks, reverse=not self._window.oldest_first):
            if hit != last:
                yield hit
            last = hit

    def _of_shelf(self, shelf: str) -> Iterator[Hit]:
        window = self._window
        try:
            plan = self._plan_of(shelf)
        except SecretDestroyed:  # released and purged while this search ran
            self._still(shelf)
            raise
        while True:
            try:
                hits = self._scans.index.query([(shelf, plan)], window)
            except NoIndex:
                self._still(shelf)
                raise  # something of it was indexed: it must have an index
            yield from hits
            if len(hits) < window.limit:
                return
            window = replace(window, limit=min(2 * window.limit, ASKED_AT_ONCE), after=hits[-1])


class HeldScans:
    """Makes such walks."""

    def __init__(self, store: Store, scans: Scans) -> None:
        self._store = store
        self._scans = scans

    def of_query(
        self,
        query: Query,
        org: Handle,
        *,
        first: int,
        now: datetime,
        start: datetime | None,
        until: datetime | None,
        after: Hit | None,
    ) -> HeldScan:
        """What may match a query, however long ago it was sent; else as with `Scans.of_query`."""
        end = min(until or now + AHEAD, now + AHEAD)
        window = Window(first, None if start is None else milliseconds(start), ceiling(end), after)
        return self._scan(org, self._scans.plans(query, org), window, start, end)

    def of_pair(self, org: Handle, one: str, other: str, *, first: int, after: Hit, oldest_first: bool) -> HeldScan:
        """What two numbers wrote each other, however long ago; else as with `Scans.of_pair`."""
        window = Window(first, after=after, oldest_first=oldest_first)
        return self._scan(org, self._scans.plans_of_pair(org, one, other), window)

    def _scan(
        self, org: Handle, plan_of: PlanOf, window: Window, start: datetime | None = None, end: datetime | None = None
    ) -> HeldScan:
        """The walk over the days from `start` on and before `end`; `Scan` asks those in between without bounds."""
        with self._store.reading() as connection:
            named = _shelves(connection)
            since = oldest_unindexed(connection)
        kept = [name for name in named if is_kept(name) and Generation.named(name).org == org]
        there = [day.shelf for day in (Day.named(name) for name in named if not is_kept(name)) if _in(day, start, end)]
        days = _behind(there, window)
        if not window.oldest_first:
            days.reverse()
        still = self._is_looked_at
        walk = Scan(self._scans, org, days, plan_of, window, unindexed_since=since, still=still)
        return HeldScan(walk, kept, plan_of, window, self._scans, still)

    def _is_looked_at(self, shelf: str) -> bool:
        """True for a shelf that is looked at. A decision being taken about it, while its index goes, is waited for.

        Where that is not taken in the end, the shelf has no index though it is looked at: a search says so then. Raises
        Vanished where it is not looked at any more. What a hold keeps lies elsewhere since, behind this walk perhaps.
        """
        with self._store.transaction() as connection:
            wanted = select(shelves.c.state).where(shelves.c.name == shelf).with_for_update(read=True)
            if connection.execute(wanted).scalar_one_or_none() not in LOOKED_AT:
                raise Vanished("what is held was carried over in this very moment", retry_after=AGAIN_AFTER)
        return True


def _in(day: Day, start: datetime | None, end: datetime | None) -> bool:
    """Whether a moment from `start` on and before `end` may lie on a day."""
    return (start is None or day.end() > start) and (end is None or day.start() < end)


def _behind(days: Sequence[str], window: Window) -> list[str]:
    """The days that can hold what comes behind the window's beginning."""
    if window.after is None:
        return list(days)
    there = window.after.id.day.isoformat()
    return [day for day in days if (day >= there if window.oldest_first else day <= there)]


def _shelves(connection: Connection) -> list[str]:
    """The shelves that may be looked at and of which something was indexed."""
    something = exists().where(slices.c.shelf == shelves.c.name, slices.c.indexed.is_(True))
    wanted = select(shelves.c.name).where(shelves.c.state.in_(LOOKED_AT), something)
    return list(connection.scalars(wanted.order_by(shelves.c.name)))
