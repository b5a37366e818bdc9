"""Approvals over HTTP: what waits for whom, one request in its exact words, and the decision about it."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from textkeep.access.http import caller
from textkeep.access.principal import Principal
from textkeep.access.reasons import MAX_REASON, must_have_reason
from textkeep.access.tokens import Names
from textkeep.archive.organisations import Organisations
from textkeep.archive.text import Handle
from textkeep.errors import Malformed
from textkeep.ledger.log import moment
from textkeep.retention.approvals.approval import ASKING, Approval, Kind, Outcome
from textkeep.retention.approvals.approvals import Approvals
from textkeep.store.engine import Store

Caller = Annotated[Principal, Depends(caller)]
ApprovalId = Annotated[str, InPath(pattern=r"^a-[0-9a-f]{16}$")]

DOORS: Final[dict[Kind, str]] = {
    "release": "POST /v1/holds/{id}/release",
    "return": "POST /v1/quarantine/{shelf}/{id}/return",
}
"""Where requests are made that have a door of their own."""


class Asked(BaseModel):
    """A request that has no door of its own. `request` says in full what will be done."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    kind: Kind
    subject: Annotated[str, Field(min_length=1, max_length=200)]
    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""
    request: dict[str, Any] = Field(default_factory=dict)


class Decision(BaseModel):
    """What another person decides. `digest` is the one of the request they were shown."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    outcome: Outcome
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""


class Shown:
    """Requests as people see them: names instead of handles."""

    def __init__(self, store: Store, approvals: Approvals, organisations: Organisations, names: Names) -> None:
        self._store = store
        self._approvals = approvals
        self._organisations = organisations
        self._names = names

    def all(self, wanted: Iterable[Approval]) -> list[dict[str, Any]]:
        """Requests, each as a document; with its exact words and its reason where it was opened."""
        found = list(wanted)
        with self._store.reading() as connection:
            return [self._document(connection, each) for each in found]

    def one(self, wanted: Approval) -> dict[str, Any]:
        """One request as a document."""
        return self.all([wanted])[0]

    def _document(self, connection: Connection, known: Approval) -> dict[str, Any]:
        named = {
            "id": known.id,
            "kind": known.kind,
            "org_id": None if known.org is None else self._organisations.name(Handle(known.org)),
            "subject": known.subject,
            "digest": known.digest.hex(),
            "state": known.state(self._approvals.now(connection)),
            "asked_by": self._names.name_of(connection, known.asked_by),
            "asked_at": moment(known.asked_at),
            "until": moment(known.until),
            "decided_by": None if known.decided_by is None else self._names.name_of(connection, known.decided_by),
            "decided_at": None if known.decided_at is None else moment(known.decided_at),
            "outcome": known.outcome,
            "used_at": None if known.used_at is None else moment(known.used_at),
        }
        return named if known.request is None else {**named, "request": known.request, "reason": known.reason}


def router(approvals: Approvals, shown: Shown) -> APIRouter:
    """`GET` and `POST /v1/approvals`, `GET` and `POST /v1/approvals/{id}`."""
    routes = APIRouter(prefix="/v1/approvals", tags=["approvals"])

    @routes.get("")
    def list_approvals(principal: Caller) -> dict[str, list[dict[str, Any]]]:
        """What waits for the caller to decide, what the caller asked for, what the caller decided; newest first."""
        listed = approvals.list(principal)
        return {
            "waiting": shown.all(listed.waiting),
            "asked": shown.all(listed.asked),
            "decided": shown.all(listed.decided),
        }

    @routes.get("/{approval_id}")
    def get_approval(principal: Caller, approval_id: ApprovalId) -> dict[str, Any]:
        """One request in its exact words, with the digest that a decision names; for who asked and who may decide."""
        return shown.one(approvals.get(principal, approval_id))

    @routes.post("/{approval_id}")
    def decide_approval(principal: Caller, approval_id: ApprovalId, decision: Decision) -> dict[str, Any]:
        """Approve or refuse what another person asked for. A refused attempt is recorded."""
        digest = bytes.fromhex(decision.digest)
        decided = approvals.decide(principal, approval_id, decision.outcome, digest, decision.reason)
        return {**shown.one(decided.approval), "effect": dict(decided.effect)}

    @routes.post("", status_code=202)
    def ask_approval(principal: Caller, asked: Asked) -> dict[str, Any]:
        """Ask for what has no door of its own: resuming after a restore, another ledger key, another witness."""
        if asked.kind in DOORS:
            raise Malformed(
                "that is asked for at an address of its own", field="kind", remedy=f"Use {DOORS[asked.kind]}."
            )
        approvals.attempts.require(principal, ASKING[asked.kind], None, asked.kind)
        reason = asked.reason.strip()
        must_have_reason(reason)
        return shown.one(approvals.put(principal, asked.kind, asked.subject, {**asked.request, "reason": reason}, None))

    return routes
