"""What every index driver answers: plans, windows, pages, several shelves at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.search.drivers import DRIVERS, EMBEDDED, OPENSEARCH, opened
from tests.search.indexed import (
    DAY,
    DAY_MS,
    EVERYTHING,
    SHELF,
    START,
    document,
    found,
    hit,
    keyed,
    pages,
    text_id,
    token,
    wanted,
)
from textkeep.search.index import (
    Addition,
    AllOf,
    AnyOf,
    Document,
    Hit,
    IndexDriver,
    NoIndex,
    Plan,
    Term,
    Window,
)


@pytest.fixture(params=DRIVERS)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexDriver]:
    with opened(request, request.param, tmp_path / "index") as driver:
        yield driver


def test_a_document_is_found_by_each_of_its_terms(index: IndexDriver) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1, token("tea"), "direction:inbound"), document(2, token("coffee"))])])
    assert found(index, wanted("tea")) == [text_id(1)]
    assert found(index, Term("direction:inbound", keyed=False)) == [text_id(1)]
    assert found(index, wanted("milk")) == []
    assert set(index.ids(SHELF)) == {text_id(1), text_id(2)}


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
    assert index.query([(SHELF, EVERYTHING)], Window(9)) == [
        Hit(START + 86_399_999, text_id(2)),
        Hit(START, text_id(1)),
    ]


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


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moments, st.integers(1, 7), st.integers(1, 5))
def test_pages_put_together_are_everything_in_order(
    index: IndexDriver, at: list[int], limit: int, batches: int
) -> None:
    index.drop(SHELF)
    index.create([SHELF])
    documents = [document(number, at=moment) for number, moment in enumerate(at)]
    for batch in range(batches):
        index.add([Addition(SHELF, batch, documents[batch::batches])])
    for oldest_first in (False, True):
        expected = sorted(((each.at, each.id) for each in documents), reverse=not oldest_first)
        for plan in (EVERYTHING, wanted("any")):
            assert pages(index, [(SHELF, plan)], Window(limit, oldest_first=oldest_first)) == expected


THREE = [(DAY + timedelta(days=each)).isoformat() for each in range(3)]
WORDS = "abcdef"


@dataclass(frozen=True)
class Drawn:
    """A text that was drawn: on one of three days, with some words, said by one slice or again by a later one."""

    day: int
    at: int
    words: frozenset[str]
    again: frozenset[str]
    slice: int


drawn = st.builds(
    Drawn,
    st.integers(0, 2),
    st.integers(0, 5),
    st.frozensets(st.sampled_from(WORDS)),
    st.frozensets(st.sampled_from(WORDS), max_size=2),
    st.integers(0, 3),
)
shapes: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(WORDS),
    lambda inner: st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, min_size=2, max_size=3)),
    max_leaves=6,
)
windows = st.builds(
    Window,
    st.integers(1, 9),
    start=st.none() | st.integers(0, 5).map(lambda at: START + at),
    until=st.none() | st.integers(0, 5).map(lambda at: START + 2 * DAY_MS + at),
    oldest_first=st.booleans(),
)


texts_drawn = st.lists(drawn, min_size=5, max_size=40)
questions_drawn = st.lists(st.tuples(st.lists(shapes, min_size=3, max_size=3), windows), min_size=15, max_size=15)


@pytest.mark.parametrize("index", EMBEDDED, indirect=True)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts_drawn, questions_drawn)
def test_the_embedded_index_answers_what_the_plans_mean(
    index: IndexDriver, texts: list[Drawn], questions: list[tuple[list[Any], Window]]
) -> None:
    check_answers(index, texts, questions)


@pytest.mark.parametrize("index", OPENSEARCH, indirect=True)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts_drawn, questions_drawn)
def test_opensearch_answers_what_the_plans_mean(
    index: IndexDriver, texts: list[Drawn], questions: list[tuple[list[Any], Window]]
) -> None:
    check_answers(index, texts, questions)


def check_answers(index: IndexDriver, texts: list[Drawn], questions: list[tuple[list[Any], Window]]) -> None:
    for shelf in THREE:
        index.drop(shelf)
    index.create(THREE)
    terms: list[tuple[Hit, list[set[str]]]] = []
    additions: dict[tuple[int, int], list[Document]] = {}
    for number, text in enumerate(texts):
        there = Hit(START + text.day * DAY_MS + text.at, text_id(number, day=date.fromisoformat(THREE[text.day])))
        said = [set(text.words)] + ([set(text.words | text.again)] if text.again else [])
        for later, words in enumerate(said):
            made = Document(there.id, there.at, 1, [keyed(THREE[text.day], word).term for word in words] or ["x:y"])
            additions.setdefault((text.day, 10 * later + text.slice), []).append(made)
        terms.append((there, said))
    index.add([Addition(THREE[day], each, made) for (day, each), made in additions.items()])
    for shapes_of_days, window in questions:
        asked = [(shelf, plan_of(shelf, shape)) for shelf, shape in zip(THREE, shapes_of_days, strict=True)]
        meant = [
            each
            for each, said in terms
            if any(fits(shapes_of_days[THREE.index(each.id.day.isoformat())], words) for words in said)
            and (window.start is None or each.at >= window.start)
            and (window.until is None or each.at < window.until)
        ]
        meant.sort(reverse=not window.oldest_first)
        assert pages(index, asked if window.oldest_first else asked[::-1], window) == meant


def plan_of(shelf: str, shape: Any) -> Plan:
    if isinstance(shape, str):
        return keyed(shelf, shape)
    parts = tuple(plan_of(shelf, each) for each in shape[1])
    return AllOf(parts) if shape[0] == "all" else AnyOf(parts)


def fits(shape: Any, words: set[str]) -> bool:
    if isinstance(shape, str):
        return shape in words
    return (all if shape[0] == "all" else any)(fits(each, words) for each in shape[1])


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


def test_a_shelf_of_many_days_keeps_their_order(index: IndexDriver) -> None:
    shelf = "kept-0011223344556677-3"
    index.create([shelf])
    days = [DAY - timedelta(days=each) for each in range(0, 900, 100)]
    documents = [Document(text_id(1, day=day), START - DAY_MS * (DAY - day).days, 1, [token("tea")]) for day in days]
    index.add([Addition(shelf, 1, documents)])
    assert found(index, wanted("tea"), shelf=shelf) == [each.id for each in documents]


def test_several_shelves_are_asked_together_in_the_order_of_the_window(index: IndexDriver) -> None:
    days = days_with_documents(index)
    newest_first = [hit(day, number) for day in reversed(days) for number in (2, 1, 0)]
    asked = [(day, keyed(day, "tea")) for day in reversed(days)]
    for limit in (1, 2, 3, 4, 11, 12, 99):
        assert index.query(asked, Window(limit)) == newest_first[:limit]
    for at, after in enumerate(newest_first):
        assert index.query(asked, Window(4, after=after)) == newest_first[at + 1 : at + 5]
    assert index.query(asked[::-1], Window(7, oldest_first=True)) == newest_first[::-1][:7]
    start, until = newest_first[-3].at, newest_first[1].at
    inside = [each for each in newest_first if start <= each.at < until]
    assert index.query(asked, Window(99, start=start, until=until)) == inside
    assert len(inside) == 7
    assert index.query([], Window(9)) == []


def test_each_shelf_is_asked_by_its_own_plan(index: IndexDriver) -> None:
    days = days_with_documents(index)
    plans: list[Plan] = [
        AllOf((keyed(days[3], "tea"), keyed(days[3], "w2"))),
        AnyOf((keyed(days[2], "w0"), AllOf((keyed(days[2], "tea"), keyed(days[2], "w1"))))),
        AnyOf(()),
        EVERYTHING,
    ]
    asked = list(zip(reversed(days), plans, strict=True))
    expected = [(3, 2), (2, 1), (2, 0), (0, 2), (0, 1), (0, 0)]
    assert index.query(asked, Window(99)) == [hit(days[day], number) for day, number in expected]


def test_one_shelf_without_an_index_among_several_is_named(index: IndexDriver) -> None:
    days = days_with_documents(index)
    index.drop(days[1])
    with pytest.raises(NoIndex) as refused:
        index.query([(day, keyed(day, "tea")) for day in reversed(days)], Window(99))
    assert refused.value.shelf == days[1]


def days_with_documents(index: IndexDriver) -> list[str]:
    """Four days, oldest first, each with three documents of the words `tea` and `w` with a number."""
    days = [(DAY + timedelta(days=each)).isoformat() for each in range(4)]
    index.create(days)
    for day in days:
        found = [hit(day, number) for number in range(3)]
        words = [(keyed(day, "tea").term, keyed(day, f"w{number}").term) for number in range(3)]
        documents = [Document(each.id, each.at, 1, terms) for each, terms in zip(found, words, strict=True)]
        index.add([Addition(day, 1, documents)])
    return days
