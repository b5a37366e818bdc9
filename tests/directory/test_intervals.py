"""History over time: which record was in force when."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkeep.directory.intervals import Interval, Timeline

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def timeline(*intervals: tuple[int, bool, str]) -> Timeline[str]:
    made: Timeline[str] = Timeline()
    for row, (since, said, record) in enumerate(intervals):
        made = made.put(Interval(day(since), said, record, row))
    return made


def test_a_record_is_in_force_from_its_moment_until_the_next_one() -> None:
    made = timeline((10, True, "one"), (20, True, "two"))
    assert [made.at(day(number)) for number in (9, 10, 19, 20, 99)] == [None, "one", "one", "two", "two"]


def test_a_first_record_that_says_no_moment_counts_before_it_was_made() -> None:
    assert timeline((10, False, "one")).at(day(-500)) == "one"


def test_an_interval_that_says_otherwise_ends_that() -> None:
    made = timeline((10, False, "one"), (5, True, "before"))
    assert [made.at(day(number)) for number in (4, 5, 10)] == [None, "before", "one"]


def test_a_record_for_the_same_moment_takes_the_place_of_the_other() -> None:
    made = timeline((10, False, "one"), (10, False, "two"))
    assert [interval.record for interval in made.intervals] == ["two"]


def test_nothing_is_known_where_there_is_no_record() -> None:
    empty: Timeline[str] = Timeline()
    assert (empty.at(START), empty.earliest(), empty.begun(START), empty.after(START)) == (None, None, None, None)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.text(max_size=2)), min_size=1), st.integers(-5, 35))
def test_the_record_in_force_is_the_last_that_has_begun(intervals: list[tuple[int, bool, str]], number: int) -> None:
    made = timeline(*intervals)
    assert [interval.since for interval in made.intervals] == sorted({day(since) for since, _, _ in intervals})
    last = {since: (said, record) for since, said, record in intervals}
    begun = [since for since in last if since <= number]
    if begun:
        assert made.at(day(number)) == last[max(begun)][1]
    else:
        said, record = last[min(last)]
        assert made.at(day(number)) == (None if said else record)


@given(st.permutations([(1, True, "a"), (2, True, "b"), (3, True, "c"), (4, True, "d")]))
def test_the_order_in_which_history_is_told_makes_no_difference(intervals: list[tuple[int, bool, str]]) -> None:
    assert [timeline(*intervals).at(day(number)) for number in range(6)] == [None, "a", "b", "c", "d", "d"]


@pytest.mark.parametrize(
    ("by", "left"),
    [(9, ["a", "b", "c"]), (19, ["a", "b", "c"]), (20, ["b", "c"]), (29, ["b", "c"]), (30, ["c"]), (99, ["c"])],
)
def test_what_had_ended_by_a_moment_is_dropped_and_what_is_in_force_never_is(by: int, left: list[str]) -> None:
    made = timeline((10, True, "a"), (20, True, "b"), (30, True, "c"))
    assert [interval.record for interval in made.without_ended(day(by)).intervals] == left
    assert timeline((10, True, "a")).without_ended(day(99)).at(day(99)) == "a"
    assert timeline().without_ended(day(99)).intervals == ()
