"""Topics of a Kafka broker that come and go with a test."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

SECONDS = 30
"""How long an administrative request may take on a busy machine."""


def answers(address: str) -> bool:
    """Whether a broker at the address tells its topics."""
    try:
        _admin(address).list_topics(timeout=5)
    except KafkaException:
        return False
    return True


def _admin(address: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": address, "log_level": 0, "socket.timeout.ms": SECONDS * 1000})


@dataclass(frozen=True)
class Secured:
    """The same broker's other listeners: `ssl` asks for trust in `ca`, `sasl` for user and password besides."""

    ssl: str
    sasl: str
    ca: str
    user: str
    password: str


@dataclass(frozen=True)
class Topics:
    """A broker's address, and topics of its own for a test."""

    address: str
    made: list[str] = field(default_factory=list)

    def make(self, partitions: int = 1, **config: str) -> str:
        """The name of a new topic; `config` with underscores for dots (`retention_ms="3600000"`)."""
        name = f"textkeep-{secrets.token_hex(6)}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        admin = _admin(self.address)
        admin.create_topics([topic], operation_timeout=SECONDS)[name].result(SECONDS)
        self.made.append(name)
        return name


@contextmanager
def topics(address: str) -> Iterator[Topics]:
    """Topics that are deleted afterwards, with everything in them."""
    mine = Topics(address)
    try:
        yield mine
    finally:
        if mine.made:
            admin = _admin(address)
            for done in admin.delete_topics(mine.made, operation_timeout=SECONDS).values():
                done.result(SECONDS)
