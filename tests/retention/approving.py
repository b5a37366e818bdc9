"""Two persons over a house: who asks, who approves, and what the ledger says of it."""

from dataclasses import dataclass
from typing import Any

from tests.housing import House
from textkeep.access.principal import Principal, Role
from textkeep.archive.keyring import org_secret
from textkeep.archive.text import Handle
from textkeep.ledger import log
from textkeep.retention.approvals.approval import Approval, Kind
from textkeep.retention.approvals.approvals import Approvals

ORG, OTHER = b"\x0a" * 8, b"\x0b" * 8
ADA, GRACE, ALAN = (bytes([number]) * 8 for number in (1, 2, 3))
REQUEST = {"hold": "h-1", "reason": "the matter is closed"}


def person(handle: bytes, *roles: Role, orgs: frozenset[bytes] | None = None, number: int = 1) -> Principal:
    """Somebody with these roles, who comes with a token of that number."""
    return Principal(handle, f"t-{number}", frozenset(roles), orgs)


COUNSEL = person(ADA, "counsel")
APPROVER = person(GRACE, "approver")


@dataclass
class Desk:
    """Approvals over a house."""

    house: House
    approvals: Approvals

    @classmethod
    def over(cls, house: House) -> "Desk":
        house.keyring.make(org_secret(Handle(org)) for org in (ORG, OTHER))
        return cls(house, Approvals(house.store, house.sealer, house.clock))

    def ask(
        self,
        kind: Kind = "release",
        subject: str = "h-1",
        *,
        by: Principal = COUNSEL,
        org: bytes | None = ORG,
        **request: Any,
    ) -> Approval:
        """A request that now waits."""
        return self.approvals.put(by, kind, subject, request or REQUEST, org)

    def use(self, asked: Approval, kind: Kind | None = None, digest: bytes | None = None) -> Approval:
        """What the act itself does, in a transaction of its own."""
        with self.house.store.transaction() as connection:
            return self.approvals.use(connection, asked.id, kind or asked.kind, digest or asked.digest)

    def told(self) -> list[dict[str, Any]]:
        """What the ledger says of approvals, in order, without what every entry has."""
        with self.house.store.reading() as connection:
            found = log.entries(connection, kinds=["approval"])
        return [{k: v for k, v in each.body.items() if k not in ("v", "kind", "time")} for each in found]

    def did(self) -> list[tuple[str, str | None]]:
        """What was done, and why not where it was refused."""
        return [(each["did"], each.get("why")) for each in self.told()]
