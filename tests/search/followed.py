"""What a follower has made of the shelf that its tests write to."""

from sqlalchemy import select, update

from tests.housing import House
from tests.search.searching import Searching
from textkeep.archive.text import TextId
from textkeep.search.vocabulary import read
from textkeep.store.tables import texts_of

SHELF = "2026-11-20"


def ids(searching: Searching, shelf: str = SHELF) -> set[TextId]:
    return set(searching.index.ids(shelf))


def text_ids(*receipts: object) -> set[TextId]:
    return {TextId.parse(item.text_id) for each in receipts for item in each.items}  # type: ignore[attr-defined]


def segments(searching: Searching, shelf: str = SHELF) -> list[tuple[list[str], list[str]]]:
    with searching.house.store.reading() as connection:
        papers = list(searching.house.papers.of_kind(connection, shelf, "vocabulary", searching.org()))
    return [read(paper.plain) for paper in papers]


def damage(house: House, text_id: TextId) -> bytes:
    """Let a text not open any more, and give what it was."""
    table = texts_of(SHELF)
    with house.behind.transaction() as connection:
        whole: bytes = connection.execute(select(table.c.sealed).where(table.c.tag == text_id.tag)).scalar_one()
    mend(house, text_id, b"\x01" + bytes(60))
    return whole


def mend(house: House, text_id: TextId, sealed: bytes) -> None:
    table = texts_of(SHELF)
    with house.behind.transaction() as connection:
        connection.execute(update(table).where(table.c.tag == text_id.tag).values(sealed=sealed))
