"""The schedule wakes, and decides nothing."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.housing import House
from tests.retention.purging import OLDEST, Purging
from textkeep.clock import system_clock
from textkeep.errors import Outage, TextkeepError
from textkeep.retention.chores import by_one
from textkeep.retention.purging.purge import RunResult
from textkeep.retention.schedule import Schedule
from textkeep.retention.turn import PURGE


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


def test_no_purge_waits_for_what_is_done_aside(purging: Purging) -> None:
    house = purging.house
    at_work, ran, may_end = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        at_work.set()
        may_end.wait()

    schedule = Schedule(
        purging.mark(), house.shelves, purging.purge(), house.clock, aside=[work], ran=lambda _: ran.set()
    )
    schedule.start()
    at_work.wait()
    ran.wait()
    may_end.set()
    schedule.stop()


def test_waking_surveys_the_days_to_come_before_it_purges(purging: Purging) -> None:
    purging.take(OLDEST)
    purging.take(OLDEST.plus(1), start=10)
    purging.until(OLDEST.due())
    house = purging.house
    ran: list[RunResult] = []
    Schedule(purging.mark(), house.shelves, purging.purge(), house.clock, survey=purging.survey(), ran=ran.append).run()
    assert ran[0].stopped is None
    assert purging.report(OLDEST.shelf)["slices"]["read"]["ahead"] == 1
    assert purging.survey().run() == 0


def test_a_keeper_that_finds_another_at_work_looks_again_once_that_ones_lease_has_run_out(purging: Purging) -> None:
    assert purging.leases.take(PURGE, "another", 60)
    ran = threading.Event()
    house = purging.house
    schedule = Schedule(
        purging.mark(), house.shelves, purging.purge(lease_seconds=60), house.clock, ran=lambda _: ran.set()
    )
    schedule.start()
    try:
        ran.wait()
        again = schedule._scheduler.get_job("again")
        waits = again.next_run_time - system_clock()
        assert timedelta(seconds=50) < waits < timedelta(seconds=70)
    finally:
        schedule.stop()


def test_a_chore_for_all_keepers_is_begun_by_one_of_them(purging: Purging) -> None:
    done: list[str] = []
    one, other = (by_one(purging.leases, "tidy", partial(done.append, name)) for name in ("one", "other"))
    one()
    other()
    one()
    assert done == ["one"]


def test_a_chore_that_failed_is_left_to_whoever_wakes_next(purging: Purging) -> None:
    done: list[str] = []

    def fail() -> None:
        raise Outage("the index does not answer")

    with pytest.raises(Outage):
        by_one(purging.leases, "tidy", fail)()
    by_one(purging.leases, "tidy", lambda: done.append("other"))()
    assert done == ["other"]


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
