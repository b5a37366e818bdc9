"""What a search through a hold finds is what a scan of everything finds, on every engine, wherever the texts lie."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.housing import House, event
from tests.retention.purging import OLDEST
from tests.search.drivers import opened
from tests.search.held import Held
from tests.search.indexes import document
from textkeep.archive.text import TextId
from textkeep.errors import NotFound, Outage
from textkeep.retention.holds.hold import Hold
from textkeep.search.index import Addition
from textkeep.store.tables import shelf_tables

pytestmark = pytest.mark.parametrize(
    ("house", "driver"), [("sqlite", "embedded file"), ("postgresql", "opensearch")], indirect=["house"]
)

TEXTS: Final = (
    ("the merger is on Monday", "+12125550101", "+13125550102"),
    ("on Monday we merge, the deal is done", "+12125550101", "+13125550103"),
    ("Monday on, the mergers off", "+13125550102", "+12125550101"),
    ("lunch on Monday? the Café is open", "+12125550101", "72345"),
    ("dinner", "+12125550101", "+13125550102"),
)
"""Bodies, senders and receivers of each day."""

QUERIES: Final = (
    "monday",
    '"on monday"',
    "merg*",
    "caf*",
    "merger OR lunch",
    "monday -merger",
    "-monday",
    "with:+13125550102",
    "from:+12125550101 monday",
    "to:72345",
    "user:org-001-user-0001 deal",
    f"on:{OLDEST.shelf}",
    f"after:{OLDEST.plus(1).shelf} monday",
    f"before:{OLDEST.shelf}T23:10:00Z",
)


@pytest.fixture
def held(request: pytest.FixtureRequest, house: House, driver: str, tmp_path: Path) -> Iterator[Held]:
    with opened(request, driver, tmp_path) as index, Held.over(house, tmp_path, index) as made:
        yield made


def load(held: Held, days: int) -> None:
    """The texts, on each of so many days, findable; no two of one moment."""
    for at in range(days):
        wire: list[dict[str, Any]] = []
        for number, (body, sender, receiver) in enumerate(TEXTS):
            sent_at = f"{OLDEST.plus(at).shelf}T23:{5 * number + at:02d}:00Z"
            parties = {"from": sender, "to": receiver}
            wire.append(event(10 * at + number, body=body, sent_at=sent_at, **parties))
        held.keeping.purging.take_records(wire)
    held.searching.follow()


def must_agree(held: Held, hold: Hold, queries: Sequence[str], *, limit: int = 50) -> None:
    """Each query gives through a hold exactly what a scan gives, in its order, and of each text every hold."""
    named = held.keeping.holders.holds.holding.held_by
    for query in queries:
        pages = list(held.every(query, hold, limit))
        found = [text for page in pages for text in page.results]
        wanted = held.scanned(query, hold)
        assert [(text.id, text.raw) for text in found] == [(text.id, text.raw) for text in wanted], query
        assert [ids for page in pages for ids in page.held] == named(hold.org, wanted), query


def test_on_days_on_kept_shelves_and_after_a_release_it_finds_what_a_scan_does(held: Held) -> None:
    keeping, place = held.keeping, held.keeping.holders.place
    load(held, 3)
    wide, narrow = place(query="monday").hold, place(query='"on monday"').hold
    assert {len(held.scanned(query, wide)) for query in QUERIES} >= {0, 3, 6, 12}, "the queries tell them apart"
    held.purge(OLDEST)
    held.purge(OLDEST.plus(1))
    assert len(keeping.texts(keeping.generation(1))) == 8
    assert set(held.searching.index.ids(keeping.generation(1))) == {
        text.id for text in keeping.texts(keeping.generation(1))
    }
    must_agree(held, wide, QUERIES)
    assert keeping.released(wide).stopped is None
    held.searching.follow()
    gone, there = keeping.generation(1), keeping.generation(2)
    with keeping.house.store.reading() as connection:
        assert (shelf_tables(connection, gone), held.searching.index.exists(gone)) == ([], False)
    assert set(held.searching.index.ids(there)) == {text.id for text in keeping.texts(there)}
    with pytest.raises(NotFound):
        held.find("monday", wide)
    assert len(held.scanned("monday", narrow)) == 9, "those of the day that went with the release too"
    must_agree(held, narrow, ['"monday the"', "merg*", "with:+13125550102", "-merger"], limit=3)


def test_pages_go_on_where_they_were_while_days_and_generations_go_under_them(held: Held) -> None:
    keeping, place = held.keeping, held.keeping.holders.place
    load(held, 2)
    other, hold = place(query="dinner").hold, place(query="monday").hold
    wanted = [text.id for text in held.scanned("monday", hold)]
    first = held.find("monday", hold, limit=3)
    held.purge(OLDEST)
    second = held.find("monday", hold, limit=2, cursor=first.cursor)
    assert keeping.released(other).stopped is None
    held.searching.follow()
    assert not held.searching.index.exists(keeping.generation(1))
    last = held.find("monday", hold, limit=10, cursor=second.cursor)
    assert [text.id for page in (first, second, last) for text in page.results] == wanted
    assert last.cursor is None


def test_an_index_of_held_texts_that_was_lost_is_an_outage_until_it_is_made_anew_and_orphans_go(held: Held) -> None:
    keeping, index = held.keeping, held.searching.index
    load(held, 1)
    other, hold = keeping.holders.place(query="dinner").hold, keeping.holders.place(query="monday").hold
    held.purge(OLDEST)
    assert keeping.released(other).stopped is None
    held.searching.follow()
    gone, shelf, unknown = keeping.generation(1), keeping.generation(2), f"kept-{'0' * 15}9-1"
    stray = document(TextId(OLDEST.date, bytes(16), 1))
    index.drop(shelf)
    for orphan in (gone, unknown):
        index.create([orphan])
        index.add([Addition(orphan, 7, [stray])])
    with pytest.raises(Outage):
        held.find("monday", hold)
    found = {each.shelf: (each.missing, each.strays) for each in held.reconciler().run(0)}
    assert found == {shelf: (4, 0), gone: (0, 1), unknown: (0, 1)}
    assert held.searching.follow() == 4
    assert index.shelves() == {shelf}
    must_agree(held, hold, ["monday"])
    index.add([Addition(shelf, 7, [stray])])
    [seen] = held.reconciler().run(0)
    assert (seen.shelf, seen.strays, seen.found) == (shelf, 1, 4)
    assert held.searching.follower.rebuild(shelf) == 4
    must_agree(held, hold, ["monday"])
