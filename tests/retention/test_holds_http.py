"""Legal holds over HTTP: the whole way of a hold, problems with rule, field and remedy, and who sees what."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import APIRouter

from tests.housing import House, event
from tests.retention.holding import ORG, Holders
from tests.serving import Serving, serving

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)

WANTED: dict[str, Any] = {
    "matter": "Doe v. Roe",
    "reason": "a subpoena",
    "review_at": "2027-01-31",
    "scope": {"org_id": ORG, "numbers": ["(212) 555-0101"]},
}


@pytest.fixture
def holders(house: House) -> Holders:
    return Holders(house)


@pytest.fixture
def served(holders: Holders) -> Iterator[Serving]:
    house = holders.house
    routes = APIRouter()
    routes.include_router(holders.holds.router(house.papers, house.activity, house.persons))
    with serving(house, routes) as running:
        yield running


def test_a_hold_is_previewed_placed_listed_released_and_ends(served: Serving, holders: Holders) -> None:
    holders.take(event(1), event(2, **{"from": "+14155550103"}))
    officer = served.client("officer", orgs=[ORG], person="Olivia")
    counsel = served.client("counsel", orgs=[ORG], person="Carol")
    seen = officer.post("/v1/holds/preview", json={"scope": WANTED["scope"], "reason": "a subpoena"}).json()
    assert (seen["texts"], seen["opened"], seen["too_late"]) == (1, 2, [])
    assert seen["shelves"][0]["users"] == {"org-001-user-0001": 1}
    placed = officer.post("/v1/holds", json=WANTED)
    assert placed.status_code == 200
    hold = placed.json()["hold"]
    assert (hold["state"], hold["proof"], hold["placed_by"], hold["review_at"]) == (
        "in-force",
        "pending",
        "Olivia",
        "2027-01-31T00:00:00.000Z",
    )
    assert hold["scope"] == {"org_id": ORG, "numbers": ["+12125550101"]}
    assert officer.get("/v1/holds").json() == counsel.get(f"/v1/holds?org_id={ORG}").json() == [hold]
    asked = counsel.post(f"/v1/holds/{hold['hold_id']}/release", json={"reason": "settled"}).json()
    holders.approvals.decide(holders.approver, asked["approval_id"], "approved", bytes.fromhex(asked["digest"]))
    shown = counsel.get(f"/v1/holds/{hold['hold_id']}").json()
    assert (shown["state"], shown["ends_at"]) == ("released", "2026-11-23T12:00:00.000Z")
    holders.house.clock.forward(hours=24)
    assert counsel.get(f"/v1/holds/{hold['hold_id']}").json()["state"] == "ended"


def test_an_overdue_hold_is_named_and_stays_in_force(served: Serving, holders: Holders) -> None:
    officer = served.client("officer", orgs=[ORG])
    officer.post("/v1/holds", json={**WANTED, "review_at": "2026-11-23"})
    holders.house.clock.forward(days=2)
    [hold] = officer.get("/v1/holds").json()
    assert (hold["review_overdue"], hold["state"]) == (True, "in-force")


@pytest.mark.parametrize(
    ("changed", "status", "field"),
    [
        ({"matter": ""}, 400, "matter"),
        ({"review_at": "2027-06-01"}, 400, "review_at"),
        ({"review_at": "soon"}, 400, "review_at"),
        ({"scope": {"org_id": ORG, "numbers": ["Carol's mobile"]}}, 400, "scope.numbers"),
        ({"scope": {"org_id": ORG, "query": "(merger"}}, 422, "scope.query"),
        ({"scope": {"org_id": "org-999"}}, 403, "scope.org_id"),
        ({"scope": {"org_id": ORG, "color": "red"}}, 400, "body.scope"),
        ({"forever": True}, 400, "body"),
    ],
)
def test_what_is_refused_names_the_member_and_never_its_value(
    served: Serving, changed: dict[str, Any], status: int, field: str
) -> None:
    answer = served.client("officer", orgs=[ORG]).post("/v1/holds", json={**WANTED, **changed})
    told = answer.json()
    assert (answer.status_code, told["field"]) == (status, field)
    assert told["detail"]
    assert "mobile" not in answer.text


def test_a_token_for_one_organisation_need_not_name_it(served: Serving) -> None:
    body = {**WANTED, "scope": {"users": ["org-001-user-0001"]}}
    placed = served.client("officer", orgs=[ORG], person="Olivia").post("/v1/holds", json=body)
    assert placed.json()["hold"]["org_id"] == ORG
    refused = served.client("officer", person="Eva").post("/v1/holds", json=body)
    assert (refused.status_code, refused.json()["field"]) == (400, "scope.org_id")


def test_each_role_may_what_its_line_says(served: Serving, holders: Holders) -> None:
    placed = holders.place().hold
    statuses = {}
    for role in ("officer", "counsel", "approver", "auditor", "registrar", "operator", "producer"):
        client = served.client(role, orgs=[ORG], person=role)
        statuses[role] = (
            client.post("/v1/holds", json=WANTED).status_code,
            client.get(f"/v1/holds/{placed.id}").status_code,
            client.post(f"/v1/holds/{placed.id}/release", json={"reason": "settled"}).status_code,
        )
    assert statuses == {
        "officer": (200, 200, 403),
        "counsel": (200, 200, 200),
        "approver": (403, 200, 403),
        **dict.fromkeys(("auditor", "registrar", "operator", "producer"), (403, 403, 403)),
    }
    assert served.stranger().get("/v1/holds").status_code == 401


def test_another_organisations_hold_is_not_there(served: Serving, holders: Holders) -> None:
    placed = holders.place().hold
    other = served.client("counsel", orgs=["org-002"])
    assert other.get("/v1/holds").json() == []
    assert other.get(f"/v1/holds/{placed.id}").status_code == 404
    assert other.post(f"/v1/holds/{placed.id}/release", json={"reason": "settled"}).status_code == 404
    assert other.get("/v1/holds/h-none").status_code == 404
    assert other.get("/v1/holds/preview").headers["Allow"] == "POST"


def test_a_release_is_asked_for_once_at_a_time(served: Serving, holders: Holders) -> None:
    placed = holders.place().hold
    counsel = served.client("counsel", orgs=[ORG])
    asked = counsel.post(f"/v1/holds/{placed.id}/release", json={"reason": "settled"})
    assert asked.json()["until"] == "2026-11-23T12:00:00.000Z"
    again = counsel.post(f"/v1/holds/{placed.id}/release", json={"reason": "another"})
    assert (again.status_code, again.json()["type"]) == (409, "/problems/already-released")
    holders.house.clock.now += timedelta(hours=24)
    assert counsel.post(f"/v1/holds/{placed.id}/release", json={"reason": "another"}).status_code == 200
