"""A follower, or a rebuild, whose transaction the database has ended: a day that was purged since does not come back.

The database ends one where the connection is cut, the server starts again, or the process was stopped for too long.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from tests.housing import House, event
from tests.search.followed import SHELF, ids, text_ids
from tests.search.indexes import Tampered
from tests.search.searching import Searching
from tests.search.wrapping import Wrapped
from textkeep.errors import Outage
from textkeep.search.index import Addition, IndexDriver

pytestmark = pytest.mark.parametrize(
    ("house", "index"), [("postgresql", "embedded"), ("postgresql", "opensearch")], indirect=True
)

_END = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND state = 'idle in transaction' AND pid <> pg_backend_pid()"
)


def end_transactions(house: House) -> None:
    with house.behind.transaction() as connection:
        assert list(connection.scalars(_END)) == [True], "one writer waits for the index, inside its transaction"


def purge(house: House, index: IndexDriver) -> None:
    """What a purge does to the database and the index; it waits for whoever keeps the shelf open."""
    with house.behind.transaction() as connection:
        assert house.shelves.lock(connection, [SHELF], exclusive=True) == {SHELF: "open"}
        house.shelves.set_state(connection, SHELF, "shredded")
    index.drop(SHELF)
    assert not index.exists(SHELF)


class Slow(Wrapped):
    """An index that lets something happen once before it creates, adds, or has read what it is made anew from."""

    def __init__(self, index: IndexDriver, when: str, happens: Callable[[], object]) -> None:
        super().__init__(index)
        self._when = when
        self._happens: list[Callable[[], object]] = [happens]

    def create(self, shelves: Collection[str]) -> None:
        self._now("create")
        super().create(shelves)

    def add(self, additions: Sequence[Addition]) -> None:
        self._now("add")
        super().add(additions)

    def replace(self, shelf: str, additions: Iterable[Addition]) -> None:
        self._now("replace")
        super().replace(shelf, self._through(additions))

    def _through(self, additions: Iterable[Addition]) -> Iterator[Addition]:
        for number, each in enumerate(additions):
            yield each
            if number == 1:  # the second one was added since, and is given by whoever keeps the others out
                self._now("filled")

    def _now(self, when: str) -> None:
        if when == self._when:
            while self._happens:
                in_a_thread(self._happens.pop())


def in_a_thread(work: Callable[[], object]) -> None:
    """Do it as another process would: outside this thread's transaction."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("when", ["add", "create"])
def test_a_follower_that_was_away_does_not_bring_a_purged_day_back(
    house: House, index: Tampered, when: str, *, there: bool
) -> None:
    def away() -> None:
        end_transactions(house)
        purge(house, index)

    searching = Searching.build(house, index)
    if there and when == "add":  # where there is an index, none is created
        searching.load("coffee")
    searching.take(event(99, body="tea"))
    with pytest.raises(Outage):
        Searching.build(house, Slow(index, when, away)).follower.step()
    assert not index.exists(SHELF)
    assert searching.follower.step() == 0
    assert not index.exists(SHELF)


def test_a_follower_that_was_away_does_its_work_again_where_nothing_was_purged(house: House, index: Tampered) -> None:
    searching = Searching.build(house, Slow(index, "add", lambda: end_transactions(house)))
    receipt = searching.take(event(1, body="tea"))
    with pytest.raises(Outage):
        searching.follower.step()
    assert searching.follow() == 1
    assert ids(searching) == text_ids(receipt)
    assert searching.bodies("tea") == ["tea"]


def test_a_rebuild_that_was_away_does_not_bring_a_purged_day_back(house: House, index: Tampered) -> None:
    def away() -> None:
        end_transactions(house)
        purge(house, index)

    searching = Searching.build(house, index)
    searching.load("tea")
    with pytest.raises(Outage):
        Searching.build(house, Slow(index, "create", away)).follower.rebuild(SHELF)
    assert not index.exists(SHELF)


def test_an_index_is_not_swapped_by_a_rebuild_that_no_longer_keeps_the_others_out(
    house: House, index: Tampered
) -> None:
    searching = Searching.build(house, index)
    first = searching.take(event(1, body="tea"))
    searching.follow()
    later = []

    def follow() -> None:
        later.append(searching.take(event(2, body="coffee")))
        assert searching.follow() == 1

    def away() -> None:
        end_transactions(house)
        later.append(searching.take(event(3, body="milk")))
        assert searching.follow() == 1, "nobody keeps it from adding to the old index"

    rebuilding = Meanwhile(Slow(index, "filled", away), follow)
    with pytest.raises(Outage):
        Searching.build(house, rebuilding).follower.rebuild(SHELF)
    assert len(later) == 2
    assert ids(searching) == text_ids(first, *later)
    assert sorted(searching.bodies("tea OR coffee OR milk")) == ["coffee", "milk", "tea"]


class Meanwhile(Wrapped):
    """An index to whose rebuild something happens when the first slice was read."""

    def __init__(self, index: IndexDriver, happens: Callable[[], object]) -> None:
        super().__init__(index)
        self._happens = happens

    def replace(self, shelf: str, additions: Iterable[Addition]) -> None:
        super().replace(shelf, self._through(additions))

    def _through(self, additions: Iterable[Addition]) -> Iterator[Addition]:
        for number, each in enumerate(additions):
            yield each
            if number == 0:
                self._happens()
