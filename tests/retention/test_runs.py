"""Days without a run: each gets an entry and a report, once."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.housing import House
from tests.retention.purging import OLDEST, Purging
from textkeep.archive.shelf import Day
from textkeep.retention.reports.report import digest


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    with Purging.over(house, tmp_path) as made:
        yield made


def test_the_days_before_the_first_run_were_not_missed(purging: Purging) -> None:
    assert purging.run().missed == ()
    assert purging.entries("missed-run") == []


def test_a_day_with_a_run_is_not_missed_whatever_the_run_found(purging: Purging) -> None:
    purging.run()
    purging.until(OLDEST.due() + timedelta(hours=12))
    assert purging.run(confirm_days=17).document()["stopped"] == "confirmed-other-number"
    purging.until(OLDEST.plus(1).due())
    assert purging.run().missed == ()


def test_each_whole_day_without_a_run_gets_an_entry_and_a_report(purging: Purging) -> None:
    purging.run()
    purging.until(OLDEST.plus(2).due())
    result = purging.run()
    assert result.missed == ("missed-run-2026-11-23", "missed-run-2026-11-24")
    assert [entry.body["day"] for entry in purging.entries("missed-run")] == ["2026-11-23", "2026-11-24"]
    report = purging.report("missed-run-2026-11-24")
    assert (report["kind"], report["day"], report["verdict"]) == ("missed-run", "2026-11-24", "fail")
    assert report["waiting"] == [OLDEST.shelf, OLDEST.plus(1).shelf, OLDEST.plus(2).shelf]


def test_missed_runs_stand_in_the_same_chain_as_purges(purging: Purging) -> None:
    purging.run()
    purging.until(OLDEST.plus(1).due())
    purging.run()
    names = ["missed-run-2026-11-23", OLDEST.shelf, OLDEST.plus(1).shelf]
    assert [entry.body["name"] for entry in purging.chain.entries()] == names
    digests = [digest(purging.chain.read(name)) for name in names]
    assert [purging.report(name)["previous"] for name in names] == [None, *digests[:2]]


def test_a_missed_day_is_reported_once(purging: Purging) -> None:
    purging.run()
    purging.until(OLDEST.plus(1).due())
    assert purging.run().missed
    assert purging.run().missed == ()
    assert len(purging.entries("missed-run")) == 1


def test_a_run_that_a_guard_stopped_was_a_run_and_settles_nothing(purging: Purging) -> None:
    purging.run()
    purging.until(OLDEST.plus(4).due())
    assert purging.run().document()["stopped"] == "too-many-days"
    assert purging.entries("missed-run") == []
    purging.until(OLDEST.plus(5).due())
    missed = purging.run(confirm_days=6).missed
    assert [name.removeprefix("missed-run-") for name in missed] == [
        Day.named("2026-11-23").plus(number).shelf for number in range(4)
    ]
