"""The memory of each process of an archive on PostgreSQL, OpenSearch and Kafka, at work: the real commands."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
from confluent_kafka import Producer

from bench import feeds
from bench.archives import Ours
from bench.engines import engines
from bench.memory import most_held
from bench.table import Row
from tests.engines.kafka import KafkaBroker
from tests.engines.topics import topics

TEXTS = 100_000
"""Half of them over HTTP, half through a topic."""
DAYS = 60
MOST = 400
"""What each process may hold, in MB."""


def run(folder: Path) -> Iterator[Row]:
    """Resident memory of each process after the load, beside its bound."""
    lines = feeds.texts(TEXTS, days=DAYS)
    with ExitStack() as ended:
        there = ended.enter_context(engines(folder))
        broker = KafkaBroker()
        ended.callback(broker.end)
        broker.start()
        topic = ended.enter_context(topics(broker.address)).make(4, retention_ms="3600000")
        told = there.archive(folder, "resident")
        with_directory = Ours(folder / "resident", settings=told)
        token = with_directory.token("producer")
        with_directory.close()
        settings = {**told, "kafka_brokers": broker.address, "kafka_topic": topic, "token": token}
        parts = {kind: ended.enter_context(_Part(kind, settings)) for kind in ("api", "follow", "keep", "consume")}
        _push(parts["api"].told["url"], token, lines[: TEXTS // 2])
        _produce(broker.address, topic, lines[TEXTS // 2 :])
        _wait_until_findable(told["database_url"])
        for kind, part in parts.items():
            yield Row(f"resident memory of `{kind}`, beside its bound", "MB", part.resident(), MOST, False, 1)


class _Part:
    """One process of the archive."""

    def __init__(self, kind: str, settings: Mapping[str, Any]) -> None:
        given = {f"TEXTKEEP_{name.upper()}": str(value) for name, value in settings.items()}
        port = ["--port", "0"] if kind == "api" else []
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TEXTKEEP_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "textkeep", kind, "--json", *port],
            env={**kept, **given},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.told: dict[str, Any] = json.loads(self._process.stdout.readline()) if self._process.stdout else {}

    def resident(self) -> float:
        """The most that the process held, in MB."""
        return most_held(self._process.pid)

    def __enter__(self) -> "_Part":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


def _push(url: str, token: str, lines: list[bytes]) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
    with httpx.Client(base_url=url, headers=headers, timeout=120) as client:
        for batch in feeds.batches(lines):
            client.post("/v1/texts", content=b"\n".join(batch)).raise_for_status()


def _produce(address: str, topic: str, lines: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": address, "linger.ms": 20})
    for line in lines:
        while True:
            try:
                producer.produce(topic, line)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def _wait_until_findable(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        asked = "SELECT coalesce(sum(accepted), 0) FROM slices WHERE indexed"
        while (row := connection.execute(asked).fetchone()) is None or row[0] < TEXTS:
            time.sleep(0.2)
