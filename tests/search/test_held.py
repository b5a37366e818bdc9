"""Held texts are found and read through the hold that covers them, past their 400 days and past their day."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.housing import House
from tests.retention.purging import OLDEST
from tests.search.held import Held
from tests.search.searching import WHY
from textkeep.archive.rows import Opened
from textkeep.archive.shelf import Day
from textkeep.errors import Forbidden, Malformed, NotFound
from textkeep.search.finder import Page
from textkeep.search.reconciling import Reconciler


@pytest.fixture
def held(house: House, tmp_path: Path) -> Iterator[Held]:
    with Held.over(house, tmp_path) as made:
        yield made


pytestmark = pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)


def test_a_covered_text_is_found_before_after_and_long_after_its_day_through_its_hold(held: Held) -> None:
    held.take(OLDEST, "the merger is on", "lunch about the merger", "dinner")
    hold = held.keeping.holders.place(query="the -lunch").hold
    assert held.bodies("merger", hold) == ["the merger is on"]
    held.keeping.purging.until(OLDEST.due() - timedelta(seconds=1))
    assert held.bodies("merger", None) == []
    assert held.bodies("merger", hold) == ["the merger is on"]
    held.purge(OLDEST)
    assert held.bodies("merger", hold) == ["the merger is on"]
    assert held.bodies("merger", None) == []
    assert held.bodies("dinner", hold) == []


def test_results_name_the_holds_that_cover_them(held: Held) -> None:
    held.take(OLDEST, "merger and lunch", "merger", "dinner")
    one, two = held.keeping.holders.place(query="merger").hold, held.keeping.holders.place(query="lunch").hold
    named = {text.event.data.body: ids for text, ids in _with_holds(held.find("merger OR dinner", None))}
    assert named == {"merger and lunch": sorted([one.id, two.id]), "merger": [one.id], "dinner": []}
    held.purge(OLDEST)
    named = {text.event.data.body: ids for text, ids in _with_holds(held.find("merger", one))}
    assert named == {"merger and lunch": sorted([one.id, two.id]), "merger": [one.id]}


def _with_holds(page: Page) -> list[tuple[Opened, list[str]]]:
    return [(text, sorted(ids)) for text, ids in zip(page.results, page.held, strict=True)]


def test_kept_texts_and_those_of_open_days_are_one_list_newest_first_across_pages(held: Held) -> None:
    for offset in range(4):
        held.take(OLDEST.plus(offset), f"merger {offset} one", f"merger {offset} two")
    hold = held.keeping.holders.place(query="merger").hold
    held.purge(OLDEST)
    held.purge(OLDEST.plus(1))
    seen: list[Opened] = []
    cursor = None
    while True:
        page = held.find("merger", hold, limit=3, cursor=cursor)
        seen += page.results
        cursor = page.cursor
        if cursor is None:
            break
    assert [(text.event.data.sent_at, text.id) for text in seen] == sorted(
        ((text.event.data.sent_at, text.id) for text in seen), reverse=True
    )
    assert len({text.id for text in seen}) == len(seen) == 8
    page = held.find("merger", hold, limit=3)
    with pytest.raises(Malformed):
        held.find("merger", None, cursor=page.cursor)


def test_only_the_days_are_asked_that_query_and_hold_have_in_common(held: Held) -> None:
    for offset in range(5):
        held.take(OLDEST.plus(offset), f"merger {offset}")
    hold = held.keeping.holders.place().hold
    middle = held.keeping.holders.place(after=OLDEST.plus(1).start(), query=f"before:{OLDEST.plus(3).shelf}").hold
    asked = {
        (hold, f"on:{OLDEST.plus(2).shelf}"): ["merger 2"],
        (hold, f"after:{OLDEST.plus(3).shelf}"): ["merger 4", "merger 3"],
        (hold, f"before:{OLDEST.plus(1).shelf}"): ["merger 0"],
        (hold, "before:0001-01-01"): [],
        (middle, "merger"): ["merger 2", "merger 1"],
        (middle, f"after:{OLDEST.plus(2).shelf}"): ["merger 2"],
        (middle, f"on:{OLDEST.plus(4).shelf}"): [],
    }
    for (through, query), wanted in asked.items():
        page = held.find(query, through)
        assert ([text.event.data.body for text in page.results], page.shelves_searched) == (wanted, len(wanted)), query


def test_a_text_that_lies_on_its_day_and_on_the_shelf_of_held_texts_is_given_once(held: Held) -> None:
    held.take(OLDEST, "merger")
    hold = held.keeping.holders.place().hold
    seen: list[list[str]] = []

    def look(_shelf: str, state: str) -> None:
        held.searching.follow()
        seen.append(held.bodies("merger", hold))

    held.keeping.purge(OLDEST, told=look)
    assert seen == [["merger"]] * 8


def test_a_hold_that_has_ended_opens_nothing(held: Held) -> None:
    held.take(OLDEST, "merger")
    hold = held.keeping.holders.place().hold
    held.purge(OLDEST)
    held.keeping.holders.release(hold)
    held.keeping.house.clock.forward(hours=23)
    assert held.bodies("merger", hold) == ["merger"]
    held.keeping.house.clock.forward(hours=1)
    with pytest.raises(NotFound):
        held.find("merger", hold)


def test_what_was_released_and_purged_is_gone_and_what_moved_on_is_found(held: Held) -> None:
    held.take(OLDEST, "merger", "lunch")
    one, other = held.keeping.holders.place(query="merger").hold, held.keeping.holders.place(query="lunch").hold
    held.purge(OLDEST)
    assert held.keeping.released(one).stopped is None
    held.searching.follow()
    assert held.bodies("merger OR lunch", other) == ["lunch"]
    assert not held.keeping.purging.index.exists(held.keeping.generation(1))


def test_only_who_may_read_the_organisations_holds_and_texts_searches_by_one(held: Held) -> None:
    held.take(OLDEST, "merger")
    hold = held.keeping.holders.place().hold
    with pytest.raises(Forbidden):
        held.find("merger", hold, by=held.keeping.holders.counsel)
    with pytest.raises(Forbidden):
        held.find("merger", hold, by=held.keeping.holders.person("Zoe", "officer", orgs=("org-002",)))
    elsewhere = held.keeping.holders.person("Ed", "officer", orgs=("org-001", "org-002"))
    with pytest.raises(NotFound):
        held.searching.finder.find(
            elsewhere, "merger", reason=WHY, org=held.keeping.holders.org("org-002"), hold=hold.id
        )


def test_a_search_by_a_hold_is_on_record_with_it(held: Held) -> None:
    held.take(OLDEST, "merger")
    hold = held.keeping.holders.place().hold
    held.find("merger", hold)
    [found] = held.keeping.house.activity.of_day(Day.of(held.keeping.house.clock()))
    assert (found.kind, found.detail["hold"], found.detail["count"]) == ("search", hold.id, 1)


def test_a_kept_text_and_its_conversation_are_read_through_the_hold_only(held: Held) -> None:
    ids = held.take(OLDEST, "merger one", "merger two", "lunch")
    hold = held.keeping.holders.place(query="merger").hold
    held.purge(OLDEST)
    officer, reader = held.keeping.holders.officer, held.searching.reader
    with pytest.raises(NotFound):
        reader.read(officer, ids[0], reason=WHY)
    assert reader.read(officer, ids[0], reason=WHY, hold=hold.id).event.data.body == "merger one"
    found = reader.conversation(officer, ids[0], reason=WHY, hold=hold.id)
    assert sorted(text.event.data.body for text in found.texts) == ["merger one", "merger two"]
    assert reader.held_by(found.texts) == [[hold.id], [hold.id]]
    with pytest.raises(NotFound):
        reader.read(officer, ids[2], reason=WHY, hold=hold.id)


def test_the_index_of_a_shelf_of_held_texts_is_made_anew_compared_and_covered_like_any_other(held: Held) -> None:
    held.take(OLDEST, "merger one", "merger two")
    hold = held.keeping.holders.place().hold
    held.purge(OLDEST)
    shelf, searching = held.keeping.kept_shelf(), held.searching
    house = held.keeping.house
    reconciler = Reconciler(
        house.store, house.shelves, house.vault, searching.tokens, searching.index, searching.follower, house.clock
    )
    [seen] = [each for each in reconciler.run(0) if each.shelf == shelf]
    assert (seen.expected, seen.found, seen.clean) == (2, 2, True)
    searching.index.drop(shelf)
    [seen] = [each for each in reconciler.run(0) if each.shelf == shelf]
    assert seen.missing == 2
    searching.follow()
    assert sorted(held.bodies("merger", hold)) == ["merger one", "merger two"]
    assert searching.follower.rebuild(shelf) == 2
    assert sorted(held.bodies("mer*", hold)) == ["merger one", "merger two"]


def test_held_texts_that_wait_to_be_findable_wait_since_they_were_carried_over(held: Held) -> None:
    held.take(OLDEST, "merger")
    held.keeping.holders.place()
    held.keeping.purge(OLDEST)
    waiting = held.keeping.house.vault.oldest_unindexed()
    assert waiting == held.keeping.house.clock()
