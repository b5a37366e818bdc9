"""Several keepers of one archive: one works at a time, and what one leaves undone another one finishes."""

import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import select

from tests.housing import House
from tests.retention.purging import OLDEST, Purging
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.keyring_sql import SqlStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import RING, Keyring, KeyringStore
from textkeep.archive.shelf import Day
from textkeep.archive.shelves import Shelves
from textkeep.retention.purging.purge import RunResult
from textkeep.retention.reports.report import STEPS, digest
from textkeep.retention.turn import LEASE_SECONDS, PURGE, Turn
from textkeep.store.engine import Store
from textkeep.store.leases import LeaseLost
from textkeep.store.tables import runs

ENTRIES = ["intent", "committed", "key-destroyed", "purge"]
several = pytest.mark.parametrize("house", ["postgresql"], indirect=True)
"""On the engine that several processes may open at once."""

SOON = 1.0
"""Seconds after which a lease has run out, in these tests."""


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    with Purging.over(house, tmp_path) as made:
        yield made


def check_once(purging: Purging, *days: Day) -> None:
    """Each day has one report, each step of it was done once, and the chain has one end."""
    for day in days:
        entries = purging.entries(*ENTRIES, shelf=day.shelf)
        assert [entry.kind for entry in entries] == ENTRIES
        assert purging.report(day.shelf)["verdict"] == "pass"
    reports = [purging.report(entry.body["name"]) for entry in purging.chain.entries()]
    digests = [digest(purging.chain.read(entry.body["name"])) for entry in purging.chain.entries()]
    assert [report["previous"] for report in reports] == [None, *digests[:-1]]
    assert [report["number"] for report in reports] == list(range(1, len(reports) + 1))


def patient(purging: Purging, **how: Any) -> RunResult:
    """The first run that finds nobody else at work."""
    deadline = time.monotonic() + 60
    while (result := purging.run(**how)).document()["stopped"] == "already-running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return result


def keeper(purging: Purging, ring: KeyringStore, dies_at: str | None = None) -> int:
    """Another process that purges what is due, until it is all done or it dies after a step; gives its id."""
    address = purging.house.store._writer.url.set(drivername="postgresql").render_as_string(hide_password=False)
    child = os.fork()
    if child:
        return child
    try:
        store = Store.open(address)
        keyring = Keyring.open(ring, LocalRoot(purging.house.folder / "roots"), create=False)
        house = replace(purging.house, store=store, keyring=keyring, shelves=Shelves(store, keyring))
        _live(house, purging.folder, dies_at)
    finally:
        traceback.print_exc()
        os._exit(1)


def _live(house: House, folder: Path, dies_at: str | None) -> NoReturn:
    def die(_shelf: str, state: str) -> None:
        if state == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with Purging.over(house, folder) as mine:
        result = patient(mine, told=die, lease_seconds=LEASE_SECONDS if dies_at is None else SOON)
        os._exit(0 if result.stopped is None else 3)


@several
@pytest.mark.parametrize("step", STEPS)
def test_what_a_killed_keeper_left_another_one_finishes_once_its_lease_has_run_out(purging: Purging, step: str) -> None:
    purging.take(OLDEST, 3)
    purging.until(OLDEST.due())
    child = keeper(purging, FolderStore(purging.house.folder), dies_at=step)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert purging.state(OLDEST) == step
    assert purging.run().document()["stopped"] == "already-running"
    result = patient(purging)
    assert result.stopped is None
    assert purging.state(OLDEST) == "reported"
    assert purging.report(OLDEST.shelf)["attempt"] == (1 if step == "reported" else 2)
    check_once(purging, OLDEST)


@several
def test_two_keepers_that_run_at_once_never_do_the_work_twice(purging: Purging, postgres: str) -> None:
    ring = SqlStore(postgres)
    ring.prepare()
    ring.swap(RING, None, FolderStore(purging.house.folder).read(RING) or b"")
    ring.close()
    due = [OLDEST.plus(number) for number in range(3)]
    for number, day in enumerate(due):
        purging.take(day, 3, start=100 * number)
    purging.until(due[-1].due())
    children = [keeper(purging, ring), keeper(purging, ring)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    check_once(purging, *due)
    with purging.house.store.reading() as connection:
        outcomes = sorted(connection.scalars(select(runs.c.outcome)))
    assert outcomes == ["closed 0 of 0 days", "closed 3 of 3 days"]


def test_a_keeper_that_was_taken_over_stops_before_it_writes_anything_more(purging: Purging) -> None:
    purging.take(OLDEST)
    purging.until(OLDEST.due())

    def take_over(_shelf: str, state: str) -> None:
        if state == "kept":
            purging.leases.clear()
            assert purging.leases.take(PURGE, "another", 60)

    result = purging.run(told=take_over)
    assert result.document()["stopped"] == "lease-lost"
    assert purging.state(OLDEST) == "kept"
    assert purging.run().document()["stopped"] == "already-running"
    purging.leases.release(PURGE, "another")
    assert purging.run().stopped is None
    check_once(purging, OLDEST)


def test_a_restart_of_an_archive_of_one_process_goes_on_at_once(purging: Purging) -> None:
    """A process that was killed gave no lease back; the next start ends every one."""
    purging.until(OLDEST.due())
    assert purging.turn().take()
    assert purging.run().document()["stopped"] == "already-running"
    purging.restart()
    assert purging.run().stopped is None


def test_a_turn_that_waits_is_kept(purging: Purging) -> None:
    turn = Turn(purging.house.store, purging.leases, threading.Event(), seconds=0.3)
    assert turn.take()
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        assert not turn.pause(0.02)
        assert not purging.turn().take()
    turn.release()
    assert purging.turn().take()


def test_a_turn_that_was_lost_is_noticed_while_it_waits(purging: Purging) -> None:
    turn = Turn(purging.house.store, purging.leases, threading.Event(), seconds=0.03)
    assert turn.take()
    purging.leases.clear()
    with pytest.raises(LeaseLost):
        assert not [turn.pause(0.01) for _ in range(1000)]


@several
def test_a_day_without_a_run_has_one_report_however_many_keepers_there_are(purging: Purging) -> None:
    purging.run()
    purging.until(OLDEST.plus(2).due())
    results: list[RunResult] = []
    threads = [threading.Thread(target=lambda: results.append(patient(purging))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for result in results for name in result.missed) == [
        "missed-run-2026-11-23",
        "missed-run-2026-11-24",
    ]
    assert len(purging.entries("missed-run")) == 2
