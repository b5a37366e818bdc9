"""Asking the index day after day, in one order, for as long as somebody wants more."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, exists, select

from textkeep.archive.keyring import SecretDestroyed
from textkeep.archive.shelf import RETENTION, Day
from textkeep.archive.text import Handle
from textkeep.archive.vault import oldest_unindexed
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
"""Hits asked of a group of shelves at once, at most."""

FIRST_TOGETHER: Final = 8
"""Days in the first group that is asked, where the index takes several."""

GROWTH: Final = 4
"""How many times larger each further group is: a rare word is looked for in all days with some four questions."""

DEAR_GROWTH: Final = 2
"""The same where each day's vocabulary has to be opened first: fewer of them in vain."""


_OPEN_DAYS: Final = (
    select(shelves.c.name)
    .where(
        shelves.c.state == "open",
        shelves.c.name.between(bindparam("first"), bindparam("last")),
        exists().where(slices.c.shelf == shelves.c.name, slices.c.indexed.is_(True)),
    )
    .order_by(shelves.c.name)
)


PlanOf = Callable[[str], Plan]
"""Makes the plan for a shelf. Raises SecretDestroyed where that was purged."""


class Scan:
    """One walk over the days of a search. `shelves_searched` counts those it has come to.

    `unindexed_since` is when the oldest record was received that could not be found when the walk was begun. `still`
    says whether a day is looked at, those that are open where it is left out; it raises where a day may not be missing.

    Days are asked in groups that grow, as large as the index takes them: what is common fills its page from the first
    few days, what is rare is looked for in all of them with a few questions.
    """

    def __init__(
        self,
        scans: "Scans",
        org: Handle,
        days: list[str],
        plan_of: PlanOf,
        window: Window,
        growth: int = GROWTH,
        unindexed_since: datetime | None = None,
        still: Callable[[str], bool] | None = None,
    ) -> None:
        self.org = org
        self.unindexed_since = unindexed_since
        self._growth = growth
        self.shelves_searched = 0
        self._scans = scans
        self._still = still or scans.is_open
        self._days = days
        self._plan_of = plan_of
        self._window = window
        self._unbounded = Window(window.limit, oldest_first=window.oldest_first)
        self._inner = set(days[1:-1]) - ({window.after.id.day.isoformat()} if window.after else set())

    def hits(self) -> Iterator[Hit]:
        """What the index proposes, in order, each once; asks for more only when more is taken."""
        at, size = 0, min(FIRST_TOGETHER, self._scans.index.together)
        while at < len(self._days):
            group = self._days[at : at + size]
            yield from self._of_group(at, group)
            at += len(group)
            self.shelves_searched = at
            size = min(self._growth * size, self._scans.index.together)

    def _of_group(self, at: int, group: Sequence[str]) -> Iterator[Hit]:
        self.shelves_searched = at + 1
        places = {shelf: at + number for number, shelf in enumerate(group, 1)}
        # Days between the first and the last lie inside the window as a whole.
        window = self._unbounded if self._inner.issuperset(group) else self._window
        asked = self._plans(group)
        while asked:
            try:
                hits = self._scans.index.query(asked, window)
            except NoIndex as missing:
                asked = self._without_purged(asked, missing)
                continue
            for hit in hits:
                self.shelves_searched = places.get(hit.id.day.isoformat(), self.shelves_searched)
                yield hit
            if len(hits) < window.limit:
                return
            window = replace(window, limit=min(2 * window.limit, ASKED_AT_ONCE), after=hits[-1])
            asked = self._from(hits[-1], asked)

    def _plans(self, group: Sequence[str]) -> list[tuple[str, Plan]]:
        plans = []
        for shelf in group:
            try:
                plans.append((shelf, self._plan_of(shelf)))
            except SecretDestroyed:
                self._still(shelf)  # purged while this search ran: nothing of it can be read any more
        return plans

    def _without_purged(self, asked: Sequence[tuple[str, Plan]], missing: NoIndex) -> list[tuple[str, Plan]]:
        """The plans but that of a shelf which is not looked at any more. Raises NoIndex again where all of them are."""
        gone = {shelf for shelf, _ in asked if missing.shelf in (None, shelf) and not self._still(shelf)}
        if not gone:
            raise missing  # something of it was indexed: it must have an index
        return [each for each in asked if each[0] not in gone]

    def _from(self, hit: Hit, asked: list[tuple[str, Plan]]) -> list[tuple[str, Plan]]:
        """The plans that are not yet done with when the last answer ended at a hit."""
        there = hit.id.day.isoformat()
        return [each for each in asked if (each[0] >= there if self._window.oldest_first else each[0] <= there)]


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

        start, until = _within_reach(now, start, until)
        window = Window(first, milliseconds(start), ceiling(until), after)
        with self._store.reading() as connection:
            since = oldest_unindexed(connection)
            days = _days(connection, start, until)
        if after is not None:
            days = [day for day in days if day <= after.id.day.isoformat()]
        growth = DEAR_GROWTH if prefixes(query) else GROWTH
        return Scan(self, org, days[::-1], self.plans(query, org), window, growth, since)

    def plans(self, query: Query, org: Handle) -> PlanOf:
        """What makes the plan of a query for each shelf."""
        wanted = sorted(prefixes(query))

        def plan_of(shelf: str) -> Plan:
            made = self._tokens.of(shelf, org)
            return narrow(query, made, self._expansions(shelf, org, wanted).get if wanted else _no_expansion)

        return plan_of

    def plans_of_pair(self, org: Handle, one: str, other: str) -> PlanOf:
        """What makes the plan of a conversation for each shelf."""
        return lambda shelf: pair_term(self._tokens.of(shelf, org), one, other)

    def of_pair(
        self, org: Handle, one: str, other: str, *, first: int, now: datetime, after: Hit, oldest_first: bool
    ) -> Scan:
        """What two numbers wrote each other, from a text on: newer ones (`oldest_first`) or older ones."""
        plan_of = self.plans_of_pair(org, one, other)
        there = after.id.day.isoformat()
        with self._store.reading() as connection:
            days = _days(connection, *_within_reach(now))
        days = [day for day in days if day >= there] if oldest_first else [day for day in days if day <= there][::-1]
        return Scan(self, org, days, plan_of, Window(first, after=after, oldest_first=oldest_first))

    def is_open(self, shelf: str) -> bool:
        """Whether a shelf is open still."""
        with self._store.reading() as connection:
            state = connection.execute(select(shelves.c.state).where(shelves.c.name == shelf)).scalar_one_or_none()
        return state == "open"

    def _expansions(self, shelf: str, org: Handle, wanted: Collection[str]) -> dict[str, set[str] | None]:
        with self._store.reading() as connection:
            return self._vocabulary.expand(connection, shelf, org, wanted)


def _days(connection: Connection, start: datetime, until: datetime) -> list[str]:
    """The open shelves of that time of which something was indexed, oldest first."""
    reach = {"first": Day.of(start).shelf, "last": Day.of(until - _TICK).shelf}
    return list(connection.scalars(_OPEN_DAYS, reach))


def _no_expansion(_prefix: str) -> None:
    return None


def _within_reach(
    now: datetime, start: datetime | None = None, until: datetime | None = None
) -> tuple[datetime, datetime]:
    """The part of a time that can hold a readable text."""
    earliest, latest = now - RETENTION, now + AHEAD
    return max(start or earliest, earliest), min(max(until or latest, earliest), latest)


def ceiling(moment: datetime) -> int:
    """The first whole millisecond at which nothing before `moment` can be counted."""
    return milliseconds(moment + timedelta(microseconds=999))
