"""A shelf's index made anew: nothing is lost with the old one, and a purged day stays purged."""

from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.housing import House, event
from tests.search.followed import SHELF, damage, ids, segments, text_ids
from tests.search.indexes import Tampered
from tests.search.searching import Searching
from tests.search.wrapping import Wrapped
from textkeep.archive.shelf import State
from textkeep.errors import Conflict, NotFound, Outage, TextkeepError
from textkeep.search.index import Addition, IndexDriver

pytestmark = pytest.mark.parametrize(
    ("house", "index"),
    [("sqlite", "embedded"), ("memory", "embedded"), ("postgresql", "embedded"), ("postgresql", "opensearch")],
    indirect=True,
)


@pytest.fixture
def searching(house: House, index: Tampered) -> Searching:
    return Searching.build(house, index)


def test_a_damaged_text_is_left_out_of_a_rebuild_and_its_slice_stays_open(searching: Searching) -> None:
    good, bad = searching.take(event(1, body="tea")), searching.take(event(2, body="tea"))
    searching.follow()
    damage(searching.house, next(iter(text_ids(bad))))
    assert searching.follower.rebuild(SHELF) == 1
    assert ids(searching) == text_ids(good)
    assert searching.house.vault.oldest_unindexed() is not None


def test_a_rebuild_makes_the_same_index_from_the_vault(searching: Searching) -> None:
    searching.take(event(1, body="one tea"), event(1, body="two teas"))
    searching.take(*(event(number, body=f"tea {number}") for number in range(2, 30)))
    searching.follow()
    searching.take(event(99, body="unindexed tea"))
    before = sorted(searching.bodies("tea*"))
    searching.index.drop(SHELF)
    assert searching.follower.rebuild(SHELF) == 31
    assert sorted(searching.bodies("tea*")) == sorted([*before, "unindexed tea"])
    assert len(searching.bodies("flag:rewritten")) == 2
    assert len(segments(searching)) == 1
    assert searching.follower.step() == 0


def test_a_shelf_that_is_not_open_is_not_rebuilt(searching: Searching) -> None:
    with searching.house.store.transaction() as connection:
        searching.house.shelves.set_state(connection, SHELF, "dropped")
    with pytest.raises(NotFound):
        searching.follower.rebuild(SHELF)
    assert not searching.index.exists(SHELF)


def test_a_shelf_whose_purge_begins_while_it_is_rebuilt_keeps_its_old_index_until_it_is_purged(
    house: House, index: Tampered
) -> None:
    during = During(index)
    searching = Searching.build(house, during)
    searching.load("tea")
    during.now(lambda: set_state(house, "intent"))
    with pytest.raises(NotFound):
        searching.follower.rebuild(SHELF)
    assert len(ids(searching)) == 1


def test_a_shelf_that_is_purged_while_it_is_rebuilt_stays_purged(house: House, index: Tampered) -> None:
    during = During(index)
    searching = Searching.build(house, during)
    searching.load("tea")

    def purge() -> None:
        set_state(house, "dropped")
        index.drop(SHELF)

    during.now(purge)
    with pytest.raises(TextkeepError):
        searching.follower.rebuild(SHELF)
    assert not searching.index.exists(SHELF)


def set_state(house: House, state: State) -> None:
    with house.store.transaction() as connection:
        house.shelves.set_state(connection, SHELF, state)


class During(Wrapped):
    """An index during whose rebuild, once everything that was there has been read, something happens."""

    def __init__(self, index: IndexDriver) -> None:
        super().__init__(index)
        self._happens: list[Callable[[], object]] = []

    def now(self, happens: Callable[[], object]) -> None:
        self._happens.append(happens)

    def replace(self, shelf: str, additions: Iterable[Addition]) -> None:
        self.index.replace(shelf, self._interrupted(additions))

    def _interrupted(self, additions: Iterable[Addition]) -> Iterator[Addition]:
        for number, each in enumerate(additions):
            yield each
            if number == 0:
                while self._happens:
                    self._happens.pop()()


def test_what_is_indexed_while_a_shelf_is_rebuilt_is_in_the_new_index_too(house: House, index: Tampered) -> None:
    during = During(index)
    searching = Searching.build(house, during)
    first = searching.take(event(1, body="an old tea"), event(2, body="to be rewritten"))
    searching.follow()
    later = []

    def more() -> None:
        later.append(searching.take(event(2, body="was rewritten"), event(3, body="a new tea")))
        assert searching.follow() == 2
        later.append(searching.take(event(4, body="a tea that waits")))

    during.now(more)
    assert searching.follower.rebuild(SHELF) == 4
    assert ids(searching) == text_ids(first, later[0])
    assert sorted(searching.bodies("tea*")) == ["a new tea", "an old tea"]
    assert sorted(searching.bodies("flag:rewritten")) == ["to be rewritten", "was rewritten"]
    assert searching.follow() == 1
    assert ids(searching) == text_ids(first, *later)
    assert sorted(searching.bodies("te*")) == ["a new tea", "a tea that waits", "an old tea"]


def test_one_shelf_is_rebuilt_by_one_at_a_time(house: House, index: Tampered) -> None:
    during = During(index)
    searching = Searching.build(house, during)
    searching.load("tea")
    refused = []

    def again() -> None:
        with pytest.raises(Conflict) as caught:
            searching.follower.rebuild(SHELF)
        refused.append(caught.value.problem)

    during.now(again)
    assert searching.follower.rebuild(SHELF) == 1
    assert refused == ["conflict"]
    assert searching.follower.rebuild(SHELF) == 1, "and by the next one after that"


def test_a_rebuild_that_is_interrupted_leaves_the_old_index(searching: Searching) -> None:
    searching.load("tea")
    searching.follower.interrupt()
    with pytest.raises(Outage):
        searching.follower.rebuild(SHELF)
    assert searching.bodies("tea") == ["tea"]
