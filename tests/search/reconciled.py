"""A reconciler over a search, and what it is measured by."""

from collections.abc import Callable, Iterable
from datetime import date

from sqlalchemy import select

from tests.housing import House
from tests.search.indexes import document
from tests.search.searching import Searching
from textkeep.archive.text import TextId
from textkeep.errors import TextkeepError
from textkeep.search.index import Document
from textkeep.search.reconciling import Coverage, Reconciler
from textkeep.store.tables import texts_of

SHELF = "2026-11-20"
OTHER = "2026-11-19"


def reconciler(searching: Searching, failed: Callable[[TextkeepError], None] = lambda _: None) -> Reconciler:
    house = searching.house
    rooms = (house.store, house.shelves, house.vault, searching.tokens, searching.index, searching.follower)
    return Reconciler(*rooms, house.clock, failed=failed)


def in_vault(house: House, shelf: str = SHELF) -> set[TextId]:
    table = texts_of(shelf)
    with house.store.reading() as connection:
        rows = connection.execute(select(table.c.tag, table.c.version))
        return {TextId(date.fromisoformat(shelf), row[0], row[1]) for row in rows}


def stray(number: int = 1, shelf: str = SHELF) -> Document:
    return document(TextId(date.fromisoformat(shelf), number.to_bytes(16, "big"), 1))


def differences(found: Iterable[Coverage]) -> dict[str, tuple[int, int, int]]:
    return {each.shelf: (each.missing, each.strays, each.altered) for each in found if not each.clean}
