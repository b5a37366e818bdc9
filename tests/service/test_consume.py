"""`textkeep consume`: the real command on a real topic, what it prints, and what it refuses to begin with."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engines.topics import Topics
from tests.housing import event
from tests.ingest.reading_topics import PATIENCE, send
from tests.service.conftest import Cli, command
from tests.service.many import Shared, sharing


@pytest.fixture(scope="module")
def shared_archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with sharing(request, tmp_path_factory.mktemp("consume") / "archive") as shared:
        yield shared


@pytest.fixture(scope="module")
def token(shared_archive: Shared) -> str:
    done = subprocess.run(
        command(["token", "create", "--role", "producer", "--for", "the backend", "--json"]),
        capture_output=True,
        env=shared_archive.environment(),
        check=True,
    )
    return str(json.loads(done.stdout)["token"])


def consume(shared: Shared, kafka: Topics, topic: str, *words: str, **settings: str) -> "subprocess.Popen[bytes]":
    """Start it; it prints JSON."""
    named = {"kafka_brokers": kafka.address, "kafka_topic": topic, "kafka_group": topic, **settings}
    return subprocess.Popen(
        command(["consume", "--json", *words]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=shared.environment() | {f"TEXTKEEP_{name.upper()}": value for name, value in named.items()},
    )


def events(*numbers: int) -> list[bytes]:
    return [json.dumps(event(number)).encode() for number in numbers]


def ended(process: "subprocess.Popen[bytes]", code: int) -> tuple[list[Any], bytes]:
    """What it printed, once it has ended with a code."""
    out, errors = process.communicate()
    assert process.returncode == code, (out, errors)
    assert b"Traceback" not in errors
    return [json.loads(line) for line in out.splitlines()], errors


def test_it_archives_what_lies_in_a_topic_and_prints_the_totals(
    shared_archive: Shared, kafka: Topics, token: str
) -> None:
    topic = kafka.make(2, retention_ms="3600000")
    send(kafka.address, topic, [*events(1, 2), b"not JSON"])
    (greeting, totals), _ = ended(
        consume(shared_archive, kafka, topic, "--max-records", "3", "--group", "another", token=token), 0
    )
    assert greeting["kind"] == "consume"
    assert totals == {
        "messages": 3,
        "read": 3,
        "accepted": 0,
        "versions": 0,
        "duplicates": 0,
        "quarantined": 3,  # nobody has registered the organisation
        "refused": 0,
        "overtaken": 0,
        "unread": 0,
        "stopped": [],
    }


def test_sigterm_ends_it_with_everything_it_has_read_stored(shared_archive: Shared, kafka: Topics, token: str) -> None:
    topic = kafka.make(1, retention_ms="3600000")
    send(kafka.address, topic, events(*range(50)))
    with consume(shared_archive, kafka, topic, "--metrics", "0", token=token) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["metrics"]
            deadline = time.monotonic() + PATIENCE
            wanted = {"textkeep_kafka_messages_total 50.0", 'textkeep_texts_total{outcome="quarantined"} 50.0'}
            while not wanted <= set((told := httpx.get(f"{address}/metrics", timeout=60).text).splitlines()):
                assert time.monotonic() < deadline, told
            assert topic not in told
            process.send_signal(signal.SIGTERM)
            (totals,), log = ended(process, 0)
        finally:
            process.kill()
    assert totals["messages"] == 50
    assert token.encode() not in log


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("token", b"has no token"),
        ("kafka_topic", b"TEXTKEEP_KAFKA_TOPIC"),
        ("kafka_brokers", b"TEXTKEEP_KAFKA_BROKERS"),
    ],
)
def test_without_what_it_needs_nothing_is_started(
    shared_archive: Shared, kafka: Topics, token: str, left_out: str, said: bytes
) -> None:
    given = {"token": token, "kafka_topic": "t", left_out: ""}
    told, errors = ended(consume(shared_archive, kafka, "t", **given), 2 if left_out != "token" else 1)
    assert told == []
    assert said in errors


def test_a_topic_that_keeps_texts_longer_is_refused_by_name(shared_archive: Shared, kafka: Topics, token: str) -> None:
    topic = kafka.make(1, retention_ms="-1")
    told, errors = ended(consume(shared_archive, kafka, topic, token=token), 1)
    assert told == []
    assert b"--topic-keeps-readable-texts-longer" in errors


def test_a_token_of_another_role_is_refused(shared_archive: Shared, kafka: Topics) -> None:
    topic = kafka.make(1, retention_ms="3600000")
    _, errors = ended(consume(shared_archive, kafka, topic, token="tk_not-a-token"), 1)
    assert b"unauthenticated" in errors


def test_an_archive_in_a_folder_is_not_for_several_processes(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "archive")
    done = cli("consume", code=1, kafka_brokers="127.0.0.1:1", kafka_topic="t", token="t")
    assert b"one process of several" in done.stderr
