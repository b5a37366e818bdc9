"""Compacting: the index of a day that is over lies in one piece, and what is found stays the same."""

import json
import threading
from collections.abc import Iterator

import pytest

from tests.housing import House
from tests.search.drivers import opensearch as opened
from tests.search.indexed import EVERYTHING, SHELF, document, found, text_id, token, wanted
from tests.search.misbehaving import answering, misbehaving
from tests.search.strangers import Stranger
from tests.search.wrapping import Wrapped
from textkeep.archive.shelf import Day
from textkeep.errors import Outage, TextkeepError
from textkeep.search.compacting import FAILURES, OVER, Compacting
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.search.drivers.opensearch import OpenSearchIndex
from textkeep.search.index import Addition, IndexDriver

PIECES = 6
ALL = [text_id(number) for number in reversed(range(PIECES))]


@pytest.fixture(params=["opensearch", "opensearch_three"])
def url(request: pytest.FixtureRequest) -> str:
    there: str = request.getfixturevalue(request.param)
    return there


@pytest.fixture
def index(url: str) -> Iterator[OpenSearchIndex]:
    with opened(url) as driver:
        yield driver


@pytest.fixture
def there(url: str) -> Stranger:
    return Stranger(url)


def in_pieces(index: IndexDriver, there: Stranger) -> None:
    """An index, with all of its copies, to which a little was added several times."""
    index.create([SHELF])
    health = there.client.cluster.health(index=there.alias(SHELF), wait_for_status="green", request_timeout=60)
    assert not health["timed_out"]
    for number in range(PIECES):
        index.add([Addition(SHELF, number, [document(number, token("any"), token(f"w{number}"))])])


def test_an_index_in_pieces_becomes_one_and_everything_is_found_as_before(
    index: OpenSearchIndex, there: Stranger
) -> None:
    in_pieces(index, there)
    assert min(there.segments(SHELF)) > 1
    assert index.compact(SHELF, threading.Event())
    assert set(there.segments(SHELF)) == {1}
    assert found(index, EVERYTHING) == ALL
    assert [found(index, wanted(f"w{number}")) for number in range(PIECES)] == [[text_id(n)] for n in range(PIECES)]
    assert index.slices(SHELF) == set(range(PIECES))
    assert not index.compact(SHELF, threading.Event()), "there is nothing left to do"


def test_what_comes_later_is_found_and_left_in_its_own_piece_while_it_is_little(
    index: OpenSearchIndex, there: Stranger
) -> None:
    in_pieces(index, there)
    index.add([Addition(SHELF, 70, [document(number) for number in range(100, 120)])])
    assert index.compact(SHELF, threading.Event())
    assert set(there.segments(SHELF)) == {1}
    index.add([Addition(SHELF, 71, [document(7)])])
    assert not index.compact(SHELF, threading.Event())
    assert set(there.segments(SHELF)) == {2}
    assert text_id(7) in found(index, EVERYTHING)
    index.add([Addition(SHELF, 72, [document(number) for number in range(200, 220)])])
    assert index.compact(SHELF, threading.Event())
    assert set(there.segments(SHELF)) == {1}


def test_one_that_was_interrupted_is_finished_by_the_next(index: OpenSearchIndex, there: Stranger) -> None:
    in_pieces(index, there)
    leaving = threading.Event()
    leaving.set()
    index.compact(SHELF, leaving)
    assert found(index, EVERYTHING) == ALL
    while index.compact(SHELF, threading.Event()):
        pass
    assert set(there.segments(SHELF)) == {1}
    assert found(index, EVERYTHING) == ALL


def test_a_merge_that_fails_is_told_and_nothing_is_lost(opensearch: str, stranger: Stranger) -> None:
    failed = {"completed": True, "error": {"type": "illegal_state_exception", "reason": "no"}}
    with misbehaving(opensearch) as between:
        index = OpenSearchIndex.open(between.url)
        in_pieces(index, stranger)
        between.next("/_tasks/", lambda _: (200, json.dumps(failed).encode()))
        with pytest.raises(Outage):
            index.compact(SHELF, threading.Event())
        between.next("/_tasks/", answering(404, {"type": "resource_not_found_exception", "reason": "gone"}))
        index.compact(SHELF, threading.Event())
        assert found(index, EVERYTHING) == ALL
        index.drop(SHELF)
        index.close()


class Broken(Wrapped):
    """An index of which some shelves do not answer; it keeps what it was asked to compact."""

    def __init__(self, index: IndexDriver, *broken: str) -> None:
        super().__init__(index)
        self.broken = broken
        self.asked: list[str] = []

    def compact(self, shelf: str, leaving: threading.Event) -> bool:
        self.asked.append(shelf)
        if shelf in self.broken:
            raise Outage("the index of a day does not answer")
        super().compact(shelf, leaving)
        return True


def compacting(house: House, index: IndexDriver, heard: list[TextkeepError] | None = None) -> Compacting:
    return Compacting(house.store, house.shelves, index, house.clock, failed=([] if heard is None else heard).append)


def test_days_are_compacted_once_they_are_over(house: House) -> None:
    index = Broken(EmbeddedIndex.open(None))
    over = Day.of(house.clock() - OVER).plus(-1)
    index.create([over.plus(days).shelf for days in range(-1, 3)])
    assert compacting(house, index).run() == [over.plus(-1).shelf, over.shelf]
    house.clock.forward(hours=24)
    assert compacting(house, index).run() == [over.plus(days).shelf for days in (-1, 0, 1)]


def test_a_shelf_that_does_not_answer_stands_in_no_others_way(house: House) -> None:
    days = [Day.of(house.clock()).plus(-number).shelf for number in range(10, 2, -1)]
    index = Broken(EmbeddedIndex.open(None), *days[: FAILURES - 1])
    index.create(days)
    heard: list[TextkeepError] = []
    assert compacting(house, index, heard).run() == days[FAILURES - 1 :]
    assert [each.problem for each in heard] == ["outage"] * (FAILURES - 1)
    index.broken = tuple(days)
    index.asked.clear()
    with pytest.raises(Outage):
        compacting(house, index).run()
    assert len([each for each in index.asked if each in days]) == FAILURES


def test_a_run_that_is_interrupted_begins_no_further_shelf(house: House) -> None:
    index = Broken(EmbeddedIndex.open(None))
    running = compacting(house, index)
    running.interrupt()
    assert running.run() == []
    assert index.asked == []


def test_a_shelf_without_an_index_is_no_failure(house: House) -> None:
    index = Broken(EmbeddedIndex.open(None))
    heard: list[TextkeepError] = []
    assert compacting(house, index, heard).run() == []
    assert len(index.asked) > 300
    assert heard == []
