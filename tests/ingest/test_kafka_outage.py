"""A consumer over a database that dies, falls silent and comes back: it pauses, keeps its partitions, loses nothing."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.engines.kafka import KafkaBroker
from tests.engines.postgres import PostgresServer
from tests.engines.topics import Topics
from tests.housing import House, SetClock, event
from tests.ingest.reading_topics import Readers, Sent, read, readers
from tests.ingest.ways_in import WaysIn
from textkeep.store.engine import Store
from textkeep.store.schema import migrate
from textkeep.store.tables import batches

PARTITIONS = 3


@pytest.fixture
def server(postgres_server: Callable[..., PostgresServer]) -> PostgresServer:
    made = postgres_server()
    made.start()
    return made


@pytest.fixture
def topic(server: PostgresServer, kafka: Topics, tmp_path: Path, clock: SetClock) -> Iterator[Readers]:
    store = Store.open(server.address)
    migrate(store)
    house = House.build(store, tmp_path / "keyring", clock)
    with readers(WaysIn.build(house).register("org-001"), kafka, PARTITIONS) as made:
        yield made
    store.close()


def send(topic: Readers, first: int, count: int) -> None:
    numbers = range(first, first + count)
    topic.send(*(Sent(json.dumps(event(each)).encode(), partition=each % PARTITIONS) for each in numbers))


def test_killed_and_silent_databases_pause_the_partitions_and_lose_nothing(
    topic: Readers, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkeep.ingest.kafka.PATIENCE", 0.5)
    monkeypatch.setattr("textkeep.ingest.kafka.LAST_BACKOFF", 1.0)
    consumer = topic.reader(together=20, session_ms=6000)
    send(topic, 0, 100)
    read(consumer, lambda: consumer.messages == 100)

    server.kill()
    send(topic, 100, 100)
    for _ in range(40):  # longer than the group waits for a member that does not poll
        consumer.step()
    assert consumer.paused == "outage"
    assert consumer.messages == 100
    server.start()
    read(consumer, lambda: consumer.messages == 200)
    assert consumer.paused is None

    send(topic, 200, 100)
    while not consumer.in_hand:
        consumer.step()
    server.pause()
    with ThreadPoolExecutor(1) as other:
        resumed = other.submit(resume_when, server, lambda: consumer.messages > 200 or consumer.paused is not None)
        read(consumer, lambda: consumer.messages == 300)
        resumed.result()

    assert Counter(item.outcome for receipt in topic.receipts for item in receipt.items) == {"accepted": 300}
    assert topic.stored() == dict.fromkeys(range(PARTITIONS), 100)
    with topic.ways_in.house.store.reading() as connection:
        assert sum(row.read for row in connection.execute(select(batches))) == 300


def resume_when(server: PostgresServer, told: Callable[[], bool]) -> None:
    """Let a silent server speak again once a consumer has noticed, or after a while."""
    deadline = time.monotonic() + 10
    while not told() and time.monotonic() < deadline:
        time.sleep(0.02)
    server.resume()


def test_a_broker_that_dies_and_comes_back_is_read_on(
    kafka_broker: Callable[..., KafkaBroker], built: Path, tmp_path: Path, clock: SetClock
) -> None:
    broker = kafka_broker()
    broker.start()
    shutil.copytree(built, tmp_path / "house")
    store = Store.open(f"sqlite:///{tmp_path / 'house' / 'textkeep.db'}")
    house = House.build(store, tmp_path / "house" / "keyring", clock)
    with readers(WaysIn.build(house).register("org-001"), Topics(broker.address), PARTITIONS) as topic:
        consumer = topic.reader(session_ms=6000)
        send(topic, 0, 30)
        read(consumer, lambda: consumer.messages == 30)
        broker.kill()
        for _ in range(10):
            consumer.step()
        broker.start()
        send(topic, 30, 30)
        read(consumer, lambda: consumer.messages == 60)
        assert Counter(item.outcome for receipt in topic.receipts for item in receipt.items) == {"accepted": 60}
        assert topic.stored() == dict.fromkeys(range(PARTITIONS), 20)
    store.close()
