"""Reports over HTTP: the JSON as it was written, the same as a page or PDF, and the proof."""

import json
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Response
from fastapi import Path as InPath

from textkeep.access.http import caller
from textkeep.access.principal import Principal
from textkeep.access.rules import require
from textkeep.retention.reports.chain import Chain
from textkeep.retention.reports.page import POLICY, page
from textkeep.retention.reports.pdf import pdf

Form = Literal["json", "html", "pdf", "proof"]

MEDIA_TYPES: Final[dict[Form, str]] = {
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "proof": "text/plain; charset=utf-8",
}

BY_ACCEPT: Final[dict[str, Form]] = {"application/json": "json", "text/html": "html", "application/pdf": "pdf"}
"""What `Accept` chooses between; the first is the answer to whoever takes anything."""

Caller = Annotated[Principal, Depends(caller)]
ReportName = Annotated[str, InPath(min_length=1, max_length=100)]

_SAFE: Final = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": POLICY, "Cache-Control": "private"}


class _Text(Response):
    media_type = MEDIA_TYPES["proof"]


class _Page(Response):
    media_type = MEDIA_TYPES["html"]


class _Pdf(Response):
    media_type = MEDIA_TYPES["pdf"]


def router(chain: Chain) -> APIRouter:
    """The routes under `/v1/reports/{shelf}`."""
    routes = APIRouter(prefix="/v1", tags=["retention"])
    shown: dict[int | str, Any] = {200: {"content": {name: {} for name in BY_ACCEPT}}}

    @routes.get("/reports/{shelf}", responses=shown)
    def get_report(
        principal: Caller, shelf: ReportName, accept: Annotated[str, Header(include_in_schema=False)] = ""
    ) -> Response:
        """A report, exactly as it was written; its SHA-256 is what the ledger holds. As a page or PDF by `Accept`."""
        require(principal, "reports.read", None)
        return answer(chain, shelf, chosen(accept))

    @routes.get("/reports/{shelf}/proof", response_class=_Text)
    def get_proof(principal: Caller, shelf: ReportName) -> Response:
        """Its C2SP tlog-proof: that the ledger contains the entry about exactly this report."""
        require(principal, "reports.read", None)
        return answer(chain, shelf, "proof")

    @routes.get("/reports/{shelf}/html", response_class=_Page)
    def get_page(principal: Caller, shelf: ReportName) -> Response:
        """The report as a page that needs nothing else and prints well; it shows the digest of the JSON."""
        require(principal, "reports.read", None)
        return answer(chain, shelf, "html")

    @routes.get("/reports/{shelf}/pdf", response_class=_Pdf)
    def get_pdf(principal: Caller, shelf: ReportName) -> Response:
        """The report as PDF, where the extra `pdf` is installed; it shows the digest of the JSON."""
        require(principal, "reports.read", None)
        return answer(chain, shelf, "pdf")

    return routes


def answer(chain: Chain, name: str, form: Form) -> Response:
    """A report in a form. Raises NotFound, Unsound and Outage."""
    return Response(_content(chain, name, form), media_type=MEDIA_TYPES[form], headers={**_SAFE, "Vary": "Accept"})


def chosen(accept: str) -> Form:
    """The form that an `Accept` header likes best; JSON where it takes that as gladly, or none of them."""
    best: tuple[float, Form] = (0.0, "json")
    for each in accept.split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        weight = next((_weight(part[2:]) for part in parameters if part.startswith("q=")), 1.0)
        form = BY_ACCEPT.get("application/json" if name in ("*/*", "application/*") else name)
        if form is not None and (weight, form == "json") > (best[0], best[1] == "json"):
            best = (weight, form)
    return best[1]


def _weight(written: str) -> float:
    try:
        return min(max(float(written), 0.0), 1.0)
    except ValueError:
        return 0.0


def _content(chain: Chain, name: str, form: Form) -> bytes:
    if form == "proof":
        return chain.proof(name)
    content = chain.read(name)
    if form == "json":
        return content
    document = json.loads(content)
    return page(content, document).encode() if form == "html" else pdf(content, document)
