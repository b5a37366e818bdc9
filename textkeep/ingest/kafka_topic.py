"""The topic itself: which one it is, and how long its log keeps readable texts.

What lies in a topic is readable to whoever reads its log, and no report speaks of it. So a topic that keeps records
longer than `LONGEST` is not read from, unless somebody says that they know.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from textkeep.errors import Unsound
from textkeep.ingest.kafka_client import TIMEOUT, Brokers, ClientLog, meaning_of, translated

LONGEST: Final = timedelta(days=7)
"""How long a topic may keep records."""

UNBOUNDED: Final = -1

KNOWINGLY: Final = "--topic-keeps-readable-texts-longer"
"""The flag with which a topic is read that keeps its records longer."""

_log = structlog.stdlib.get_logger("textkeep.kafka")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the brokers describe it: its id (None where they have none), its partitions, how long it keeps what.

    `retention` and `segment` are in milliseconds; `policies` is the cleanup policy in its parts.
    """

    id: str | None
    partitions: int
    retention: int
    segment: int
    policies: Sequence[str]

    @property
    def too_long(self) -> str | None:
        """Why its log keeps readable texts too long, or None."""
        if "delete" not in self.policies:
            return "the topic deletes nothing (cleanup.policy)"
        if len(self.policies) > 1:
            return "the topic keeps the last record of each key (cleanup.policy)"
        if self.retention == UNBOUNDED:
            return "the topic keeps its records for ever (retention.ms)"
        if timedelta(milliseconds=self.retention) > LONGEST:
            return f"the topic keeps its records for {_days(self.retention)} (retention.ms)"
        return None

    @property
    def lingers(self) -> str | None:
        """How long a record may really stay, where that is too long: a segment goes when its last record is due."""
        together = self.retention + self.segment
        if self.too_long is not None or timedelta(milliseconds=together) <= LONGEST:
            return None
        return f"where few records come, one may stay for {_days(together)} (retention.ms and segment.ms together)"


class TopicAdmin:
    """Asks the brokers about one topic."""

    def __init__(self, brokers: Brokers, name: str) -> None:
        self._brokers = brokers
        self._name = name

    def id(self) -> str | None:
        """Which topic it is now; None where the brokers have no ids. Raises like `describe`."""
        with self._asking() as client:
            found = client.describe_topics(TopicCollection([self._name]), request_timeout=TIMEOUT)[self._name].result()
        return str(found.topic_id) if found.topic_id else None

    def describe(self) -> Topic:
        """The topic as it is now. Raises Unsound where there is none, or it may not be looked at; Outage."""
        wanted = ConfigResource(ConfigResource.Type.TOPIC, self._name)
        with self._asking() as client:
            described = client.describe_topics(TopicCollection([self._name]), request_timeout=TIMEOUT)
            found = described[self._name].result()
            config = client.describe_configs([wanted], request_timeout=TIMEOUT)[wanted].result()
        said = {name: config[name].value for name in ("retention.ms", "segment.ms", "cleanup.policy")}
        return Topic(
            id=str(found.topic_id) if found.topic_id else None,
            partitions=len(found.partitions),
            retention=int(said["retention.ms"]),
            segment=int(said["segment.ms"]),
            policies=[part.strip() for part in said["cleanup.policy"].split(",")],
        )

    @contextmanager
    def _asking(self) -> Iterator[AdminClient]:
        """A client whose errors are the house's."""
        errors: list[KafkaError] = []
        settings: dict[str, Any] = {**self._brokers.config(), "error_cb": errors.append}
        with translated():
            client = AdminClient(settings, logger=ClientLog())
            try:
                yield client
            except KafkaException as exc:
                client.poll(0)
                raise _telling(errors, exc) from exc


def must_not_keep(topic: Topic, *, knowingly: bool) -> None:
    """Raises Unsound where a topic's log keeps readable texts too long and nobody said that they know; warns else."""
    if topic.too_long is not None and not knowingly:
        raise Unsound(
            f"{topic.too_long}, and its log is readable text; nothing was read",
            field="TEXTKEEP_KAFKA_TOPIC",
            remedy=f"Set cleanup.policy=delete and retention.ms to at most {LONGEST.days} days, best much less, or"
            f" give {KNOWINGLY} and see to its deletion yourself.",
        )
    why = topic.too_long or topic.lingers
    if why is not None:
        _log.warning("the topic keeps readable texts longer than seven days", why=why)


def _telling(errors: Sequence[KafkaError], exc: KafkaException) -> Exception:
    """Of all that went wrong the error that waiting does not mend: a refused password looks like silence else."""
    found = (meaning_of(error) for error in errors)
    return next((each for each in found if isinstance(each, Unsound)), exc)


def _days(milliseconds: int) -> str:
    return f"{milliseconds / timedelta(days=1).total_seconds() / 1000:.1f} days"
