"""Errors over HTTP: documents that say what happened and never repeat what was sent."""

import logging
from collections.abc import Iterator
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from textkeep.errors import PROBLEMS, Outage, TextkeepError, TooBusy, Unauthenticated
from textkeep.service import problems
from textkeep.service.listening import Listening

CANARY = "canary-0123456789"


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(max_length=5)]
    kind: Annotated[str, Field(pattern="^[a-z]$")] = "a"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    app = FastAPI(redirect_slashes=False, responses=problems.RESPONSES)
    problems.install(app)
    app.include_router(problems.router())

    @app.post("/form")
    def take(wanted: Wanted, limit: Annotated[int, Query(le=9)] = 1) -> int:
        return limit

    app.add_api_route("/two", lambda: 1, methods=["GET"])
    app.add_api_route("/two", lambda: 2, methods=["PUT"])

    @app.get("/raise/{name}")
    def fail(name: str) -> None:
        kinds: dict[str, Exception] = {
            "busy": TooBusy("behind", retry_after=7),
            "outage": Outage("out of reach"),
            "nobody": Unauthenticated("no token"),
            "nameless": TextkeepError(CANARY),
            "bug": RuntimeError(CANARY),
        }
        raise kinds[name]

    listening = Listening(app)
    with httpx.Client(base_url=listening.url) as opened:
        yield opened
    listening.close()


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_every_problem_is_explained_where_its_type_leads(client: httpx.Client, name: str) -> None:
    kind = PROBLEMS[name]
    as_text = client.get(f"/problems/{name}")
    assert as_text.headers["content-type"].startswith("text/plain")
    assert kind.title in as_text.text
    as_page = client.get(f"/problems/{name}", headers={"Accept": "text/html,*/*;q=0.8"})
    assert as_page.headers["content-type"].startswith("text/html")
    assert "http://" not in as_page.text
    assert "https://" not in as_page.text
    assert client.get(f"/problems/{name}").status_code == 200


def test_an_unknown_problem_is_itself_a_problem(client: httpx.Client) -> None:
    answer = client.get("/problems/nothing")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


@pytest.mark.parametrize(
    ("name", "status", "header", "value"),
    [
        ("busy", 429, "retry-after", "7"),
        ("outage", 503, "retry-after", "5"),
        ("nobody", 401, "www-authenticate", "Bearer"),
    ],
)
def test_an_error_is_a_document_with_the_header_it_needs(
    client: httpx.Client, name: str, status: int, header: str, value: str
) -> None:
    answer = client.get(f"/raise/{name}")
    assert answer.status_code == status == answer.json()["status"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers[header] == value


@pytest.mark.parametrize("name", ["bug", "nameless"])
def test_a_fault_tells_nothing_but_that_it_was_one(
    client: httpx.Client, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    # The server ends a connection after a fault; a client of its own keeps the others from meeting that.
    with caplog.at_level(logging.CRITICAL):
        answer = httpx.get(f"{client.base_url}/raise/{name}")
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/fault")
    assert CANARY not in answer.text


def test_no_such_address_and_no_such_method_are_problems(client: httpx.Client) -> None:
    assert client.get("/nowhere").json()["type"] == "/problems/not-found"
    assert client.get("/form/").status_code == 404
    answer = client.put("/form")
    assert (answer.status_code, answer.json()["type"]) == (405, "/problems/method-not-allowed")
    assert answer.headers["allow"] == "POST"


def test_a_refused_method_is_answered_with_all_that_the_address_takes(client: httpx.Client) -> None:
    for method in ("POST", "OPTIONS"):
        answer = client.request(method, "/two")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PUT")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"{}", "body.query"),
        (b'{"query": 1}', "body.query"),
        (b'{"query": "%s"}' % CANARY.encode(), "body.query"),
        (b'{"query": "a", "kind": "%s"}' % CANARY.encode(), "body.kind"),
        (b'{"query": "a", "%s": 1}' % CANARY.encode(), "body"),
        (b'{"%s' % CANARY.encode(), "body"),
        (b'"%s"' % CANARY.encode(), "body"),
        (b"\xff\xfe", "body"),
        (b"", "body"),
    ],
)
def test_a_request_that_is_not_of_its_form_names_the_member_and_not_its_value(
    client: httpx.Client, content: bytes, field: str
) -> None:
    answer = client.post("/form", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed")
    assert answer.json().get("field") == field
    assert CANARY not in answer.text


def test_a_query_parameter_is_named_too(client: httpx.Client) -> None:
    answer = client.post("/form", params={"limit": CANARY}, json={"query": "a"})
    assert answer.json()["field"] == "query.limit"
    assert CANARY not in answer.text


def test_every_answer_tells_browsers_to_keep_and_load_nothing(client: httpx.Client) -> None:
    for path in ("/problems/malformed", "/nowhere", "/raise/busy"):
        headers = client.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in headers


def test_the_openapi_document_knows_that_any_route_may_answer_with_a_problem(client: httpx.Client) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/form"]["post"]
    assert "application/problem+json" in operation["responses"]["4XX"]["content"]
    assert "422" not in operation["responses"]
