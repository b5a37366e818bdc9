"""Asking the index day after day, in one order, for as long as somebody wants more."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import exists, select

from textkeep.archive.keyring import SecretDestroyed
from textkeep.archive.shelf import RETENTION, Day
from textkeep.archive.text import Handle
from textkeep.search.documents import milliseconds, pair_term
from textkeep.search.index import Hit, IndexDriver, NoIndex, Plan, Window
from textkeep.search.narrowing import narrow, prefixes
from textkeep.search.query import Query
from textkeep.search.tokens import Tokens
from textkeep.search.vocabulary import Vocabulary
from textkeep.store.engine import Store
from textkeep.store.tables import shelves, slices

AHEAD: Final = timedelta(days=1)
"""How far beyond now a text may lie: ingest takes some minutes, which may be tomorrow."""

_TICK: Final = timedelta(microseconds=1)

ASKED_AT_ONCE: Final = 1_000
"""Hits asked of one shelf at once, at most."""


class Scan:
    """One walk over the days of a search. `shelves_searched` counts those it has come to."""

    def __init__(
        self,
        scans: "Scans",
        org: Handle,
        days: list[str],
        plan_of: Callable[[str], Plan],
        window: Window,
    ) -> None:
        self.org = org
        self.shelves_searched = 0
        self._scans = scans
        self._days = days
        self._plan_of = plan_of
        self._window = window
        self._unbounded = Window(window.limit, oldest_first=window.oldest_first)
        self._inner = set(days[1:-1]) - ({window.after.id.day.isoformat()} if window.after else set())

    def hits(self) -> Iterator[Hit]:
        """What the index proposes, in order, each once; asks for more only when more is taken."""
        for shelf in self._days:
            self.shelves_searched += 1
            try:
                plan = self._plan_of(shelf)
                yield from self._of_shelf(shelf, plan)
            except SecretDestroyed:
                continue  # purged while this search ran: nothing of it can be read any more
            except NoIndex:
                if self._scans.is_open(shelf):
                    raise  # something of it was indexed: it must have an index

    def _of_shelf(self, shelf: str, plan: Plan) -> Iterator[Hit]:
        # Days between the first and the last lie inside the window as a whole.
        window = self._unbounded if shelf in self._inner else self._window
        while True:
            hits = self._scans.index.query(shelf, plan, window)
            yield from hits
            if len(hits) < window.limit:
                return
            window = replace(window, limit=min(2 * window.limit, ASKED_AT_ONCE), after=hits[-1])


class Scans:
    """Makes scans over the shelves that can be searched."""

    def __init__(self, store: Store, tokens: Tokens, vocabulary: Vocabulary, index: IndexDriver) -> None:
        self._store = store
        self._tokens = tokens
        self._vocabulary = vocabulary
        self.index = index

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
    ) -> Scan:
        """What may match a query, newest first, from `start` and before `until`, behind `after`; `first` at once."""

        wanted = sorted(prefixes(query))

        def plan_of(shelf: str) -> Plan:
            made = self._tokens.of(shelf, org)
            return narrow(query, made, self._expansions(shelf, org, wanted).get if wanted else _no_expansion)

        start, until = _within_reach(now, start, until)
        window = Window(first, milliseconds(start), _ceiling(until), after)
        days = self._days(start, until)
        if after is not None:
            days = [day for day in days if day <= after.id.day.isoformat()]
        return Scan(self, org, days[::-1], plan_of, window)

    def of_pair(
        self, org: Handle, one: str, other: str, *, first: int, now: datetime, after: Hit, oldest_first: bool
    ) -> Scan:
        """What two numbers wrote each other, from a text on: newer ones (`oldest_first`) or older ones."""

        def plan_of(shelf: str) -> Plan:
            return pair_term(self._tokens.of(shelf, org), one, other)

        there = after.id.day.isoformat()
        days = self._days(*_within_reach(now))
        days = [day for day in days if day >= there] if oldest_first else [day for day in days if day <= there][::-1]
        return Scan(self, org, days, plan_of, Window(first, after=after, oldest_first=oldest_first))

    def is_open(self, shelf: str) -> bool:
        """Whether a shelf is open still."""
        with self._store.reading() as connection:
            state = connection.execute(select(shelves.c.state).where(shelves.c.name == shelf)).scalar_one_or_none()
        return state == "open"

    def _days(self, start: datetime, until: datetime) -> list[str]:
        """The open shelves of that time of which something was indexed, oldest first."""
        something = exists().where(slices.c.shelf == shelves.c.name, slices.c.indexed.is_(True))
        first, last = Day.of(start).shelf, Day.of(until - _TICK).shelf
        wanted = (
            select(shelves.c.name)
            .where(shelves.c.state == "open", shelves.c.name.between(first, last), something)
            .order_by(shelves.c.name)
        )
        with self._store.reading() as connection:
            return list(connection.scalars(wanted))

    def _expansions(self, shelf: str, org: Handle, wanted: Collection[str]) -> dict[str, set[str] | None]:
        with self._store.reading() as connection:
            return self._vocabulary.expand(connection, shelf, org, wanted)


def _no_expansion(_prefix: str) -> None:
    return None


def _within_reach(
    now: datetime, start: datetime | None = None, until: datetime | None = None
) -> tuple[datetime, datetime]:
    """The part of a time that can hold a readable text."""
    earliest, latest = now - RETENTION, now + AHEAD
    return max(start or earliest, earliest), min(max(until or latest, earliest), latest)


def _ceiling(moment: datetime) -> int:
    """The first whole millisecond at which nothing before `moment` can be counted."""
    return milliseconds(moment + timedelta(microseconds=999))
