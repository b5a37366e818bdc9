"""The queue at the door: company, bounds, failures that stay with whoever caused them, a clean stop."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime

import pytest

from textkeep.archive.batch import Batch, Incoming, Receipt, receipt_of
from textkeep.errors import Malformed, Outage, TooBusy
from textkeep.ingest.door import BATCHES_TOGETHER, RECORDS_TOGETHER, Door

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RECORD = Incoming(b"{}", 0, None, None, None, None, "quarantine", "malformed")


def batch(name: str, records: int = 0) -> Batch:
    return Batch(name, NOW, bytes(8), [RECORD] * records)


class Writer:
    """Writes nowhere; lets a test hold it, and fails at batches named `bad` and during an outage."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.entered = threading.Semaphore(0)
        self.outage = False

    def __call__(self, batches: Sequence[Batch]) -> list[Receipt]:
        self.calls.append([each.id for each in batches])
        self.entered.release()
        assert self.may_go.wait(30)
        if self.outage:
            raise Outage("the database does not answer")
        if any(each.id == "bad" for each in batches):
            raise Malformed("a bad batch")
        return [receipt_of(Batch(each.id, each.received_at, each.producer, []), None, []) for each in batches]


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def opened(writer: Writer) -> Iterator[Callable[..., Door]]:
    doors: list[Door] = []

    def make(**bounds: int) -> Door:
        doors.append(Door(writer, **bounds))
        doors[-1].start()
        return doors[-1]

    yield make
    writer.may_go.set()
    for door in doors:
        door.stop()


def busy(door: Door, writer: Writer) -> "Future[Receipt]":
    """Have the writer inside a transaction, held."""
    writer.may_go.clear()
    first = door.submit(batch("first"))
    assert writer.entered.acquire(timeout=30)
    return first


def test_requests_that_come_during_a_transaction_share_the_next(writer: Writer, opened: Callable[..., Door]) -> None:
    door = opened()
    busy(door, writer)
    waiting = [door.submit(batch(f"b{number}")) for number in range(5)]
    writer.may_go.set()
    assert [future.result(30).batch_id for future in waiting] == [f"b{number}" for number in range(5)]
    assert writer.calls == [["first"], ["b0", "b1", "b2", "b3", "b4"]]


def test_a_transaction_has_a_bounded_number_of_requests_and_records(
    writer: Writer, opened: Callable[..., Door]
) -> None:
    door = opened()
    busy(door, writer)
    small = [door.submit(batch("s")) for _ in range(BATCHES_TOGETHER + 1)]
    large = [door.submit(batch("l", RECORDS_TOGETHER - 1)) for _ in range(2)]
    larger = door.submit(batch("xl", RECORDS_TOGETHER + 1))
    writer.may_go.set()
    for future in (*small, *large, larger):
        future.result(30)
    assert [(call[0], call[-1], len(call)) for call in writer.calls] == [
        ("first", "first", 1),
        ("s", "s", BATCHES_TOGETHER),
        ("s", "l", 2),
        ("l", "l", 1),
        ("xl", "xl", 1),
    ]


def test_one_bad_batch_spoils_no_other(writer: Writer, opened: Callable[..., Door]) -> None:
    door = opened()
    busy(door, writer)
    names = ["a", "bad", "b"]
    waiting = [door.submit(batch(name)) for name in names]
    writer.may_go.set()
    assert waiting[0].result(30).batch_id == "a"
    assert waiting[2].result(30).batch_id == "b"
    with pytest.raises(Malformed):
        waiting[1].result(30)
    assert writer.calls == [["first"], names, ["a"], ["bad"], ["b"]]


def test_an_outage_is_told_to_everybody_at_once_and_nothing_is_tried_again(
    writer: Writer, opened: Callable[..., Door]
) -> None:
    door = opened()
    first = busy(door, writer)
    waiting = [door.submit(batch(f"b{number}")) for number in range(3)]
    writer.outage = True
    writer.may_go.set()
    for future in (first, *waiting):
        with pytest.raises(Outage):
            future.result(30)
    assert len(writer.calls) == 2
    writer.outage = False
    assert door.submit(batch("after")).result(30).batch_id == "after"


def test_too_many_waiting_records_are_refused_and_there_is_room_again_later(
    writer: Writer, opened: Callable[..., Door]
) -> None:
    door = opened(max_records=10)
    busy(door, writer)
    waiting = door.submit(batch("a", 10))
    with pytest.raises(TooBusy) as refusal:
        door.submit(batch("b", 1))
    assert refusal.value.retry_after
    writer.may_go.set()
    waiting.result(30)
    assert door.submit(batch("c", 10)).result(30).batch_id == "c"


def test_too_many_bytes_are_refused_until_requests_have_ended(opened: Callable[..., Door]) -> None:
    door = opened(max_bytes=100)
    with door.holding() as one:
        one.grow(60)
        with door.holding() as two, pytest.raises(TooBusy):
            two.grow(41)
        with door.holding() as two:
            two.grow(40)
    with door.holding() as three:
        three.grow(100)


def test_a_request_whose_caller_has_gone_before_its_turn_is_not_written(
    writer: Writer, opened: Callable[..., Door]
) -> None:
    door = opened()
    busy(door, writer)
    gone, there = door.submit(batch("gone")), door.submit(batch("there"))
    assert gone.cancel()
    writer.may_go.set()
    there.result(30)
    assert writer.calls == [["first"], ["there"]]


def test_a_stop_writes_what_waits_and_takes_nothing_more(writer: Writer, opened: Callable[..., Door]) -> None:
    door = opened()
    first = busy(door, writer)
    waiting = [door.submit(batch(f"b{number}")) for number in range(BATCHES_TOGETHER + 5)]
    stopping = threading.Thread(target=door.stop)
    stopping.start()
    writer.may_go.set()
    stopping.join(30)
    assert all(future.done() and future.exception() is None for future in (first, *waiting))
    with pytest.raises(TooBusy):
        door.submit(batch("late"))


def test_a_door_that_never_opened_can_be_stopped(writer: Writer) -> None:
    Door(writer).stop()
    assert writer.calls == []
