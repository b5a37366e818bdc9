"""Ways in over HTTP: texts at three doors, receipts, and the quarantine."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, Response, params
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from textkeep.access import rules
from textkeep.access.http import caller
from textkeep.access.principal import Principal
from textkeep.access.reasons import as_meant
from textkeep.archive.batch import Batch, Receipt
from textkeep.archive.vault import Vault
from textkeep.errors import Malformed, NotFound, TooLarge, UnknownMediaType
from textkeep.ingest.door import Door, Held
from textkeep.ingest.intake import Intake
from textkeep.ingest.quarantine import MAX_PAGE, SHELF, Quarantine
from textkeep.ingest.splitting import FORMS, MAX_REQUEST_BYTES, Form, split, unpack

Caller = Annotated[Principal, Depends(caller)]
Why = Annotated[
    str,
    Header(
        alias="Textkeep-Reason",
        description="Why; it goes on record. UTF-8, percent-encoded where it is not plain ASCII.",
    ),
]
HoldName = Annotated[
    str | None,
    Header(
        alias="Textkeep-Hold",
        max_length=100,
        description="A legal hold in force: a record that it covers is readable past its 400 days too.",
    ),
]

_OVER: Final = f"a request has at most {MAX_REQUEST_BYTES} bytes"

_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["specversion", "type", "id", "source", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "type": {"const": "textkeep.text.v1"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "data": {"type": "object"},
    },
}
_BODIES: Final[dict[str, Any]] = {
    "application/cloudevents+json": {"schema": _EVENT},
    "application/cloudevents-batch+json": {"schema": {"type": "array", "items": _EVENT}},
    "application/x-ndjson": {"schema": {"type": "string", "description": "One event a line."}},
}


def router(
    intake: Intake, door: Door, vault: Vault, quarantine: Quarantine, *, fresh: Sequence[params.Depends] = ()
) -> APIRouter:
    """`POST /v1/texts`, `GET /v1/batches/{id}` and `GET /v1/quarantine`.

    `fresh` is what lets a request know of organisations that other processes have registered; intake looks by itself.
    """
    routes = APIRouter(prefix="/v1")
    _add_texts(routes, intake, door)
    _add_batches(routes, vault)
    _add_quarantine(routes, quarantine, fresh)
    return routes


def _add_texts(routes: APIRouter, intake: Intake, door: Door) -> None:
    @routes.post(
        "/texts",
        tags=["texts"],
        response_model=Receipt,
        openapi_extra={"requestBody": {"required": True, "content": _BODIES}},
    )
    async def post_texts(request: Request, principal: Caller) -> Response:
        """Push texts; the receipt says what became of each. What it calls accepted is on disk."""
        rules.require(principal, "texts.write", None)
        form, packed = _form_of(request), _is_packed(request)
        with door.holding() as held:
            body = await _read(request, held)
            batch = await run_in_threadpool(_prepare, intake, principal, form, body, held if packed else None)
            receipt = await asyncio.wrap_future(door.submit(batch))
        return Response(msgspec.json.encode(receipt), media_type="application/json")


def _prepare(intake: Intake, principal: Principal, form: Form, body: bytes, packed: Held | None) -> Batch:
    if packed is not None:
        body = unpack(body)
        packed.grow(len(body))
    return intake.prepare(principal, split(form, body))


def _form_of(request: Request) -> Form:
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    form = FORMS.get(media_type.strip().lower())
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if form is None or charset not in ("", "utf-8"):
        raise UnknownMediaType("no door takes this content type", field="Content-Type")
    return form


def _is_packed(request: Request) -> bool:
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("gzip", "identity"):
        raise UnknownMediaType("no door takes this content encoding", field="Content-Encoding")
    return coding == "gzip"


async def _read(request: Request, held: Held) -> bytes:
    """The body, in memory only. Raises TooLarge as soon as it is over the limit, TooBusy where there is no room."""
    if int(request.headers.get("content-length", "0")) > MAX_REQUEST_BYTES:
        raise TooLarge(_OVER)
    parts: list[bytes] = []
    try:
        async for part in request.stream():
            held.grow(len(part))
            parts.append(part)
            if held.bytes > MAX_REQUEST_BYTES:
                raise TooLarge(_OVER)
    except ClientDisconnect:
        raise Malformed("the request broke off; nothing of it was stored") from None
    return b"".join(parts)


def _add_batches(routes: APIRouter, vault: Vault) -> None:
    @routes.get("/batches/{batch_id}", tags=["texts"])
    def get_batch(principal: Caller, batch_id: Annotated[str, InPath(max_length=64)]) -> dict[str, Any]:
        """Counts and root of a batch, as long as its day lasts; a producer sees its own."""
        rules.require(principal, "receipts.read", None)
        stored = vault.batch(batch_id)
        if stored is None or not (stored.producer == principal.person or "auditor" in principal.roles):
            raise NotFound("there is no such batch, or it was another producer's")
        return {name: value for name, value in asdict(stored).items() if name != "producer"}


def _add_quarantine(routes: APIRouter, quarantine: Quarantine, fresh: Sequence[params.Depends]) -> None:
    @routes.get("/quarantine", tags=["quarantine"], dependencies=fresh)
    def list_quarantine(
        principal: Caller,
        why: Why = "",
        org_id: Annotated[str | None, Query(max_length=200)] = None,
        hold: HoldName = None,
        cursor: Annotated[str | None, Query(max_length=80)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    ) -> dict[str, Any]:
        """What was set aside: newest day first, without content. Recorded with its reason.

        Through a hold it is what that covers, however old, with what does not open and is kept for it (`undecided`).
        """
        return asdict(quarantine.page(principal, as_meant(why), org_id=org_id, hold=hold, cursor=cursor, limit=limit))

    @routes.get("/quarantine/{shelf}/{paper_id}", tags=["quarantine"], dependencies=fresh)
    def read_quarantined(
        principal: Caller,
        shelf: Annotated[str, InPath(pattern=f"^{SHELF}$")],
        paper_id: Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")],
        why: Why = "",
        hold: HoldName = None,
    ) -> dict[str, Any]:
        """One quarantined record with exactly what came, as text or else in Base64. Recorded with its reason."""
        entry, raw = quarantine.read(principal, as_meant(why), shelf, paper_id, hold)
        try:
            content: dict[str, str | None] = {"content": raw.decode(), "content_base64": None}
        except UnicodeDecodeError:
            content = {"content": None, "content_base64": base64.b64encode(raw).decode()}
        return asdict(entry) | content
