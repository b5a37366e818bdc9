"""Approvals and returning over HTTP: documents, refusals in words, attempts on record."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from tests.housing import House, event
from tests.retention.test_returns import SHELF, WHY, ReturnDesk
from tests.serving import Serving, serving
from textkeep.retention import returns_http
from textkeep.retention.approvals import http as approvals_http

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)  # the routes know no engine

MEMBERS = {
    *("id", "kind", "org_id", "subject", "digest", "state", "asked_by", "asked_at", "until"),
    *("decided_by", "decided_at", "outcome", "used_at"),
}


@pytest.fixture
def desk(house: House) -> ReturnDesk:
    made = ReturnDesk(house)
    made.ways_in.register("org-001")
    made.ways_in.take(event(1, org_id="org-009", user_id="org-009-user-0001"))
    made.register()
    return made


@pytest.fixture
def served(house: House, desk: ReturnDesk) -> Iterator[Serving]:
    shown = approvals_http.Shown(house.store, desk.approvals, house.organisations, house.persons)
    routes = APIRouter()
    routes.include_router(approvals_http.router(desk.approvals, shown))
    routes.include_router(returns_http.router(desk.returns, shown))
    with serving(house, routes) as made:
        yield made


@pytest.fixture
def officer(served: Serving) -> httpx.Client:
    return served.client("officer", person="Olivia")


@pytest.fixture
def approver(served: Serving) -> httpx.Client:
    return served.client("approver", person="Anna")


def path(desk: ReturnDesk) -> str:
    [paper] = desk.waiting()
    return f"/v1/quarantine/{SHELF}/{paper.id.hex()}/return"


def ask(desk: ReturnDesk, officer: httpx.Client) -> dict[str, Any]:
    answer = officer.post(path(desk), json={"reason": WHY})
    assert answer.status_code == 202, answer.text
    asked: dict[str, Any] = answer.json()
    return asked


def decide(client: httpx.Client, asked: dict[str, Any], **said: Any) -> httpx.Response:
    body = {"outcome": "approved", "digest": asked["digest"], **said}
    return client.post(f"/v1/approvals/{asked['id']}", json=body)


def problem(answer: httpx.Response) -> tuple[int, str, str | None]:
    told = answer.json()
    assert told["remedy"]
    return answer.status_code, told["type"].removeprefix("/problems/"), told.get("field")


def test_one_asks_another_one_is_shown_the_exact_words_and_approves_and_it_is_done(
    desk: ReturnDesk, officer: httpx.Client, approver: httpx.Client
) -> None:
    asked = ask(desk, officer)
    assert (asked["kind"], asked["state"], asked["asked_by"], asked["org_id"]) == ("return", "waiting", "Olivia", None)
    [waiting] = approver.get("/v1/approvals").json()["waiting"]
    assert waiting.keys() == MEMBERS
    shown = approver.get(f"/v1/approvals/{asked['id']}").json()
    assert shown["request"]["reason"] == WHY
    assert shown["digest"] == waiting["digest"] == asked["digest"]
    done = decide(approver, shown, reason="checked").json()
    assert (done["state"], done["decided_by"], done["reason"]) == ("used", "Anna", "checked")
    assert done["effect"]["receipt"]["accepted"] == 1
    assert desk.waiting() == []
    [mine] = officer.get("/v1/approvals").json()["asked"]
    assert (mine["outcome"], mine["state"]) == ("approved", "used")
    assert [each["id"] for each in approver.get("/v1/approvals").json()["decided"]] == [asked["id"]]


def test_refusals_say_the_rule_the_member_and_what_to_do(
    desk: ReturnDesk, served: Serving, officer: httpx.Client, approver: httpx.Client
) -> None:
    asked = ask(desk, officer)
    assert problem(decide(approver, asked, digest="0" * 64)) == (409, "not-approved", "digest")
    assert problem(decide(officer, asked)) == (403, "forbidden", None)
    assert problem(officer.post(path(desk), json={"reason": WHY})) == (409, "conflict", None)
    assert problem(officer.post(path(desk), json={"reason": ""})) == (400, "reason-required", "reason")
    assert problem(served.client("approver", orgs=["org-001"], person="Ada").get(f"/v1/approvals/{asked['id']}")) == (
        404,
        "not-found",
        None,
    )
    assert decide(approver, asked, outcome="perhaps").status_code == 400
    assert decide(approver, asked, digest="ABC").status_code == 400
    assert decide(approver, asked, more=1).status_code == 400
    assert served.stranger().get("/v1/approvals").status_code == 401
    assert served.client("auditor", person="Al").get("/v1/approvals").status_code == 403


def test_attempts_without_the_role_are_on_record_and_written_once(
    desk: ReturnDesk, served: Serving, officer: httpx.Client
) -> None:
    asked = ask(desk, officer)
    auditor = served.client("auditor", person="Al")
    for _ in range(3):
        assert auditor.post(path(desk), json={"reason": WHY}).status_code == 403
        assert decide(auditor, asked).status_code == 403
        body = {"kind": "resume", "subject": "r-1", "reason": WHY}
        assert auditor.post("/v1/approvals", json=body).status_code == 403
    told = [each.body for each in desk.holders.entries("approval") if each.body["did"] == "attempt"]
    assert [(each["what"], each["why"], each.get("id")) for each in told] == [
        ("return", "role", None),
        ("return", "role", asked["id"]),
        ("resume", "role", None),
    ]


def test_nobody_approves_their_own_request_over_another_token(
    desk: ReturnDesk, served: Serving, officer: httpx.Client
) -> None:
    asked = ask(desk, officer)
    for token, _ in served.tokens.list():
        served.tokens.revoke(token.id, by=desk.officer)
    again = served.client("approver", person="Olivia")
    assert problem(decide(again, asked)) == (403, "two-persons", None)
    assert again.get("/v1/approvals").json()["waiting"] == []


def test_what_has_no_door_of_its_own_is_asked_for_here(
    desk: ReturnDesk, served: Serving, approver: httpx.Client
) -> None:
    operator = served.client("operator", person="Otto")
    body = {"kind": "resume", "subject": "restore-1", "reason": WHY, "request": {"ring": "ab"}}
    asked = operator.post("/v1/approvals", json=body).json()
    assert asked["request"] == {"ring": "ab", "reason": WHY}
    assert decide(approver, asked).json()["state"] == "approved"
    with desk.house.store.transaction() as connection:
        used = desk.approvals.use(connection, asked["id"], "resume", bytes.fromhex(asked["digest"]))
    assert used.subject == "restore-1"
    for kind in ("release", "return"):
        assert problem(operator.post("/v1/approvals", json={**body, "kind": kind})) == (400, "malformed", "kind")
    assert problem(operator.post("/v1/approvals", json={**body, "subject": "a b"})) == (400, "malformed", "subject")
    assert problem(operator.post("/v1/approvals", json={**body, "reason": "."})) == (400, "reason-required", "reason")
    assert problem(operator.post("/v1/approvals", json={**body, "request": {"n": 2**70}}))[2] == "request"
