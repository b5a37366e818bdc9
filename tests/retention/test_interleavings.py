"""A hold placed while a day is purged, in every order of their steps: the hold keeps what it covers, or is told that it
came too late.

The four steps of placing (prepared, written, copied, answered) and the eight of a purge are taken by two threads on two
connections, one step at a time: in all 495 orders on PostgreSQL, and in the 45 that SQLite's one writer allows.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection

from tests.housing import House
from tests.retention.interleaving import HOLD, PURGE, Side, Waiting, orders, take
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST
from textkeep.archive.shelf import STATES, Day
from textkeep.retention.holds.holding import Placed
from textkeep.retention.holds.in_force import NO_HOLDS, HoldsInForce
from textkeep.retention.holds.keeping_over import CarryingOver
from textkeep.retention.purging.purge import RunResult

EVERY: Final = orders()

OF_ONE_WRITER: Final = [order for order in EVERY if re.fullmatch("P*HP*HHHP*", order)]
"""Those in which no step of the purge comes while the hold is being written: one writer keeps the other waiting."""

IN_ONE_ARCHIVE: Final = 99
"""How many orders are taken in one archive, in which each has a day of its own."""

UNTIL_COMMITTED: Final = STATES.index("committed")
"""The steps of a purge that lead to its point of no return, that one with them."""


def bodies_of(day: Day) -> list[str]:
    """The texts of a day that its hold covers."""
    return [f"the merger again, {day.shelf}", f"the merger, {day.shelf}"]


@dataclass
class Orders:
    """An archive in which orders are taken one after the other in one run of the purge, each with a day of its own."""

    keeping: Keeping

    def take(self, wanted: Sequence[str], in_force: HoldsInForce | None = None) -> list[str]:
        """Take these orders; gives what is not as it must be."""
        keeping, days = self.keeping, [OLDEST.plus(at) for at in range(len(wanted))]
        for day in days:
            keeping.take(day, *bodies_of(day), f"lunch, {day.shelf}")
            keeping.set_aside(day, bodies_of(day)[0])
        keeping.purging.until(days[-1].due())
        holds, heard = in_force or keeping.in_force, []

        def run(side: Side) -> RunResult:
            def told(shelf: str, state: str) -> None:
                heard.append((shelf, state))
                side.pause()

            return keeping.purging.run(holds=holds, told=told, confirm_days=len(days))

        purge, amiss = Side("the purge", run), []
        for day, order in zip(days, wanted, strict=True):
            found = self._one(day, order, purge, heard)
            amiss += [f"{order}: {each}" for each in found]
        result = purge.end()
        return amiss if result.stopped is None else [*amiss, f"the purge stopped: {result.stopped.detail}"]

    def _one(self, day: Day, order: str, purge: Side, heard: list[tuple[str, str]]) -> Iterator[str]:
        keeping, officer = self.keeping, self.keeping.holders.officer

        def place(side: Side) -> Placed:
            keeping.holders.told = lambda step: None if step == "committed" else side.pause(inside=step != "prepared")
            return keeping.holders.place(by=officer, query="merger", after=day.start(), before=day.end())

        sides = {HOLD: Side("the hold", place), PURGE: purge}
        waiting = Waiting(keeping.house)
        for step in order:
            take(step, sides, waiting)
        while (day.shelf, "reported") not in heard and not purge.over:  # it went back, and has more steps to take
            take(PURGE, sides, waiting)
        return self._amiss(order, day, sides[HOLD].end())

    def _amiss(self, order: str, day: Day, placed: Placed) -> Iterator[str]:
        """Who was first is decided when the hold is written, in its second step: there it has the lock."""
        written = [at for at, step in enumerate(order) if step == HOLD][1]
        done = order[:written].count(PURGE)
        late = done >= UNTIL_COMMITTED
        told = (placed.reach.too_late, placed.reach.in_purge)
        if told != ((day.shelf,) if late else (), (day.shelf,) if 0 < done < UNTIL_COMMITTED else ()):
            yield f"after {done} steps of the purge the hold was told {told}"
        shelf = self.keeping.kept_shelf()
        there = [body for body in self.keeping.bodies(shelf) if day.shelf in body]
        if there != ([] if late else bodies_of(day)):
            yield f"{len(there)} texts are kept, and the hold was {'late' if late else 'in time'}"
        records = [each for each in self.keeping.papers(shelf) if day.shelf.encode() in each.plain]
        if len(records) != (0 if late else 1):
            yield f"{len(records)} quarantined records are kept, and the hold was {'late' if late else 'in time'}"
        report = self.keeping.purging.report(day.shelf)
        totals = report["totals"]
        counted = (totals["taken"], totals["kept"], totals["destroyed"], totals["lost"])
        if (report["verdict"], *counted) != ("pass", *((3, 0, 3, 0) if late else (3, 2, 1, 0))):
            yield f"the report says {report['verdict']}, {counted}"


@pytest.fixture
def taken(house: House, tmp_path: Path) -> Iterator[Orders]:
    with Keeping.over(house, tmp_path) as keeping:
        yield Orders(keeping)


def test_there_are_as_many_orders_as_ways_to_choose_4_of_12() -> None:
    assert (len(set(EVERY)), len(OF_ONE_WRITER)) == (495, 45)
    assert {(order.count(HOLD), order.count(PURGE)) for order in EVERY} == {(4, 8)}


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
@pytest.mark.parametrize("start", range(0, len(EVERY), IN_ONE_ARCHIVE))
def test_in_every_order_on_two_connections_a_hold_keeps_what_it_covers_or_is_told_the_day(
    taken: Orders, start: int
) -> None:
    assert taken.take(EVERY[start : start + IN_ONE_ARCHIVE]) == []


@pytest.mark.parametrize("house", ["sqlite", "memory"], indirect=True)
def test_in_every_order_that_one_writer_allows_a_hold_keeps_what_it_covers_or_is_told_the_day(taken: Orders) -> None:
    assert taken.take(OF_ONE_WRITER) == []


class Forgetful(CarryingOver):
    """A purge that would not ask again, at its point of no return, which holds are in force."""

    def digest(self, connection: Connection) -> bytes:
        return NO_HOLDS


class Unlocked(CarryingOver):
    """A purge that would ask without the lock."""

    def digest(self, connection: Connection) -> bytes:
        holding = self._holds
        return holding._rows.digest(connection, holding.earliest(connection))  # type: ignore[attr-defined,no-any-return]

    def check(self, connection: Connection) -> None:
        pass


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("mutant", "order"), [(Forgetful, "PPHHHHPPPPPP"), (Unlocked, "PPPHHPHHPPPP")])
def test_these_orders_find_a_purge_that_looks_away(
    taken: Orders, monkeypatch: pytest.MonkeyPatch, mutant: type[CarryingOver], order: str
) -> None:
    in_force = taken.keeping.in_force
    mutated = mutant.__new__(mutant)
    mutated.__dict__.update(in_force.__dict__)
    assert f"{order}: 0 texts are kept, and the hold was in time" in taken.take([order], mutated)
