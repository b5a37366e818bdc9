"""Placing a hold and purging a day at the same time, on two real connections: the lock decides who was first."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import text

from tests.housing import House
from tests.retention.holding import Holders
from textkeep.archive.shelf import Day
from textkeep.retention.holds.agreement import HoldsDisagree
from textkeep.retention.holds.holding import Step

pytestmark = pytest.mark.parametrize("house", ["postgresql"], indirect=True)

PATIENCE = 60.0
"""Seconds after which a test fails that waits for another thread."""

DAY = Day.named("2025-10-20").shelf


@pytest.fixture
def holders(house: House) -> Holders:
    return Holders(house)


def until_somebody_waits(house: House) -> None:
    """Return once a connection waits for an advisory lock."""
    waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with house.behind.reading() as connection:
            if connection.execute(waits).scalar_one():
                return
        time.sleep(0.01)
    pytest.fail("nobody waited for the lock of the holds")


class Purging(threading.Thread):
    """One step of a purge, in its transaction: takes the lock, waits to be let on, moves the day, commits."""

    def __init__(self, holders: Holders, becomes: str) -> None:
        super().__init__(daemon=True)
        self.holders, self.becomes = holders, becomes
        self.inside, self.go = threading.Event(), threading.Event()
        self.digest = b""

    def run(self) -> None:
        house = self.holders.house
        with house.store.transaction() as connection:
            self.digest = self.holders.holds.holding.digest(connection)
            self.inside.set()
            assert self.go.wait(PATIENCE)
            house.shelves.lock(connection, [DAY], exclusive=True)
            house.shelves.set_state(connection, DAY, self.becomes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("becomes", "late"), [("committed", True), ("witnessed", False)])
def test_a_hold_waits_for_the_step_a_purge_is_in_and_is_told_what_it_came_too_late_for(
    holders: Holders, becomes: str, late: bool
) -> None:
    purging = Purging(holders, becomes)
    purging.start()
    assert purging.inside.wait(PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        placing = pool.submit(holders.place)
        until_somebody_waits(holders.house)
        assert not placing.done()
        purging.go.set()
        reach = placing.result(PATIENCE).reach
    purging.join(PATIENCE)
    assert reach.too_late == ((DAY,) if late else ())
    assert reach.in_purge == (() if late else (DAY,))


def test_a_step_of_a_purge_waits_for_a_hold_that_is_being_placed_and_then_knows_it(holders: Holders) -> None:
    copied, go = threading.Event(), threading.Event()

    def told(step: Step) -> None:
        if step == "copied":
            copied.set()
            assert go.wait(PATIENCE)

    with holders.house.store.transaction() as connection:
        before = holders.holds.holding.digest(connection)
    holders.told = told
    with ThreadPoolExecutor(1) as pool:
        placing = pool.submit(holders.place)
        assert copied.wait(PATIENCE)
        purging = Purging(holders, "committed")
        purging.start()
        until_somebody_waits(holders.house)
        assert not purging.inside.is_set()
        go.set()
        placed = placing.result(PATIENCE)
        assert purging.inside.wait(PATIENCE)
        purging.go.set()
        purging.join(PATIENCE)
    assert purging.digest != before
    assert placed.reach.too_late == ()


def test_a_comparison_never_sees_a_hold_half_placed(holders: Holders) -> None:
    copied, go = threading.Event(), threading.Event()

    def told(step: Step) -> None:
        if step == "copied":
            copied.set()
            assert go.wait(PATIENCE)

    holders.told = told
    with ThreadPoolExecutor(2) as pool:
        placing = pool.submit(holders.place)
        assert copied.wait(PATIENCE)
        comparing = pool.submit(holders.holds.agreement.agree)
        until_somebody_waits(holders.house)
        go.set()
        placing.result(PATIENCE)
        agreed = comparing.result(PATIENCE)
    assert (agreed.repaired, agreed.beyond_repair) == ((), ())


def test_two_releases_of_one_hold_approved_at_once_are_one(holders: Holders) -> None:
    hold = holders.place().hold
    asked = holders.ask(hold)
    approver, other = holders.approver, holders.person("Alan", "approver")
    together = threading.Barrier(2)

    def approve(by: object) -> str:
        together.wait(PATIENCE)
        try:
            holders.approve(asked, by=by)  # type: ignore[arg-type]
        except Exception as refused:  # noqa: BLE001  which refusal does not matter here
            return type(refused).__name__
        return "approved"

    with ThreadPoolExecutor(2) as pool:
        answers = [each.result(PATIENCE) for each in (pool.submit(approve, approver), pool.submit(approve, other))]
    assert sorted(answers) == ["NotApproved", "approved"]
    assert holders.holds.agree().repaired == ()


def test_many_holds_placed_at_once_are_all_in_force_and_agreed(holders: Holders) -> None:
    officer = holders.officer

    def place() -> str:
        return holders.place(by=officer).hold.id

    with ThreadPoolExecutor(4) as pool:
        placed: list[Future[str]] = [pool.submit(place) for _ in range(12)]
        ids = sorted(each.result(PATIENCE) for each in placed)
    assert holders.in_force() == ids
    with holders.house.store.transaction() as connection:
        holders.holds.agreement.check(connection)


def test_a_disagreement_is_seen_inside_the_transaction_that_would_destroy(holders: Holders) -> None:
    hold = holders.place().hold
    (holders.house.folder / f"hold:{hold.id}").unlink()
    check: Callable[..., None] = holders.holds.agreement.check
    with holders.house.store.transaction() as connection, pytest.raises(HoldsDisagree):
        check(connection)
