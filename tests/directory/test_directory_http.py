"""The directory over HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.housing import House
from tests.serving import Serving, serving
from textkeep.directory.directory import Directory
from textkeep.directory.http import FEED, router

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)  # the routes know no engine

ORG: dict[str, Any] = {
    "customer_type": "enterprise",
    "calling_plan": "US",
    "add_on": True,
    "campaign_registered": True,
    "healthcare": False,
}
LOCATION: dict[str, Any] = {"country": "US", "pstn": "cisco", "texting": True}
USER: dict[str, Any] = {
    "location_id": "loc-1",
    "number": "+12125550100",
    "texting": "default",
    "app_version": "44.6",
}


@pytest.fixture
def served(house: House) -> Iterator[Serving]:
    directory = Directory(house.store, house.sealer, house.organisations, house.clock)
    with serving(house, router(directory, house.organisations)) as running:
        yield running


@pytest.fixture
def filled(served: Serving) -> Serving:
    registrar = served.client("registrar")
    assert registrar.put("/v1/orgs/org-001", json=ORG).json()["outcome"] == "added"
    assert registrar.put("/v1/orgs/org-001/locations/loc-1", json=LOCATION).json()["outcome"] == "added"
    assert registrar.put("/v1/orgs/org-001/users/user-1", json=USER).json()["outcome"] == "added"
    return served


def test_what_was_put_can_be_got(filled: Serving) -> None:
    registrar = filled.client("registrar")
    got = registrar.get("/v1/orgs/org-001/users/user-1").json()
    assert got.items() >= {"kind": "user", "org_id": "org-001", "user_id": "user-1", **USER}.items()
    assert got["since"] == "2026-11-22T12:00:00Z"
    assert registrar.get("/v1/orgs/org-001").json().items() >= ORG.items()
    assert registrar.get("/v1/orgs/org-001/locations/loc-1").json().items() >= LOCATION.items()


def test_what_was_got_can_be_put_again_and_changes_nothing(filled: Serving) -> None:
    registrar = filled.client("registrar")
    for path in ("/v1/orgs/org-001", "/v1/orgs/org-001/locations/loc-1", "/v1/orgs/org-001/users/user-1"):
        assert registrar.put(path, json=registrar.get(path).json()).json()["outcome"] == "unchanged"


def test_texting_says_which_requirement_is_missing(filled: Serving) -> None:
    registrar = filled.client("registrar")
    path = "/v1/orgs/org-001/users/user-1"
    assert registrar.get(f"{path}/texting").json() == {"may_text": True, "missing": []}
    registrar.put(path, json={**USER, "number": None, "texting": "off"})
    assert registrar.get(f"{path}/texting").json() == {"may_text": False, "missing": ["texting-off", "no-number"]}


def test_a_healthcare_organisation_without_acknowledgement_is_refused_by_name_of_the_field(served: Serving) -> None:
    answer = served.client("registrar").put("/v1/orgs/org-001", json={**ORG, "healthcare": True})
    assert answer.status_code == 400
    assert answer.json()["field"] == "acknowledged_by"
    assert "HIPAA" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/orgs/org-002/locations/loc-1", LOCATION, 404),
        ("/v1/orgs/org-001/users/user-2", {**USER, "location_id": "loc-9"}, 409),
        ("/v1/orgs/org-001/users/user-2", {**USER, "number": "SECRET"}, 400),
        ("/v1/orgs/org-001/users/user-2", {**USER, "user_id": "SECRET"}, 400),
        ("/v1/orgs/org-001/users/user-2", {**USER, "SECRET": 1}, 400),
        ("/v1/orgs/org-001/users/user-2", ["SECRET"], 400),
        ("/v1/orgs/org-001/users/user-2", "SECRET", 400),
        (f"/v1/orgs/{'SECRET' * 40}", ORG, 400),
    ],
)
def test_a_refusal_repeats_nothing_of_what_was_sent(filled: Serving, path: str, body: object, status: int) -> None:
    answer = filled.client("registrar").put(path, json=body)
    assert answer.status_code == status
    assert "SECRET" not in answer.text


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 3000, b'{"a":' * 3000])
def test_what_is_not_json_is_refused(filled: Serving, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert filled.client("registrar").put("/v1/orgs/org-001", content=body, headers=headers).status_code == 400


@pytest.mark.parametrize("path", ["", "/locations/loc-1", "/users/user-1", "/users/user-1/texting"])
def test_only_whoever_may_read_the_directory_reads_it(filled: Serving, path: str) -> None:
    where = f"/v1/orgs/org-001{path}"
    assert filled.client("registrar", orgs=["org-001"]).get(where).status_code == 200
    assert filled.client("registrar", orgs=["org-002"]).get(where).status_code == 403
    assert filled.client("producer").get(where).status_code == 403
    assert filled.stranger().get(where).status_code == 401


def test_a_registrar_of_some_organisations_cannot_tell_which_others_there_are(filled: Serving) -> None:
    registrar = filled.client("registrar", orgs=["org-005"])
    foreign, unknown = registrar.get("/v1/orgs/org-001"), registrar.get("/v1/orgs/org-777")
    assert (foreign.status_code, foreign.json()) == (unknown.status_code, unknown.json())
    assert registrar.put("/v1/orgs/org-777", json=ORG).status_code == 403


def test_nothing_of_that_name_is_not_found(filled: Serving) -> None:
    registrar = filled.client("registrar")
    for path in ("org-777", "org-001/locations/loc-9", "org-001/users/user-9", "org-001/users/user-9/texting"):
        assert registrar.get(f"/v1/orgs/{path}").status_code == 404


def post_feed(served: Serving, feed: bytes, *, orgs: list[str] | None = None) -> Any:
    answer = served.client("registrar", orgs=orgs).post("/v1/directory", content=feed, headers={"Content-Type": FEED})
    assert answer.status_code == 200
    return answer.json()


def test_the_feed_tools_directory_loads_and_loads_again_without_change(served: Serving, shared: Path) -> None:
    tool = shared / "tools" / "feed.py"
    feed = subprocess.run([sys.executable, tool, "--directory"], capture_output=True, check=True).stdout
    first, second = post_feed(served, feed), post_feed(served, feed)
    assert (first["read"], first["added"], first["refused"]) == (81, 81, 0)
    assert (second["read"], second["unchanged"], second["refused"]) == (81, 81, 0)
    assert served.client("registrar").get("/v1/orgs/org-003/users/org-003-user-0025/texting").json()["may_text"]


def test_a_bad_line_is_refused_by_itself(served: Serving) -> None:
    lines = [
        json.dumps({"kind": "org", "org_id": "org-001", **ORG}),
        "",
        '{"kind": "SECRET"}\r',
        json.dumps({"kind": "location", "org_id": "org-001", "location_id": "loc-1", **LOCATION}) + "\r",
        json.dumps({"kind": "user", "org_id": "org-002", "user_id": "user-1", **USER}),
    ]
    answer = post_feed(served, "\n".join(lines).encode())
    assert [item["outcome"] for item in answer["items"]] == ["added", "refused", "added", "refused"]
    assert [item["field"] for item in answer["items"]] == [None, "kind", None, "org_id"]
    assert (answer["read"], answer["added"], answer["refused"]) == (4, 2, 2)
    assert "SECRET" not in json.dumps(answer)


def test_a_line_for_a_foreign_organisation_is_refused_by_itself(served: Serving) -> None:
    feed = "\n".join(json.dumps({"kind": "org", "org_id": org, **ORG}) for org in ("org-001", "org-002"))
    answer = post_feed(served, feed.encode(), orgs=["org-002"])
    assert [item["outcome"] for item in answer["items"]] == ["refused", "added"]


def test_a_feed_of_another_content_type_or_from_nobody_who_may_write_is_refused(served: Serving) -> None:
    feed = json.dumps({"kind": "org", "org_id": "org-001", **ORG}).encode()
    as_json = {"Content-Type": "application/json"}
    assert served.client("registrar").post("/v1/directory", content=feed, headers=as_json).status_code == 400
    assert (
        served.client("officer").post("/v1/directory", content=feed, headers={"Content-Type": FEED}).status_code == 403
    )


def test_the_openapi_document_shows_each_body(served: Serving) -> None:
    paths = served.app.openapi()["paths"]
    body = paths["/v1/orgs/{org}/users/{user}"]["put"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["required"]) == {"location_id", "number", "texting", "app_version"}
    assert list(paths["/v1/directory"]["post"]["requestBody"]["content"]) == [FEED]
