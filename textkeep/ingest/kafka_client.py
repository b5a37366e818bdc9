"""How Kafka is reached: addresses, TLS and SASL as the client library wants them, and what its errors mean here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import structlog
from confluent_kafka import KafkaError, KafkaException

from textkeep.errors import Outage, TextkeepError, Unsound
from textkeep.ingest.kafka_ahead import MESSAGES_TOGETHER

Protocol = Literal["classic", "consumer"]
Security = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

TIMEOUT: Final = 10.0
"""Seconds after which a broker that does not answer a question is out of reach."""

RETRY_AFTER: Final = 5

SESSION_MS: Final = 10_000
"""How long the group waits for a process that died. One that only stalled does no harm when it comes back."""

HEARTBEAT_MS: Final = 1_000
"""How often a member says that it is there; so soon it learns that others came or went."""

QUEUED_KIB: Final = 16 * 1024
"""How much of a topic is held in memory ahead of what is being parsed."""

FETCH_MS: Final = 100
"""How long a broker waits for company before it answers."""

_DENIED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_REFUSED: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL})
_WRONG: Final = frozenset({KafkaError._INVALID_ARG, KafkaError._CONFLICT, KafkaError._NOT_IMPLEMENTED})

_log = structlog.stdlib.get_logger("textkeep.kafka")


@dataclass(frozen=True, slots=True)
class Brokers:
    """Where the brokers are and how they are spoken to; files are PEM."""

    addresses: str
    security: Security = "plaintext"
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def config(self) -> dict[str, Any]:
        """The client library's settings. Raises Unsound where one stands without the other that it needs."""
        wanted: dict[str, object] = {
            "bootstrap.servers": self.addresses,
            "security.protocol": self.security,
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.key,
            "ssl.key.password": self.key_password,
        }
        if self.security.startswith("sasl"):
            if not self.username or not self.password:
                raise _unsound("SASL needs a name and a password", "TEXTKEEP_KAFKA_USERNAME")
            wanted |= {"sasl.mechanism": self.mechanism, "sasl.username": self.username, "sasl.password": self.password}
        elif self.username or self.password:
            raise _unsound(
                "a name and a password are given, and the brokers would not be asked to look at them",
                "TEXTKEEP_KAFKA_SECURITY",
            )
        if not self.security.endswith("ssl") and (self.ca or self.certificate):
            raise _unsound("certificates are given, and the connection would not use TLS", "TEXTKEEP_KAFKA_SECURITY")
        return {name: str(value) for name, value in wanted.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read, and how. `most` ends it after so many messages, `together` share a transaction at most; the flags
    name their dangers.

    `classic` is the protocol that every broker speaks, with partitions moving one by one; `consumer` is that of
    Kafka 4, where the broker says how long a session is.
    """

    topic: str
    group: str = "textkeep"
    protocol: Protocol = "classic"
    together: int = MESSAGES_TOGETHER
    most: int | None = None
    session_ms: int = SESSION_MS
    keeps_longer: bool = False
    go_on: bool = False

    def config(self) -> dict[str, Any]:
        """The client library's settings: nothing is committed, skipped or made by itself."""
        config: dict[str, Any] = {
            "group.id": self.group,
            "client.id": "textkeep",
            "group.protocol": self.protocol,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "allow.auto.create.topics": False,
            "check.crcs": True,
            "fetch.wait.max.ms": FETCH_MS,
            "queued.max.messages.kbytes": QUEUED_KIB,
        }
        if self.protocol == "classic":
            config |= {
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": self.session_ms,
                "heartbeat.interval.ms": min(self.session_ms // 4, HEARTBEAT_MS),
            }
        return config


class ClientLog:
    """Where the client library's own log goes: which part spoke and how gravely. Its words are not kept."""

    def log(self, level: int, _template: str, facility: str, *_: object) -> None:
        """Called by the library."""
        _log.log(level, "the kafka client speaks", facility=facility)


def heard(error: KafkaError) -> None:
    """The library tells of a broker that it cannot reach, or of another thing it goes on after by itself."""
    _log.warning("the kafka client goes on after an error", error=error.name())


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the client library as the house's own: Outage, or Unsound where no waiting helps."""
    try:
        yield
    except KafkaException as exc:
        raise meaning_of(exc.args[0]) from exc


def meaning_of(error: KafkaError) -> TextkeepError:
    """What an error of the client library means to the house. Its words are not repeated: only its name is."""
    code, name = error.code(), error.name()
    if code in _DENIED:
        return Unsound(f"Kafka does not allow it ({name})", remedy="docs/ingest.md names the rights that are needed.")
    if code in _REFUSED:
        return Unsound(f"Kafka does not let the consumer in ({name})", field="TEXTKEEP_KAFKA_SECURITY")
    if code in _WRONG:
        return _unsound(f"the Kafka client cannot work with these settings ({name})", "TEXTKEEP_KAFKA_SECURITY")
    if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return Unsound("there is no such topic", field="TEXTKEEP_KAFKA_TOPIC", remedy="Make it, or name another.")
    return Outage(f"Kafka does not answer ({name})", retry_after=RETRY_AFTER)


def _unsound(detail: str, setting: str) -> Unsound:
    return Unsound(f"{detail}; nothing was started", field=setting, remedy="docs/ingest.md lists what goes together.")
