"""A command's way to the service: what it makes of answers, and how long it goes on asking."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from textkeep.errors import Conflict, Malformed, NotFound, Outage, TooBusy, Unsound
from textkeep.service import problems
from textkeep.service.client import Answered, Client, exit_code
from textkeep.service.listening import Listening


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = FastAPI()
    problems.install(app)
    asked: list[str] = []

    @app.get("/busy-at-first")
    def busy(request: Request) -> dict[str, int]:
        asked.append(request.url.path)
        if len(asked) < 3:
            raise TooBusy("behind", retry_after=0)
        return {"asked": len(asked)}

    @app.get("/raise/{name}")
    def fail(name: str) -> None:
        raise {"conflict": Conflict("no"), "outage": Outage("out"), "unsound": Unsound("no")}[name]

    @app.get("/foreign/{status}")
    def foreign(status: int) -> Response:
        return PlainTextResponse("<html>", status) if status != 418 else JSONResponse(["no", "problem"], status)

    listening = Listening(app)
    yield listening.url
    listening.close()


def test_a_busy_service_is_asked_again_as_long_as_there_is_patience(url: str) -> None:
    with Client(url, "secret") as client:
        assert client.call("GET", "/busy-at-first", patience=60) == {"asked": 3}


@pytest.mark.parametrize(("name", "code"), [("conflict", 1), ("outage", 3), ("unsound", 1)])
def test_a_problem_keeps_its_words_and_has_an_exit_code(url: str, name: str, code: int) -> None:
    with Client(url, "secret") as client, pytest.raises(Answered) as answered:
        client.call("GET", f"/raise/{name}")
    assert answered.value.name == name
    assert exit_code(answered.value) == code


@pytest.mark.parametrize(("status", "code"), [(418, 1), (500, 1), (502, 3), (504, 3)])
def test_an_answer_that_is_no_problem_document_is_still_an_error(url: str, status: int, code: int) -> None:
    with Client(url, "secret") as client, pytest.raises(Answered) as answered:
        client.call("GET", f"/foreign/{status}")
    assert exit_code(answered.value) == code
    assert str(status) in answered.value.detail


def test_where_nothing_answers_that_is_an_outage_which_quotes_no_secret() -> None:
    with Client("http://127.0.0.1:1", "canary-0123456789") as client:
        assert not client.answers()
        with pytest.raises(Outage) as out:
            client.call("GET", "/x")
    assert exit_code(out.value) == 3
    assert "canary" not in f"{out.value} {out.value.remedy} {client!r}"


def test_a_proxy_of_the_environment_never_gets_the_secret(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with Client(url, "secret") as client, pytest.raises(Answered) as answered:
        client.call("GET", "/nowhere")
    assert answered.value.name == "not-found"


@pytest.mark.parametrize(
    ("error", "code"), [(Malformed("m"), 1), (NotFound("n"), 1), (TooBusy("b"), 3), (Outage("o"), 3), (Unsound("u"), 1)]
)
def test_exit_codes_tell_refused_from_unavailable(error: Conflict, code: int) -> None:
    assert exit_code(error) == code


def test_a_redirect_is_not_followed(url: str) -> None:
    app = FastAPI()

    @app.get("/away")
    def away() -> Response:
        return Response(status_code=307, headers={"Location": f"{url}/busy-at-first"})

    listening = Listening(app)
    with Client(listening.url, "secret") as client, pytest.raises(Answered):
        client.call("GET", "/away")
    listening.close()
