"""Retention over HTTP: what is shown, what is refused, who may run a purge."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tests.housing import House
from tests.retention.purging import OLDEST, Purging
from textkeep.access.http import FileAccess
from textkeep.access.principal import LOCAL, Principal, Role
from textkeep.access.tokens import Tokens
from textkeep.archive.marking import marking
from textkeep.errors import TextkeepError
from textkeep.ledger import log
from textkeep.retention.http import router
from textkeep.retention.reports import http as reports_http
from textkeep.retention.reports.report import digest
from textkeep.service.listening import Listening

SECRET = "the secret of this run"


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    with Purging.over(house, tmp_path) as made:
        yield made


@pytest.fixture
def app(purging: Purging) -> FastAPI:
    house = purging.house
    app = FastAPI()

    @app.exception_handler(TextkeepError)
    def answer(_request: Request, exc: TextkeepError) -> JSONResponse:
        return JSONResponse({"type": f"/problems/{exc.problem}"}, exc.status)

    def evidence(connection: Any, body: Any) -> None:
        log.append(connection, "token", body, now=house.clock())

    app.state.tokens = Tokens(house.store, house.persons, house.clock, evidence, marking(house.keyring))
    app.state.file_access = FileAccess(SECRET, local())
    app.include_router(router(house.store, purging.purge(), purging.chain, house.clock))
    app.include_router(reports_http.router(purging.chain))
    return app


def local() -> Principal:
    return Principal(bytes(8), LOCAL, frozenset[Role]({"operator"}), None)


@pytest.fixture
def client(app: FastAPI) -> Iterator[httpx.Client]:
    """Whoever has the archive's files."""
    listening = Listening(app)
    with httpx.Client(base_url=listening.url, headers={"Authorization": f"Bearer {SECRET}"}) as client:
        yield client
    listening.close()


def headers(app: FastAPI, role: Role) -> dict[str, str]:
    tokens: Tokens = app.state.tokens
    token, _ = tokens.create(person=f"a {role}", roles=[role], orgs=None, by=local())
    return {"Authorization": f"Bearer {token}"}


def problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


def test_the_rule_is_told_in_words_and_numbers(client: httpx.Client) -> None:
    said = client.get("/v1/retention").json()
    assert (said["retention_days"], said["fixed"]) == (400, True)


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_nobody_changes_the_rule(client: httpx.Client, method: str) -> None:
    assert problem(client.request(method, "/v1/retention", json={"retention_days": 30})) == (409, "retention-fixed")


def test_without_a_token_not_even_the_refusal_is_told(client: httpx.Client) -> None:
    assert problem(client.put("/v1/retention", headers={"Authorization": ""})) == (401, "unauthenticated")


def test_days_show_what_was_taken_and_what_became_of_it(client: httpx.Client, purging: Purging) -> None:
    purging.take(OLDEST, 3)
    purging.take(OLDEST.plus(1), 2, start=10)
    purging.until(OLDEST.due())
    assert client.post("/v1/purges", json={}).json()["stopped"] is None
    days = {day["day"]: day for day in client.get("/v1/days").json()}
    assert days[OLDEST.shelf] == {
        "day": OLDEST.shelf,
        "state": "reported",
        "taken": 3,
        "versions": 0,
        "kept": 0,
        "destroyed": 3,
        "lost": 0,
        "due": "2026-11-23T00:00:00.000Z",
    }
    after = days[OLDEST.plus(1).shelf]
    assert (after["state"], after["taken"], after["destroyed"]) == ("open", 2, 0)
    assert list(days) == sorted(days)
    assert max(days) == "2026-11-23"


def test_a_dry_run_over_http_changes_nothing(client: httpx.Client, purging: Purging) -> None:
    purging.until(OLDEST.due())
    said = client.post("/v1/purges", json={"dry_run": True}).json()
    assert [day["day"] for day in said["days"]] == [OLDEST.shelf]
    assert purging.state(OLDEST) == "open"


def test_days_are_confirmed_over_http_and_the_report_says_by_whom(client: httpx.Client, purging: Purging) -> None:
    purging.until(OLDEST.plus(3).due())
    assert client.post("/v1/purges", json={}).json()["stopped"] == "too-many-days"
    assert client.post("/v1/purges", json={"confirm_days": 4}).json()["stopped"] is None
    assert purging.report(OLDEST.shelf)["responsible"] == {
        "asked_by": bytes(8).hex(),
        "confirmed_days": 4,
        "releases": [],
    }


@pytest.mark.parametrize("body", [{"confirm_days": -1}, {"confirm_days": "4"}, {"retention_days": 1}, []])
def test_a_request_of_another_form_is_refused(client: httpx.Client, body: Any) -> None:
    assert client.post("/v1/purges", json=body).status_code == 422


def test_reports_are_listed_and_served_exactly_as_written(app: FastAPI, client: httpx.Client, purging: Purging) -> None:
    client.headers.update(headers(app, "auditor"))
    purging.run()
    purging.until(OLDEST.plus(1).due())
    purging.run()
    listed = client.get("/v1/purges").json()
    assert [(each["kind"], each["name"], each["verdict"]) for each in listed] == [
        ("missed-run", "missed-run-2026-11-23", "fail"),
        ("day", OLDEST.shelf, "pass"),
        ("day", OLDEST.plus(1).shelf, "pass"),
    ]
    served = client.get(listed[1]["report"])
    assert served.headers["content-type"] == "application/json"
    assert served.content == (purging.folder / "reports" / f"{OLDEST.shelf}.json").read_bytes()
    assert problem(client.get("/v1/reports/2020-01-01")) == (404, "not-found")


@pytest.mark.parametrize("role", ["producer", "officer", "counsel", "approver", "auditor", "registrar"])
def test_no_token_but_the_files_access_runs_a_purge(app: FastAPI, client: httpx.Client, role: Role) -> None:
    assert problem(client.post("/v1/purges", json={}, headers=headers(app, role))) == (403, "forbidden")


def test_auditors_read_reports_and_officers_do_not(app: FastAPI, client: httpx.Client) -> None:
    assert client.get("/v1/purges", headers=headers(app, "auditor")).status_code == 200
    assert problem(client.get("/v1/purges", headers=headers(app, "officer"))) == (403, "forbidden")
    assert client.get("/v1/days", headers=headers(app, "officer")).status_code == 200


def test_a_report_comes_in_the_form_that_is_asked_for(app: FastAPI, client: httpx.Client, purging: Purging) -> None:
    purging.until(OLDEST.due())
    assert client.post("/v1/purges", json={}).json()["stopped"] is None
    auditor = headers(app, "auditor")
    path, written = f"/v1/reports/{OLDEST.shelf}", purging.chain.read(OLDEST.shelf)
    page = client.get(f"{path}/html", headers=auditor)
    assert (page.headers["content-type"], digest(written) in page.text) == ("text/html; charset=utf-8", True)
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert client.get(path, headers=auditor).content == written
    assert client.get(path, headers={**auditor, "Accept": "text/html,*/*;q=0.8"}).text == page.text
    pytest.importorskip("reportlab")
    made = client.get(path, headers={**auditor, "Accept": "application/pdf"})
    assert (made.headers["content-type"], made.content[:5]) == ("application/pdf", b"%PDF-")
    assert client.get(f"{path}/pdf", headers=auditor).content == made.content


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/html", "html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("application/json, text/html", "json"),
        ("text/html, application/json", "json"),
        ("application/pdf;q=0.9, text/html;q=0.8", "pdf"),
        ("text/html;q=0, application/pdf;q=x", "json"),
        ("image/png", "json"),
        (";;q=,,", "json"),
    ],
)
def test_accept_chooses_what_is_liked_best_and_json_where_that_is_liked_as_well(accept: str, form: str) -> None:
    assert reports_http.chosen(accept) == form


@pytest.mark.parametrize("form", ["", "/html", "/pdf", "/proof"])
def test_who_may_not_read_reports_gets_none_in_any_form(app: FastAPI, client: httpx.Client, form: str) -> None:
    path = f"/v1/reports/{OLDEST.shelf}{form}"
    assert problem(client.get(path, headers=headers(app, "officer"))) == (403, "forbidden")
    assert problem(client.get(path, headers=headers(app, "auditor"))) == (404, "not-found")
