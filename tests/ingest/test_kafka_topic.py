"""The topic itself: one that keeps readable texts too long, that lost records, that was made anew, or is locked."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from structlog.testing import capture_logs

from tests.engines.topics import Secured, Topics
from tests.housing import House, event
from tests.ingest.reading_topics import PATIENCE, Readers, Sent, read, readers, send
from tests.ingest.ways_in import WaysIn, raws
from textkeep.errors import Outage, Unsound
from textkeep.ingest.kafka_client import Brokers, Mechanism
from textkeep.ledger import log

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)

DAY = 24 * 3600 * 1000


@pytest.fixture
def ways_in(house: House) -> WaysIn:
    return WaysIn.build(house).register("org-001")


@pytest.fixture
def topic(ways_in: WaysIn, kafka: Topics) -> Iterator[Readers]:
    with readers(ways_in, kafka, 2) as made:
        yield made


@pytest.mark.parametrize(
    "config",
    [
        {"retention_ms": str(7 * DAY + 1)},
        {"retention_ms": "-1"},
        {"cleanup_policy": "compact"},
        {"cleanup_policy": "compact,delete"},
    ],
    ids=str,
)
def test_a_topic_that_keeps_readable_texts_too_long_is_not_read_unless_somebody_knows(
    ways_in: WaysIn, kafka: Topics, config: dict[str, str]
) -> None:
    with readers(ways_in, kafka, 1, **config) as topic:
        with pytest.raises(Unsound, match="its log is readable text") as refused:
            topic.reader()
        assert "--topic-keeps-readable-texts-longer" in refused.value.remedy
        send(kafka.address, topic.topic, [Sent(raws(event(1))[0], key=b"k")])
        with capture_logs() as logged:
            consumer = topic.reader(keeps_longer=True)
        assert [each["log_level"] for each in logged if "longer than seven days" in each["event"]] == ["warning"]
        read(consumer, lambda: consumer.messages == 1)


@pytest.mark.parametrize(("retention", "segment", "warned"), [(7, 1, True), (6, 2, True), (6, 1, False), (1, 6, False)])
def test_a_topic_whose_last_segment_may_linger_is_read_and_warned_of(
    ways_in: WaysIn, kafka: Topics, retention: int, segment: int, warned: bool
) -> None:
    with (
        readers(ways_in, kafka, retention_ms=str(retention * DAY), segment_ms=str(segment * DAY)) as topic,
        capture_logs() as logged,
    ):
        topic.reader()
    assert [each["event"] for each in logged if each["log_level"] == "warning"] == (
        ["the topic keeps readable texts longer than seven days"] if warned else []
    )


def test_a_topic_that_comes_to_keep_texts_longer_while_it_is_read_is_warned_of_and_read_on(
    topic: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkeep.ingest.kafka.TOPIC_SECONDS", 0.0)
    monkeypatch.setattr("textkeep.ingest.kafka_topic.LONGEST", timedelta(minutes=1))
    consumer = topic.reader(keeps_longer=True)
    topic.send(*raws(event(1)))
    with capture_logs() as logged:
        read(consumer, lambda: consumer.messages == 1)
    assert "the topic keeps readable texts longer than seven days" in {each["event"] for each in logged}


def test_there_must_be_a_topic(topic: Readers) -> None:
    topic.topic = "textkeep-nothing-of-that-name"
    with pytest.raises(Unsound, match="no such topic"):
        topic.reader()


def test_brokers_that_do_not_answer_are_an_outage(topic: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textkeep.ingest.kafka_topic.TIMEOUT", 1.0)
    with pytest.raises(Outage):
        topic.reader(brokers=Brokers("127.0.0.1:1"))


@pytest.mark.parametrize(
    "brokers",
    [
        Brokers("x", security="sasl_ssl"),
        Brokers("x", username="u", password="p"),
        Brokers("x", ca=Path("/ca.pem")),
        Brokers("x", security="ssl", ca=Path("/no/such/file.pem")),
    ],
    ids=["no name", "nobody looks at the name", "no TLS", "no such file"],
)
def test_settings_that_do_not_go_together_are_refused(topic: Readers, brokers: Brokers) -> None:
    with pytest.raises(Unsound):
        topic.reader(brokers=brokers)


def test_no_password_is_shown(ways_in: WaysIn) -> None:
    assert "hidden" not in repr(Brokers("x", password="hidden", key_password="hidden"))


def delete(topic: Readers, partition: int, before: int) -> None:
    """Delete records of a partition as its retention would."""
    wanted = TopicPartition(topic.topic, partition, before)
    admin = AdminClient({"bootstrap.servers": topic.kafka.address})
    for done in admin.delete_records([wanted]).values():
        done.result()


def unread(topic: Readers) -> list[dict[str, object]]:
    with topic.ways_in.house.store.reading() as connection:
        return [entry.body for entry in log.entries(connection, kinds=["unread"])]


def test_records_deleted_before_they_were_read_stop_their_partition_until_somebody_says_go_on(topic: Readers) -> None:
    topic.send(*raws(*(event(number) for number in range(10))))
    first = topic.reader(most=3)
    read(first, lambda: first.messages == 3)
    first.close()
    topic.made.remove(first)
    delete(topic, 0, 7)
    topic.send(*(Sent(raw, partition=1) for raw in raws(event(20), event(21))))

    second = topic.reader()
    with capture_logs() as logged:
        read(second, lambda: second.gaps and second.messages == 2)
    (gap,) = second.gaps.items()
    assert (gap[0], gap[1].wanted, gap[1].first, gap[1].last, gap[1].deleted) == (0, 3, 7, 10, 4)
    (told,) = (each for each in logged if each["log_level"] == "error")
    assert (told["partition"], told["deleted"]) == (0, 4)
    assert "--go-on-without-deleted-records" in told["remedy"]
    assert topic.stored() == {0: 3, 1: 2}
    assert unread(topic) == []
    second.close()
    topic.made.remove(second)

    third = topic.reader(go_on=True)
    read(third, lambda: third.messages == 3)
    assert (third.unread, third.gaps, topic.stored()) == (4, {}, {0: 10, 1: 2})
    assert [(body["partition"], body["from"], body["to"]) for body in unread(topic)] == [(0, 3, 7)]


def test_records_deleted_while_a_reader_lags_are_noticed_too(topic: Readers) -> None:
    consumer = topic.reader()
    topic.send(*raws(event(1)))
    read(consumer, lambda: consumer.messages == 1)
    consumer.hold(Outage("a moment"))
    topic.send(*raws(event(2), event(3), event(4)))
    delete(topic, 0, 3)
    read(consumer, lambda: consumer.gaps)
    assert consumer.gaps[0].deleted == 2
    assert topic.stored()[0] == 1


def test_a_log_that_is_shorter_than_what_was_read_of_it_stops_the_partition(topic: Readers) -> None:
    topic.send(*raws(event(1)))
    first = topic.reader()
    read(first, lambda: first.messages == 1)
    first.close()
    topic.made.remove(first)
    with topic.ways_in.house.store.transaction() as connection:
        connection.exec_driver_sql("UPDATE offsets SET next = 50 WHERE partition = 0")
    second = topic.reader()
    read(second, lambda: second.gaps)
    assert (second.gaps[0].wanted, second.gaps[0].last, second.gaps[0].deleted) == (50, 1, 0)


def test_what_was_deleted_before_the_first_start_ever_is_no_gap(topic: Readers) -> None:
    topic.send(*raws(event(1), event(2), event(3)))
    delete(topic, 0, 2)
    consumer = topic.reader()
    read(consumer, lambda: consumer.messages == 1)
    assert topic.stored() == {0: 3, 1: 0}


def test_a_topic_that_was_made_anew_is_not_read_until_somebody_says_go_on(topic: Readers) -> None:
    topic.send(*raws(event(1)))
    first = topic.reader()
    read(first, lambda: first.messages == 1)
    first.close()
    topic.made.remove(first)
    make_anew(topic)
    topic.send(*raws(event(2), event(3)))
    with pytest.raises(Unsound, match="made anew"):
        topic.reader()
    second = topic.reader(go_on=True)
    read(second, lambda: second.messages == 2)
    assert topic.stored()[0] == 2
    assert len(unread(topic)) == 1
    second.close()
    topic.made.remove(second)
    third = topic.reader()
    third.step()


def test_a_topic_that_is_made_anew_while_it_is_read_is_noticed_by_looking_now_and_then(
    topic: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkeep.ingest.kafka.IDENTITY_SECONDS", 0.0)
    topic.send(*raws(event(1)))
    consumer = topic.reader()
    read(consumer, lambda: consumer.messages == 1)
    make_anew(topic)
    topic.send(*raws(event(2), event(3)))
    with capture_logs() as logged:
        read(consumer, lambda: consumer.paused == "unsound")
    assert "made anew" in " ".join(str(each.get("detail")) for each in logged)
    assert topic.stored() == {0: 1, 1: 0}


def test_a_topic_that_was_made_anew_is_noticed_when_partitions_come(topic: Readers) -> None:
    """The consumer had looked at the topic, and it is another one when the group gives it partitions."""
    topic.send(*raws(event(1)))
    first = topic.reader()
    read(first, lambda: first.messages == 1)
    first.close()
    topic.made.remove(first)
    second = topic.reader()
    make_anew(topic)
    topic.send(*raws(event(2), event(3)))
    read(second, lambda: second.paused == "unsound")
    assert topic.stored() == {0: 1, 1: 0}


def make_anew(topic: Readers) -> None:
    """Delete the topic and make one of the same name."""
    admin = AdminClient({"bootstrap.servers": topic.kafka.address})
    admin.delete_topics([topic.topic], operation_timeout=PATIENCE)[topic.topic].result()
    deadline = time.monotonic() + PATIENCE
    while topic.topic in admin.list_topics(timeout=PATIENCE).topics:
        assert time.monotonic() < deadline
    wanted = NewTopic(topic.topic, 2, 1, config={"retention.ms": "3600000"})
    admin.create_topics([wanted], operation_timeout=PATIENCE)[topic.topic].result()
    while len(admin.list_topics(topic.topic, timeout=PATIENCE).topics[topic.topic].partitions) < 2:
        assert time.monotonic() < deadline


def test_it_reads_over_tls(topic: Readers, kafka_secured: Secured) -> None:
    topic.send(*raws(event(1)))
    consumer = topic.reader(brokers=Brokers(kafka_secured.ssl, security="ssl", ca=Path(kafka_secured.ca)))
    read(consumer, lambda: consumer.messages == 1)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_it_reads_with_a_name_and_a_password(topic: Readers, kafka_secured: Secured, mechanism: Mechanism) -> None:
    topic.send(*raws(event(1)))
    consumer = topic.reader(brokers=with_password(kafka_secured, mechanism, kafka_secured.password))
    read(consumer, lambda: consumer.messages == 1)


def test_a_wrong_password_or_an_unknown_authority_keeps_it_out(
    topic: Readers, kafka_secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkeep.ingest.kafka_topic.TIMEOUT", 3.0)
    with capture_logs() as logged, pytest.raises((Unsound, Outage)):
        topic.reader(brokers=with_password(kafka_secured, "PLAIN", "not-the-password"))
    assert "not-the-password" not in json.dumps(logged, default=str)
    with pytest.raises((Unsound, Outage)):
        topic.reader(brokers=Brokers(kafka_secured.ssl, security="ssl"))


def with_password(secured: Secured, mechanism: Mechanism, password: str) -> Brokers:
    return Brokers(
        secured.sasl,
        security="sasl_ssl",
        ca=Path(secured.ca),
        mechanism=mechanism,
        username=secured.user,
        password=password,
    )
