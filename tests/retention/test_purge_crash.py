"""A purge that is killed anywhere is finished by the next run, and each day has one true report.

A crash is an exception that nothing catches, raised just before or just after something becomes durable: a commit, the
destruction of a secret, the drop of an index, a checkpoint, a report on disk. Real `kill -9` of the real command comes
elsewhere; here every such point is met.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tests.housing import House
from tests.retention.purging import OLDEST, Purging, lines_of
from textkeep.archive.shelf import Day
from textkeep.retention.purging import destroying
from textkeep.retention.reports.folder import ReportFolder
from textkeep.retention.reports.report import STEPS, digest

TEXTS = 3


class Killed(BaseException):
    """The process is gone."""


class Fate:
    """Counts the points at which something becomes durable, before and after, and kills at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.passed = 0

    def point(self) -> None:
        if self.at is not None:
            self.passed += 1
            if self.passed == self.at:
                raise Killed

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any, **how: Any) -> Any:
            self.point()
            result = work(*args, **how)
            self.point()
            return result

        return done


@pytest.fixture
def fate(house: House, monkeypatch: pytest.MonkeyPatch) -> Fate:
    """Everything durable that a purge does over `house` goes by a fate, which kills nobody until it is told."""
    fate = Fate()
    transaction = house.store.transaction

    @contextmanager
    def mortal() -> Iterator[Connection]:
        with transaction() as connection:
            yield connection
            fate.point()
        fate.point()

    monkeypatch.setattr(house.store, "transaction", mortal)
    monkeypatch.setattr(house.store, "settle", fate.around(house.store.settle))
    monkeypatch.setattr(destroying, "LOOK_SECONDS", 600)  # a process does not outlive one of its threads
    monkeypatch.setattr(ReportFolder, "write", fate.around(ReportFolder.write))
    return fate


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    with Purging.over(house, tmp_path) as made:
        yield made


def killed_at(purging: Purging, fate: Fate, point: int) -> bool:
    """Whether a run was killed at that point; then the house is opened again, as after a restart."""
    keyring, index = purging.house.keyring, purging.index
    fate.at, fate.passed = point, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyring, "destroy", fate.around(keyring.destroy))
        patch.setattr(index, "drop", fate.around(index.drop))
        try:
            purging.run()
        except Killed:
            return True
        finally:
            fate.at = None
    return False


def check_closed(purging: Purging, day: Day, *, attempts: int) -> None:
    report = purging.report(day.shelf)
    assert report["verdict"] == "pass"
    assert report["totals"]["taken"] == report["totals"]["destroyed"] == report["rows_dropped"]["texts"] == TEXTS
    assert report["attempt"] <= attempts
    assert set(lines_of(report, "steps")) == set(STEPS)
    kinds = ("intent", "committed", "key-destroyed", "purge")
    entries = purging.entries(*kinds, shelf=day.shelf)
    assert [entry.kind for entry in entries] == list(kinds)
    assert entries[-1].body["report"] == digest(purging.chain.read(day.shelf))


@pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)
def test_a_run_killed_at_any_point_is_finished_by_the_next(purging: Purging, fate: Fate) -> None:
    point, day = 1, OLDEST
    while True:
        purging.take(day, TEXTS, start=point * 100)
        purging.until(day.due())
        if not killed_at(purging, fate, point):
            break
        purging.restart()
        assert purging.run().stopped is None
        assert purging.state(day) == "reported"
        check_closed(purging, day, attempts=2)
        point, day = point + 1, day.plus(1)
    assert point > 2 * len(STEPS) + 10
    reports = [purging.report(entry.body["name"]) for entry in purging.entries("purge")]
    assert [report["number"] for report in reports] == list(range(1, point + 1))
    assert any(report["attempt"] == 2 for report in reports)


def test_a_run_killed_again_and_again_gets_on_by_at_least_a_point_each_time(purging: Purging, fate: Fate) -> None:
    """Killed at the first point, then the second, and so on: what was done stays done."""
    purging.take(OLDEST, TEXTS)
    purging.until(OLDEST.due())
    point = 1
    while killed_at(purging, fate, point):
        purging.restart()
        point += 1
    assert purging.state(OLDEST) == "reported"
    check_closed(purging, OLDEST, attempts=point)


@pytest.mark.parametrize("step", STEPS[:-1])
def test_a_run_killed_between_two_steps_is_taken_up_at_the_next(purging: Purging, step: str) -> None:
    purging.take(OLDEST, TEXTS)
    purging.until(OLDEST.due())

    def die(_shelf: str, state: str) -> None:
        if state == step:
            raise Killed

    with pytest.raises(Killed):
        purging.run(told=die)
    assert purging.state(OLDEST) == step
    purging.restart()
    heard: list[str] = []
    purging.run(told=lambda _shelf, state: heard.append(state))
    assert heard == list(STEPS[STEPS.index(step) + 1 :])
    assert purging.report(OLDEST.shelf)["attempt"] == 2
    check_closed(purging, OLDEST, attempts=2)
