"""A request that one person makes and another one decides: its exact words, its digest, and what stands against it.

Pure. The digest is SHA-256 over the canonical JSON (RFC 8785) of `{kind, subject, request}`. Whoever approves sends the
digest of what they were shown; what is done then is done with that digest and no other.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

import rfc8785

from textkeep.access.principal import Action, Principal
from textkeep.access.rules import Denied, decide
from textkeep.errors import Conflict, Forbidden, Malformed, NotFound, Refusal

Kind = Literal["release", "return", "resume", "ledger-key", "witness"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

Outcome = Literal["approved", "refused"]
State = Literal["waiting", "approved", "refused", "expired", "used"]

ASKING: Final[Mapping[Kind, Action]] = {
    "release": "holds.release",
    "return": "quarantine.return",
    "resume": "restore.resume",
    "ledger-key": "ledger.change",
    "witness": "ledger.change",
}
"""What whoever asks must be allowed to do."""

VALID_FOR: Final = timedelta(hours=24)
"""How long a request can be approved, and what was approved be done, counted from when it was asked."""

SKEW: Final = timedelta(minutes=5)
"""How far behind the moment of asking the clock of another machine may be."""

REQUEST_BYTES: Final = 64 * 1024
"""The largest request, in bytes of its canonical form."""

Why = Literal["role", "organisation", "own-request", "expired", "decided", "digest", "clock"]
"""Why a decision was not taken; the ledger keeps this word."""

_SUBJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,199}")


class TwoPersons(Forbidden):
    """What one person asks for another one decides. A second token of the same person is the same person."""

    problem = "two-persons"
    title = "Another person must decide"
    remedy = "Ask somebody else who holds the role approver, with the organisation."


class NotApproved(Conflict):
    """The request cannot be decided or used any more, or was not approved in these words. Nothing was changed."""

    problem = "not-approved"
    title = "It is not approved, or no longer"
    remedy = "Look at it again (`textkeep approvals show ID`); where its 24 hours are over, ask anew."


@dataclass(frozen=True, slots=True)
class Approval:
    """One request. `org`, `asked_by` and `decided_by` are handles; `request` is None where it was not opened."""

    id: str
    kind: Kind
    org: bytes | None
    subject: str
    digest: bytes
    asked_by: bytes
    asked_at: datetime
    until: datetime
    decided_by: bytes | None = None
    decided_at: datetime | None = None
    outcome: Outcome | None = None
    used_at: datetime | None = None
    request: Mapping[str, Any] | None = None
    reason: str | None = None
    """Why it was decided so."""

    def __repr__(self) -> str:
        return f"Approval({self.id}, {self.kind})"

    def state(self, now: datetime) -> State:
        """How it stands at `now`; one that was approved and not used in time has expired too."""
        if self.used_at is not None:
            return "used"
        if self.outcome == "refused":
            return "refused"
        if now >= self.until:
            return "expired"
        return "waiting" if self.outcome is None else "approved"


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a decision is not taken, as the ledger keeps it, and as whoever tried is told."""

    why: Why
    error: Refusal


def canonical(kind: Kind, subject: str, request: Mapping[str, Any]) -> bytes:
    """The exact request, in canonical JSON. Raises Malformed for one that has none, or is too large."""
    if not _SUBJECT.fullmatch(subject):
        raise Malformed("that cannot be the subject of a request", field="subject")
    try:
        written = rfc8785.dumps({"kind": kind, "subject": subject, "request": dict(request)})
    except (rfc8785.CanonicalizationError, ValueError, RecursionError):
        raise Malformed("the request has no canonical form (RFC 8785)", field="request") from None
    if len(written) > REQUEST_BYTES:
        raise Malformed(f"a request has at most {REQUEST_BYTES} bytes", field="request")
    return written


def digest_of(kind: Kind, subject: str, request: Mapping[str, Any]) -> bytes:
    """SHA-256 of the exact request. Raises like `canonical`."""
    return hashlib.sha256(canonical(kind, subject, request)).digest()


def may_decide(principal: Principal, approval: Approval) -> bool:
    """Whether the principal's role and organisations allow it to decide that request; not whether it is its own."""
    allowed = not isinstance(decide(principal, "approvals.decide", None), Denied)
    return allowed and sees(principal, approval)


def sees(principal: Principal, approval: Approval) -> bool:
    """What concerns the whole house is seen by a principal of every organisation only."""
    return principal.orgs is None if approval.org is None else principal.sees(approval.org)


def objection(approval: Approval, principal: Principal, digest: bytes, now: datetime) -> Objection | None:
    """What stands against this principal's deciding that request now, having seen that digest; None where nothing does.

    The person comes before the words: whoever may not decide learns nothing else of the request.
    """
    verdict = decide(principal, "approvals.decide", None)
    if isinstance(verdict, Denied):
        return Objection("role", Forbidden(verdict.reason))
    if not sees(principal, approval):
        return Objection("organisation", unknown())
    if principal.person == approval.asked_by:
        return Objection("own-request", TwoPersons("nobody decides their own request, whichever token they use"))
    if now < approval.asked_at - SKEW:
        return Objection("clock", behind())
    if now >= approval.until:
        return Objection("expired", NotApproved("its 24 hours are over"))
    if approval.outcome is not None:
        return Objection("decided", NotApproved("it was decided already"))
    if not hmac.compare_digest(digest, approval.digest):
        return Objection("digest", not_those_words())
    return None


def must_be_usable(approval: Approval, kind: Kind, digest: bytes, now: datetime) -> None:
    """Raises NotApproved unless that very request is approved by another person, in time, and was not used yet."""
    if approval.kind != kind or not hmac.compare_digest(digest, approval.digest):
        raise not_those_words()
    if approval.outcome != "approved" or approval.decided_by is None or approval.decided_at is None:
        raise NotApproved("nobody has approved it" if approval.outcome is None else "it was refused")
    if approval.decided_by == approval.asked_by:
        raise TwoPersons("one person asked for it and approved it")
    if approval.used_at is not None:
        raise NotApproved("it was done already", remedy="Ask anew where it is to be done once more.")
    if now < approval.asked_at - SKEW:
        raise behind()
    if now >= approval.until or approval.decided_at >= approval.until:
        raise NotApproved("its 24 hours are over")


def unknown() -> NotFound:
    """What is said of a request that is none, or that this caller may not know of."""
    return NotFound("there is no such request, or it is not yours to see", remedy="`textkeep approvals list`.")


def not_those_words() -> NotApproved:
    """What is said where the digest is another one."""
    return NotApproved("the digest is not that of the request", field="digest")


def behind() -> NotApproved:
    """What is said where the clock stands before the moment of asking."""
    return NotApproved("the clock is behind the moment it was asked", remedy="Set the clock right, then try again.")
