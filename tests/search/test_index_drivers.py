"""What every index driver keeps to: making, adding, making anew, dropping."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest

from tests.search.drivers import DRIVERS, opened
from tests.search.indexed import EVERYTHING, OTHER, SHELF, START, document, found, text_id, token, wanted
from textkeep.archive.text import TextId
from textkeep.errors import Outage
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.search.index import (
    Addition,
    AllOf,
    Document,
    IndexDriver,
    NoIndex,
    Term,
    Window,
)


@pytest.fixture(params=DRIVERS)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexDriver]:
    with opened(request, request.param, tmp_path / "index") as driver:
        yield driver


def test_adding_a_slice_again_changes_nothing(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 7, [document(1), document(2)])])
    index.add([Addition(SHELF, 7, [document(1), document(2)]), Addition(SHELF, 8, [document(3)])])
    assert found(index, EVERYTHING) == [text_id(3), text_id(2), text_id(1)]
    assert found(index, EVERYTHING, Window(2)) == [text_id(3), text_id(2)]
    assert set(index.ids(SHELF)) == {text_id(1), text_id(2), text_id(3)}
    assert index.slices(SHELF) == {7, 8}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=["in order", "the other way round"])
def test_an_id_that_is_added_again_is_found_by_what_any_slice_says_of_it(
    index: IndexDriver, order: tuple[int, ...]
) -> None:
    additions = [
        Addition(SHELF, 1, [document(1, token("tea"))]),
        Addition(SHELF, 2, [document(1, token("tea"), "flag:rewritten"), document(3)]),
        Addition(SHELF, 3, [document(1, token("tea"), "flag:rewritten"), document(2, token("x")), document(4)]),
    ]
    index.create([SHELF])
    for each in order:
        index.add([additions[each]])
    flag = Term("flag:rewritten", keyed=False)
    for plan in (flag, wanted("tea"), AllOf((wanted("tea"), flag))):
        assert found(index, plan) == [text_id(1)]
    assert found(index, EVERYTHING) == [text_id(4), text_id(3), text_id(2), text_id(1)]
    assert found(index, EVERYTHING, Window(2, oldest_first=True)) == [text_id(1), text_id(2)]
    assert set(index.ids(SHELF)) == {text_id(number) for number in (1, 2, 3, 4)}


def test_a_limit_counts_texts_however_often_they_were_added(index: IndexDriver) -> None:
    index.create([SHELF])
    for number in range(8):
        index.add([Addition(SHELF, number, [document(1), document(2), document(3)])])
    index.add([Addition(SHELF, 9, [document(4)])])
    assert [found(index, EVERYTHING, Window(limit)) for limit in (1, 2, 3, 4, 9)] == [
        [text_id(number) for number in (4, 3, 2, 1)[:limit]] for limit in (1, 2, 3, 4, 9)
    ]


def test_an_id_that_a_slice_says_twice_has_the_terms_of_both(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 3, [document(2, token("x")), document(1), document(2, token("y"))])])
    assert found(index, AllOf((wanted("x"), wanted("y")))) == [text_id(2)]
    assert found(index, EVERYTHING) == [text_id(2), text_id(1)]


def test_compacting_changes_nothing_that_is_found(index: IndexDriver) -> None:
    index.create([SHELF])
    for number in range(4):
        index.add([Addition(SHELF, number, [document(number), document(0, token("again"))])])
    before = [text_id(number) for number in (3, 2, 1, 0)]
    index.compact(SHELF, threading.Event())
    assert found(index, EVERYTHING) == before
    index.add([Addition(SHELF, 2, [document(2), document(0, token("again"))])])
    index.compact(SHELF, threading.Event())
    assert found(index, EVERYTHING) == before
    assert found(index, wanted("again")) == [text_id(0)]
    assert index.slices(SHELF) == {0, 1, 2, 3}
    index.drop(SHELF)
    assert not index.exists(SHELF)


def test_shelves_are_apart(index: IndexDriver) -> None:
    index.create([SHELF, OTHER])
    later = Document(text_id(1, day=date(2026, 11, 21)), START + 86_400_000, 1, [token("tea")])
    index.add([Addition(SHELF, 1, [document(1, token("tea"))]), Addition(OTHER, 1, [later])])
    assert found(index, wanted("tea")) == [text_id(1)]
    assert found(index, wanted("tea"), shelf=OTHER) == [later.id]
    index.drop(SHELF)
    assert found(index, wanted("tea"), shelf=OTHER) == [later.id]
    assert index.slices(OTHER) == {1}


def test_nothing_is_added_to_a_shelf_without_an_index(index: IndexDriver) -> None:
    index.create([SHELF])
    for missing in (Addition(OTHER, 2, [document(1)]), Addition(OTHER, 2, [])):
        with pytest.raises(NoIndex) as refused:
            index.add([Addition(SHELF, 1, [document(1)]), missing])
        assert refused.value.shelf == OTHER
        assert not index.exists(OTHER)
    index.create([OTHER])
    index.add([Addition(SHELF, 1, [document(1)]), Addition(OTHER, 2, [document(1)])])
    assert set(index.ids(SHELF)) == set(index.ids(OTHER)) == {text_id(1)}
    index.drop(SHELF)
    with pytest.raises(NoIndex):
        index.add([Addition(SHELF, 1, [document(1)])])
    assert not index.exists(SHELF)


def test_a_shelf_without_an_index_answers_nothing(index: IndexDriver) -> None:
    for ask in (
        lambda: index.query([(SHELF, EVERYTHING)], Window(1)),
        lambda: index.query([(SHELF, wanted("tea"))], Window(1)),
        lambda: list(index.ids(SHELF)),
        lambda: index.slices(SHELF),
        lambda: index.replace(SHELF, []),
        lambda: index.compact(SHELF, threading.Event()),
    ):
        with pytest.raises(NoIndex) as refused:
            ask()
        assert refused.value.shelf == SHELF


def test_creating_twice_loses_nothing(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1)])])
    index.create([SHELF, OTHER])
    assert set(index.ids(SHELF)) == {text_id(1)}
    assert index.exists(OTHER)


def test_dropping_leaves_nothing_and_may_be_done_again(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1)])])
    assert index.shelves() == {SHELF}
    index.drop(SHELF)
    index.drop(SHELF)
    assert not index.exists(SHELF)
    assert index.shelves() == set()
    index.create([SHELF])
    assert set(index.ids(SHELF)) == set()
    index.add([Addition(SHELF, 1, [document(2)])])
    assert found(index, wanted("any")) == [text_id(2)]


def test_an_index_that_is_made_anew_holds_only_what_it_was_given(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1, token("old"))])])
    seen: list[list[TextId]] = []

    def additions() -> Iterator[Addition]:
        seen.append(found(index, wanted("old")))
        yield Addition(SHELF, 2, [document(number, token("new")) for number in range(6_000)])
        seen.append(found(index, wanted("old")))
        yield Addition(SHELF, 3, [document(7_000, token("new"))])

    index.replace(SHELF, additions())
    assert seen == [[text_id(1)], [text_id(1)]], "the old index answers until the new one is whole"
    assert found(index, wanted("old")) == []
    assert len(found(index, wanted("new"), Window(9_000))) == 6_001
    assert index.slices(SHELF) == {2, 3}


def test_a_shelf_that_is_dropped_while_it_is_made_anew_stays_dropped(index: IndexDriver) -> None:
    index.create([SHELF])

    def additions() -> Iterator[Addition]:
        yield Addition(SHELF, 1, [document(number) for number in range(6_000)])
        index.drop(SHELF)
        yield Addition(SHELF, 2, [document(7_000)])

    with pytest.raises(NoIndex):
        index.replace(SHELF, additions())
    assert not index.exists(SHELF)


def test_making_anew_that_fails_leaves_the_old_index(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1, token("old"))])])

    def additions() -> Iterator[Addition]:
        yield Addition(SHELF, 2, [document(number) for number in range(6_000)])
        raise ValueError("the vault did not open")

    with pytest.raises(ValueError, match="did not open"):
        index.replace(SHELF, additions())
    assert found(index, wanted("old")) == [text_id(1)]
    index.replace(SHELF, [Addition(SHELF, 3, [document(2)])])
    assert set(index.ids(SHELF)) == {text_id(2)}


def test_several_writers_at_once_find_what_each_of_them_added(index: IndexDriver) -> None:
    index.create([SHELF, OTHER])
    failed: list[object] = []

    def write(writer: int) -> None:
        try:
            for batch in range(5):
                number = writer * 100 + batch
                documents = [document(number, token(f"w{number}"), token("any"))]
                index.create([SHELF, OTHER])
                index.add([Addition(SHELF, number, documents), Addition(OTHER, number, documents)])
                for shelf in (SHELF, OTHER):
                    if found(index, wanted(f"w{number}"), shelf=shelf) != [text_id(number)]:
                        failed.append(number)
        except Exception as exc:  # noqa: BLE001 - the test fails with whatever it was
            failed.append(exc)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(set(index.ids(SHELF))) == len(index.slices(OTHER)) == 20


def test_what_was_added_is_there_after_a_restart(tmp_path: Path) -> None:
    index = EmbeddedIndex.open(tmp_path)
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1, token("tea"))])])
    index.close()
    again = EmbeddedIndex.open(tmp_path)
    assert found(again, wanted("tea")) == [text_id(1)]
    assert again.slices(SHELF) == {1}
    again.close()


def test_whoever_asks_while_a_shelf_is_made_and_dropped_learns_that_it_has_no_index(tmp_path: Path) -> None:
    """SQLite tells it in three ways, by when in the reading of a table's layout the table goes."""
    index = EmbeddedIndex.open(tmp_path / "index")
    over = threading.Event()

    def ask() -> list[list[TextId]]:
        told = []
        while not over.is_set():
            with suppress(NoIndex):
                told.append(found(index, wanted("tea")))
                list(index.ids(SHELF))
                index.slices(SHELF)
        return told

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        try:
            for _ in range(150):
                index.create([SHELF])
                index.add([Addition(SHELF, 7, [document(1, token("tea"))])])
                with suppress(Outage):  # whoever asks may be in the way of emptying the log
                    index.drop(SHELF)
        finally:
            over.set()
        answers = [answer for each in asking for answer in each.result()]
    index.close()
    assert [answer for answer in answers if answer not in ([], [text_id(1)])] == []
    assert [text_id(1)] in answers


def test_no_byte_of_a_dropped_shelf_is_left_in_the_embedded_index(tmp_path: Path) -> None:
    index = EmbeddedIndex.open(tmp_path)
    index.create([SHELF, "2026-11-21"])
    documents = [document(number, token(f"w{number}")) for number in range(1, 201)]
    index.add([Addition(SHELF, 1, documents)])
    canaries = [*(each.id.tag for each in documents), *(token(f"w{number}").encode() for number in range(1, 201))]
    assert sum(canary in content(tmp_path) for canary in canaries) > 200, "the canaries must be there to begin with"
    index.drop(SHELF)
    left = content(tmp_path)
    assert [canary for canary in canaries if canary in left] == []
    index.close()
    assert SHELF.replace("-", "_").encode() not in content(tmp_path)


def content(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def test_what_the_embedded_index_cannot_add_as_a_whole_it_does_not_add(tmp_path: Path) -> None:
    index = EmbeddedIndex.open(tmp_path)
    index.create([SHELF])
    with pytest.raises(NoIndex):
        index.add([Addition(SHELF, 1, [document(1)]), Addition(OTHER, 2, [])])
    assert set(index.ids(SHELF)) == set()
    assert index.slices(SHELF) == set()
    index.close()
