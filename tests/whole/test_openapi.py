"""The API is what its OpenAPI document says, whatever is sent to it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.whole.commanding import World
from tests.whole.feeding import Service, feed, send, serving, told, write
from tests.whole.openapi_hooks import NAMES

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "ignored_auth",
    "unsupported_method",
    "allow_header_conformance",
)
WHY = "a test"


def test_every_route_answers_as_the_openapi_document_says(shared: Path, tmp_path: Path) -> None:
    world = World.make(tmp_path / "world")
    told(world, "load", "--directory", write(tmp_path / "directory.ndjson", feed(shared, "--directory")))
    with serving(world) as service, service.client() as client:
        ran = schemathesis(service, names_of_what_is_there(client, shared), tmp_path)
    assert ran.returncode == 0, ran.stdout.decode()
    assert b"Serialization not possible" not in ran.stdout


def names_of_what_is_there(client: httpx.Client, shared: Path) -> dict[str, str]:
    """Path parameters that lead to something, after a few texts have come."""
    lines = feed(shared, "--texts", "40", "--days", "1", "--strays", "0.5")
    [receipt] = send(client, lines)
    entry = client.get("/v1/quarantine", headers={"Textkeep-Reason": WHY}).json()["items"][0]
    event = json.loads(lines[0])
    return {
        "text_id": receipt["items"][0]["text_id"],
        "batch_id": receipt["batch_id"],
        "shelf": entry["shelf"],
        "paper_id": entry["paper_id"],
        "org": event["data"]["org_id"],
        "user": event["data"]["user_id"],
        "location": f"{event['data']['org_id']}-loc-1",
        "name": "too-busy",
    }


def schemathesis(service: Service, names: dict[str, str], folder: Path) -> "subprocess.CompletedProcess[bytes]":
    """Run schemathesis in a process of its own: it warns of what this project's tests take for errors."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{service.url}/openapi.json",
        *("--header", f"Authorization: Bearer {service.token}", "--header", f"Textkeep-Reason: {WHY}"),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--continue-on-failure"),
        *("--max-examples", "10", "--seed", "400", "--generation-deterministic", "--no-shrink"),
        *("--suppress-health-check", "all", "--warnings", "off", "--no-color"),
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.whole.openapi_hooks", NAMES: json.dumps(names)}
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **hooks, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
