"""Real processes on PostgreSQL and OpenSearch: two `api`, `follow` and `keep`, and commands beside them."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.engines import need
from tests.engines.indices import prefixed
from tests.service.conftest import DIRECTORY, Cli
from tests.service.many import Many, Process, sharing
from textkeep.archive.shelf import STATES
from textkeep.errors import PROBLEMS
from textkeep.service.metrics import OUTCOMES
from textkeep.service.parts import EVERY

PATIENCE = 120
STREAM = {"Content-Type": "application/x-ndjson"}


@dataclass
class Running:
    """Four processes, started at the same moment on databases that were only migrated."""

    many: Many
    one: Process
    other: Process
    follow: Process
    keep: Process

    @property
    def all(self) -> list[Process]:
        return [self.one, self.other, self.follow, self.keep]


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("many") / "a"
    with (
        prefixed(need(request, "opensearch").address) as index,
        sharing(request, folder, index) as shared,
        ExitStack() as opened,
    ):
        many = Many(shared, opened)
        begun = [
            many.start(*words) for words in (("api", "--port", "0"), ("api", "--port", "0"), ("follow",), ("keep",))
        ]
        yield Running(many, *(process.greeted() for process in begun))


@pytest.fixture(scope="module")
def tokens(running: Running) -> dict[str, str]:
    return {role: running.many.token(role) for role in ("registrar", "producer", "officer")}


def text(number: int, body: str) -> bytes:
    """A text of the demo's first user, sent a minute ago."""
    wire = {
        "specversion": "1.0",
        "type": "textkeep.text.v1",
        "id": f"many-{number}",
        "source": "/messaging/org-001",
        "data": {
            "org_id": "org-001",
            "user_id": "org-001-user-0001",
            "direction": "outbound",
            "channel": "sms",
            "from": "+12125550101",
            "to": "+13125550102",
            "body": body,
            "sent_at": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(),
            "disposition": "delivered",
        },
    }
    return json.dumps(wire).encode() + b"\n"


def search(process: Process, token: str, words: str) -> list[str]:
    """The bodies that a search finds."""
    with process.client(token) as client:
        asked = {"query": words, "reason": "a test", "org_id": "org-001"}
        answer = client.post("/v1/searches", json=asked)
    assert answer.status_code == 200, answer.text
    return [found["body"] for found in answer.json()["results"]]


@pytest.fixture(scope="module")
def registered(running: Running, tokens: dict[str, str]) -> None:
    """The directory, told to one of the processes."""
    with running.one.client(tokens["registrar"]) as registrar:
        assert registrar.post("/v1/directory", content=DIRECTORY, headers=STREAM).json()["refused"] == 0


@pytest.mark.usefixtures("registered")
def test_a_text_handed_to_one_process_is_found_through_another(running: Running, tokens: dict[str, str]) -> None:
    with running.other.client(tokens["producer"]) as producer:
        receipt = producer.post("/v1/texts", content=text(1, "a pelican flies"), headers=STREAM).json()
    assert (receipt["read"], receipt["accepted"]) == (1, 1), receipt
    until = time.monotonic() + PATIENCE
    while (found := search(running.one, tokens["officer"], "pelican")) == [] and time.monotonic() < until:
        time.sleep(0.2)
    assert found == ["a pelican flies"]


@pytest.mark.usefixtures("registered")
def test_commands_run_beside_the_processes(running: Running, tokens: dict[str, str]) -> None:
    assert running.many.run("purge", "--dry-run")["days"] == []
    assert running.many.run("load", "-", "--wait", stdin=text(2, "a heron waits"))["accepted"] == 1
    assert search(running.other, tokens["officer"], "heron") == ["a heron waits"]
    assert running.many.run("rebuild", "--shelf", datetime.now(UTC).date().isoformat())["shelves"] == 1
    assert search(running.other, tokens["officer"], "heron") == ["a heron waits"]
    assert running.many.run("keyring", "status")["root_kind"] == "local"
    entries = running.many.run("ledger")["entries"]
    assert {"slice", "token"} <= {entry["kind"] for entry in entries}


def test_a_token_revoked_by_a_command_ends_in_every_process_at_once(running: Running) -> None:
    made = running.many.run("token", "create", "--role", "auditor", "--for", "kim")
    for process in (running.one, running.other):
        with process.client(made["token"]) as client:
            assert client.get("/v1/days").status_code == 200
    running.many.run("token", "revoke", made["id"])
    for process in (running.one, running.other):
        with process.client(made["token"]) as client:
            assert client.get("/v1/days").status_code == 401


def test_every_process_tells_its_health_and_metrics_without_a_token(running: Running) -> None:
    parts = [{"index"}, {"index"}, {"index", "follower"}, set()]
    for process, own in zip(running.all, parts, strict=True):
        assert process.get("/healthz").status_code == 200
        ready = process.get("/readyz")
        assert ready.status_code == 200, ready.text
        assert {part["name"] for part in ready.json()["parts"]} == {"database", "keyring", "purge"} | own
        assert process.get("/v1/days").status_code == 404
        assert process.get("/local/state").status_code == 404


def test_metrics_are_what_prometheus_reads_and_their_labels_are_words_of_the_program(running: Running) -> None:
    words = {*OUTCOMES, *STATES, *EVERY, *PROBLEMS, "command", "up", "derive", "seal", "open"}
    words |= {"expected", "found", "missing", "strays", "altered"}
    names: dict[str, float] = {}
    for process in running.all:
        for family in text_string_to_metric_families(process.get("/metrics").text):
            for sample in family.samples:
                names[sample.name] = names.get(sample.name, 0) + sample.value
                labels = {name: value for name, value in sample.labels.items() if name != "version"}
                assert set(labels.values()) <= words, (sample.name, labels)
    assert names["textkeep_database_up"] == 4
    assert names["textkeep_nodes"] >= 4 * 4
    for name in (
        "textkeep_texts_total",
        "textkeep_unindexed_texts",
        "textkeep_index_lag_seconds",
        "textkeep_coverage_texts",
        "textkeep_days",
        "textkeep_purge_age_seconds",
        "textkeep_purge_last_run_timestamp_seconds",
        "textkeep_queue_records",
        "textkeep_queue_bytes",
        "textkeep_key_operations_total",
    ):
        assert name in names, sorted(names)


def test_a_connection_that_is_cut_is_an_answer_and_not_an_end(running: Running, tokens: dict[str, str]) -> None:
    with psycopg.connect(running.many.shared.owner.database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with running.one.client(tokens["officer"]) as client:
        until = time.monotonic() + PATIENCE
        while (answer := client.get("/v1/days")).status_code == 503 and time.monotonic() < until:
            assert "Retry-After" in answer.headers
    assert answer.status_code == 200
    assert running.follow.process.poll() is None


@pytest.mark.parametrize("part", ["api", "consume", "follow", "keep"])
def test_no_part_starts_on_what_one_process_only_can_have(running: Running, part: str) -> None:
    given = {name: value for name, value in running.many.shared.given().items() if name != "index_url"}
    given |= {"kafka_brokers": "127.0.0.1:9", "kafka_topic": "texts", "token": "tk_none"}
    refused = Cli(running.many.shared.service.folder)(part, "--json", code=1, **given)
    assert json.loads(refused.stderr)["field"] == "TEXTKEEP_INDEX_URL"


def test_no_password_is_printed_or_logged(running: Running) -> None:
    settings = running.many.shared.service
    password = settings.database.split("@")[0].rpartition(":")[2]
    one = {**running.many.shared.given(), "keyring_url": settings.database}
    refused = Cli(settings.folder)("doctor", "--json", code=None, **one)
    assert b"one database" in refused.stdout + refused.stderr
    shown = refused.stdout + refused.stderr + json.dumps(running.many.run("doctor")).encode()
    assert password.encode() not in shown


def test_each_process_stops_cleanly_and_leaves(running: Running) -> None:
    with httpx.Client(timeout=60) as client:
        assert client.get(running.keep.told["metrics"] + "/healthz").status_code == 200
    logs = [process.stop() for process in running.all]
    for log in logs:
        lines = [json.loads(line) for line in log.splitlines()]
        assert not [line for line in lines if line["level"] in ("error", "critical") or "frames" in line]
    with psycopg.connect(running.many.shared.owner.database) as connection:
        assert connection.execute("SELECT kind FROM nodes").fetchall() == []
