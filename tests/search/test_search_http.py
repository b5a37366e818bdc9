"""Searching and reading over HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.housing import House, event
from tests.search.searching import Searching
from tests.serving import Serving, serving
from textkeep.archive.shelf import Day
from textkeep.search.http import router

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)

WHY = {"Textkeep-Reason": "matter 4711"}


@pytest.fixture
def searching(house: House) -> Searching:
    return Searching.build(house)


@pytest.fixture
def served(searching: Searching) -> Iterator[Serving]:
    with serving(searching.house, router(searching.finder, searching.reader, searching.house.organisations)) as running:
        yield running


def ask(query: str, **more: Any) -> dict[str, Any]:
    return {"query": query, "reason": "matter 4711", **more}


def test_a_result_has_the_documented_shape(searching: Searching, served: Serving) -> None:
    record = event(1, body="Tea ☕ at 5", disposition="blocked", reason="spam", sent_at="2026-11-20T10:00:00.250-05:00")
    receipt = searching.take(record, flags=("late",))
    searching.follow()
    answer = served.client("officer", orgs=["org-001"]).post("/v1/searches", json=ask("tea"))
    assert answer.status_code == 200
    page = answer.json()
    assert {name: page[name] for name in ("cursor", "shelves_searched", "indexed_up_to")} == {
        "cursor": None,
        "shelves_searched": 1,
        "indexed_up_to": "2026-11-22T12:00:00.000Z",
    }
    assert page["results"] == [
        {
            "text_id": receipt.items[0].text_id,
            "org_id": "org-001",
            "user_id": "org-001-user-0001",
            "direction": "outbound",
            "from": "+12125550101",
            "to": "+13125550102",
            "body": "Tea ☕ at 5",
            "sent_at": "2026-11-20T15:00:00.250Z",
            "received_at": "2026-11-22T12:00:00.000Z",
            "disposition": "blocked",
            "reason": "spam",
            "flags": ["late"],
            "version": 1,
            "held": [],
        }
    ]
    records = searching.house.activity.of_day(Day.of(searching.house.clock()))
    assert [each.id for each in records] == [page["search_id"]]


def test_pages_follow_one_another(searching: Searching, served: Serving) -> None:
    searching.load(*(f"tea {number}" for number in range(7)))
    client = served.client("officer", orgs=["org-001"])
    bodies: list[str] = []
    cursor = None
    while True:
        page = client.post("/v1/searches", json=ask("tea", limit=3, cursor=cursor)).json()
        bodies += [each["body"] for each in page["results"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert bodies == [f"tea {number}" for number in reversed(range(7))]


def test_a_token_for_several_organisations_names_the_one(searching: Searching, served: Serving) -> None:
    searching.load("tea", org_id="org-002")
    searching.org("org-001")
    client = served.client("officer", orgs=["org-001", "org-002"])
    unnamed = client.post("/v1/searches", json=ask("tea"))
    assert (unnamed.status_code, unnamed.json()["field"]) == (400, "org_id")
    assert len(client.post("/v1/searches", json=ask("tea", org_id="org-002")).json()["results"]) == 1
    everywhere = served.client("officer")
    assert everywhere.post("/v1/searches", json=ask("tea")).status_code == 400
    assert len(everywhere.post("/v1/searches", json=ask("tea", org_id="org-002")).json()["results"]) == 1


def test_what_may_not_be_is_refused(searching: Searching, served: Serving) -> None:
    (text_id,) = searching.load("tea")
    searching.org("org-002")
    stranger = served.stranger()
    assert stranger.post("/v1/searches", json=ask("tea")).status_code == 401
    assert stranger.get(f"/v1/texts/{text_id}", headers=WHY).status_code == 401
    for role in ("auditor", "producer", "registrar", "operator", "counsel", "approver"):
        client = served.client(role, orgs=["org-001"], person=role)
        assert client.post("/v1/searches", json=ask("tea")).status_code == 403
        assert client.get(f"/v1/texts/{text_id}", headers=WHY).status_code == 403
        assert client.get(f"/v1/texts/{text_id}/conversation", headers=WHY).status_code == 403
    other = served.client("officer", orgs=["org-002"], person="other")
    for org in ("org-001", "org-nowhere"):
        refused = other.post("/v1/searches", json=ask("tea", org_id=org))
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden")
    assert other.get(f"/v1/texts/{text_id}", headers=WHY).status_code == 404
    assert other.get(f"/v1/texts/{text_id}/conversation", headers=WHY).status_code == 404
    assert searching.house.activity.of_day(Day.of(searching.house.clock())) == []


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        ({"query": "tea"}, 400, "reason-required"),
        ({"query": "tea", "reason": "  "}, 400, "reason-required"),
        ({"query": "tea", "reason": "x" * 1001}, 400, "reason-required"),
        (ask("(tea"), 422, "query-malformed"),
        (ask(""), 422, "query-malformed"),
        (ask("x" * 5000), 422, "query-malformed"),
        (ask("tea", cursor="x"), 400, "malformed"),
        (ask("tea", limit=0), 400, "malformed"),
        (ask("tea", limit=201), 400, "malformed"),
        (ask("tea", limit="5"), 400, "malformed"),
        (ask("tea", more=1), 400, "malformed"),
        ({"reason": "why"}, 400, "malformed"),
        ([], 400, "malformed"),
    ],
)
def test_a_search_that_cannot_be_answered_says_why(served: Serving, body: Any, status: int, problem: str) -> None:
    answer = served.client("officer", orgs=["org-001"]).post("/v1/searches", json=body)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["remedy"]


def test_a_malformed_query_is_told_its_place_and_not_itself(served: Serving) -> None:
    answer = served.client("officer", orgs=["org-001"]).post("/v1/searches", json=ask("zebracrossing (tea"))
    assert "at character 19" in answer.json()["detail"]
    assert "zebracrossing" not in answer.text


def test_a_text_and_its_conversation_are_read(searching: Searching, served: Serving) -> None:
    ids = searching.load("one", "two", "three")
    client = served.client("officer", orgs=["org-001"])
    read = client.get(f"/v1/texts/{ids[1]}", headers=WHY)
    assert (read.status_code, read.json()["body"]) == (200, "two")
    around = client.get(f"/v1/texts/{ids[1]}/conversation", headers=WHY, params={"before": 1}).json()
    assert [each["body"] for each in around["texts"]] == ["one", "two", "three"]
    assert around["text_id"] == str(ids[1])
    kinds = [each.kind for each in searching.house.activity.of_day(Day.of(searching.house.clock()))]
    assert sorted(kinds) == ["conversation", "read"]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (b"plain words", "plain words"),
        (b"f%C3%BCr%20den%20Fall", "für den Fall"),
        ("für den Fall".encode(), "für den Fall"),
        ("für".encode("latin-1"), "für"),
        (b"100%25 sure", "100% sure"),
        (b"%ff%fe ok", "\ufffd\ufffd ok"),
    ],
)
def test_a_reason_in_the_header_is_read_as_it_was_meant(
    searching: Searching, served: Serving, sent: bytes, meant: str
) -> None:
    (text_id,) = searching.load("tea")
    client = served.client("officer", orgs=["org-001"])
    answer = client.get(f"/v1/texts/{text_id}", headers={b"Textkeep-Reason": sent})
    assert answer.status_code == 200
    (record,) = searching.house.activity.of_day(Day.of(searching.house.clock()))
    assert record.detail["reason"] == meant


@pytest.mark.parametrize("headers", [{}, {"Textkeep-Reason": ""}, {"Textkeep-Reason": "%20"}])
def test_reading_without_a_reason_is_refused(searching: Searching, served: Serving, headers: dict[str, str]) -> None:
    (text_id,) = searching.load("tea")
    client = served.client("officer", orgs=["org-001"])
    for path in (f"/v1/texts/{text_id}", f"/v1/texts/{text_id}/conversation"):
        refused = client.get(path, headers=headers)
        assert (refused.status_code, refused.json()["type"]) == (400, "/problems/reason-required")


def test_naughty_strings_are_answered_as_queries_reasons_and_ids(
    searching: Searching, served: Serving, shared: Path
) -> None:
    searching.load("tea")
    client = served.client("officer", orgs=["org-001"])
    for naughty in json.loads((shared / "data" / "naughty" / "blns.json").read_text("utf-8"))[::5]:
        for body in (
            ask(naughty),
            ask("tea", cursor=naughty),
            ask("tea", org_id=naughty),
            {"query": "t", "reason": naughty},
        ):
            assert client.post("/v1/searches", json=body).status_code < 500
        assert client.post("/v1/searches", content=json.dumps(ask("\ud800 tea")).encode()).status_code < 500


def test_every_route_declares_what_it_refuses(served: Serving) -> None:
    document = served.app.openapi()
    declared = {
        path: set(operation["responses"])
        for path, methods in document["paths"].items()
        for operation in methods.values()
    }
    assert declared["/v1/searches"] >= {"200", "400", "401", "403", "422"}
    for path in ("/v1/texts/{text_id}", "/v1/texts/{text_id}/conversation"):
        assert declared[path] >= {"200", "400", "401", "403", "404"}
    shown = document["components"]["schemas"]["TextShown"]["properties"]
    assert "from" in shown
    assert all("description" in member or "enum" in member for member in shown.values())
