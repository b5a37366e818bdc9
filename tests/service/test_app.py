"""The app, over HTTP: what is open, what is closed, what is nobody's business."""

import json
import re
from typing import Any

import httpx
import pytest

from textkeep.service.capabilities import METHODS
from textkeep.service.running import Running

OPEN_TO_ALL = {"/healthz", "/readyz", "/metrics", "/problems/{name}"}
Tokens = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def routes(http: httpx.Client) -> list[tuple[str, str]]:
    paths: dict[str, Any] = http.get("/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, found in paths.items() for method in found]


def test_every_way_of_the_design_is_there(routes: list[tuple[str, str]]) -> None:
    assert set(routes) >= {
        ("POST", "/v1/texts"),
        ("GET", "/v1/batches/{batch_id}"),
        ("PUT", "/v1/orgs/{org}"),
        ("GET", "/v1/orgs/{org}/users/{user}/texting"),
        ("POST", "/v1/searches"),
        ("GET", "/v1/quarantine"),
        ("GET", "/v1/activity"),
        ("GET", "/v1/retention"),
        ("PUT", "/v1/retention"),
        ("GET", "/v1/days"),
        ("GET", "/v1/purges"),
        ("GET", "/v1/reports/{shelf}"),
        ("GET", "/v1/capabilities"),
    }
    assert {re.sub(r"\{.*?\}", "{}", path) for _, path in routes} >= {"/v1/texts/{}", "/v1/texts/{}/conversation"}


def test_without_a_token_nothing_answers_but_health_and_problems(
    http: httpx.Client, routes: list[tuple[str, str]]
) -> None:
    for method, path in routes:
        answer = http.request(method, re.sub(r"\{.*?\}", "x", path.replace("{hold_id}", "h-1")))
        assert answer.status_code == 401 or path in OPEN_TO_ALL, (method, path, answer.status_code)


def test_the_ways_of_the_files_open_to_no_token(http: httpx.Client, tokens: Tokens, running: Running) -> None:
    for method, path in (
        ("GET", "/local/tokens"),
        ("POST", "/local/tokens"),
        ("POST", "/local/tokens/t-1/revoke"),
        ("GET", "/local/state"),
        ("GET", "/local/doctor"),
        ("POST", "/local/clock-reset"),
        ("GET", "/local/keyring"),
        ("GET", "/local/schema"),
        ("POST", "/local/rebuild"),
        ("GET", "/local/ledger"),
    ):
        body = {"roles": ["officer"]} if path == "/local/tokens" else {}
        assert http.request(method, path, json=body).status_code == 401
        for header in tokens.values():
            assert http.request(method, path, headers=header, json=body).status_code == 403, (method, path)


@pytest.mark.parametrize("path", ["ediscovery", "ediscovery/", "ediscovery/searches/1/export", "events", "events/a/b"])
@pytest.mark.parametrize("method", METHODS)
def test_a_closed_capability_says_so_after_authentication_and_to_everybody(
    http: httpx.Client, tokens: Tokens, path: str, method: str
) -> None:
    assert http.request(method, f"/v1/{path}").status_code == 401
    answer = http.request(method, f"/v1/{path}", headers=tokens["officer"])
    assert answer.status_code == 403
    if method != "HEAD":
        assert answer.json()["type"] == "/problems/capability-unavailable"
        assert "back-fills nothing" in answer.json()["detail"]


def test_what_only_looks_like_a_closed_capability_is_not_found(http: httpx.Client, tokens: Tokens) -> None:
    assert http.get("/v1/eventsx", headers=tokens["officer"]).status_code == 404


def test_every_role_may_see_what_is_open(http: httpx.Client, tokens: Tokens) -> None:
    for header in tokens.values():
        told = http.get("/v1/capabilities", headers=header).json()["capabilities"]
        assert {capability["name"]: capability["available"] for capability in told} == {
            "ediscovery": False,
            "events": False,
        }


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_retention_cannot_be_changed_by_anybody(http: httpx.Client, tokens: Tokens, method: str) -> None:
    for header in tokens.values():
        answer = http.request(method, "/v1/retention", headers=header)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/retention-fixed")


def test_a_running_archive_is_healthy_and_ready(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    answer = http.get("/readyz")
    assert answer.status_code == 200
    assert {part["name"] for part in answer.json()["parts"]} == {"database", "keyring", "follower", "index", "purge"}


def test_no_page_loads_anything_from_elsewhere(http: httpx.Client) -> None:
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert http.get(path).status_code == 404


def test_a_text_goes_in_is_found_and_its_search_is_on_record(
    http: httpx.Client, tokens: Tokens, running: Running
) -> None:
    now = running.archive.clock()
    event = {
        "specversion": "1.0",
        "type": "textkeep.text.v1",
        "id": "app-1",
        "source": "/test",
        "data": {
            "org_id": "org-001",
            "user_id": "org-001-user-01",
            "direction": "outbound",
            "channel": "sms",
            "from": "+17735550101",
            "to": "+13125550150",
            "body": "the pelican has landed",
            "sent_at": now.isoformat(),
            "disposition": "delivered",
        },
    }
    sent = http.post(
        "/v1/texts",
        json=event,
        headers={**tokens["producer"], "Content-Type": "application/cloudevents+json"},
    )
    assert sent.json()["accepted"] == 1
    asked = {"query": "pelican", "reason": "a test", "org_id": "org-001", "limit": 10}
    found: list[Any] = []
    while not found:
        answer = http.post("/v1/searches", json=asked, headers=tokens["officer"])
        assert answer.status_code == 200
        found = answer.json()["results"]
    assert [text["body"] for text in found] == ["the pelican has landed"]
    day = now.date().isoformat()
    record = http.get("/v1/activity", params={"day": day}, headers=tokens["auditor"]).json()[-1]
    assert (record["person"], record["org_id"]) == ("the officer", "org-001")
    assert record["detail"]["reason"] == "a test"
    assert http.get("/v1/activity", params={"day": day}, headers=tokens["officer"]).status_code == 403


def test_activity_is_seen_within_the_auditors_organisations_only(http: httpx.Client, running: Running) -> None:
    archive = running.archive
    one, other = archive.organisations.all()["org-002"], archive.organisations.all()["org-003"]
    archive.activity.record(archive.local, "text-read", one, {"reason": "a test"})
    token, _ = archive.tokens.create(person="ana", roles=["auditor"], orgs=[other], by=archive.local)
    day = archive.clock().date().isoformat()
    seen = http.get("/v1/activity", params={"day": day}, headers={"Authorization": f"Bearer {token}"}).json()
    assert {record["org_id"] for record in seen} <= {"org-003"}


@pytest.mark.parametrize("path", ["/v1/searches", "/v1/directory", "/v1/texts", "/local/tokens", "/v1/purges"])
def test_bodies_that_are_hostile_are_refused_and_never_a_fault(http: httpx.Client, running: Running, path: str) -> None:
    header = {"Authorization": f"Bearer {running.secret}"}
    kinds = ("application/json", "application/cloudevents+json", "application/x-ndjson", "text/plain", "")
    for content in (
        b"",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"\x00" * 99,
        b'"\\ud800"',
        b"1e999999",
        b"x" * (18 << 20),
    ):
        for kind in kinds if len(content) < 1 << 20 else kinds[:3]:
            answer = http.post(path, content=content, headers={**header, "Content-Type": kind})
            assert answer.status_code < 500, (path, kind, content[:10], answer.text)
            assert answer.status_code == 200 or answer.headers["content-type"] == "application/problem+json"


def test_a_token_for_a_name_nobody_can_have_is_refused(http: httpx.Client, running: Running) -> None:
    header = {"Authorization": f"Bearer {running.secret}"}
    for person in ("", "a\x00b", "\ud800", "x" * 1000):
        answer = http.post(
            "/local/tokens",
            content=json.dumps({"roles": ["officer"], "person": person}),
            headers={**header, "Content-Type": "application/json"},
        )
        assert answer.status_code == 400, person
