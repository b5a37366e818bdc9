"""What a test is handed is its own, is what it says, and leaves nothing behind."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient

from tests.engines.databases import Baseline, Pair, fresh
from tests.engines.indices import client, prefixed
from tests.engines.needed import need
from tests.engines.opensearch import OpenSearchNodes
from tests.engines.topics import Secured, Topics, topics
from textkeep.store.engine import Store
from textkeep.store.schema import migrate
from textkeep.store.tables import create_shelf_tables, drop_shelf_tables, shelf_tables


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        answer = connection.execute(statement.encode())
        return answer.fetchall() if answer.description else []


def test_a_database_is_empty_its_own_and_dropped(request: pytest.FixtureRequest) -> None:
    server = need(request, "postgres").address
    with fresh(server) as one, fresh(server) as other:
        run(one.owner, "CREATE TABLE mine (id INTEGER)")
        assert run(other.owner, "SELECT 1 FROM pg_tables WHERE tablename = 'mine'") == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(one.service, "SELECT * FROM mine")
    assert (one.name,) not in run(server, "SELECT datname FROM pg_database")
    assert (one.role,) not in run(server, "SELECT rolname FROM pg_roles")


def test_a_pair_is_two_databases(postgres_pair: Pair) -> None:
    run(postgres_pair.data, "CREATE TABLE mine (id INTEGER)")
    assert run(postgres_pair.keyring, "SELECT 1 FROM pg_tables WHERE tablename = 'mine'") == []


def test_a_baseline_is_put_back_whatever_a_test_did(postgres: str) -> None:
    store = Store.open(postgres)
    migrate(store)
    with store.transaction() as connection:
        create_shelf_tables(connection, "2026-11-22")
        connection.exec_driver_sql("INSERT INTO notes VALUES ('saved', 'as it was')")
        connection.exec_driver_sql("INSERT INTO runs (started_at) VALUES (1)")
    store.close()
    baseline = Baseline(postgres)
    seen = "SELECT (SELECT value FROM notes), (SELECT nextval('runs_id_seq') - 1)"
    for _ in range(2):
        baseline.restore()
        store = Store.open(postgres)
        with store.transaction() as connection:
            assert connection.exec_driver_sql(seen).one() == ("as it was", 1)
            assert len(shelf_tables(connection, "2026-11-22")) == 2
            assert shelf_tables(connection, "2026-11-23") == []
            assert connection.exec_driver_sql("SELECT * FROM papers_2026_11_22").all() == []
            connection.exec_driver_sql("UPDATE notes SET value = 'altered'")
            connection.exec_driver_sql("CREATE TABLE of_a_test AS SELECT 1 AS one")
            connection.exec_driver_sql(
                "INSERT INTO papers_2026_11_22 VALUES ('\\x00', 'k', '\\x00', NULL, '\\x00', 1, 1, '\\x00')"
            )
            create_shelf_tables(connection, "2026-11-23")
        with store.transaction() as connection:
            drop_shelf_tables(connection, "2026-11-22")
        store.close()


@pytest.mark.parametrize("kind", ["opensearch", "opensearch_three", "opensearch_secure"])
def test_a_prefix_is_a_test_s_own_and_nothing_under_it_is_left(request: pytest.FixtureRequest, kind: str) -> None:
    address = need(request, kind).address
    with prefixed(address) as url, client(address) as nodes:
        prefix = urlsplit(url).path.removeprefix("/")
        template = {"index_patterns": [f"{prefix}-*"], "template": {"settings": {"number_of_replicas": 0}}}
        nodes.put(f"/_index_template/{prefix}", json=template).raise_for_status()
        for number in range(3):
            nodes.put(f"/{prefix}-{number}", json={"aliases": {f"{prefix}-any": {}}}).raise_for_status()
        assert len(nodes.get(f"/_alias/{prefix}-any").json()) == 3
        assert nodes.get("/_cluster/health").json()["number_of_nodes"] == (3 if kind == "opensearch_three" else 1)
    with client(address) as nodes:
        assert nodes.get(f"/_alias/{prefix}-any").status_code == 404
        assert nodes.get(f"/_index_template/{prefix}").status_code == 404
        assert nodes.get(f"/{prefix}-*").json() == {}


def test_the_secure_engine_answers_nobody_without_the_password_or_without_tls(
    request: pytest.FixtureRequest, opensearch_secure: str
) -> None:
    with client(opensearch_secure) as nodes:
        assert nodes.get("/").status_code == 200
        for wrong in (("admin", "wrong"), ("", "")):
            assert nodes.get("/", auth=wrong).status_code == 401
        host = nodes.base_url.netloc.decode()
    with httpx.Client() as stranger:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.get(f"https://{host}/")
        with pytest.raises(httpx.TransportError):
            stranger.get(f"http://{host}/").raise_for_status()


def test_a_cluster_goes_on_when_one_of_three_nodes_is_lost_for_good(
    opensearch_nodes: Callable[..., OpenSearchNodes],
) -> None:
    cluster = opensearch_nodes(3)
    cluster.start()
    one_replica = {"settings": {"number_of_shards": 1, "number_of_replicas": 1}}
    assert cluster.ask(0, "/kept?wait_for_active_shards=2", "PUT", one_replica)
    assert cluster.ask(0, "/kept/_doc/1?refresh=true", "PUT", {"what": "acknowledged"})
    cluster.kill(1)
    cluster.wait_for_nodes(2)
    assert cluster.ask(2, "/kept/_doc/1")["_source"] == {"what": "acknowledged"}


def test_topics_are_a_test_s_own_and_deleted(request: pytest.FixtureRequest) -> None:
    address = need(request, "kafka").address
    with topics(address) as mine:
        name = mine.make(partitions=12, retention_ms="3600000")
        admin = AdminClient({"bootstrap.servers": address})
        assert len(admin.list_topics(name, timeout=30).topics[name].partitions) == 12
    deadline = time.monotonic() + 60  # the broker is told of it a moment later
    while name in admin.list_topics(timeout=30).topics:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("how", ["SSL", "PLAIN", "SCRAM-SHA-256"])
def test_what_comes_by_tls_and_sasl_is_there_in_the_clear(kafka: Topics, kafka_secured: Secured, how: str) -> None:
    topic = kafka.make()
    login = {"sasl.username": kafka_secured.user, "sasl.password": kafka_secured.password, "sasl.mechanism": how}
    sender = Producer(
        {
            "bootstrap.servers": kafka_secured.ssl if how == "SSL" else kafka_secured.sasl,
            "security.protocol": "SSL" if how == "SSL" else "SASL_SSL",
            "ssl.ca.location": kafka_secured.ca,
            "log_level": 0,
            **({} if how == "SSL" else login),
        }
    )
    sender.produce(topic, b"sent")
    assert sender.flush(60) == 0
    reader = Consumer({"bootstrap.servers": kafka.address, "group.id": topic, "auto.offset.reset": "earliest"})
    reader.subscribe([topic])
    got = reader.consume(1, timeout=60)
    reader.close()
    assert [message.value() for message in got] == [b"sent"]


def test_a_wrong_password_is_refused(kafka_secured: Secured) -> None:
    refused: list[KafkaError] = []
    settings: dict[str, Any] = {
        "bootstrap.servers": kafka_secured.sasl,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": kafka_secured.ca,
        "sasl.mechanism": "PLAIN",
        "sasl.username": kafka_secured.user,
        "sasl.password": "wrong",
        "error_cb": refused.append,
        "log_level": 0,
    }
    sender = Producer(settings)
    deadline = time.monotonic() + 60
    while KafkaError._AUTHENTICATION not in {error.code() for error in refused}:
        assert time.monotonic() < deadline
        sender.poll(0.1)
