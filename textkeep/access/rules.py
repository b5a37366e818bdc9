"""Who may do what. Pure; what is not allowed here is denied.

Each role has the powers that its line names and no others. `purge.run` and `tokens.manage` come with access to the
archive's files alone: no token has them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

from textkeep.access.principal import LOCAL, Action, Principal, Role, Side
from textkeep.errors import Forbidden

POWERS: Final[Mapping[Role, frozenset[Action]]] = {
    "producer": frozenset({"texts.write", "receipts.read", "capabilities.read"}),
    "officer": frozenset(
        {
            "texts.search",
            "texts.read",
            "quarantine.read",
            "days.read",
            "capabilities.read",
            "ediscovery.use",
            "events.use",
            "holds.read",
            "holds.place",
            "quarantine.return",
            "approvals.read",
        }
    ),
    "counsel": frozenset(
        {
            "days.read",
            "capabilities.read",
            "ediscovery.use",
            "holds.read",
            "holds.place",
            "holds.release",
            "approvals.read",
        }
    ),
    "approver": frozenset({"capabilities.read", "holds.read", "approvals.read", "approvals.decide"}),
    "auditor": frozenset(
        {
            "reports.read",
            "ledger.read",
            "days.read",
            "activity.read",
            "receipts.read",
            "capabilities.read",
        }
    ),
    "registrar": frozenset({"directory.read", "directory.write", "capabilities.read"}),
    "operator": frozenset(
        {
            "health.read",
            "days.read",
            "capabilities.read",
            "ledger.change",
            "restore.resume",
            "approvals.read",
        }
    ),
}
"""What each role may do."""

FILE_ACCESS_ROLES: Final[frozenset[Role]] = frozenset({"producer", "registrar", "operator"})
"""The roles of whoever has the archive's files: load, directory, engines. Not one text can be read with them."""

FILE_ACCESS_POWERS: Final[frozenset[Action]] = frozenset({"purge.run", "tokens.manage"})
"""What only access to the archive's files allows."""

SCOPED: Final[frozenset[Action]] = frozenset(
    {
        "texts.write",
        "texts.search",
        "texts.read",
        "quarantine.read",
        "directory.read",
        "directory.write",
        "activity.read",
        "ediscovery.use",
        "events.use",
        "holds.read",
        "holds.place",
        "holds.release",
        "quarantine.return",
    }
)
"""Actions that touch one organisation's data; the others concern the house as a whole, and most only look at it."""

WHOLE: Final[frozenset[Action]] = frozenset({"ledger.change", "restore.resume"})
"""Actions that change the house as a whole: only for who is there for every organisation."""

APPROVES: Final[tuple[Role, ...]] = ("approver",)
ASKS: Final[tuple[Role, ...]] = ("officer", "counsel", "operator")

NEVER_TOGETHER: Final[tuple[tuple[Role, Role], ...]] = tuple(product(APPROVES, ASKS))
"""Roles that one person never holds at once: who asks or can look does not approve."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The principal may."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The principal may not, and why, in words that name no organisation and no person."""

    reason: str
    why: Literal["role", "organisation"] = "role"
    """Which of the two it lacks; the ledger keeps this word."""


def decide(principal: Principal, action: Action, org: bytes | None) -> Allowed | Denied:
    """Whether `principal` may do `action` in `org`.

    With `org` None the answer is about the role alone: for a scoped action the caller asks again with each
    organisation that it touches.
    """
    if action not in _powers(principal):
        return Denied(f"none of the token's roles allows {action}")
    if action in SCOPED and org is not None and not principal.sees(org):
        return Denied("the organisation is not among the token's", "organisation")
    if action in WHOLE and principal.orgs is not None:
        return Denied(f"{action} concerns every organisation, and the token is for some", "organisation")
    return Allowed()


def require(principal: Principal, action: Action, org: bytes | None) -> None:
    """Raises Forbidden, with the reason, unless `decide` allows it."""
    verdict = decide(principal, action, org)
    if isinstance(verdict, Denied):
        raise Forbidden(verdict.reason)


def clash(roles: Collection[Role]) -> tuple[Role, Role] | None:
    """Two of these roles that one person never holds together, or None."""
    return next(((one, other) for one, other in NEVER_TOGETHER if one in roles and other in roles), None)


def side_of(roles: Collection[Role]) -> Side | None:
    """On which side these roles put a person, or None where they are on neither."""
    approves, asks = any(role in roles for role in APPROVES), any(role in roles for role in ASKS)
    if approves and asks:
        return "both"
    return "approves" if approves else "asks" if asks else None


def _powers(principal: Principal) -> frozenset[Action]:
    named = frozenset[Action]().union(*(POWERS.get(role, frozenset()) for role in principal.roles))
    return named | FILE_ACCESS_POWERS if principal.token == LOCAL else named
