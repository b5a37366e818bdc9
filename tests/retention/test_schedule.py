"""The schedule wakes, and decides nothing."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.housing import House
from tests.retention.purging import OLDEST, Purging
from textkeep.errors import Outage, TextkeepError
from textkeep.retention.purge import RunResult
from textkeep.retention.schedule import Schedule


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    with Purging.over(house, tmp_path) as made:
        yield made


def scheduled(purging: Purging, ran: list[RunResult], failed: list[TextkeepError]) -> Schedule:
    house = purging.house
    return Schedule(purging.mark(), house.shelves, purging.purge(), house.clock, ran=ran.append, failed=failed.append)


def test_waking_opens_the_days_ahead_and_purges_what_is_due(purging: Purging) -> None:
    ran: list[RunResult] = []
    purging.until(OLDEST.due())
    scheduled(purging, ran, []).run()
    assert [day.state for day in ran[0].days] == ["reported"]
    assert purging.state(OLDEST.plus(431)) == "open"


def test_waking_stores_the_time(purging: Purging) -> None:
    scheduled(purging, [], []).mark()
    with purging.house.store.reading() as connection:
        assert purging.mark().last_seen(connection) == purging.house.clock()


def test_an_outage_is_told_and_the_next_waking_tries_again(purging: Purging, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Outage("the database does not answer")

    ran: list[RunResult] = []
    failed: list[TextkeepError] = []
    schedule = scheduled(purging, ran, failed)
    with monkeypatch.context() as patch:
        patch.setattr(purging.house.store, "transaction", fail)
        schedule.mark()
        schedule.run()
    assert {each.problem for each in failed} == {"outage"}
    assert ran == []
    schedule.run()
    assert len(ran) == 1


def test_a_started_schedule_runs_at_once_and_stops_cleanly(purging: Purging) -> None:
    ran = threading.Event()
    house = purging.house
    schedule = Schedule(purging.mark(), house.shelves, purging.purge(), house.clock, ran=lambda _: ran.set())
    schedule.start()
    ran.wait()
    schedule.stop()
    schedule.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("APScheduler")]


def test_jobs_live_in_memory_and_make_up_a_missed_waking_once(purging: Purging) -> None:
    schedule = scheduled(purging, [], [])
    schedule.start()
    try:
        jobs = {job.id: job for job in schedule._scheduler.get_jobs()}
        assert set(jobs) == {"run", "mark"}
        assert {job.misfire_grace_time for job in jobs.values()} == {None}
        assert all(job.coalesce for job in jobs.values())
    finally:
        schedule.stop()
