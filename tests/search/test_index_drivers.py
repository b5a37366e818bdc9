"""What every index driver promises. A further driver joins by one more line in `BUILD`."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textkeep.archive.text import TextId
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.search.index import (
    Addition,
    AllOf,
    AnyOf,
    Document,
    Everything,
    Hit,
    IndexDriver,
    NoIndex,
    Plan,
    Term,
    Window,
)

DAY = date(2026, 11, 20)
SHELF = DAY.isoformat()
START = round(datetime(2026, 11, 20, tzinfo=UTC).timestamp() * 1000)
EVERYTHING = Everything()

BUILD: dict[str, Callable[[Path], IndexDriver]] = {
    "embedded file": lambda folder: EmbeddedIndex.open(folder),
    "embedded memory": lambda _folder: EmbeddedIndex.open(None),
}


@pytest.fixture(params=BUILD)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexDriver]:
    opened = BUILD[request.param](tmp_path / "index")
    yield opened
    opened.close()


def text_id(number: int, version: int = 1, day: date = DAY) -> TextId:
    return TextId(day, (number * 0x9E3779B97F4A7C15 % (1 << 128)).to_bytes(16, "big"), version)


def document(number: int, *terms: str, at: int | None = None) -> Document:
    return Document(text_id(number), START + (number if at is None else at), 1, terms or (token("any"),))


def token(word: str) -> str:
    return word.encode().hex().ljust(16, "0")[:16]


def wanted(word: str) -> Term:
    return Term(token(word))


def found(index: IndexDriver, plan: Plan, window: Window | None = None, shelf: str = SHELF) -> list[TextId]:
    return [hit.id for hit in index.query(shelf, plan, window or Window(1000))]


def test_a_document_is_found_by_each_of_its_terms(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1, token("tea"), "direction:inbound"), document(2, token("coffee"))])])
    assert found(index, wanted("tea")) == [text_id(1)]
    assert found(index, Term("direction:inbound", keyed=False)) == [text_id(1)]
    assert found(index, wanted("milk")) == []
    assert index.ids(SHELF) == {text_id(1), text_id(2)}


def test_plans_combine(index: IndexDriver) -> None:
    index.create([SHELF])
    documents = [
        document(1, token("a"), token("b")),
        document(2, token("a"), token("c")),
        document(3, token("b"), token("c")),
        document(4, token("d")),
    ]
    index.add([Addition(SHELF, 1, documents)])
    a, b, c = wanted("a"), wanted("b"), wanted("c")
    assert found(index, AllOf((a, b))) == [text_id(1)]
    assert found(index, AnyOf((a, b))) == [text_id(3), text_id(2), text_id(1)]
    assert found(index, AllOf((c, AnyOf((a, b))))) == [text_id(3), text_id(2)]
    assert found(index, AnyOf((AllOf((a, b)), wanted("d")))) == [text_id(4), text_id(1)]
    assert found(index, AnyOf(())) == []
    assert found(index, AllOf((a, AnyOf(())))) == []
    assert found(index, AnyOf((a, AnyOf(())))) == [text_id(2), text_id(1)]
    assert found(index, EVERYTHING) == [text_id(4), text_id(3), text_id(2), text_id(1)]


def test_a_plan_may_have_very_many_terms(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(number, token(f"w{number}"), token("all")) for number in range(2000)])])
    many = tuple(wanted(f"w{number}") for number in range(2000))
    assert len(found(index, AnyOf(many), Window(5000))) == 2000
    assert found(index, AllOf((*many[:500], wanted("all")))) == []


def test_hits_carry_the_moment_they_were_sent(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1, at=0), document(2, at=86_399_999)])])
    assert index.query(SHELF, EVERYTHING, Window(9)) == [Hit(START + 86_399_999, text_id(2)), Hit(START, text_id(1))]


def test_a_window_bounds_time_and_number(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(number) for number in range(10)])])
    assert found(index, EVERYTHING, Window(3)) == [text_id(9), text_id(8), text_id(7)]
    assert found(index, EVERYTHING, Window(3, oldest_first=True)) == [text_id(0), text_id(1), text_id(2)]
    assert found(index, EVERYTHING, Window(9, start=START + 4, until=START + 6)) == [text_id(5), text_id(4)]
    assert found(index, wanted("any"), Window(9, start=START + 10)) == []
    assert found(index, EVERYTHING, Window(0)) == []
    assert len(found(index, EVERYTHING, Window(99, start=-(10**15), until=10**15))) == 10
    assert found(index, EVERYTHING, Window(99, start=10**15)) == []
    assert found(index, EVERYTHING, Window(99, until=-(10**15))) == []


moments = st.lists(st.integers(0, 4), min_size=1, max_size=40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moments, st.integers(1, 7), st.booleans(), st.integers(1, 5))
def test_pages_put_together_are_everything_in_order(
    index: IndexDriver, at: list[int], limit: int, oldest_first: bool, batches: int
) -> None:
    index.drop(SHELF)
    index.create([SHELF])
    documents = [document(number, at=moment) for number, moment in enumerate(at)]
    for batch in range(batches):
        index.add([Addition(SHELF, batch, documents[batch::batches])])
    expected = sorted((each.at, each.id) for each in documents)
    if not oldest_first:
        expected.reverse()
    for plan in (EVERYTHING, wanted("any")):
        seen: list[Hit] = []
        while page := index.query(
            SHELF, plan, Window(limit, after=seen[-1] if seen else None, oldest_first=oldest_first)
        ):
            assert len(page) <= limit
            seen += page
        assert [(hit.at, hit.id) for hit in seen] == expected


def test_a_window_may_begin_behind_a_place_that_is_not_there(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(number, at=number * 2) for number in range(5)])])
    behind = Hit(START + 5, text_id(77))
    assert found(index, EVERYTHING, Window(9, after=behind)) == [text_id(2), text_id(1), text_id(0)]
    assert found(index, EVERYTHING, Window(9, after=behind, oldest_first=True)) == [text_id(3), text_id(4)]
    yesterday = Hit(START - 1, text_id(77, day=date(2026, 11, 19)))
    assert found(index, EVERYTHING, Window(9, after=yesterday)) == []


def test_versions_of_one_moment_are_all_kept(index: IndexDriver) -> None:
    index.create([SHELF])
    versions = [Document(text_id(1, version), START, 1, [token("any")]) for version in range(1, 90)]
    index.add([Addition(SHELF, 1, versions[:40])])
    index.add([Addition(SHELF, 2, versions[40:])])
    assert found(index, EVERYTHING) == [each.id for each in reversed(versions)]


def test_a_slice_is_added_once(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 7, [document(1)])])
    index.add([Addition(SHELF, 7, [document(1), document(2)]), Addition(SHELF, 8, [document(3)])])
    assert index.ids(SHELF) == {text_id(1), text_id(3)}
    assert index.slices(SHELF) == {7, 8}


def test_an_id_that_is_added_again_has_the_terms_of_both(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1, token("tea"), token("one"))])])
    index.add([Addition(SHELF, 2, [document(1, token("tea"), token("two"), "flag:rewritten")])])
    index.add([Addition(SHELF, 3, [document(2, token("x")), document(2, token("y"))])])
    one, flag = wanted("one"), Term("flag:rewritten", keyed=False)
    for plan in (one, flag, wanted("tea"), AllOf((one, flag)), AllOf((one, wanted("two"), flag))):
        assert found(index, plan) == [text_id(1)]
    assert found(index, AllOf((wanted("x"), wanted("y")))) == [text_id(2)]
    assert found(index, EVERYTHING) == [text_id(2), text_id(1)]


def test_shelves_are_apart(index: IndexDriver) -> None:
    other = "2026-11-21"
    index.create([SHELF, other])
    later = Document(text_id(1, day=date(2026, 11, 21)), START + 86_400_000, 1, [token("tea")])
    index.add([Addition(SHELF, 1, [document(1, token("tea"))]), Addition(other, 1, [later])])
    assert found(index, wanted("tea")) == [text_id(1)]
    assert found(index, wanted("tea"), shelf=other) == [later.id]
    index.drop(SHELF)
    assert found(index, wanted("tea"), shelf=other) == [later.id]
    assert index.slices(other) == {1}


def test_a_shelf_of_many_days_keeps_their_order(index: IndexDriver) -> None:
    shelf = "kept-0011223344556677-3"
    index.create([shelf])
    days = [DAY - timedelta(days=each) for each in range(0, 900, 100)]
    documents = [
        Document(text_id(1, day=day), START - 86_400_000 * (DAY - day).days, 1, [token("tea")]) for day in days
    ]
    index.add([Addition(shelf, 1, documents)])
    assert found(index, wanted("tea"), shelf=shelf) == [each.id for each in documents]


def test_nothing_is_added_to_a_shelf_without_an_index(index: IndexDriver) -> None:
    index.create([SHELF])
    with pytest.raises(NoIndex):
        index.add([Addition(SHELF, 1, [document(1)]), Addition("2026-11-21", 2, [])])
    assert index.ids(SHELF) == set()
    assert index.slices(SHELF) == set()
    index.drop(SHELF)
    with pytest.raises(NoIndex):
        index.add([Addition(SHELF, 1, [document(1)])])
    assert not index.exists(SHELF)


def test_a_shelf_without_an_index_answers_nothing(index: IndexDriver) -> None:
    for ask in (
        lambda: index.query(SHELF, EVERYTHING, Window(1)),
        lambda: index.query(SHELF, wanted("tea"), Window(1)),
        lambda: index.ids(SHELF),
        lambda: index.slices(SHELF),
        lambda: index.replace(SHELF, []),
    ):
        with pytest.raises(NoIndex):
            ask()


def test_creating_twice_loses_nothing(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1)])])
    index.create([SHELF, "2026-11-21"])
    assert index.ids(SHELF) == {text_id(1)}
    assert index.exists("2026-11-21")


def test_dropping_leaves_nothing_and_may_be_done_again(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1)])])
    index.drop(SHELF)
    index.drop(SHELF)
    assert not index.exists(SHELF)
    index.create([SHELF])
    assert index.ids(SHELF) == set()
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
    assert index.ids(SHELF) == {text_id(2)}


def test_queries_and_additions_at_once_see_whole_additions(index: IndexDriver) -> None:
    index.create([SHELF])
    failed: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            count = len(found(index, wanted("any"), Window(5_000)))
            if count % 50:
                failed.append(f"{count} documents")

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for batch in range(20):
        index.add([Addition(SHELF, batch, [document(batch * 50 + number) for number in range(50)])])
    done.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(index.ids(SHELF)) == 1000


def test_what_was_added_is_there_after_a_restart(tmp_path: Path) -> None:
    index = EmbeddedIndex.open(tmp_path)
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1, token("tea"))])])
    index.close()
    again = EmbeddedIndex.open(tmp_path)
    assert found(again, wanted("tea")) == [text_id(1)]
    assert again.slices(SHELF) == {1}
    again.close()


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
