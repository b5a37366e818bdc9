"""No report is written before every process has dropped the secret, or it says which one has not shown it."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.housing import House
from tests.retention.purging import OLDEST, Purging, lines_of
from textkeep.archive.keyring import LEASE
from textkeep.archive.nodes import MARGIN, Nodes
from textkeep.retention.purging.evicting import PATIENCE_SECONDS
from textkeep.retention.turn import PURGE
from textkeep.store import tables


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    """A day that is due, kept by the process `keeper`."""
    with Purging.over(house, tmp_path) as made:
        made.take(OLDEST, 3)
        made.until(OLDEST.due())
        yield made


def node(purging: Purging, name: str) -> Nodes:
    """A process of the archive that has confirmed the ring as it is now, with a keyring of its own."""
    other = purging.house.reopened()
    made = Nodes(other.store, other.keyring, name, "api", other.clock)
    made.beat()
    return made


def keeper(purging: Purging) -> Nodes:
    house = purging.house
    made = Nodes(house.store, house.keyring, "keeper", "keep", house.clock)
    made.beat()
    return made


def nodes_of(purging: Purging) -> dict[str, Any]:
    found: dict[str, Any] = purging.report(OLDEST.shelf)["nodes"]
    return found


def test_a_report_waits_until_every_process_has_read_the_ring_without_the_secret(purging: Purging) -> None:
    other = node(purging, "other")
    states: list[str] = []

    def told(_shelf: str, state: str) -> None:
        states.append(state)
        if state == "dropped":
            thread.start()

    def confirm() -> None:
        time.sleep(0.3)
        assert states[-1] == "dropped"
        other.beat()

    thread = threading.Thread(target=confirm)
    assert purging.run(nodes=keeper(purging), told=told).stopped is None
    thread.join()
    assert nodes_of(purging)["confirmed"] == ["keeper", "other"]
    assert (nodes_of(purging)["expired"], nodes_of(purging)["waiting"]) == ([], [])
    assert lines_of(purging.report(OLDEST.shelf), "readback")["processes"] == "pass"


def test_a_process_whose_lease_ran_out_is_named_and_nobody_waits_for_it(purging: Purging) -> None:
    node(purging, "gone")
    nodes = keeper(purging)
    long_ago = purging.house.clock() - LEASE - MARGIN - timedelta(days=1)
    with purging.house.store.transaction() as connection:
        connection.execute(update(tables.nodes).where(tables.nodes.c.id == "gone").values(seen_at=long_ago))
    purging.run(nodes=nodes)
    report = purging.report(OLDEST.shelf)
    assert (nodes_of(purging)["confirmed"], nodes_of(purging)["expired"]) == (["keeper"], ["gone"])
    assert report["verdict"] == "pass"


def test_a_process_that_shows_nothing_makes_the_report_unknown(purging: Purging) -> None:
    node(purging, "silent")
    assert purging.run(nodes=keeper(purging), patience=0.2).stopped is None
    report = purging.report(OLDEST.shelf)
    assert nodes_of(purging)["waiting"] == ["silent"]
    assert lines_of(report, "readback")["processes"] == "unknown"
    assert report["verdict"] == "unknown"
    assert "silent" in next(line["reason"] for line in report["readback"] if line["name"] == "processes")


def test_waiting_keeps_the_turn_and_holds_no_transaction(purging: Purging) -> None:
    node(purging, "silent")
    waits = threading.Event()
    nodes = keeper(purging)
    thread = threading.Thread(
        target=lambda: purging.run(
            nodes=nodes,
            patience=1.0,
            lease_seconds=0.3,
            told=lambda _shelf, state: waits.set() if state == "dropped" else None,
        )
    )
    thread.start()
    waits.wait()
    while purging.state(OLDEST) == "dropped":
        if purging.state(OLDEST) == "dropped":
            taken = purging.leases.take(PURGE, "another", 60)
            assert not taken or purging.state(OLDEST) != "dropped"
        time.sleep(0.02)
    thread.join()
    assert purging.state(OLDEST) == "reported"


def test_waiting_ends_when_the_service_stops_and_the_next_run_goes_on_there(purging: Purging) -> None:
    silent = node(purging, "silent")
    nodes = keeper(purging)
    purge = purging.purge(nodes=nodes, told=lambda _shelf, state: stop.start() if state == "dropped" else None)
    stop = threading.Timer(0.2, lambda: purge.interrupt())
    assert purge.run().document()["stopped"] == "interrupted"
    assert purging.state(OLDEST) == "dropped"
    silent.beat()
    assert purging.run(nodes=nodes).stopped is None
    assert lines_of(purging.report(OLDEST.shelf), "readback")["processes"] == "pass"


def test_an_archive_of_one_process_waits_for_nobody(purging: Purging) -> None:
    purging.run()
    assert nodes_of(purging)["confirmed"] == ["this process"]


def test_a_report_waits_for_longer_than_a_lease_lasts() -> None:
    assert timedelta(seconds=PATIENCE_SECONDS) > LEASE + MARGIN
