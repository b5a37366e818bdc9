"""The last time seen: what moves it, what does not, and how a poisoned one is mended."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from tests.housing import SetClock
from textkeep.archive.shelf import Day
from textkeep.clock import system_clock
from textkeep.errors import Conflict, Unsound
from textkeep.ledger import log
from textkeep.retention import notes
from textkeep.retention.clockmark import ClockMark, clocks_of
from textkeep.retention.guards import check_clocks
from textkeep.store import tables
from textkeep.store.engine import Store


@pytest.fixture
def mark(store: Store, clock: SetClock) -> ClockMark:
    return ClockMark(store, clock)


def seen(store: Store, mark: ClockMark) -> datetime | None:
    with store.reading() as connection:
        return mark.last_seen(connection)


def test_a_new_archive_has_seen_no_time(store: Store, mark: ClockMark) -> None:
    assert seen(store, mark) is None


def test_each_tick_stores_the_time_to_the_microsecond(store: Store, mark: ClockMark, clock: SetClock) -> None:
    clock.forward(microseconds=1)
    assert mark.tick()
    assert seen(store, mark) == clock.now


def test_the_mark_never_moves_back_by_itself(store: Store, mark: ClockMark, clock: SetClock) -> None:
    mark.tick()
    before = clock.now
    clock.forward(hours=-1)
    assert not mark.tick()
    assert seen(store, mark) == before


def test_a_step_of_more_than_26_hours_ahead_does_not_move_the_mark(
    store: Store, mark: ClockMark, clock: SetClock
) -> None:
    mark.tick()
    before = clock.now
    clock.forward(hours=26, milliseconds=1)
    assert not mark.tick()
    assert seen(store, mark) == before
    clock.forward(milliseconds=-1)
    assert mark.tick()


def test_of_several_clocks_the_earliest_is_stored(store: Store, clock: SetClock) -> None:
    database = SetClock(clock.now - timedelta(minutes=4))
    mark = ClockMark(store, clock, {"database": database})
    assert mark.tick()
    assert seen(store, mark) == database.now


def test_clocks_that_contradict_each_other_store_nothing(store: Store, clock: SetClock) -> None:
    mark = ClockMark(store, clock, {"database": SetClock(clock.now - timedelta(minutes=5))})
    assert not mark.tick()
    assert seen(store, mark) is None


def test_a_poisoned_mark_is_set_to_the_clock_and_that_is_on_record(
    store: Store, mark: ClockMark, clock: SetClock
) -> None:
    poison = datetime(2035, 1, 1, tzinfo=UTC)
    with store.transaction() as connection:
        mark.accept(connection, poison)
        notes.write(connection, notes.CONFIRMED_THROUGH, Day.of(poison))
    assert mark.reset(by="local") == clock.now
    assert seen(store, mark) == clock.now
    with store.reading() as connection:
        assert notes.read_day(connection, notes.CONFIRMED_THROUGH) is None
        entry = log.entries(connection, kinds=["clock-reset"])[0]
    assert entry.body["was"] == "2035-01-01T00:00:00.000Z"
    assert entry.body["by"] == "local"


def test_resetting_is_no_way_round_the_word_that_a_step_ahead_needs(
    store: Store, mark: ClockMark, clock: SetClock
) -> None:
    mark.tick()
    before = clock.now
    clock.forward(days=30)
    with pytest.raises(Conflict, match="not ahead of the clock"):
        mark.reset(by="local")
    assert seen(store, mark) == before


def test_a_stored_time_that_is_none_is_named_and_can_be_reset(store: Store, mark: ClockMark, clock: SetClock) -> None:
    with store.transaction() as connection:
        connection.execute(insert(tables.notes).values(name=notes.LAST_SEEN, value="yesterday"))
    with pytest.raises(Unsound, match="not a time"):
        mark.tick()
    assert mark.reset(by="local") == clock.now
    assert mark.tick()


def test_forgetting_a_note_leaves_no_row(store: Store) -> None:
    with store.transaction() as connection:
        notes.write(connection, notes.LOOKED_THROUGH, Day.named("2026-11-22"))
        notes.write(connection, notes.LOOKED_THROUGH, None)
        assert connection.execute(select(tables.notes)).all() == []


def test_a_database_on_a_server_is_a_second_clock_and_a_file_is_none(store: Store, clock: SetClock) -> None:
    names = [reading.clock for reading in ClockMark(store, clock, clocks_of(store)).readings()]
    assert names == (["host", "database"] if store.shared else ["host"])


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_host_whose_clock_is_not_the_databases_stores_nothing(store: Store) -> None:
    mark = ClockMark(store, system_clock, clocks_of(store))
    assert mark.tick()
    before = seen(store, mark)
    for wrong in (timedelta(minutes=6), timedelta(minutes=-6)):
        off = ClockMark(store, SetClock(system_clock() + wrong), clocks_of(store))
        stop = check_clocks(off.readings(), before)
        assert stop is not None
        assert stop.reason == "clocks-differ"
        assert not off.tick()
    assert seen(store, mark) == before


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_many_keepers_move_one_mark_and_never_back(store: Store, clock: SetClock) -> None:
    start = clock.now
    marks = [ClockMark(store, SetClock(start + timedelta(seconds=number))) for number in range(8)]
    threads = [threading.Thread(target=mark.tick) for mark in marks for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen(store, marks[0]) == start + timedelta(seconds=7)
