"""Reconciling: whatever somebody does to an index, one run finds it, and the index is the vault's again."""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.housing import House, event
from tests.search.indexes import Tampered, altered, document
from tests.search.reconciled import OTHER, SHELF, differences, in_vault, reconciler, stray
from tests.search.searching import Searching
from tests.search.wrapping import Wrapped
from textkeep.archive.text import TextId
from textkeep.errors import Outage
from textkeep.search.comparing import SAMPLE
from textkeep.search.index import Addition, IndexDriver
from textkeep.search.reconciling import Coverage
from textkeep.store.tables import shelves, texts_of

pytestmark = pytest.mark.parametrize(
    ("house", "index"), [("sqlite", "embedded"), ("postgresql", "opensearch")], indirect=True
)


@pytest.fixture
def searching(house: House, index: Tampered) -> Searching:
    return Searching.build(house, index)


def test_an_index_that_is_right_is_left_alone(searching: Searching) -> None:
    searching.load("tea", "coffee")
    searching.take(event(99, body="not yet findable"))
    searching.house.clock.forward(seconds=1)
    (found,) = reconciler(searching).run(one_in=0)
    assert found == Coverage(SHELF, searching.house.clock(), expected=2, found=2)
    assert found.clean
    assert searching.bodies("tea") == ["tea"]


def test_deleted_documents_are_found_and_put_back(searching: Searching, index: Tampered) -> None:
    ids = searching.load("tea", "coffee", "milk")
    index.delete(SHELF, ids[0])
    (found,) = reconciler(searching).run(one_in=0)
    assert (found.missing, found.strays, found.altered) == (1, 0, 0)
    assert (found.expected, found.found, found.rebuilt_at) == (3, 3, searching.house.clock())
    assert set(index.ids(SHELF)) == in_vault(searching.house)
    assert searching.bodies("tea") == ["tea"]
    assert reconciler(searching).run(one_in=0)[0].clean


def test_documents_that_the_vault_does_not_have_are_found_and_swept_out(searching: Searching, index: Tampered) -> None:
    searching.load("tea", "coffee")
    for number in range(3):
        index.insert(SHELF, stray(number))
    (found,) = reconciler(searching).run(one_in=0)
    assert (found.missing, found.strays, found.altered, found.expected, found.found) == (0, 3, 0, 2, 2)
    assert set(index.ids(SHELF)) == in_vault(searching.house)


def test_a_document_of_another_day_is_a_stray(searching: Searching, index: Tampered) -> None:
    (text_id,) = searching.load("tea")
    index.insert(SHELF, document(TextId(text_id.day - timedelta(days=1), text_id.tag, text_id.version)))
    assert differences(reconciler(searching).run(one_in=0)) == {SHELF: (0, 1, 0)}
    assert set(index.ids(SHELF)) == in_vault(searching.house)


def test_strays_on_a_shelf_without_a_text_are_swept_out(searching: Searching, index: Tampered) -> None:
    index.create([SHELF])
    index.insert(SHELF, stray())
    assert differences(reconciler(searching).run(one_in=0)) == {SHELF: (0, 1, 0)}
    assert set(index.ids(SHELF)) == set()


def test_altered_documents_are_found_by_a_sample_and_made_right(searching: Searching, index: Tampered) -> None:
    tea, _ = searching.load("tea", "coffee")
    altered(index, SHELF, tea)
    assert searching.bodies("tea") == []
    (found,) = reconciler(searching).run(one_in=0)
    assert (found.missing, found.strays, found.altered) == (0, 0, 1)
    assert searching.bodies("tea") == ["tea"]


def test_altered_documents_beyond_the_sample_are_made_right_when_their_shelf_is_made_anew(
    searching: Searching, index: Tampered
) -> None:
    ids = searching.load(*(f"tea {number}" for number in range(10 * SAMPLE)))
    altered(index, SHELF, ids[3])
    assert searching.bodies('"tea 3" OR "tea 4"') == ["tea 4"]
    (found,) = reconciler(searching).run(one_in=1)
    assert found.rebuilt_at == searching.house.clock()
    assert sorted(searching.bodies('"tea 3" OR "tea 4"')) == ["tea 3", "tea 4"]


def test_a_text_that_was_rewritten_is_no_alteration(searching: Searching) -> None:
    searching.take(event(1, body="one"), event(2, body="tea"))
    searching.follow()
    searching.take(event(1, body="two"))
    assert differences(reconciler(searching).run(one_in=0)) == {}, "the later version is not indexed yet"
    searching.follow()
    assert differences(reconciler(searching).run(one_in=0)) == {}


def test_an_earlier_version_that_is_put_back_is_known_to_be_rewritten(searching: Searching, index: Tampered) -> None:
    (first,) = searching.take(event(1, body="one")).items
    searching.follow()
    searching.take(event(1, body="two"))
    searching.follow()
    index.delete(SHELF, TextId.parse(str(first.text_id)))
    assert differences(reconciler(searching).run(one_in=0)) == {SHELF: (1, 0, 0)}
    searching.follow()
    assert sorted(searching.bodies("flag:rewritten")) == ["one", "two"]


def test_texts_of_one_moment_that_look_alike_are_no_alteration(
    searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkeep.search.comparing.SAME_MOMENT", 2)
    searching.take(*(event(number, body="tea") for number in range(7)))
    searching.follow()
    assert differences(reconciler(searching).run(one_in=0)) == {}


def test_an_index_that_is_gone_is_given_to_the_followers_again(searching: Searching, index: Tampered) -> None:
    searching.load("tea", "coffee")
    index.drop(SHELF)
    assert differences(reconciler(searching).run(one_in=0)) == {SHELF: (2, 0, 0)}
    assert searching.follow() == 2
    assert searching.bodies("tea") == ["tea"]
    assert differences(reconciler(searching).run(one_in=0)) == {}


class Asked(Wrapped):
    """An index that lets something happen before and after it tells its ids."""

    before: Callable[[], object] = staticmethod(lambda: None)
    after: Callable[[], object] = staticmethod(lambda: None)

    def ids(self, shelf: str) -> Iterator[TextId]:
        self.before()
        found = set(self.index.ids(shelf))
        self.after()
        return iter(found)


def test_what_is_taken_while_it_looks_is_neither_missing_nor_a_stray(house: House, index: Tampered) -> None:
    asked = Asked(index)
    searching = Searching.build(house, asked)
    searching.load("tea")

    def more(body: str) -> None:
        searching.load(body, body)
        searching.take(event(1000 + next(searching.numbers), body="unindexed"))

    asked.before, asked.after = lambda: more("before"), lambda: more("after")
    (found,) = reconciler(searching).run(one_in=0)
    assert found.clean
    assert found.rebuilt_at is None


def test_a_difference_that_is_gone_at_the_second_look_is_none(house: House, index: Tampered) -> None:
    class Once(Wrapped):
        told = False

        def ids(self, shelf: str) -> Iterator[TextId]:
            first, self.told = not self.told, True
            return iter(()) if first else self.index.ids(shelf)

    searching = Searching.build(house, Once(index))
    searching.load("tea")
    (found,) = reconciler(searching).run(one_in=0)
    assert found.clean
    assert found.rebuilt_at is None


@pytest.mark.parametrize("state", ["shredded", "reported"])
def test_what_somebody_brought_back_of_a_purged_shelf_is_dropped(
    searching: Searching, index: Tampered, state: str
) -> None:
    searching.load("tea")
    index.create([OTHER])
    index.insert(OTHER, stray(shelf=OTHER))
    with searching.house.store.transaction() as connection:
        connection.execute(update(shelves).where(shelves.c.name == OTHER).values(state=state))
    assert differences(reconciler(searching).run(one_in=0)) == {OTHER: (0, 1, 0)}
    assert not index.exists(OTHER)
    assert differences(reconciler(searching).run(one_in=0)) == {}


def test_an_index_of_a_shelf_that_nobody_knows_is_dropped(searching: Searching, index: Tampered) -> None:
    index.create(["2020-01-01"])
    index.insert("2020-01-01", stray(shelf="2020-01-01"))
    assert differences(reconciler(searching).run()) == {"2020-01-01": (0, 1, 0)}
    assert index.shelves() == set()


def test_a_shelf_whose_purge_has_begun_is_left_to_its_purge(searching: Searching, index: Tampered) -> None:
    (text_id,) = searching.load("tea")
    index.delete(SHELF, text_id)
    with searching.house.store.transaction() as connection:
        searching.house.shelves.set_state(connection, SHELF, "intent")
    assert reconciler(searching).run() == []
    assert set(index.ids(SHELF)) == set()
    assert index.exists(SHELF)


def test_shelves_are_made_anew_in_turn_the_one_of_longest_ago_first(searching: Searching) -> None:
    days = ["2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19"]
    searching.take(*(event(at, sent_at=f"{day}T10:00:00Z") for at, day in enumerate(days)))
    searching.follow()
    turns = []
    for _ in range(3):
        searching.house.clock.forward(hours=1)
        found = reconciler(searching).run(one_in=3)
        turns.append([each.shelf for each in found if each.rebuilt_at == searching.house.clock()])
    assert turns == [days[:2], days[2:], days[:2]]


def test_what_was_found_is_published_until_the_shelf_is_purged(searching: Searching, index: Tampered) -> None:
    first, _ = searching.load("tea", "coffee")
    searching.load("tea", sent_at=f"{OTHER}T10:00:00Z")
    index.delete(SHELF, first)
    running = reconciler(searching)
    found = running.run(one_in=0)
    assert running.coverage() == sorted(found, key=lambda each: each.shelf)
    assert [each.shelf for each in running.coverage()] == [OTHER, SHELF]
    with searching.house.store.transaction() as connection:
        searching.house.shelves.set_state(connection, SHELF, "reported")
    index.drop(SHELF)
    running.run(one_in=0)
    assert [each.shelf for each in running.coverage()] == [OTHER]


def test_one_run_at_a_time(house: House, index: Tampered) -> None:
    asked = Asked(index)
    searching = Searching.build(house, asked)
    searching.load("tea")
    second: list[list[Coverage]] = []

    def again() -> None:
        if not second:
            second.append([])
            second.append(reconciler(searching).run())

    asked.before = again
    assert len(reconciler(searching).run()) == 1
    assert second[1] == []
    assert len(reconciler(searching).run()) == 1, "and the next one after that"


def test_documents_that_are_no_documents_of_ours_are_swept_out(searching: Searching, index: Tampered) -> None:
    searching.load("tea")
    index.insert_nonsense(SHELF)
    (found,) = reconciler(searching).run(one_in=0)
    assert not found.clean
    assert found.found == found.expected == 1
    assert set(index.ids(SHELF)) == in_vault(searching.house)
    assert searching.bodies("tea") == ["tea"]


class Broken(Wrapped):
    """An index of which some shelves do not answer until they are made anew."""

    def __init__(self, index: IndexDriver, *broken: str) -> None:
        super().__init__(index)
        self.broken = set(broken)

    def ids(self, shelf: str) -> Iterator[TextId]:
        self._answers(shelf)
        return self.index.ids(shelf)

    def slices(self, shelf: str) -> set[int]:
        self._answers(shelf)
        return self.index.slices(shelf)

    def _answers(self, shelf: str) -> None:
        if shelf in self.broken:
            raise Outage("the index of a day does not answer")

    def replace(self, shelf: str, additions: Iterable[Addition]) -> None:
        self.index.replace(shelf, additions)
        self.broken.discard(shelf)


def test_an_index_that_alone_does_not_answer_twice_is_made_anew(house: House, index: Tampered) -> None:
    searching = Searching.build(house, Broken(index, SHELF))
    searching.load("tea")
    searching.load("coffee", sent_at=f"{OTHER}T10:00:00Z")
    heard: list[str] = []
    running = reconciler(searching, lambda error: heard.append(error.problem))
    assert [each.shelf for each in running.run(one_in=0)] == [OTHER]
    assert heard == ["outage"]
    assert [each.rebuilt_at for each in running.run(one_in=0)] == [None, house.clock()]
    assert running.run(one_in=0)[1].clean


def test_where_no_index_answers_the_run_ends(house: House, index: Tampered) -> None:
    days = [f"2026-11-{day}" for day in range(10, 20)]
    searching = Searching.build(house, Broken(index, *days))
    searching.take(*(event(at, sent_at=f"{day}T10:00:00Z") for at, day in enumerate(days)))
    searching.follow()
    running = reconciler(searching)
    for _ in range(3):
        with pytest.raises(Outage):
            running.run()


def test_a_text_that_does_not_open_is_left_out_and_its_slice_stays_unindexed(
    searching: Searching, index: Tampered
) -> None:
    searching.load("tea")
    (bad,) = searching.load("coffee")
    with searching.house.behind.transaction() as connection:
        table = texts_of(SHELF)
        connection.execute(update(table).where(table.c.tag == bad.tag).values(sealed=b"\x01" + bytes(60)))
    index.delete(SHELF, bad)
    (found,) = reconciler(searching).run(one_in=0)
    assert (found.missing, found.found) == (1, 1)
    assert searching.follow() == 0
    assert reconciler(searching).run(one_in=0)[0].clean
    assert searching.house.vault.oldest_unindexed() is not None


def test_a_run_that_is_interrupted_ends_after_the_shelf_it_is_at(searching: Searching) -> None:
    searching.load("tea")
    running = reconciler(searching)
    running.interrupt()
    assert running.run() == []
