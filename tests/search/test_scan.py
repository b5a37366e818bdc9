"""The scan: however many days the index takes at once, the same hits in the same order, and days counted alike."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.housing import House, event
from tests.search.drivers import opensearch as opened
from tests.search.indexed import keyed
from tests.search.searching import Searching, Together
from tests.search.test_finder import QUERIES, load_six
from tests.search.wrapping import Wrapped
from textkeep.archive.keyring import SecretDestroyed
from textkeep.archive.text import HOUSE, TextId
from textkeep.search.drivers.opensearch import OpenSearchIndex
from textkeep.search.index import Addition, Asked, Document, Hit, NoIndex, Plan, Window
from textkeep.search.scan import Scan

NEWEST = date(2026, 11, 20)
DAYS = [(NEWEST - timedelta(days=each)).isoformat() for each in range(40)]


def place(day: str, number: int) -> Hit:
    when = date.fromisoformat(day)
    midnight = datetime(when.year, when.month, when.day, tzinfo=UTC)
    return Hit(round(midnight.timestamp() * 1000) + number, TextId(when, bytes(15) + bytes([number]), 1))


def filled(together: int, counts: list[int]) -> Together:
    """An index of days, newest first, with so many documents each."""
    index = Together(together)
    index.create(DAYS[: len(counts)])
    for day, count in zip(DAYS, counts, strict=False):
        hits = [place(day, number) for number in range(count)]
        index.add([Addition(day, 1, [Document(each.id, each.at, 1, [keyed(day, "tea").term]) for each in hits])])
    return index


class Open:
    """Scans over an index whose days are open, but for some."""

    def __init__(self, index: Any, closed: set[str]) -> None:
        self.index = index
        self.closed = closed

    def is_open(self, shelf: str) -> bool:
        return shelf not in self.closed


def scan_of(index: Any, days: list[str], window: Window, closed: set[str] | None = None) -> Scan:
    scans: Any = Open(index, closed or set())
    return Scan(scans, HOUSE, days, lambda shelf: keyed(shelf, "tea"), window)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=40),
    st.sampled_from([2, 3, 8, 64, 256]),
    st.integers(1, 7),
    st.integers(0, 60),
    st.booleans(),
    st.integers(0, 30),
)
def test_days_that_are_asked_together_give_what_days_asked_one_by_one_give(
    counts: list[int], together: int, limit: int, taken: int, oldest_first: bool, start: int
) -> None:
    days = DAYS[: len(counts)][:: -1 if oldest_first else 1]
    every = [place(day, number) for day, count in zip(DAYS, counts, strict=False) for number in reversed(range(count))]
    after = every[start] if start < len(every) else None
    if after is not None:
        there = after.id.day.isoformat()
        days = [day for day in days if (day >= there if oldest_first else day <= there)]
    window = Window(limit, after=after, oldest_first=oldest_first)
    seen = []
    for at_once in (1, together):
        index = filled(at_once, counts)
        scan = scan_of(index, days, window)
        hits = list(islice(scan.hits(), taken))
        seen.append((hits, scan.shelves_searched))
        index.close()
    assert seen[0] == seen[1]
    behind = [
        each for each in (every[::-1] if oldest_first else every) if after is None or _behind(each, after, window)
    ]
    assert seen[0][0] == behind[:taken]


def _behind(hit: Hit, after: Hit, window: Window) -> bool:
    return hit > after if window.oldest_first else hit < after


class Asking(Wrapped):
    """An index that puts down what it is asked."""

    def __init__(self, index: Together) -> None:
        super().__init__(index)
        self.asked: list[list[str]] = []

    def query(self, asked: Asked, window: Window) -> list[Hit]:
        self.asked.append([shelf for shelf, _ in asked])
        return super().query(asked, window)


def test_groups_begin_small_and_grow() -> None:
    index = Asking(filled(16, [0] * 40))
    assert list(scan_of(index, DAYS, Window(5)).hits()) == []
    assert [len(group) for group in index.asked] == [8, 16, 16]
    assert [day for group in index.asked for day in group] == DAYS


def test_days_that_are_done_with_are_not_asked_again() -> None:
    index = Asking(filled(16, [3, 3, 3, 3]))
    assert len(list(scan_of(index, DAYS[:4], Window(4)).hits())) == 12
    assert index.asked == [DAYS[:4], DAYS[1:4], DAYS[3:4]]


class Purging(Wrapped):
    """An index of which a day is dropped between two questions."""

    def __init__(self, index: Together, days: list[str]) -> None:
        super().__init__(index)
        self._days = days

    def query(self, asked: Asked, window: Window) -> list[Hit]:
        if self._days:
            self.index.drop(self._days.pop(0))
        return super().query(asked, window)


@pytest.mark.parametrize("together", [1, 3, 64])
def test_a_day_that_is_purged_while_it_is_asked_is_left_out_of_its_group(together: int) -> None:
    purged = DAYS[4:9:2]  # the first question drops the first of them, and so on: each before it is asked
    index = Purging(filled(together, [2] * 12), list(purged))
    expected = [place(day, number) for day in DAYS[:12] if day not in purged for number in (1, 0)]
    scan = scan_of(index, DAYS[:12], Window(50), closed=set(purged))
    assert list(scan.hits()) == expected
    assert scan.shelves_searched == 12


@pytest.mark.parametrize("together", [1, 3, 64])
def test_an_open_day_without_an_index_is_an_outage_in_a_group_too(together: int) -> None:
    index = filled(together, [2] * 12)
    index.drop(DAYS[5])
    with pytest.raises(NoIndex) as missing:
        list(scan_of(index, DAYS[:12], Window(50)).hits())
    assert missing.value.shelf == DAYS[5]
    index.close()


@pytest.mark.parametrize("together", [1, 3, 64])
def test_a_day_whose_secret_is_gone_is_left_out_of_its_group(together: int) -> None:
    index = filled(together, [1] * 9)
    scan = scan_of(index, DAYS[:9], Window(50))

    def plan_of(shelf: str) -> Plan:
        if shelf in DAYS[2:9:3]:
            raise SecretDestroyed("it is gone")
        return keyed(shelf, "tea")

    scan._plan_of = plan_of
    assert [hit.id.day.isoformat() for hit in scan.hits()] == [day for day in DAYS[:9] if day not in DAYS[2:9:3]]
    assert scan.shelves_searched == 9
    index.close()


@pytest.fixture
def on_opensearch(opensearch: str) -> Iterator[OpenSearchIndex]:
    with opened(opensearch) as index:
        yield index


@pytest.mark.parametrize("house", ["memory"], indirect=True)
def test_every_kind_of_query_is_answered_from_opensearch(house: House, on_opensearch: OpenSearchIndex) -> None:
    searching = Searching.build(house, on_opensearch)
    load_six(searching)
    for limit in (200, 1):
        found = {
            name: "".join(body[0] for body in searching.bodies(query, limit=limit))[::-1]
            for name, (query, _) in QUERIES.items()
        }
        assert found == {name: expected for name, (_, expected) in QUERIES.items()}
    assert [searching.find("-nothing", limit=limit).shelves_searched for limit in (1, 2, 9)] == [2, 3, 3]
    on_opensearch.drop("2026-11-21")
    with pytest.raises(NoIndex):
        searching.find("tea")
    with house.store.transaction() as connection:
        house.shelves.set_state(connection, "2026-11-21", "committed")
    assert searching.bodies("t* OR milk")[0] == "f milk"


@pytest.mark.parametrize("house", ["memory"], indirect=True)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 7), st.sampled_from(["tea", "t*", "-coffee", "flag:late", "tea OR milk"]))
def test_pages_from_opensearch_put_together_are_the_whole(
    house: House, on_opensearch: OpenSearchIndex, limit: int, query: str
) -> None:
    searching = Searching.build(house, on_opensearch)
    if house.vault.batch("batch-1") is None:
        moments = [f"2026-11-{day:02d}T10:00:0{second}Z" for day in (18, 19, 20) for second in (0, 0, 0, 1, 2)]
        searching.take(*(event(at, body=f"tea {at}", sent_at=sent) for at, sent in enumerate(moments)), flags=("late",))
        searching.follow()
    whole = searching.find(query).results
    assert len(whole) == 15
    assert [each.id for each in searching.every(query, limit=limit)] == [each.id for each in whole]
