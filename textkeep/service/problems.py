"""Errors over HTTP: RFC 9457 problem documents, and the pages their `type` leads to.

A document says what happened, which member it concerns and what to do next. It never repeats what was sent.
"""

import html
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from textkeep.errors import PROBLEMS, Fault, Malformed, MethodNotAllowed, NotFound, TextkeepError, TooLarge

MEDIA_TYPE: Final = "application/problem+json"

RETRY_AFTER: Final = 5
"""Seconds after which to try again, where an outage does not say."""

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
        "remedy": {"type": "string"},
    },
}

RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    span: {"description": words, "content": {MEDIA_TYPE: {"schema": SCHEMA}}}
    for span, words in (("4XX", "Refused: the caller can mend it"), ("5XX", "An outage, or a fault"))
}
"""What every route of the OpenAPI document may answer beside its own."""

_WORDS: Final = {
    "missing": "is missing",
    "json_invalid": "is not JSON",
    "extra_forbidden": "holds a member that is not documented",
    "string_too_long": "is too long",
    "string_too_short": "is too short",
    "string_type": "is not a string",
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "bool_type": "is neither true nor false",
    "bool_parsing": "is neither true nor false",
    "list_type": "is not a list",
    "less_than_equal": "holds a value that is too large",
    "greater_than_equal": "holds a value that is too small",
    "greater_than": "holds a value that is too small",
}
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
"""What `Allow` may name."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")


def document(error: TextkeepError) -> dict[str, object]:
    """The problem document of an error."""
    told: dict[str, object] = {
        "type": f"/problems/{error.problem}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if error.field:
        told["field"] = error.field
    if error.remedy:
        told["remedy"] = error.remedy
    return told


def answer(error: TextkeepError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The response that an error gets."""
    sent = dict(headers or {})
    if error.retry_after is not None or error.status in (429, 503):
        sent["Retry-After"] = str(RETRY_AFTER if error.retry_after is None else error.retry_after)
    if error.status == 401:
        sent["WWW-Authenticate"] = "Bearer"
    return JSONResponse(document(error), error.status, sent, MEDIA_TYPE)


def install(app: FastAPI, told: Callable[[TextkeepError], None] = lambda _: None) -> None:
    """Make every error of `app` a problem document; `told` hears of each."""
    app.state.told_of_problem = told
    app.exception_handler(TextkeepError)(_on_ours)
    app.exception_handler(RequestValidationError)(_on_form)
    app.exception_handler(HTTPException)(_on_http)
    app.exception_handler(Exception)(_on_fault)


def router() -> APIRouter:
    """`GET /problems/NAME`: a problem in words, as a page for browsers and as plain text otherwise."""
    pages = APIRouter(tags=["problems"])

    @pages.get("/problems/{name}", response_class=PlainTextResponse)
    def show_problem(name: str, accept: Annotated[str, Header(include_in_schema=False)] = "") -> Response:
        """What a problem's name means and what to do about it."""
        kind = PROBLEMS.get(name)
        if kind is None:
            raise NotFound("there is no problem of that name")
        words = " ".join(inspect.cleandoc(kind.__doc__ or "").split())
        if "text/html" in accept:
            return HTMLResponse(_page(kind.title, kind.status, words, kind.remedy))
        return PlainTextResponse(f"{kind.title} ({kind.status})\n\n{words}\n\n{kind.remedy}".rstrip() + "\n")

    return pages


def _on_ours(request: Request, error: TextkeepError) -> Response:
    return _told(request, error if isinstance(error, tuple(PROBLEMS.values())) else Fault("see the log"))


def _on_form(request: Request, error: RequestValidationError) -> Response:
    first = next(iter(error.errors()), None)
    if first is None:
        return _told(request, Malformed("the request is not of its documented form"))
    kind = str(first["type"])
    where = first["loc"][:-1] if kind in ("extra_forbidden", "json_invalid") else first["loc"]
    words = f"the request {_WORDS.get(kind, 'is not as documented')}: see field"
    return _told(request, Malformed(words, field=_path(where)))


def _on_http(request: Request, error: HTTPException) -> Response:
    if error.status_code == 405:
        allowed = {"Allow": ", ".join(_methods_at(request))}
        return _told(request, MethodNotAllowed("this address does not take that method"), allowed)
    if error.status_code == 404:
        return _told(request, NotFound("there is no such address", remedy="/openapi.json lists every route."))
    if error.status_code == 413:
        return _told(request, TooLarge("the request is over a limit"))
    if error.status_code >= 500:
        return _told(request, Fault("see the log"))
    return _told(request, Malformed("the request could not be read"))


def _told(request: Request, error: TextkeepError, headers: Mapping[str, str] | None = None) -> Response:
    request.app.state.told_of_problem(error)
    return answer(error, headers)


def _methods_at(request: Request) -> list[str]:
    """Every method of an address (RFC 9110, 10.2.1): the framework names only those of the first route it looks at."""
    ways = [{**request.scope, "method": method} for method in METHODS]
    return [way["method"] for way in ways if any(route.matches(way)[0] is Match.FULL for route in request.app.routes)]


def _on_fault(request: Request, _: Exception) -> Response:
    # The server logs what it raised on, through logs.py: class and frames, no message.
    return _told(request, Fault("see the log"))


def _path(location: Sequence[int | str]) -> str:
    """Where in the request, by names of ours: one that came with the request is shown only if it is a plain word."""
    return ".".join(
        str(step) if isinstance(step, int) or _NAME.fullmatch(step) else "(a name that is not shown)"
        for step in location
    )


def _page(title: str, status: int, words: str, remedy: str) -> str:
    head, told, what = html.escape(title), html.escape(words), html.escape(remedy)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{head}</title>'
        "<style>body{font:1rem/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}</style>"
        f"<h1>{head}</h1><p>HTTP {status}</p><p>{told}</p><p>{what}</p></html>\n"
    )
