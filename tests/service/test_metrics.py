"""Metrics of one process: what they count, that Prometheus can read them, that nothing personal is in them."""

import json
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service.conftest import Cli, bearer
from textkeep.errors import Outage
from textkeep.service.running import Running

Tokens = dict[str, dict[str, str]]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

CANARIES = ("canary-1234567890", "org-001", "+12125550101", "user-0001")


def scrape(http: httpx.Client) -> Samples:
    answer = http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def grown(before: Samples, after: Samples, name: str, **labels: str) -> float:
    key = (name, tuple(sorted(labels.items())))
    return after[key] - before.get(key, 0)


def push(http: httpx.Client, token: dict[str, str], *records: dict[str, Any]) -> dict[str, Any]:
    body = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    answer = http.post("/v1/texts", content=body, headers={**token, "Content-Type": "application/x-ndjson"})
    told: dict[str, Any] = answer.json()
    return told


def wire(running: Running, number: int, **data: Any) -> dict[str, Any]:
    body = {
        "org_id": "org-001",
        "user_id": "org-001-user-0001",
        "direction": "outbound",
        "channel": "sms",
        "from": "+12125550101",
        "to": "+13125550102",
        "body": "canary-1234567890",
        "sent_at": running.archive.clock().isoformat(),
        "disposition": "delivered",
        **data,
    }
    kind = {"specversion": "1.0", "type": "textkeep.text.v1", "source": "/metrics"}
    return {**kind, "id": f"canary-1234567890-{number}", "data": body}


def test_what_became_of_records_is_counted_by_outcome(running: Running, http: httpx.Client, tokens: Tokens) -> None:
    before, record = scrape(http), wire(running, 1)
    receipt = push(
        http,
        tokens["producer"],
        record,
        record,
        wire(running, 2, channel="mms"),
        wire(running, 3, sent_at="2020-01-01T00:00:00Z"),
    )
    after = scrape(http)
    for outcome in ("accepted", "versions", "duplicates", "quarantined", "refused"):
        assert grown(before, after, "textkeep_texts_total", outcome=outcome) == receipt[outcome], outcome
    assert receipt["accepted"] == receipt["duplicates"] == receipt["quarantined"] == receipt["refused"] == 1
    for operation in ("derive", "seal"):
        assert grown(before, after, "textkeep_key_operations_total", operation=operation) > 0


def test_a_problem_is_counted_by_its_name(http: httpx.Client) -> None:
    before = scrape(http)
    assert http.get("/v1/days").status_code == 401
    assert http.get("/canary-1234567890").status_code == 404
    after = scrape(http)
    assert grown(before, after, "textkeep_errors_total", problem="unauthenticated") == 1
    assert grown(before, after, "textkeep_errors_total", problem="not-found") == 1


def test_nothing_of_what_was_handed_in_is_in_the_metrics(running: Running, http: httpx.Client, tokens: Tokens) -> None:
    push(http, tokens["producer"], wire(running, 4), wire(running, 5, org_id="canary-1234567890"))
    http.get("/v1/orgs/canary-1234567890", headers=tokens["registrar"])
    told = http.get("/metrics").text
    assert not [canary for canary in CANARIES if canary in told]


def test_a_silent_database_is_told_and_the_rest_all_the_same(
    running: Running, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scrape(http)["textkeep_database_up", ()] == 1
    with monkeypatch.context() as patch:
        patch.setattr(type(running.archive.store), "reading", _silent)
        samples = scrape(http)
        ready = http.get("/readyz")
    assert samples["textkeep_database_up", ()] == 0
    assert ("textkeep_queue_records", ()) in samples
    assert not [name for name, _ in samples if name == "textkeep_days"]
    assert ready.status_code == 503
    assert {part["name"]: part["ready"] for part in ready.json()["parts"]}["database"] is False


def _silent(_: object) -> Any:
    raise Outage("the database does not answer")


def test_an_index_that_is_silent_takes_no_process_out_of_use(
    running: Running, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_shelf: str) -> bool:
        raise Outage("the index does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(running.archive.index, "exists", silent)
        answer = http.get("/readyz")
    assert answer.status_code == 200
    told = {part["name"]: part["why"] for part in answer.json()["parts"]}
    assert told["index"] == "the index does not answer"


def test_health_and_metrics_can_have_a_listener_of_their_own(process: Cli) -> None:
    up = process.start("up", "--port", "0", "--metrics", "0", "--json")
    try:
        assert up.stdout is not None
        told = json.loads(up.stdout.readline())
        assert told["metrics"] != told["url"]
        for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/v1/days", 404)):
            assert httpx.get(told["metrics"] + path, headers=bearer("x"), timeout=60).status_code == status, path
        assert process("healthcheck", told["metrics"] + "/readyz").stdout == b""
        process("healthcheck", told["metrics"] + "/v1/days", code=1)
        process("healthcheck", "http://127.0.0.1:9/healthz", code=3)
        process("healthcheck", "no address", code=2)
    finally:
        up.terminate()
        assert up.wait() == 0
        up.communicate()


@pytest.mark.parametrize("place", ["x", "127.0.0.1:", ":9400", "127.0.0.1:65536", "1.2.3.4:5:x"])
def test_a_place_that_is_none_is_a_mistake_of_the_caller(cli: Cli, place: str) -> None:
    assert b"--metrics" in cli("up", "--metrics", place, code=2).stderr
