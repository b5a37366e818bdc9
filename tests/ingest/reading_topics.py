"""A consumer over a house, and what is put into a topic for it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Producer

from tests.engines.topics import Topics
from tests.housing import event
from tests.ingest.ways_in import WaysIn
from textkeep.access.principal import Principal
from textkeep.archive.batch import Receipt
from textkeep.ingest import kafka_offsets
from textkeep.ingest.kafka import Consumer
from textkeep.ingest.kafka_client import Brokers, Reading
from textkeep.store.engine import Store

PATIENCE: Final = 60
"""Seconds after which something that must come has not."""

Headers = Sequence[tuple[str, bytes | None]]


@dataclass
class Sent:
    """A message for a topic."""

    value: bytes | None
    headers: Headers = ()
    partition: int = 0
    key: bytes | None = None


def batch_message(first: int, count: int, partition: int = 0) -> Sent:
    """One message with so many records."""
    value = json.dumps([event(number) for number in range(first, first + count)]).encode()
    return Sent(value, [("content-type", b"application/cloudevents-batch+json")], partition)


def send(address: str, topic: str, messages: Sequence[Sent | bytes], **config: Any) -> None:
    """Put messages into a topic, in their order; each is there when this returns."""
    producer = Producer(
        {"bootstrap.servers": address, "linger.ms": 5, "message.max.bytes": 20_000_000, "log_level": 0, **config}
    )
    for message in messages:
        sent = Sent(message) if isinstance(message, bytes) else message
        while True:
            try:
                producer.produce(
                    topic, sent.value, sent.key, sent.partition, headers=list(sent.headers), on_delivery=_delivered
                )
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(PATIENCE) == 0


def _delivered(error: object, _message: object) -> None:
    assert error is None, error


@dataclass
class Readers:
    """Makes consumers of a topic, over what records pass on their way in."""

    ways_in: WaysIn
    kafka: Topics
    topic: str
    receipts: list[Receipt] = field(default_factory=list)
    made: list[Consumer] = field(default_factory=list)

    def reader(
        self,
        *,
        principal: Principal | None = None,
        authenticate: Callable[[], Principal] | None = None,
        store: Store | None = None,
        brokers: Brokers | None = None,
        **reading: Any,
    ) -> Consumer:
        """A consumer in this test's own group."""
        who = principal or self.ways_in.principal()
        made = Consumer(
            brokers or Brokers(self.kafka.address),
            Reading(self.topic, **{"group": self.topic, **reading}),
            store or self.ways_in.house.store,
            self.ways_in.intake,
            authenticate or (lambda: who),
            self.ways_in.house.clock,
            wrote=self.receipts.extend,
        )
        self.made.append(made)
        return made

    def send(self, *messages: Sent | bytes) -> None:
        """Put messages into the topic."""
        send(self.kafka.address, self.topic, messages)

    def stored(self) -> dict[int, int]:
        """The offsets in the database."""
        with self.ways_in.house.store.reading() as connection:
            return kafka_offsets.stored(connection, self.topic)


@contextmanager
def readers(ways_in: WaysIn, kafka: Topics, partitions: int = 1, **config: str) -> Iterator[Readers]:
    """A topic and consumers of it, which are closed afterwards."""
    made = Readers(
        ways_in, kafka, kafka.make(partitions, **{"retention_ms": "3600000", "segment_ms": "3600000", **config})
    )
    try:
        yield made
    finally:
        for consumer in made.made:
            consumer.close()


def read(consumer: Consumer, until: Callable[[], object]) -> None:
    """Let a consumer work until something is so. Fails where that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, (consumer.messages, consumer.paused, consumer.gaps)
        consumer.step()
    consumer.finish()
