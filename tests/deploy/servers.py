"""The engines of docker-compose.yml as processes of this machine, with the settings, roles and rules of its files.

PostgreSQL's programs of the development environment are built without TLS, so the rules' `hostssl` is read as `host`.
The broker has its TLS. The index is the one of the run, under a prefix of its own.
"""

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy import URL, make_url

from tests.deploy.composed import services
from tests.deploy.dockerfile import ROOT
from tests.deploy.standing import kafka_programs
from tests.engines import jars
from tests.engines.needed import missing
from tests.engines.postgres import DURABLE, PostgresServer
from tests.engines.process import Guarded, free_ports

WITHOUT = ("ssl", "hba_file")
RELOAD_SECONDS = 30
INDICES_AT_ONCE = 50


def settings(name: str) -> dict[str, str]:
    """What the service's command sets, as far as these programs know it."""
    words = services()[name]["command"]
    told = dict(word.split("=", 1) for flag, word in pairwise(words) if flag == "-c")
    return {key: value for key, value in told.items() if not key.startswith(WITHOUT)}


@contextmanager
def database(name: str, made: Path) -> Iterator[PostgresServer]:
    """The service `name`, its first start done; `made` is the folder that deploy/make-secrets.sh made."""
    server = PostgresServer(settings={**DURABLE, **settings(name)})
    server.start()
    try:
        folder = ROOT / "deploy" / "postgres"
        environment = {
            **os.environ,
            "PATH": f"{server.bin}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "SECRETS": str(made),
        }
        done = subprocess.run(
            ["bash", folder / f"{name}.sh"], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        rules = (folder / f"{name}.conf").read_text().replace("hostssl", "host   ")
        (server.data / "pg_hba.conf").write_text(rules)
        with psycopg.connect(server.address, autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
        until = time.monotonic() + RELOAD_SECONDS
        while server.answers():
            assert time.monotonic() < until, "the rules let the superuser in without a password"
        yield server
    finally:
        server.end()


def here(url: str, server: PostgresServer) -> URL:
    """An address of the compose file, for the server that stands in for it here."""
    return make_url(url).set(host="127.0.0.1", port=server.port, query={})


@dataclass(frozen=True)
class Broker:
    """The broker of the compose file; `programs` is where deploy/kafka's scripts find Kafka's."""

    address: str
    programs: Path
    client: Path

    def make_topic(self, name: str) -> None:
        """What the one-shot `topic` does."""
        done = subprocess.run(
            ["bash", ROOT / "deploy" / "kafka" / "topic.sh", name, self.address, self.client],
            env={**os.environ, "KAFKA_BIN": str(self.programs)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@contextmanager
def queue(request: pytest.FixtureRequest, folder: Path) -> Iterator[Broker]:
    """The broker of the compose file, with its certificates and rules, formatted and started by its own script."""
    lacking = jars.lacking("kafka")
    if lacking is not None:
        missing(request, f"no Kafka programs: {lacking}")
    port, inner = free_ports(2)
    given = folder / "queue"
    given.mkdir()
    replaced = {
        "/var/lib/kafka/data": str(given / "data"),
        "/certs/queue": str(folder / "volumes" / "certs-queue"),
        "CLIENTS://queue:9092": f"CLIENTS://localhost:{port}",
        ":9092": f":{port}",
        ":9093": f":{inner}",
    }
    for name in ("server.properties", "client.properties"):
        content = (ROOT / "deploy" / "kafka" / name).read_text()
        for written, here_now in replaced.items():
            content = content.replace(written, here_now)
        (given / name).write_text(content)
    programs = kafka_programs(given / "bin", jars.command("MAIN", "kafka"))
    process = Guarded(
        "Kafka",
        [
            "env",
            f"KAFKA_BIN={programs}",
            "bash",
            str(ROOT / "deploy" / "kafka" / "start.sh"),
            str(given / "server.properties"),
        ],
        log=given / "log",
    )
    process.start()
    try:
        yield Broker(f"localhost:{port}", programs, given / "client.properties")
    finally:
        process.end()


@contextmanager
def prefix(index: str) -> Iterator[str]:
    """A prefix of its own on a cluster; whatever begins with it is removed afterwards."""
    name = f"composed-{secrets.token_hex(4)}"
    try:
        yield name
    finally:
        with httpx.Client(base_url=index.split(",")[0], timeout=60) as client:
            there = [each["index"] for each in client.get(f"/_cat/indices/{name}-*?format=json&h=index").json()]
            for at in range(0, len(there), INDICES_AT_ONCE):
                client.delete("/" + ",".join(there[at : at + INDICES_AT_ONCE]))
            client.delete(f"/_index_template/{name}")
