"""From settings to a member of a consumer group, and what it tells Prometheus."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from textkeep.access.principal import Principal
from textkeep.archive.batch import Receipt
from textkeep.errors import Malformed, Unauthenticated
from textkeep.ingest.kafka import Consumer
from textkeep.ingest.kafka_client import Brokers, Reading
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive


def reading_of(settings: Settings) -> Reading:
    """What the settings say is to be read. Raises Malformed without brokers or topic, Unauthenticated without token."""
    if settings.kafka_brokers is None or settings.kafka_topic is None:
        raise Malformed(
            "a topic is read from brokers, and both must be named; nothing was started",
            field="TEXTKEEP_KAFKA_TOPIC" if settings.kafka_brokers else "TEXTKEEP_KAFKA_BROKERS",
        )
    if settings.token is None:
        raise _without_token()
    return Reading(
        settings.kafka_topic,
        group=settings.kafka_group,
        protocol=settings.kafka_protocol,
        session_ms=round(settings.kafka_session_seconds * 1000),
    )


def join(archive: Archive, reading: Reading) -> Consumer:
    """A member of the group that reads into an archive. Raises like `Consumer`, and Unauthenticated without a token."""
    settings = archive.settings

    def wrote(receipts: Sequence[Receipt]) -> None:
        archive.metrics.took(receipts)
        archive.follower.wake()

    consumer = Consumer(
        brokers_of(settings),
        reading,
        archive.store,
        archive.intake,
        authenticating(archive),
        archive.clock,
        wrote=wrote,
    )
    archive.metrics.register(Figures(consumer))
    return consumer


def brokers_of(settings: Settings) -> Brokers:
    """How the settings say that Kafka is reached."""
    password, key_password = settings.kafka_password, settings.kafka_key_password
    return Brokers(
        settings.kafka_brokers or "",
        security=settings.kafka_security,
        ca=settings.kafka_ca,
        certificate=settings.kafka_certificate,
        key=settings.kafka_key,
        key_password=key_password.get_secret_value() if key_password else None,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_username,
        password=password.get_secret_value() if password else None,
    )


def authenticating(archive: Archive) -> Callable[[], Principal]:
    """Asks anew, each time, who the consumer is. Raises Unauthenticated where it has no token."""
    token = archive.settings.token
    if token is None:
        raise _without_token()
    return lambda: archive.tokens.authenticate(token.get_secret_value())


def _without_token() -> Unauthenticated:
    return Unauthenticated(
        "the consumer has no token; nothing was started",
        field="TEXTKEEP_TOKEN",
        remedy="`textkeep token create --role producer` makes one; TEXTKEEP_TOKEN_FILE may name its file.",
    )


class Figures(Collector):
    """What a consumer tells Prometheus. A label is a partition's number or the name of a problem."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def describe(self) -> list[Metric]:
        """Nothing is known before it is looked at."""
        return []

    def collect(self) -> Iterator[Metric]:
        """How it stands now."""
        consumer = self._consumer
        lag = GaugeMetricFamily("textkeep_kafka_lag_messages", "Messages that wait.", labels=["partition"])
        for partition, waiting in consumer.lag.items():
            lag.add_metric([str(partition)], waiting)
        yield lag
        paused = GaugeMetricFamily(
            "textkeep_kafka_paused", "1 where nothing is read, and for what.", labels=["problem"]
        )
        if consumer.paused is not None:
            paused.add_metric([consumer.paused], 1)
        yield paused
        for name, what, count in (
            ("textkeep_kafka_messages", "Messages whose records are stored.", consumer.messages),
            ("textkeep_kafka_overtaken", "Batches that another consumer had stored already.", consumer.overtaken),
            ("textkeep_kafka_unread", "Deleted messages that were passed over.", consumer.unread),
        ):
            yield CounterMetricFamily(name, what, count)
        yield GaugeMetricFamily(
            "textkeep_kafka_partitions_stopped", "Partitions that lack the record that comes next.", len(consumer.gaps)
        )
