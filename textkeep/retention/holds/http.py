"""Legal holds over HTTP. No query, number or name of a person stands in a URL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field
from starlette.convertors import Convertor, register_url_convertor

from textkeep.access.http import caller
from textkeep.access.principal import Principal
from textkeep.access.tokens import Names
from textkeep.archive.organisations import Organisations
from textkeep.archive.text import Handle
from textkeep.errors import Malformed
from textkeep.ledger.log import moment
from textkeep.retention.holds.hold import MOST_NAMED, Hold, Scope, scope_of
from textkeep.retention.holds.holding import Holding, Reach
from textkeep.retention.holds.preview import Foreseen, Preview
from textkeep.retention.holds.release import Releasing
from textkeep.search.values import as_span
from textkeep.store.engine import Store

MOST_CHARACTERS: Final = 100_000
"""Characters of any member before it is refused unread; each member has its own, smaller bounds."""


class _HoldId(Convertor[str]):
    """Keeps `preview` from being taken for a hold, so that its address says which methods it takes."""

    regex = "h-[0-9a-z]{1,98}"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("hold", _HoldId())

Caller = Annotated[Principal, Depends(caller)]
HoldName = Annotated[str, InPath(min_length=1, max_length=100, description="A `hold_id`.")]
Word = Annotated[str, Field(max_length=MOST_CHARACTERS)]
_FORM: Final = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)


class ScopeAsked(BaseModel):
    """What a hold covers. Of each member that is there a text must fit one; it must fit all members."""

    model_config = _FORM

    org_id: Word | None = Field(default=None, description="The organisation; may be left out with a token for one.")
    users: list[Word] = Field(default=[], max_length=MOST_NAMED, description="Users by id.")
    numbers: list[Word] = Field(default=[], max_length=MOST_NAMED, description="Numbers, as sender or as receiver.")
    conversations: list[Annotated[list[Word], Field(min_length=2, max_length=2)]] = Field(
        default=[], max_length=MOST_NAMED, description="Pairs of numbers: what they wrote each other, either way."
    )
    after: Word | None = Field(default=None, description="A UTC day or an instant: sent from its start on.")
    before: Word | None = Field(default=None, description="A UTC day or an instant: sent before its start.")
    query: Word | None = Field(default=None, description="A query of the search language (docs/search.md).")


class PreviewAsked(BaseModel):
    """What `POST /v1/holds/preview` takes."""

    model_config = _FORM

    scope: ScopeAsked
    reason: Word = Field(default="", description="Why: it goes on record, for texts are opened. Required.")
    cursor: Word | None = Field(default=None, description="The `cursor` of the answer before, with the same scope.")


class HoldAsked(BaseModel):
    """What `POST /v1/holds` takes."""

    model_config = _FORM

    matter: Word = Field(description="The matter's reference.")
    reason: Word = Field(description="Why the texts are held.")
    review_at: Word = Field(description="When it is reviewed: a UTC day or an instant, at most 180 days ahead.")
    scope: ScopeAsked


class ReleaseAsked(BaseModel):
    """What `POST /v1/holds/{hold_id}/release` takes."""

    model_config = _FORM

    reason: Word = Field(description="Why it is released; the approver sees it.")


class HoldShown(BaseModel):
    """A hold. It never changes; `ends_at` is set by its release."""

    hold_id: str
    org_id: str
    matter: str
    reason: str
    scope: dict[str, Any]
    placed_by: str
    placed_at: str
    review_at: str
    review_overdue: bool = Field(description="Its review is due; it does not end by that.")
    state: Literal["in-force", "released", "ended"] = Field(
        description="`released`: it was released and keeps until `ends_at`."
    )
    ends_at: str | None
    entry: int = Field(description="The number of the ledger entry of its start.")
    proof: Literal["pending", "signed"] = Field(description="Whether that entry is inside a signed checkpoint.")
    readable: bool = Field(description="False where its definition does not open: then it covers its organisation.")


class PlacedShown(BaseModel):
    """A hold that was placed, and what it came too late for."""

    hold: HoldShown
    too_late: list[str] = Field(description="Shelves that were destroyed, or are past the point of no return.")
    in_purge: list[str] = Field(description="Shelves whose purge has begun; the hold still wins there.")


class ShelfShown(BaseModel):
    """What would be covered of one shelf."""

    shelf: str = Field(description="A day, or a shelf of texts that other holds keep.")
    state: str
    texts: int
    records: int = Field(description="Records in quarantine.")
    undecided: int = Field(description="What does not open, and so counts as covered.")
    users: dict[str, int] = Field(description="Texts by user.")
    days: dict[str, int] = Field(description="Of a shelf that other holds keep: texts by the UTC day they were sent.")


class PreviewShown(BaseModel):
    """What a hold would cover; with a `cursor` there is more."""

    preview_id: str = Field(description="Under which it is on record.")
    shelves: list[ShelfShown]
    texts: int
    records: int
    undecided: int
    opened: int = Field(description="Texts that were opened and matched for this answer.")
    shelves_looked_at: int
    cursor: str | None
    too_late: list[str]
    in_purge: list[str]


class ReleaseShown(BaseModel):
    """A release that was asked for and waits for another person."""

    approval_id: str
    digest: str = Field(description="SHA-256 of the exact request; whoever approves sends it back.")
    asked_at: str
    until: str = Field(description="Until when it can be approved.")


class Shown:
    """Writes holds as answers."""

    def __init__(self, store: Store, holding: Holding, organisations: Organisations, names: Names) -> None:
        self._store = store
        self._holding = holding
        self._organisations = organisations
        self._names = names

    def all(self, wanted: Sequence[Hold]) -> list[dict[str, Any]]:
        """Holds, in their order."""
        with self._store.reading() as connection:
            now = self._holding.earliest(connection)
            people = {hold.placed_by: self._names.name_of(connection, hold.placed_by) for hold in wanted}
            proofs = {hold.entry: self._holding.proof(connection, hold.entry) for hold in wanted}
        return [self._one(hold, people[hold.placed_by], proofs[hold.entry], now) for hold in wanted]

    def one(self, hold: Hold) -> dict[str, Any]:
        """One hold."""
        return self.all([hold])[0]

    def _one(self, hold: Hold, person: str, proof: str, now: datetime) -> dict[str, Any]:
        state = "in-force" if hold.ends_at is None else "released" if hold.in_force(now) else "ended"
        return {
            "hold_id": hold.id,
            "org_id": self._organisations.name(hold.org),
            "matter": hold.matter,
            "reason": hold.reason,
            "scope": hold.scope.written(),
            "placed_by": person,
            "placed_at": moment(hold.placed_at),
            "review_at": moment(hold.review_at),
            "review_overdue": hold.overdue(now),
            "state": state,
            "ends_at": None if hold.ends_at is None else moment(hold.ends_at),
            "entry": hold.entry,
            "proof": proof,
            "readable": not hold.unreadable,
        }


def router(holding: Holding, preview: Preview, releasing: Releasing, shown: Shown, names: Organisations) -> APIRouter:
    """The routes under `/v1/holds`."""
    routes = APIRouter(prefix="/v1", tags=["holds"])
    _add_placing(routes, holding, preview, shown, names)
    _add_reading(routes, holding, shown)

    @routes.post("/holds/{hold_id:hold}/release", response_model=ReleaseShown)
    def ask_release(principal: Caller, hold_id: HoldName, asked: ReleaseAsked) -> dict[str, Any]:
        """Ask that a hold be released. It keeps until 24 hours after another person has approved."""
        made = releasing.ask(principal, hold_id, asked.reason)
        return {
            "approval_id": made.id,
            "digest": made.digest.hex(),
            "asked_at": moment(made.asked_at),
            "until": moment(made.until),
        }

    return routes


def _add_placing(
    routes: APIRouter, holding: Holding, preview: Preview, shown: Shown, organisations: Organisations
) -> None:
    @routes.post("/holds", response_model=PlacedShown)
    def place_hold(principal: Caller, asked: HoldAsked) -> dict[str, Any]:
        """Place a hold: in force when this answers. It never changes; it ends by a release alone."""
        placed = holding.place(
            principal,
            matter=asked.matter,
            reason=asked.reason,
            review_at=_moment(asked.review_at, "review_at"),
            scope=_scope(principal, asked.scope, organisations),
        )
        return {"hold": shown.one(placed.hold), **_reach(placed.reach)}

    @routes.post("/holds/preview", response_model=PreviewShown)
    def preview_hold(principal: Caller, asked: PreviewAsked) -> dict[str, Any]:
        """Count what a hold would cover now, by opening and matching. It goes on record, with its reason."""
        scope = _scope(principal, asked.scope, organisations)
        return _foreseen(preview.count(principal, reason=asked.reason, scope=scope, cursor=asked.cursor))


def _add_reading(routes: APIRouter, holding: Holding, shown: Shown) -> None:
    @routes.get("/holds", response_model=list[HoldShown])
    def list_holds(
        principal: Caller,
        org_id: Annotated[
            str | None, Query(max_length=MOST_CHARACTERS, description="Of this organisation only.")
        ] = None,
    ) -> list[dict[str, Any]]:
        """The holds of the caller's organisations, newest first, with those that were released."""
        return shown.all(holding.listed(principal, org_id))

    @routes.get("/holds/{hold_id:hold}", response_model=HoldShown)
    def get_hold(principal: Caller, hold_id: HoldName) -> dict[str, Any]:
        """One hold."""
        return shown.one(holding.get(principal, hold_id))


def _scope(principal: Principal, asked: ScopeAsked, organisations: Organisations) -> Scope:
    said = asked.model_dump(exclude_none=True)
    if asked.org_id is None:
        if principal.orgs is None or len(principal.orgs) != 1:
            raise Malformed("the token is not for one organisation alone: name the one to hold", field="scope.org_id")
        said["org_id"] = organisations.name(Handle(next(iter(principal.orgs))))
    return scope_of(said)


def _moment(typed: str, field: str) -> datetime:
    span = as_span(typed)
    if span is None:
        raise Malformed("a UTC day, 2026-11-22, or an instant, 2026-11-22T09:30:00Z, stands here", field=field)
    return span[0]


def _reach(reach: Reach) -> dict[str, list[str]]:
    return {"too_late": list(reach.too_late), "in_purge": list(reach.in_purge)}


def _foreseen(found: Foreseen) -> dict[str, Any]:
    shelves = [
        {
            "shelf": each.shelf,
            "state": each.state,
            "texts": each.texts,
            "records": each.records,
            "undecided": each.undecided,
            "users": dict(each.users),
            "days": dict(sorted(each.days.items())),
        }
        for each in found.shelves
    ]
    return {
        "preview_id": found.preview_id,
        "shelves": shelves,
        **{name: sum(each[name] for each in shelves) for name in ("texts", "records", "undecided")},
        "opened": found.opened,
        "shelves_looked_at": found.looked_at,
        "cursor": found.cursor,
        **_reach(found.reach),
    }
