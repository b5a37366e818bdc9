"""A run: what it says before it works, what stops it, that two never work at once."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, select

from tests.housing import House
from tests.retention.purging import OLDEST, Purging
from textkeep.clock import system_clock
from textkeep.retention.clockmark import clocks_of
from textkeep.store.tables import runs


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    with Purging.over(house, tmp_path) as made:
        yield made


def dump(purging: Purging) -> dict[str, list[str]]:
    """Every row of the database, by table."""
    with purging.house.behind.reading() as connection:
        tables = inspect(connection).get_table_names()
        return {
            name: sorted(str(tuple(row)) for row in connection.exec_driver_sql(f"SELECT * FROM {name}"))  # noqa: S608
            for name in tables
        }


DATABASES = ("textkeep.db", "index.db")


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, but the databases' own: their logs come and go with readers."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(DATABASES))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_dry_run_says_what_would_go_and_changes_nothing(purging: Purging, tmp_path: Path) -> None:
    purging.take(OLDEST, 3)
    purging.take(OLDEST.plus(1), 2, start=10)
    purging.until(OLDEST.plus(1).due())
    before = dump(purging), files(tmp_path)
    result = purging.run(dry_run=True)
    assert (dump(purging), files(tmp_path)) == before
    assert result.dry_run
    assert [(day.day, day.state, day.taken) for day in result.days] == [
        (OLDEST.shelf, "open", 3),
        (OLDEST.plus(1).shelf, "open", 2),
    ]


def test_a_dry_run_says_what_would_stop_it(purging: Purging) -> None:
    purging.until(OLDEST.plus(4).due())
    result = purging.run(dry_run=True)
    assert result.document()["stopped"] == "too-many-days"
    assert len(result.days) == 5


def test_more_than_three_days_need_their_number_confirmed(purging: Purging) -> None:
    purging.until(OLDEST.plus(3).due())
    assert purging.run().document()["stopped"] == "too-many-days"
    assert purging.run(confirm_days=3).document()["stopped"] == "confirmed-other-number"
    assert purging.state(OLDEST) == "open"
    result = purging.run(confirm_days=4)
    assert result.stopped is None
    assert [day.state for day in result.days] == ["reported"] * 4
    assert purging.report(OLDEST.shelf)["responsible"] == {
        "asked_by": "schedule",
        "confirmed_days": 4,
        "releases": [],
    }


def test_a_step_ahead_stops_the_run_until_it_is_confirmed(purging: Purging) -> None:
    purging.mark().tick()
    purging.house.clock.now = OLDEST.due() + timedelta(days=1)
    assert purging.run().document()["stopped"] == "clock-ahead"
    assert not purging.mark().tick()
    assert purging.run().document()["stopped"] == "clock-ahead"
    assert purging.run(confirm_days=2).stopped is None
    assert purging.mark().tick()


def test_a_clock_that_is_behind_destroys_nothing(purging: Purging) -> None:
    purging.until(OLDEST.due())
    purging.house.clock.forward(days=-1)
    assert purging.run(confirm_days=0).document()["stopped"] == "clock-behind"


def test_a_day_that_is_due_by_one_clock_only_stays(purging: Purging) -> None:
    purging.until(OLDEST.due())
    late = purging.house.clock.now - timedelta(minutes=1)
    assert purging.run(database=lambda: late).days == ()
    assert purging.run().days[0].state == "reported"


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
def test_a_host_whose_clock_differs_from_the_databases_destroys_nothing(purging: Purging) -> None:
    second = clocks_of(purging.house.store)["database"]
    purging.house.clock.now = system_clock() + timedelta(minutes=6)
    result = purging.purge(database=second).run(purging.house.clock())
    assert result.document()["stopped"] == "clocks-differ"
    purging.house.clock.now = system_clock()
    assert (
        purging.purge(database=second).run(purging.house.clock(), dry_run=True).document()["stopped"] != "clocks-differ"
    )


def test_a_mark_that_is_set_while_a_run_begins_is_not_ahead_of_it(purging: Purging) -> None:
    """The minute's tick and the hour's run come at the same moment, in two threads."""
    clock = purging.house.clock
    look = purging.house.store.reading

    def ticking() -> Any:
        clock.forward(microseconds=1)
        with purging.house.store.transaction() as connection:
            purging.mark().accept(connection, clock())
        return look()

    purge = purging.purge()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(purging.house.store, "reading", ticking)
        assert purge.run().stopped is None


def test_a_process_that_may_destroy_nothing_refuses_and_still_tells_what_is_due(
    purging: Purging, monkeypatch: pytest.MonkeyPatch
) -> None:
    purging.until(OLDEST.due())
    monkeypatch.setattr(purging.house.keyring, "_keeps", False)
    assert purging.run().document()["stopped"] == "not-the-keeper"
    assert purging.state(OLDEST) == "open"
    assert [day.day for day in purging.run(dry_run=True).days] == [OLDEST.shelf]


def test_a_word_given_once_is_enough_for_a_run_that_was_cut_off(purging: Purging) -> None:
    purging.until(OLDEST.plus(9).due())
    purge = purging.purge(told=lambda shelf, _state: purge.interrupt() if shelf == OLDEST.plus(3).shelf else None)
    result = purge.run(purging.house.clock(), 10)
    assert result.document()["stopped"] == "interrupted"
    assert [day.state for day in result.days] == ["reported"] * 3 + ["intent"] + ["open"] * 6
    again = purging.run()
    assert again.stopped is None
    assert [day.state for day in again.days] == ["reported"] * 7


def test_two_runs_never_work_at_once(purging: Purging) -> None:
    purging.take(OLDEST)
    purging.until(OLDEST.due())
    inside, go_on = threading.Event(), threading.Event()

    def wait(_shelf: str, _state: str) -> None:
        inside.set()
        go_on.wait()

    first: list[Any] = []
    thread = threading.Thread(target=lambda: first.append(purging.run(told=wait)))
    thread.start()
    inside.wait()
    second = purging.run()
    go_on.set()
    thread.join()
    assert second.document()["stopped"] == "already-running"
    assert first[0].days[0].state == "reported"
    with purging.house.store.reading() as connection:
        assert len(connection.execute(select(runs)).all()) == 1


def test_every_run_is_on_record_with_its_outcome(purging: Purging) -> None:
    purging.until(OLDEST.plus(3).due())
    purging.run()
    purging.run(confirm_days=4)
    with purging.house.store.reading() as connection:
        found = connection.execute(select(runs.c.outcome, runs.c.finished_at)).all()
    assert [row.outcome for row in found] == ["closed 0 of 4 days; stopped: too-many-days", "closed 4 of 4 days"]
    assert all(row.finished_at is not None for row in found)
