"""Many processes over one vault: the same texts at the same time, claims, and the locks between them."""

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import func, select, update

from tests.housing import NOON, House, event
from textkeep.archive.batch import Batch, Incoming, Receipt
from textkeep.archive.text import Handle
from textkeep.errors import Outage, Unsound
from textkeep.ledger import log
from textkeep.store.tables import notes, shelves, slices, texts_of

SHARED = pytest.mark.parametrize("house", ["postgresql"], indirect=True)
SENT = datetime.fromisoformat("2026-11-20T10:00:00+00:00")
DAY = "2026-11-20"


def incoming(org: Handle, index: int, number: int, **data: Any) -> Incoming:
    made = event(number, **data)
    raw = json.dumps(made).encode()
    return Incoming(raw, index, made["id"], SENT, org, made["source"], "accept", None)


def batch(org: Handle, name: str, numbers: list[int], **data: Any) -> Batch:
    records = [incoming(org, index, number, **data) for index, number in enumerate(numbers)]
    return Batch(name, NOON, b"producer", records)


def rows(house: House) -> int:
    with house.store.reading() as connection:
        return connection.execute(select(func.count()).select_from(texts_of(DAY))).scalar_one()


@SHARED
@pytest.mark.parametrize("size", [1, 40, 400])
def test_the_same_texts_at_the_same_time_are_accepted_once(house: House, size: int) -> None:
    org = house.organisations.register("org-001")
    gate = threading.Barrier(4)

    def send(number: int) -> Receipt:
        numbers = list(range(size)) if number % 2 else list(range(size))[::-1]
        gate.wait()
        return house.vault.accept([batch(org, f"batch-{number}", numbers)])[0]

    with ThreadPoolExecutor(4) as pool:
        receipts = list(pool.map(send, range(4)))
    assert sum(receipt.accepted for receipt in receipts) == size
    assert sum(receipt.duplicates for receipt in receipts) == 3 * size
    assert rows(house) == size
    with house.store.reading() as connection:
        entries = log.entries(connection, kinds=["slice"])
        assert sum(entry.body["accepted"] for entry in entries) == size
        assert {int(entry.body["slice"], 16) for entry in entries} == set(connection.scalars(select(slices.c.id)))


@SHARED
def test_different_contents_at_the_same_time_become_versions_without_a_gap(house: House) -> None:
    org = house.organisations.register("org-001")
    gate = threading.Barrier(4)

    def send(number: int) -> Receipt:
        gate.wait()
        return house.vault.accept([batch(org, f"batch-{number}", [1, 2, 3], body=f"content {number}")])[0]

    with ThreadPoolExecutor(4) as pool:
        receipts = list(pool.map(send, range(4)))
    assert Counter(item.outcome for receipt in receipts for item in receipt.items) == {"accepted": 3, "version": 9}
    with house.store.reading() as connection:
        table = texts_of(DAY)
        found = connection.execute(select(table.c.tag, func.array_agg(table.c.version)).group_by(table.c.tag)).all()
    assert all(sorted(versions) == [1, 2, 3, 4] for _, versions in found)
    assert len(found) == 3


def test_what_is_written_beside_a_batch_is_there_with_it_or_not_at_all(house: House) -> None:
    org = house.organisations.register("org-001")

    def beside(connection: Any) -> None:
        connection.execute(notes.insert().values(name="beside", value="written"))

    house.vault.accept([batch(org, "batch-1", [1])], beside)

    def refusing(connection: Any) -> None:
        connection.execute(update(notes).where(notes.c.name == "beside").values(value="again"))
        raise Outage("not now")

    with pytest.raises(Outage):
        house.vault.accept([batch(org, "batch-2", [2])], refusing)
    with house.store.reading() as connection:
        assert connection.execute(select(notes.c.value).where(notes.c.name == "beside")).scalar_one() == "written"
    assert rows(house) == 1


@SHARED
def test_accepting_waits_for_a_purge_that_has_the_shelf_and_then_refuses(house: House) -> None:
    org = house.organisations.register("org-001")
    with ThreadPoolExecutor(1) as pool:
        with house.store.transaction() as connection:
            assert house.shelves.lock(connection, [DAY], exclusive=True) == {DAY: "open"}
            waiting = pool.submit(house.vault.accept, [batch(org, "batch-1", [1])])
            house.shelves.set_state(connection, DAY, "intent")
            assert not waiting.done()
        receipt = waiting.result()[0]
    assert (receipt.accepted, receipt.refused) == (0, 1)


@SHARED
def test_a_start_beside_a_purge_is_not_refused(house: House) -> None:
    """The ring was read before another process destroyed a secret, the shelves after."""
    other = house.reopened()
    stone = other.keyring.destroy(f"shelf:{DAY}", entry="1", now=NOON)
    assert house.keyring.tombstone(f"shelf:{DAY}") is None
    with house.store.transaction() as connection:
        connection.execute(update(shelves).where(shelves.c.name == DAY).values(state="shredded"))
    house.shelves.confirm()
    assert house.keyring.tombstone(f"shelf:{DAY}") == stone


@SHARED
def test_a_keyring_that_is_older_than_the_last_purge_is_refused(house: House) -> None:
    with house.store.transaction() as connection:
        connection.execute(update(shelves).where(shelves.c.name == DAY).values(state="shredded"))
    with pytest.raises(Unsound, match="still holds its secret"):
        house.shelves.confirm()


@SHARED
def test_two_that_accept_hold_a_shelf_together(house: House) -> None:
    with house.store.transaction() as connection:
        house.shelves.lock(connection, [DAY])

        def lock() -> dict[str, Any]:
            with house.store.transaction() as other:
                return dict(house.shelves.lock(other, [DAY]))

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(lock).result() == {DAY: "open"}


@SHARED
def test_a_lock_tells_the_state_that_the_one_before_left(house: House) -> None:
    def lock() -> dict[str, Any]:
        with house.store.transaction() as other:
            return dict(house.shelves.lock(other, [DAY], exclusive=True))

    with ThreadPoolExecutor(1) as pool:
        with house.store.transaction() as connection:
            house.shelves.lock(connection, [DAY], exclusive=True)
            waiting = pool.submit(lock)
            connection.execute(update(shelves).where(shelves.c.name == DAY).values(state="intent"))
        assert waiting.result() == {DAY: "intent"}
