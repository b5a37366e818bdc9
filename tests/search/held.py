"""A purge under legal holds, and search over the same index."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from tests.housing import House
from tests.retention.keeping import Keeping
from tests.search.reconciled import reconciler
from tests.search.searching import WHY, Searching
from textkeep.access.principal import Principal
from textkeep.archive.rows import Opened
from textkeep.archive.shelf import Day
from textkeep.retention.holds.hold import Hold, covers
from textkeep.search.finder import Page, place_of
from textkeep.search.held_scan import LOOKED_AT
from textkeep.search.index import IndexDriver
from textkeep.search.match import matches
from textkeep.search.query import parse
from textkeep.search.reconciling import Reconciler
from textkeep.store.tables import slices


@dataclass
class Held:
    """A purge under holds, and search over the same index."""

    keeping: Keeping
    searching: Searching

    @classmethod
    @contextmanager
    def over(cls, house: House, folder: Path, index: IndexDriver | None = None) -> Iterator["Held"]:
        with Keeping.over(house, folder, index) as keeping:
            yield cls(keeping, Searching.build(house, keeping.purging.index, keeping.holders.holds.in_search()))

    def take(self, day: Day, *bodies: str, **data: object) -> list[str]:
        ids = self.keeping.take(day, *bodies, **data)  # type: ignore[arg-type]
        self.searching.follow()
        return ids

    def purge(self, day: Day) -> None:
        assert self.keeping.purge(day).stopped is None
        self.searching.follow()

    def find(self, query: str, hold: Hold | None, **how: object) -> Page:
        officer = how.pop("by", self.keeping.holders.officer)
        assert isinstance(officer, Principal)
        limit = how.pop("limit", 50)
        assert isinstance(limit, int)
        return self.searching.finder.find(
            officer,
            query,
            reason=WHY,
            org=self.keeping.holders.org(),
            limit=limit,
            hold=None if hold is None else hold.id,
            **how,  # type: ignore[arg-type]
        )

    def bodies(self, query: str, hold: Hold | None) -> list[str]:
        return [text.event.data.body for text in self.find(query, hold).results]

    def every(self, query: str, hold: Hold, limit: int) -> Iterator[Page]:
        """The pages of what a search through a hold finds."""
        cursor = None
        while True:
            page = self.find(query, hold, limit=limit, cursor=cursor)
            yield page
            cursor = page.cursor
            if cursor is None:
                return

    def scanned(self, query: str, hold: Hold) -> list[Opened]:
        """The same without an index: every text there is, opened and matched, newest first."""
        house, asked = self.keeping.house, parse(query)
        with house.store.reading() as connection:
            states = house.shelves.states(connection, set(connection.scalars(select(slices.c.shelf))))
        there = [name for name, state in states.items() if state in LOOKED_AT]
        texts = {text.id: text for name in there for text in self.keeping.texts(name)}
        found = [
            text
            for text in texts.values()
            if covers(hold, text.event, text.org, text.flags) and matches(asked, text.event.data, frozenset(text.flags))
        ]
        return sorted(found, key=place_of, reverse=True)

    def reconciler(self) -> Reconciler:
        return reconciler(self.searching)
