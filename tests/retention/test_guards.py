"""What stops a run: clocks that jump, contradict each other, or make too many days due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkeep.archive.shelf import Day
from textkeep.retention.guards import (
    CLOCKS_DIFFER,
    DAYS_AT_ONCE,
    STEP_AHEAD,
    Reading,
    Stop,
    check_clocks,
    check_run,
    earliest,
    stepped_ahead,
)
from textkeep.retention.policy import due_days

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MS = timedelta(milliseconds=1)
JUMPS = (
    st.timedeltas(timedelta(0), timedelta(hours=27))
    | st.timedeltas(timedelta(days=-3), timedelta(days=3))
    | st.timedeltas(timedelta(days=-900), timedelta(days=900))
)
SKEWS = st.timedeltas(timedelta(minutes=-6), timedelta(minutes=6)) | JUMPS


class Standing:
    def __init__(self, day: Day) -> None:
        self.name = day.shelf
        self.state = "open"


SHELVES = [Standing(Day.named("2025-10-16").plus(offset)) for offset in range(450)]
"""Two days are due at NOW, and one more with each midnight."""


def readings(*moments: datetime) -> list[Reading]:
    return [Reading(f"clock-{number}", moment) for number, moment in enumerate(moments)]


def days(number: int) -> list[Day]:
    return [Day.named("2025-10-01").plus(offset) for offset in range(number)]


def reason(stop: Stop | None) -> str | None:
    return stop.reason if stop else None


def test_a_clock_behind_the_last_time_seen_stops_the_run() -> None:
    assert reason(check_run(readings(NOW - MS), NOW, days(1))) == "clock-behind"
    assert check_run(readings(NOW), NOW, days(1)) is None


def test_the_mark_of_another_host_may_be_ahead_by_as_much_as_two_clocks_may_differ() -> None:
    behind = NOW - CLOCKS_DIFFER
    assert check_run(readings(behind, behind + MS), NOW, []) is None
    assert reason(check_run(readings(behind - MS, behind), NOW, [])) == "clock-behind"
    assert reason(check_run(readings(NOW - MS), NOW, [])) == "clock-behind"


def test_nobody_can_confirm_a_clock_that_is_behind() -> None:
    assert reason(check_run(readings(NOW - MS), NOW, days(1), confirm_days=1)) == "clock-behind"


def test_a_step_of_more_than_26_hours_ahead_stops_the_run_until_the_number_is_confirmed() -> None:
    ahead = readings(NOW + STEP_AHEAD + MS)
    assert reason(check_run(ahead, NOW, days(1))) == "clock-ahead"
    assert check_run(readings(NOW + STEP_AHEAD), NOW, days(1)) is None
    assert check_run(ahead, NOW, days(1), confirm_days=1) is None


def test_a_step_ahead_is_confirmed_with_nought_where_nothing_is_due() -> None:
    ahead = readings(NOW + timedelta(days=3))
    assert reason(check_run(ahead, NOW, [])) == "clock-ahead"
    assert check_run(ahead, NOW, [], confirm_days=0) is None


def test_two_clocks_that_differ_by_5_minutes_stop_the_run_and_nobody_can_confirm_that() -> None:
    apart = readings(NOW, NOW + CLOCKS_DIFFER)
    assert reason(check_run(apart, NOW, days(1))) == "clocks-differ"
    assert reason(check_run(apart, NOW, days(1), confirm_days=1)) == "clocks-differ"
    assert check_run(readings(NOW, NOW + CLOCKS_DIFFER - MS), NOW, days(1)) is None


def test_more_than_3_days_at_once_stop_the_run_until_the_number_is_confirmed() -> None:
    assert check_run(readings(NOW), NOW, days(DAYS_AT_ONCE)) is None
    assert reason(check_run(readings(NOW), NOW, days(4))) == "too-many-days"
    assert check_run(readings(NOW), NOW, days(4), confirm_days=4) is None


@pytest.mark.parametrize("confirmed", [0, 3, 5])
def test_another_number_than_the_days_due_confirms_nothing(confirmed: int) -> None:
    stop = check_run(readings(NOW), NOW, days(4), confirm_days=confirmed)
    assert stop is not None
    assert stop.reason == "confirmed-other-number"
    assert "4 are due" in stop.detail


def test_a_word_given_before_still_holds_for_the_days_it_spoke_of_and_for_no_later_one() -> None:
    due = days(6)
    assert check_run(readings(NOW), NOW, due, confirmed_through=due[-1]) is None
    assert reason(check_run(readings(NOW), NOW, due, confirmed_through=due[-2])) == "too-many-days"


def test_a_word_given_before_does_not_hold_for_a_new_step_ahead() -> None:
    due = days(6)
    ahead = readings(NOW + timedelta(days=3))
    assert reason(check_run(ahead, NOW, due, confirmed_through=due[-1])) == "clock-ahead"


def test_a_new_archive_has_seen_no_time_and_is_let_through() -> None:
    assert check_run(readings(NOW), None, []) is None


@given(jump=JUMPS, skew=SKEWS)
def test_a_day_that_is_let_through_without_a_word_is_due_by_every_clock_and_by_a_time_seen_lately(
    jump: timedelta, skew: timedelta
) -> None:
    clocks = readings(NOW + jump, NOW + jump + skew)
    due = due_days(SHELVES, earliest(clocks))
    if check_run(clocks, NOW, due) is None:
        assert NOW - CLOCKS_DIFFER <= earliest(clocks) <= NOW + STEP_AHEAD
        assert all(day.due() <= clock.at for day in due for clock in clocks)
        assert all(day.due() <= NOW + STEP_AHEAD for day in due)
        assert len(due) <= DAYS_AT_ONCE


@given(skews=st.lists(SKEWS, min_size=1, max_size=3), confirmed=st.booleans())
def test_nothing_is_due_early_while_one_clock_is_right(skews: list[timedelta], confirmed: bool) -> None:
    clocks = readings(NOW, *(NOW + skew for skew in skews))
    due = due_days(SHELVES, earliest(clocks))
    stop = check_run(clocks, NOW - timedelta(minutes=1), due, confirm_days=len(due) if confirmed else None)
    if stop is None:
        assert all(day.due() <= NOW for day in due)


@given(jumps=st.lists(JUMPS, min_size=1, max_size=20))
def test_a_wandering_clock_never_moves_the_mark_by_more_than_26_hours_at_once_nor_back(jumps: list[timedelta]) -> None:
    seen, clock = NOW, NOW
    for jump in jumps:
        clock = max(clock + jump, datetime(2020, 1, 1, tzinfo=UTC))
        now = readings(clock)
        let_through = check_clocks(now, seen) is None and not stepped_ahead(now, seen)
        assert let_through == (timedelta(0) <= clock - seen <= STEP_AHEAD)
        if let_through:
            seen = earliest(now)
