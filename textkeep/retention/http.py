"""Retention over HTTP: the rule, how each day stands, the list of reports, and starting a run by hand."""

from dataclasses import asdict
from typing import Annotated, Any, Final, NoReturn

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from textkeep.access.http import caller
from textkeep.access.principal import Principal
from textkeep.access.rules import require
from textkeep.archive.shelf import Day, is_kept
from textkeep.clock import Clock
from textkeep.errors import RetentionFixed
from textkeep.ledger.log import Entry, moment
from textkeep.retention.policy import RULE, policy_digest
from textkeep.retention.purging.days import day_rows
from textkeep.retention.purging.purge import Purge
from textkeep.retention.reports.chain import Chain
from textkeep.store.engine import Store

MOST_DAYS: Final = 100_000
"""The largest number of days that can be confirmed."""

Caller = Annotated[Principal, Depends(caller)]


class Refused(JSONResponse):
    """What a route that always refuses is documented to answer with: a problem document (RFC 9457)."""

    media_type = "application/problem+json"


class RunRequest(BaseModel):
    """What `POST /v1/purges` takes."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    dry_run: bool = Field(default=False, description="Only say what would go; nothing is changed.")
    confirm_days: int | None = Field(
        default=None,
        ge=0,
        le=MOST_DAYS,
        description="The number of days due, where a guard asks for a person's word.",
    )


def router(store: Store, purge: Purge, chain: Chain, clock: Clock) -> APIRouter:
    """The routes `/v1/retention`, `/v1/days` and `/v1/purges`."""
    routes = APIRouter(prefix="/v1", tags=["retention"])
    _add_rule(routes)
    _add_days(routes, store, clock)
    _add_purges(routes, purge, chain)
    return routes


def _add_rule(routes: APIRouter) -> None:
    @routes.get("/retention")
    def get_retention(_principal: Caller) -> dict[str, Any]:
        """The rule, in words and numbers."""
        return {**RULE, "digest": policy_digest()}

    def refuse_change(_principal: Caller) -> NoReturn:
        """Always refused with `retention-fixed`: nothing changes the 400 days."""
        raise RetentionFixed("the retention period is a constant; nothing was changed")

    for method in ("PUT", "POST", "PATCH", "DELETE"):
        routes.add_api_route(
            "/retention",
            refuse_change,
            methods=[method],
            operation_id=f"{method.lower()}_retention",
            status_code=RetentionFixed.status,
            response_class=Refused,
            response_model=None,
        )


def _add_days(routes: APIRouter, store: Store, clock: Clock) -> None:
    @routes.get("/days")
    def get_days(principal: Caller) -> list[dict[str, Any]]:
        """How every day stands, oldest first; days ahead only where they hold something."""
        require(principal, "days.read", None)
        today = Day.of(clock()).shelf
        with store.reading() as connection:
            return [asdict(row) for row in day_rows(connection) if row.day <= today or row.taken]


def _add_purges(routes: APIRouter, purge: Purge, chain: Chain) -> None:
    @routes.post("/purges")
    def post_purge(principal: Caller, wanted: RunRequest) -> dict[str, Any]:
        """Run a purge now, or only say what would go. What stops it is named in the answer."""
        require(principal, "purge.run", None)
        asked_by = principal.person.hex()
        return purge.run(None, wanted.confirm_days, wanted.dry_run, asked_by=asked_by).document()

    @routes.get("/purges")
    def get_purges(principal: Caller) -> list[dict[str, Any]]:
        """The reports there are, oldest first: of purged days, and of days that had no run."""
        require(principal, "reports.read", None)
        return listed(chain)


def listed(chain: Chain) -> list[dict[str, Any]]:
    """What is told of each report there is, oldest first."""
    return [_purge(entry) for entry in chain.entries()]


def _kind(entry: Entry) -> str:
    if entry.kind == "missed-run":
        return entry.kind
    return "release" if is_kept(entry.body["name"]) else "day"


def _purge(entry: Entry) -> dict[str, Any]:
    return {
        "kind": _kind(entry),
        "name": entry.body["name"],
        "number": entry.body.get("purge"),
        "attempt": entry.body.get("attempt"),
        "verdict": entry.body["verdict"],
        "digest": entry.body["report"],
        "previous": entry.body["previous"],
        "reported_at": moment(entry.made_at),
        "entry": entry.index,
        "report": f"/v1/reports/{entry.body['name']}",
    }
