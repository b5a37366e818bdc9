"""Leases: one holder at a time, by the clock that decides, whoever comes at the same moment."""

import threading
from contextlib import suppress

import pytest

from tests.housing import SetClock
from textkeep.store.engine import Store
from textkeep.store.leases import LeaseLost, Leases


@pytest.fixture
def leases(store: Store, clock: SetClock) -> Leases:
    return Leases(store, clock)


def holder(store: Store, leases: Leases) -> str | None:
    with store.reading() as connection:
        return leases.holder(connection, "work")


def test_a_lease_has_one_holder_until_it_ends(store: Store, leases: Leases) -> None:
    assert leases.take("work", "one", 60)
    assert not leases.take("work", "other", 60)
    assert leases.take("work", "one", 60)
    assert leases.take("more", "other", 60)
    assert holder(store, leases) == "one"
    leases.release("work", "other")
    assert holder(store, leases) == "one"
    leases.release("work", "one")
    assert holder(store, leases) is None
    assert leases.take("work", "other", 60)


def test_a_lease_that_has_ended_is_anybody_s(store: Store, leases: Leases) -> None:
    leases.take("work", "one", 0)
    assert holder(store, leases) is None
    assert leases.take("work", "other", 60)
    assert holder(store, leases) == "other"
    with pytest.raises(LeaseLost), store.transaction() as connection:
        leases.hold(connection, "work", "one", 60)


def test_where_the_database_has_a_clock_that_of_the_machine_does_not_matter(store: Store, clock: SetClock) -> None:
    leases = Leases(store, clock)
    leases.take("work", "one", 60)
    clock.forward(seconds=61)
    assert leases.take("work", "other", 60) is not store.shared


@pytest.mark.parametrize("was_there", [True, False], ids=["renewed", "new"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "undone"])
def test_who_comes_while_a_lease_is_taken_learns_how_that_ended(
    store: Store, leases: Leases, was_there: bool, kept: bool
) -> None:
    if was_there:
        leases.take("work", "before", 0)
    had: list[bool] = []
    other = threading.Thread(target=lambda: had.append(leases.take("work", "other", 60)))
    with suppress(ZeroDivisionError), store.transaction() as connection:
        assert leases.taken(connection, "work", "one", 60)
        other.start()
        if not kept:
            raise ZeroDivisionError
    other.join()
    assert had == [not kept]
    assert holder(store, leases) == ("one" if kept else "other")
