"""The processes of an archive: who has confirmed a ring, whose lease has run out, and who must still be waited for."""

from contextlib import suppress
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from tests.archive.keeping import NOW, Between, Keeping, Ticks
from tests.housing import SetClock
from textkeep.archive.keyring import Keyring, SecretDestroyed
from textkeep.archive.nodes import MARGIN, Eviction, Nodes
from textkeep.archive.text import HOUSE
from textkeep.errors import Outage
from textkeep.store.engine import Store
from textkeep.store.tables import nodes

OLD = "shelf:old"
LAPSE = 76
"""Seconds after which a process that is not seen counts as expired."""


class Machine:
    """A process with its keyring, its row among the others', and ways to cut it off from either database."""

    def __init__(self, store: Store, keeping: Keeping, clock: SetClock, ticks: Ticks, name: str) -> None:
        self.between = Between(keeping.store())
        self.keyring = Keyring.open(self.between, keeping.root(), create=True, keeps=False, ticks=ticks)
        self.nodes = Nodes(store, self.keyring, name, "api", clock)


class Fleet:
    """Processes on one store and one keyring, under one time that is set by hand."""

    def __init__(self, store: Store, keeping: Keeping, clock: SetClock) -> None:
        self.store, self.keeping, self.clock, self.ticks = store, keeping, clock, Ticks()
        self.keeper = keeping.opened(lease=None)
        self.keeper.make([OLD])
        self.asking = Nodes(store, self.keeper, "keeper", "keep", clock)

    def machine(self, name: str) -> Machine:
        return Machine(self.store, self.keeping, self.clock, self.ticks, name)

    def forward(self, seconds: float) -> None:
        """Let time pass for every clock alike; a server's own is not waited for, rows grow older instead."""
        self.ticks.now += seconds
        self.clock.forward(seconds=seconds)
        if self.store.shared:
            by, known = timedelta(seconds=seconds), self.asking.all()
            with self.store.transaction() as connection:
                for node in known:
                    aged = update(nodes).where(nodes.c.id == node.id)
                    connection.execute(aged.values(seen_at=node.seen_at - by))

    def destroy(self) -> Eviction:
        """Destroy the old secret and ask who knows."""
        self.keeper.destroy(OLD, entry="1", now=NOW)
        return self.evicted()

    def evicted(self) -> Eviction:
        return self.asking.confirmed(self.keeper.status().generation)


@pytest.fixture
def fleet(store: Store, sql_keeping: Keeping, clock: SetClock) -> Fleet:
    """No process yet but the one that asks, which is not among the others."""
    return Fleet(store, sql_keeping, clock)


def refuse(_call: str) -> None:
    raise Outage("the keyring's database does not answer", retry_after=5)


def test_a_process_tells_who_it_is_and_what_it_has_confirmed(fleet: Fleet) -> None:
    one = fleet.machine("one")
    generation = one.nodes.beat()
    (node,) = one.nodes.all()
    assert (node.id, node.kind, node.generation, bool(node.host)) == ("one", "api", generation, True)
    assert node.started_at == node.seen_at or fleet.store.shared
    fleet.keeper.make(["shelf:new"])
    assert one.nodes.beat() == generation + 1 == fleet.keeper.status().generation
    (again,) = one.nodes.all()
    assert (again.started_at, again.generation) == (node.started_at, generation + 1)
    assert again.seen_at >= node.seen_at


def test_a_process_is_waited_for_until_it_has_confirmed_or_its_lease_has_run_out(fleet: Fleet) -> None:
    one, other, third = (fleet.machine(name) for name in ("one", "other", "third"))
    for each in (one, other, third):
        each.nodes.beat()
    assert astuple(fleet.evicted()) == (["one", "other", "third"], [], [])
    assert astuple(fleet.destroy()) == ([], [], ["one", "other", "third"])
    one.nodes.beat()
    assert astuple(fleet.evicted()) == (["one"], [], ["other", "third"])
    fleet.forward(60)
    other.nodes.beat()
    assert astuple(fleet.evicted()) == (["one", "other"], [], ["third"])
    fleet.forward(MARGIN.total_seconds() - 1)
    assert fleet.evicted().waiting == ["third"]
    fleet.forward(2)
    assert astuple(fleet.evicted()) == (["one", "other"], ["third"], [])
    with pytest.raises(Outage):
        third.keyring.derive("body", "old", HOUSE)


def test_a_process_that_leaves_is_counted_no_more_and_derives_nothing(fleet: Fleet) -> None:
    one = fleet.machine("one")
    one.nodes.beat()
    one.nodes.leave()
    assert astuple(fleet.destroy()) == ([], [], [])
    with pytest.raises(Outage):
        one.keyring.derive("body", "old", HOUSE)


def test_a_process_that_comes_while_a_secret_is_destroyed_is_not_overlooked(fleet: Fleet) -> None:
    """It has read the ring with the secret, and nobody knows of it: it says so before it reads the ring it will use."""
    late = fleet.machine("late")
    assert late.keyring.has(OLD)
    seen: list[Eviction] = []

    def destroy(_call: str) -> None:
        late.between.before = lambda _call: None
        seen.append(fleet.destroy())

    late.between.before = destroy
    late.nodes.beat()
    assert seen[0].waiting == ["late"]
    assert fleet.evicted().confirmed == ["late"]
    with pytest.raises(SecretDestroyed):
        late.keyring.derive("body", "old", HOUSE)


def test_a_process_that_cannot_reach_the_keyring_expires(fleet: Fleet) -> None:
    """Its database would take its row: but who tells that it lives, without the lease, would be waited for for ever."""
    one = fleet.machine("one")
    one.nodes.beat()
    fleet.destroy()
    one.between.before = refuse
    for _ in range(LAPSE):
        fleet.forward(1)
        with pytest.raises(Outage):
            one.nodes.beat()
    assert fleet.evicted().expired == ["one"]
    assert one.keyring.lapsed


def test_a_process_that_cannot_write_its_row_has_no_lease_after_a_minute(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reaches the keyring, and the others count it as expired: so its lease must have run out by then."""
    one = fleet.machine("one")
    one.nodes.beat()
    with monkeypatch.context() as patched:

        def down(_generation: int) -> None:
            raise Outage("the database does not answer", retry_after=5)

        patched.setattr(one.nodes, "_write", down)
        for _ in range(61):
            fleet.forward(1)
            with pytest.raises(Outage):
                one.nodes.beat()
    assert one.keyring.lapsed
    one.nodes.beat()
    assert one.keyring.has(OLD)


def test_a_lease_does_not_outlast_a_row_after_which_the_process_stood_still(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fleet.machine("one")
    one.nodes.beat()
    write = one.nodes._write

    def stand_still(generation: int) -> None:
        write(generation)
        fleet.forward(40)

    with monkeypatch.context() as patched:
        patched.setattr(one.nodes, "_write", stand_still)
        one.nodes.beat()
    fleet.destroy()
    fleet.forward(LAPSE - 40)
    assert fleet.evicted().expired == ["one"]
    assert one.keyring.lapsed


def test_a_process_that_comes_back_is_waited_for_before_it_reads_the_ring(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease ran out between reading the ring and writing its row: what it read may be gone, and reported so."""
    one = fleet.machine("one")
    one.nodes.beat()
    fleet.forward(59)
    write, seen = one.nodes._write, list[Eviction]()

    def slow(generation: int) -> None:
        monkeypatch.undo()
        fleet.keeper.destroy(OLD, entry="1", now=NOW)
        fleet.forward(LAPSE - 59)
        seen.append(fleet.evicted())
        write(generation)

    monkeypatch.setattr(one.nodes, "_write", slow)
    one.nodes.beat()
    assert seen[0].expired == ["one"]
    with pytest.raises(SecretDestroyed):
        one.keyring.derive("body", "old", HOUSE)
    assert fleet.evicted().confirmed == ["one"]


def test_a_process_that_was_not_seen_for_a_day_is_forgotten(fleet: Fleet) -> None:
    fleet.machine("one").nodes.beat()
    fleet.forward(24 * 3600 - 60)
    fleet.machine("other").nodes.beat()
    assert {node.id for node in fleet.asking.all()} == {"one", "other"}
    fleet.forward(61)
    fleet.machine("third").nodes.beat()
    assert {node.id for node in fleet.asking.all()} == {"other", "third"}


def test_a_process_whose_row_is_gone_makes_it_anew(fleet: Fleet) -> None:
    one = fleet.machine("one")
    one.nodes.beat()
    with fleet.store.transaction() as connection:
        connection.execute(delete(nodes))
    one.nodes.beat()
    assert fleet.evicted().confirmed == ["one"]


STEPS = ["beat", "beat", "forward", "forward", "cut keyring", "cut rows", "heal"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 1), st.integers(1, 70)), max_size=30))
def test_nobody_uses_a_secret_once_nobody_is_waited_for(
    tmp_path: Path, sql_keeping: Keeping, steps: list[tuple[str, int, int]]
) -> None:
    sql_keeping.clear()
    store, clock = Store.open("sqlite://"), SetClock(NOW)
    nodes.create(store._writer)
    fleet = Fleet(store, sql_keeping, clock)
    fleets = [fleet.machine("one"), fleet.machine("other")]
    for each in fleets:
        each.nodes.beat()
    fleet.keeper.destroy(OLD, entry="1", now=NOW)

    def down(_generation: int) -> None:
        raise Outage("the database does not answer", retry_after=5)

    for what, which, seconds in steps:
        machine = fleets[which]
        if what == "beat":
            with suppress(Outage):
                machine.nodes.beat()
        elif what == "forward":
            fleet.forward(seconds)
        elif what == "cut keyring":
            machine.between.before = refuse
        elif what == "cut rows":
            vars(machine.nodes)["_write"] = down
        else:
            machine.between.before = lambda _call: None
            vars(machine.nodes).pop("_write", None)
        waiting = fleet.evicted().waiting
        for each in fleets:
            try:
                each.keyring.derive("body", "old", HOUSE)
            except (Outage, SecretDestroyed):
                continue
            assert each.nodes.id in waiting
    store.close()
