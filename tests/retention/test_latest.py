"""The clock that texts are served by is never behind what any clock of the archive has told."""

from datetime import timedelta

import pytest

from tests.housing import NOON, House, SetClock
from textkeep.retention import latest, notes
from textkeep.retention.clockmark import ClockMark
from textkeep.retention.latest import Latest
from textkeep.store.tables import notes as noted

SLACK = timedelta(minutes=5)
"""More than a test takes."""


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """What this process's own clock says; it stands still unless it is told to go on."""
    clock = SetClock(NOON)
    monkeypatch.setattr("textkeep.retention.latest.time.monotonic", lambda: clock().timestamp())
    return clock


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_a_host_that_is_set_back_serves_by_the_last_time_seen_which_goes_on(house: House, passing: SetClock) -> None:
    serves = Latest(house.store, house.clock)
    assert serves() == house.clock()
    ClockMark(house.store, house.clock).tick()
    passing.forward(seconds=latest.ASK_EVERY)
    seen = house.clock()
    house.clock.forward(days=-3)
    assert serves() == seen
    passing.forward(hours=5)
    assert serves() == seen + timedelta(hours=5)
    assert Latest(house.store, house.clock)() == seen, "a process that starts then knows it too"


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_a_mark_that_a_person_has_set_right_is_followed(house: House, passing: SetClock) -> None:
    serves = Latest(house.store, house.clock)
    right = house.clock()
    house.clock.forward(days=1)
    ClockMark(house.store, house.clock).tick()
    assert serves() == right + timedelta(days=1)
    house.clock.now = right
    ClockMark(house.store, house.clock).reset(by="local")
    passing.forward(seconds=latest.ASK_EVERY)
    assert serves() == right


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_a_mark_that_is_no_time_tells_nothing(house: House) -> None:
    with house.store.transaction() as connection:
        connection.execute(noted.insert().values(name=notes.LAST_SEEN, value="7"))
    assert Latest(house.store, house.clock)() == house.clock()


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
def test_a_host_behind_the_databases_clock_serves_by_that(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    server = house.store.clock()
    assert server is not None
    house.clock.now = server - timedelta(days=10)
    assert Latest(house.store, house.clock)() == house.clock(), "a clock that is handed in is the only one"
    monkeypatch.setattr("textkeep.retention.latest.system_clock", house.clock)
    assert server <= Latest(house.store, house.clock)() < server + SLACK
    house.clock.now = server + timedelta(days=10)
    assert Latest(house.store, house.clock)() == house.clock()
