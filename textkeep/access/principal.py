"""Who is asking: a person, with roles, in organisations. Pure."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

Role = Literal["producer", "officer", "counsel", "approver", "auditor", "registrar", "operator"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

Side = Literal["asks", "approves", "both"]
"""Where a person stands where two are needed; `both` only in an archive of made-up texts."""

Action = Literal[
    "texts.write",
    "texts.search",
    "texts.read",
    "quarantine.read",
    "directory.read",
    "directory.write",
    "activity.read",
    "days.read",
    "reports.read",
    "receipts.read",
    "purge.run",
    "health.read",
    "capabilities.read",
    "tokens.manage",
    "ediscovery.use",
    "events.use",
    "holds.read",
    "holds.place",
    "holds.release",
    "quarantine.return",
    "approvals.read",
    "approvals.decide",
    "ledger.read",
    "ledger.change",
    "restore.resume",
]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

LOCAL: Final = "local"
"""Stands where a token's id would: whoever has access to the archive's files, named by their OS user."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A person and what their credential lets them be.

    `person` is a handle, `token` the token's id or `LOCAL`, `orgs` handles of organisations; None is every one.
    """

    person: bytes
    token: str
    roles: frozenset[Role]
    orgs: frozenset[bytes] | None

    def sees(self, org: bytes) -> bool:
        """Whether the organisation is among the principal's."""
        return self.orgs is None or org in self.orgs
