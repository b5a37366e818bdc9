"""The consumer against a real broker, on every engine: what lies in a topic ends in the vault, each record once."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from confluent_kafka import Consumer as Client
from confluent_kafka import Producer, TopicPartition
from sqlalchemy import event as listening
from sqlalchemy import select

from tests.engines.topics import Topics
from tests.housing import NOON, House, SetClock, event
from tests.ingest.producing_by_hand import produce
from tests.ingest.reading_topics import PATIENCE, Readers, Sent, batch_message, read, readers
from tests.ingest.test_intake import fill
from tests.ingest.test_kafka_records import DATA, VALUE, attributes
from tests.ingest.ways_in import WaysIn, raws
from textkeep.access.principal import Principal
from textkeep.archive.batch import Receipt
from textkeep.errors import Forbidden, Outage, Unauthenticated
from textkeep.ingest.kafka import COUNTS
from textkeep.store.engine import Store
from textkeep.store.tables import batches

pytestmark = pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def topic(house: House, kafka: Topics) -> Iterator[Readers]:
    with readers(WaysIn.build(house).register("org-001", "org-002"), kafka) as made:
        yield made


def outcomes(receipts: list[Receipt]) -> Counter[tuple[str, str | None]]:
    return Counter((item.outcome, item.reason) for receipt in receipts for item in receipt.items)


def test_texts_in_any_mode_are_accepted_once(topic: Readers) -> None:
    batch = b"[" + VALUE + b"," + json.dumps(event(2)).encode() + b"]"
    topic.send(
        VALUE,
        Sent(DATA, attributes()),
        Sent(batch, [("content-type", b"application/cloudevents-batch+json")]),
        Sent(b"[]", [("content-type", b"application/cloudevents-batch+json")]),
    )
    consumer = topic.reader()
    read(consumer, lambda: consumer.messages == 4)
    assert outcomes(topic.receipts) == {("accepted", None): 2, ("duplicate", None): 2}
    assert topic.stored() == {0: 4}
    assert consumer.counts == {**dict.fromkeys(COUNTS, 0), "read": 4, "accepted": 2, "duplicates": 2}


def test_a_feed_with_every_stray_has_the_same_outcomes_as_over_http(
    ways_in_of_another_house: WaysIn, topic: Readers, shared: Path
) -> None:
    arguments = ("--texts", "2000", "--strays", "0.1", "--duplicates", "0.05")
    lines = fill(topic.ways_in, shared, *arguments)
    other = ways_in_of_another_house
    assert fill(other, shared, *arguments) == lines
    told = [(item.id, item.outcome, item.reason, item.flags) for item in other.take(*lines).items]
    topic.send(*lines)
    consumer = topic.reader(together=700)
    read(consumer, lambda: consumer.messages == len(lines))
    assert len(topic.receipts) >= 3
    assert [
        (item.id, item.outcome, item.reason, item.flags) for receipt in topic.receipts for item in receipt.items
    ] == told
    with topic.ways_in.house.store.reading() as connection:
        rows = connection.execute(select(batches)).all()
    assert sum(row.read for row in rows) == len(lines)


@pytest.fixture
def ways_in_of_another_house(built: Path, tmp_path: Path) -> Iterator[WaysIn]:
    shutil.copytree(built, tmp_path / "other")
    store = Store.open(f"sqlite:///{tmp_path / 'other' / 'textkeep.db'}")
    yield WaysIn.build(House.build(store, tmp_path / "other" / "keyring", SetClock(NOON)))
    store.close()


def test_poison_is_set_aside_with_topic_partition_and_offset_and_does_not_hold_up_the_rest(topic: Readers) -> None:
    too_large = json.dumps(event(5, body="x" * 300_000)).encode()
    topic.send(
        Sent(None, key=b"k"),
        b"not JSON \xff",
        Sent(b"{}", [("ce_id", b"\xff")]),
        Sent(VALUE, [("content-type", b"image/png")]),
        too_large,
        b"[1]",
        VALUE,
    )
    consumer = topic.reader()
    read(consumer, lambda: consumer.messages == 7)
    assert [(item.outcome, item.reason) for receipt in topic.receipts for item in receipt.items] == [
        *[("quarantined", "unreadable")] * 4,
        ("quarantined", "too-long"),
        ("quarantined", "malformed"),
        ("accepted", None),
    ]
    officer = topic.ways_in.principal("officer")
    entries = topic.ways_in.quarantine.page(officer, "audit", limit=9).items
    assert {entry.reason: entry.field for entry in entries if entry.reason != "unreadable"} == {
        "too-long": None,
        "malformed": None,
    }
    found = {}
    for entry in entries:
        assert entry.origin is not None
        assert (entry.origin["topic"], entry.origin["partition"]) == (topic.topic, 0)
        found[entry.origin["offset"]] = topic.ways_in.quarantine.read(officer, "audit", entry.shelf, entry.paper_id)[1]
    assert json.loads(found[0]) == {"key": "k", "headers": [], "value": None}
    assert found[1] == b"not JSON \xff"
    assert json.loads(found[3])["value"].encode() == VALUE
    assert found[4] == too_large
    assert sorted(found) == [0, 1, 2, 3, 4, 5]


def test_a_header_whose_name_is_not_utf8_is_set_aside_too(topic: Readers) -> None:
    """The client library leaves an error behind for it, which shows late once the interpreter has warmed up."""
    topic.send(*(Sent(raw, [("other", b"x")]) for raw in raws(*map(event, range(50)))))
    produce(topic.kafka.address, topic.topic, b"what it said", [(b"ce_\xff\xfe", b"v")])
    topic.send(*raws(event(50)))
    consumer = topic.reader()
    read(consumer, lambda: consumer.messages == 52)
    assert outcomes(topic.receipts) == {("quarantined", "unreadable"): 1, ("accepted", None): 51}
    officer = topic.ways_in.principal("officer")
    (entry,) = topic.ways_in.quarantine.page(officer, "audit", limit=9).items
    assert entry.origin == {"topic": topic.topic, "partition": 0, "offset": 50}
    assert topic.ways_in.quarantine.read(officer, "audit", entry.shelf, entry.paper_id)[1] == b"what it said"


def test_messages_with_many_records_share_a_transaction_only_up_to_its_bound(
    topic: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkeep.ingest.kafka_ahead.RECORDS_TOGETHER", 100)
    topic.send(
        *(batch_message(30 * at, 30) for at in range(25)),
        batch_message(750, 130),
        *raws(*map(event, range(880, 900))),
    )
    consumer = topic.reader()
    read(consumer, lambda: consumer.messages == 46)
    sizes = [receipt.read for receipt in topic.receipts]
    assert sum(sizes) == consumer.counts["accepted"] == 900
    assert sorted(sizes)[-2:] == [90, 130]
    assert len(sizes) <= 14
    assert topic.stored() == {0: 46}


def test_messages_of_many_bytes_share_a_transaction_only_up_to_its_bound(
    topic: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkeep.ingest.kafka_ahead.BYTES_TOGETHER", 50_000)
    topic.send(*raws(*(event(number, body="x" * 20_000) for number in range(10)), event(10, body="x" * 60_000)))
    consumer = topic.reader()
    read(consumer, lambda: consumer.messages == 11)
    assert sum(receipt.read for receipt in topic.receipts) == 11
    assert max(receipt.read for receipt in topic.receipts) == 2
    assert topic.stored() == {0: 11}


def test_what_was_read_beyond_a_batch_is_forgotten_where_the_batch_is_not_stored(
    topic: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would come again and again before what comes next, and be believed to be that."""
    monkeypatch.setattr("textkeep.ingest.kafka_ahead.RECORDS_TOGETHER", 20)
    monkeypatch.setattr("textkeep.ingest.kafka.FIRST_BACKOFF", 0.01)
    monkeypatch.setattr("textkeep.ingest.kafka.LAST_BACKOFF", 0.01)
    topic.send(*(batch_message(10 * at, 10) for at in range(12)))
    original, tried = topic.ways_in.intake.store, Counter[str]()

    def fails_mostly(*args: Any) -> list[Receipt]:
        tried["times"] += 1
        if tried["times"] % 4:
            raise Outage("the database does not answer")
        return original(*args)

    monkeypatch.setattr(topic.ways_in.intake, "store", fails_mostly)
    consumer = topic.reader()
    read(consumer, lambda: consumer.messages == 12)
    assert [item.id for receipt in topic.receipts for item in receipt.items] == [
        event(number)["id"] for number in range(120)
    ]
    assert outcomes(topic.receipts) == {("accepted", None): 120}
    assert topic.stored() == {0: 12}


def test_what_is_foreign_to_the_token_is_set_aside_record_by_record_also_where_all_of_it_is(topic: Readers) -> None:
    topic.send(*raws(event(1, org_id="org-002"), event(2, org_id="org-777")))
    consumer = topic.reader(principal=topic.ways_in.principal(orgs=["org-001"]))
    read(consumer, lambda: consumer.messages == 2)
    assert outcomes(topic.receipts) == {("quarantined", "unknown-organisation"): 2}


def test_one_that_comes_after_goes_on_where_the_last_one_ended(topic: Readers) -> None:
    topic.send(*raws(event(1), event(2)))
    first = topic.reader()
    read(first, lambda: first.messages == 2)
    topic.send(*raws(event(3)))
    second = topic.reader(group="another group altogether")
    read(second, lambda: second.messages == 1)
    assert outcomes(topic.receipts) == {("accepted", None): 3}
    assert topic.stored() == {0: 3}


def test_it_ends_when_the_messages_asked_for_are_stored(topic: Readers) -> None:
    topic.send(*raws(*(event(number) for number in range(10))))
    consumer = topic.reader(most=7, together=3)
    consumer.run(Event())
    assert (consumer.messages, topic.stored()) == (7, {0: 7})


def test_told_to_stop_it_finishes_the_batch_in_hand(topic: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    topic.send(*raws(*(event(number) for number in range(10))))
    consumer, stop = topic.reader(), Event()
    original = consumer.step

    def step() -> None:
        original()
        if consumer.in_hand:
            stop.set()

    monkeypatch.setattr(consumer, "step", step)
    consumer.run(stop)
    assert topic.stored() == {0: 10}
    assert consumer.messages == 10


def test_one_that_was_thought_dead_changes_nothing_when_it_comes_back(
    topic: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its group has given the partition away while its batch was on its way; the batch comes late, and is undone."""
    topic.send(*raws(*(event(number) for number in range(5))))
    late = topic.reader(group="thought dead")
    store, held = topic.ways_in.house.store, Event()
    original = topic.ways_in.intake.store

    def stall(*args: Any) -> list[Receipt]:
        assert held.wait(60)
        return original(*args)

    with monkeypatch.context() as stalling:
        stalling.setattr(topic.ways_in.intake, "store", stall)
        while not late.in_hand:
            late.step()
    successor = topic.reader(group="its successor")
    read(successor, lambda: successor.messages == 5)
    held.set()
    read(late, lambda: late.overtaken == 1)
    topic.send(*raws(event(9)))
    read(late, lambda: late.messages == 1)
    assert outcomes(topic.receipts) == {("accepted", None): 6}
    assert topic.stored() == {0: 6}
    with store.reading() as connection:
        assert sum(row.read for row in connection.execute(select(batches))) == 6
    topic.send(*raws(event(10)))
    read(successor, lambda: successor.overtaken == 1)
    read(successor, lambda: successor.messages == 6)


def test_while_the_vault_is_down_nothing_is_read_and_then_everything_once(
    topic: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = topic.reader()

    def down(*_: object) -> list[Receipt]:
        raise Outage("the database does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(topic.ways_in.intake, "store", down)
        topic.send(*raws(event(1), event(2)))
        read(consumer, lambda: consumer.paused == "outage")
        topic.send(*raws(event(3)))
        assert (topic.stored(), topic.receipts) == ({0: 0}, [])
    read(consumer, lambda: consumer.messages == 3)
    assert outcomes(topic.receipts) == {("accepted", None): 3}
    assert consumer.paused is None


def test_a_token_that_ends_pauses_it_and_a_new_one_lets_it_go_on(
    topic: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkeep.ingest.kafka.TOKEN_SECONDS", 0.0)
    allowed = [True]

    def authenticate() -> Principal:
        if not allowed[0]:
            raise Unauthenticated("revoked")
        return topic.ways_in.principal()

    consumer = topic.reader(authenticate=authenticate)
    topic.send(*raws(event(1)))
    read(consumer, lambda: consumer.messages == 1)
    allowed[0] = False
    read(consumer, lambda: consumer.paused == "unauthenticated")
    topic.send(*raws(event(2)))
    for _ in range(5):
        consumer.step()
    assert topic.stored() == {0: 1}
    allowed[0] = True
    read(consumer, lambda: consumer.messages == 2)


def test_only_a_producer_may_consume(topic: Readers) -> None:
    with pytest.raises(Forbidden):
        topic.reader(principal=topic.ways_in.principal("officer"))


def test_transactions_that_were_aborted_are_not_read_and_their_marks_stop_nothing(topic: Readers) -> None:
    producer = Producer({"bootstrap.servers": topic.kafka.address, "transactional.id": topic.topic})
    producer.init_transactions(60)
    for number in range(6):
        producer.begin_transaction()
        producer.produce(topic.topic, json.dumps(event(number)).encode(), partition=0)
        assert producer.flush(60) == 0  # it is in the log, and the broker knows of the transaction that is ended now
        if number % 3 == 1:
            producer.abort_transaction(60)
        else:
            producer.commit_transaction(60)
    consumer = topic.reader()
    read(consumer, lambda: consumer.messages == 4)
    assert outcomes(topic.receipts) == {("accepted", None): 4}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_rebalance_moves_partitions_without_gap_or_repeat(house: House, kafka: Topics, protocol: str) -> None:
    with readers(WaysIn.build(house).register("org-001"), kafka, 6) as topic:
        first = topic.reader(together=5, protocol=protocol)
        topic.send(*(Sent(raw, partition=at % 6) for at, raw in enumerate(raws(*map(event, range(60))))))
        read(first, lambda: first.messages >= 20)
        second = topic.reader(together=5, protocol=protocol)
        both = (first, second)
        topic.send(*(Sent(raw, partition=at % 6) for at, raw in enumerate(raws(*map(event, range(60, 300))))))
        deadline = time.monotonic() + PATIENCE
        while sum(each.messages for each in both) < 300 or not second.messages:
            assert time.monotonic() < deadline, [each.messages for each in both]
            for each in both:
                each.step()
        first.close()
        topic.made.remove(first)
        topic.send(*(Sent(raw, partition=at % 6) for at, raw in enumerate(raws(*map(event, range(300, 360))))))
        read(second, lambda: first.messages + second.messages == 360)
        assert outcomes(topic.receipts) == {("accepted", None): 360}
        assert topic.stored() == dict.fromkeys(range(6), 60)


def test_lag_is_told_by_partition_and_to_kafka(topic: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textkeep.ingest.kafka.LAG_SECONDS", 0.0)
    topic.send(*raws(event(1), event(2), event(3)))
    consumer = topic.reader(most=2)
    consumer.run(Event())
    consumer.look_around()
    assert consumer.lag == {0: 1}
    asking = Client({"bootstrap.servers": topic.kafka.address, "group.id": topic.topic})
    deadline = time.monotonic() + PATIENCE
    while [each.offset for each in asking.committed([TopicPartition(topic.topic, 0)])] != [2]:
        assert time.monotonic() < deadline
    asking.close()


def test_the_offsets_and_the_records_are_one_transaction(topic: Readers) -> None:
    """Whatever happens before the commit, neither counts."""
    topic.send(*raws(event(1)))
    consumer = topic.reader()
    store = topic.ways_in.house.store
    failing = [True]

    def refuse(_connection: object) -> None:
        if failing[0]:
            raise Outage("just before the commit")

    engine = store._writer
    listening.listen(engine, "commit", refuse)
    try:
        read(consumer, lambda: consumer.paused == "outage")
        failing[0] = False
        assert topic.stored() in ({}, {0: 0})
        with store.reading() as connection:
            assert connection.execute(select(batches)).all() == []
        read(consumer, lambda: consumer.messages == 1)
    finally:
        listening.remove(engine, "commit", refuse)
    assert outcomes(topic.receipts) == {("accepted", None): 1}


def test_a_record_long_after_its_400_days_is_refused_and_the_partition_goes_on(topic: Readers) -> None:
    long_ago = (topic.ways_in.house.clock() - timedelta(days=400)).isoformat()
    topic.send(*raws(event(1, sent_at=long_ago), event(2)))
    consumer = topic.reader()
    read(consumer, lambda: consumer.messages == 2)
    assert outcomes(topic.receipts) == {("refused", "expired"): 1, ("accepted", None): 1}
