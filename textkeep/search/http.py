"""Searching and reading over HTTP. No query and no number stands in a URL; a reason stands in every request."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from textkeep.access.http import caller
from textkeep.access.principal import Principal
from textkeep.access.reasons import as_meant
from textkeep.access.rules import require
from textkeep.archive.organisations import Organisations
from textkeep.archive.rows import Opened
from textkeep.archive.text import Direction, Disposition, Handle
from textkeep.errors import Forbidden, Malformed
from textkeep.ledger.log import moment
from textkeep.search.finder import MAX_LIMIT, Finder
from textkeep.search.reader import MAX_AROUND, Reader

PAGE: Final = 50
"""Texts on a page where nothing is said."""

MOST_CHARACTERS: Final = 100_000
"""Characters of any member before it is refused unread; the language has its own, smaller bounds."""

_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": words,
        "content": {
            "application/problem+json": {"schema": {"type": "object", "required": ["type", "title", "status"]}}
        },
    }
    for status, words in (
        (400, "No reason was given, or the request is not of the documented form"),
        (401, "No valid token"),
        (403, "The token's role or organisations do not allow it"),
        (404, "No such text, or none that this token may read, or past its 400 days"),
        (422, "The query cannot be read, or answering it would pass a named bound"),
    )
}

Caller = Annotated[Principal, Depends(caller)]
TextName = Annotated[str, InPath(min_length=1, max_length=100, description="A `text_id` from a receipt or a search.")]
Reason = Annotated[
    str,
    Header(
        alias="Textkeep-Reason",
        description="Why the text is read; it goes on record. UTF-8, percent-encoded where it is not plain ASCII.",
    ),
]


HoldName = Annotated[
    str | None,
    Header(
        alias="Textkeep-Hold",
        max_length=100,
        description="A legal hold in force: what it covers is readable past its 400 days too.",
    ),
]


class SearchRequest(BaseModel):
    """What `POST /v1/searches` takes."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    query: str = Field(max_length=MOST_CHARACTERS, description="What to find, in the query language (docs/search.md).")
    reason: str = Field(
        default="", max_length=MOST_CHARACTERS, description="Why: it goes on record with the search. Required."
    )
    org_id: str | None = Field(
        default=None,
        max_length=MOST_CHARACTERS,
        description="The organisation to search; may be left out with a token for one.",
    )
    limit: int = Field(default=PAGE, ge=1, le=MAX_LIMIT, description="Texts on a page.")
    cursor: str | None = Field(
        default=None, max_length=MOST_CHARACTERS, description="The `cursor` of the page before, with the same query."
    )
    hold_id: str | None = Field(
        default=None,
        max_length=100,
        description="A legal hold in force: only what it covers is found, past its 400 days too.",
    )


class TextShown(BaseModel):
    """A text as it was sent, with what the archive knows of it."""

    text_id: str = Field(description="Its name in the archive: day, tag, version.")
    org_id: str = Field(description="The organisation.")
    user_id: str = Field(description="The organisation's user.")
    direction: Direction
    from_: str = Field(alias="from", description="The sender: E.164 or a short code.")
    to: str = Field(description="The receiver: E.164 or a short code.")
    body: str = Field(description="The text itself.")
    sent_at: str = Field(description="When it was sent: RFC 3339, UTC.")
    received_at: str = Field(description="When the archive took it: RFC 3339, UTC.")
    disposition: Disposition
    reason: str | None = Field(description="Why it was blocked or throttled, as the source said it.")
    flags: list[str] = Field(description="What was amiss with it, and `updated` or `rewritten` where versions differ.")
    version: int = Field(description="1 for the first text of its id; later ones stand beside it.")
    held: list[str] = Field(description="The ids of the legal holds that cover it.")


class SearchPage(BaseModel):
    """One page of results, newest first."""

    search_id: str = Field(description="Under which the search is on record.")
    results: list[TextShown]
    cursor: str | None = Field(description="Leads to the next page; null where there is none.")
    shelves_searched: int = Field(description="How many days were looked into.")
    indexed_up_to: str = Field(description="When the oldest record not yet findable was received, else now.")


class ConversationShown(BaseModel):
    """What two numbers wrote each other around a text, in the order it was sent."""

    read_id: str = Field(description="Under which the reading is on record.")
    text_id: str = Field(description="The text that was asked for; it is among them.")
    texts: list[TextShown]


def router(finder: Finder, reader: Reader, organisations: Organisations) -> APIRouter:
    """The routes `/v1/searches`, `/v1/texts/{id}` and `/v1/texts/{id}/conversation`."""
    routes = APIRouter(prefix="/v1", tags=["search"])
    _add_search(routes, finder, organisations)
    _add_reading(routes, reader, organisations)
    return routes


def _add_search(routes: APIRouter, finder: Finder, organisations: Organisations) -> None:
    @routes.post("/searches", responses=_only(400, 401, 403, 422), response_model=SearchPage)
    def search(principal: Caller, asked: SearchRequest) -> dict[str, Any]:
        """Find texts of one organisation, newest first. The search is put on record before it is answered."""
        org = _organisation(principal, asked.org_id, organisations)
        page = finder.find(
            principal,
            asked.query,
            reason=asked.reason,
            org=org,
            limit=asked.limit,
            cursor=asked.cursor,
            hold=asked.hold_id,
        )
        return {
            "search_id": page.search_id,
            "results": [_shown(*each, organisations) for each in zip(page.results, page.held, strict=True)],
            "cursor": page.cursor,
            "shelves_searched": page.shelves_searched,
            "indexed_up_to": moment(page.indexed_up_to),
        }


def _add_reading(routes: APIRouter, reader: Reader, organisations: Organisations) -> None:
    @routes.get("/texts/{text_id}", responses=_only(400, 401, 403, 404), response_model=TextShown)
    def read_text(principal: Caller, text_id: TextName, reason: Reason = "", hold: HoldName = None) -> dict[str, Any]:
        """Read one text. The reading is put on record before it is answered."""
        opened = reader.read(principal, text_id, reason=as_meant(reason), hold=hold)
        return _shown(opened, reader.held_by([opened])[0], organisations)

    @routes.get("/texts/{text_id}/conversation", responses=_only(400, 401, 403, 404), response_model=ConversationShown)
    def read_conversation(
        principal: Caller,
        text_id: TextName,
        reason: Reason = "",
        before: Annotated[int, Query(ge=0, le=MAX_AROUND, description="Texts before it.")] = 20,
        after: Annotated[int, Query(ge=0, le=MAX_AROUND, description="Texts after it.")] = 20,
        hold: HoldName = None,
    ) -> dict[str, Any]:
        """What its two numbers wrote each other around a text. The reading is put on record before it is answered."""
        found = reader.conversation(principal, text_id, reason=as_meant(reason), before=before, after=after, hold=hold)
        held = reader.held_by(found.texts)
        return {
            "read_id": found.read_id,
            "text_id": str(found.text.id),
            "texts": [_shown(*each, organisations) for each in zip(found.texts, held, strict=True)],
        }


def _only(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _PROBLEMS[status] for status in statuses}


def _organisation(principal: Principal, org_id: str | None, organisations: Organisations) -> Handle:
    """The organisation to search. One that is not registered is refused like one that is another's."""
    require(principal, "texts.search", None)
    if org_id is not None:
        org = organisations.find(org_id)
        if org is None:
            raise Forbidden("the organisation is not among the token's", field="org_id")
        require(principal, "texts.search", org)
        return org
    if principal.orgs is None or len(principal.orgs) != 1:
        raise Malformed("the token is not for one organisation alone: name the one to search", field="org_id")
    return Handle(next(iter(principal.orgs)))


def _shown(opened: Opened, held: list[str], organisations: Organisations) -> dict[str, Any]:
    data = opened.event.data
    return {
        "text_id": str(opened.id),
        "org_id": organisations.name(opened.org),
        "user_id": data.user_id,
        "direction": data.direction,
        "from": data.from_,
        "to": data.to,
        "body": data.body,
        "sent_at": moment(data.sent_at),
        "received_at": moment(opened.received_at),
        "disposition": data.disposition,
        "reason": data.reason,
        "flags": list(opened.flags),
        "version": opened.id.version,
        "held": held,
    }
