"""When a day is due: never before its last text is 400 days old."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from textkeep.archive import shelf
from textkeep.archive.shelf import Day, expired
from textkeep.retention.policy import LATE_BY, RETENTION, RULE, due_days, first_not_due, overdue_days

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
MS = timedelta(milliseconds=1)
DAY = Day.named("2026-11-22")


@dataclass
class Standing:
    name: str
    state: str = "open"


def test_the_rule_is_400_days_and_lives_in_one_place() -> None:
    assert timedelta(days=400) == RETENTION
    assert shelf.RETENTION is RETENTION
    assert RULE["retention_days"] == 400
    assert RULE["late_by_hours"] == 24


def test_a_day_is_not_due_one_millisecond_before_its_last_text_can_be_400_days_old() -> None:
    due = datetime(2027, 12, 28, tzinfo=UTC)
    assert DAY.due() == due
    assert due_days([Standing(DAY.shelf)], due - MS) == []
    assert due_days([Standing(DAY.shelf)], due) == [DAY]


@given(sent_at=MOMENTS, now=MOMENTS)
def test_a_due_day_has_no_text_that_is_still_readable(sent_at: datetime, now: datetime) -> None:
    day = Day.of(sent_at)
    if due_days([Standing(day.shelf)], now):
        assert expired(sent_at, now)
        assert expired(day.end() - timedelta(microseconds=1), now)


@given(sent_at=MOMENTS)
def test_a_day_is_due_within_a_day_of_each_of_its_texts_400th(sent_at: datetime) -> None:
    day = Day.of(sent_at)
    assert due_days([Standing(day.shelf)], sent_at + RETENTION + timedelta(days=1)) == [day]


def test_due_days_come_oldest_first_without_reported_ones_and_held_shelves() -> None:
    names = [Standing("2024-03-02"), Standing("2024-03-01"), Standing("2024-02-29", "reported")]
    held = [Standing("kept-0011223344556677-3"), Standing("house")]
    due = due_days([*names, *held], datetime(2026, 1, 1, tzinfo=UTC))
    assert [day.shelf for day in due] == ["2024-03-01", "2024-03-02"]


@given(sent_at=MOMENTS, now=MOMENTS | MOMENTS.map(lambda at: Day.of(at).start()))
def test_the_days_before_the_first_that_is_not_due_are_the_due_ones_by_name_too(
    sent_at: datetime, now: datetime
) -> None:
    for day in (Day.of(sent_at), first_not_due(now), first_not_due(now).plus(-1)):
        is_due = due_days([Standing(day.shelf)], now) == [day]
        assert (day < first_not_due(now), day.shelf < first_not_due(now).shelf) == (is_due, is_due)


def test_a_day_in_the_middle_of_its_purge_is_still_due() -> None:
    assert due_days([Standing(DAY.shelf, "committed")], DAY.due()) == [DAY]


def test_a_day_is_overdue_when_it_is_more_than_24_hours_late() -> None:
    assert overdue_days([Standing(DAY.shelf)], DAY.due() + LATE_BY) == []
    assert overdue_days([Standing(DAY.shelf)], DAY.due() + LATE_BY + MS) == [DAY]
