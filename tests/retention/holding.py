"""Legal holds over a real vault and keyring, and the people who place, release and approve them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Table, select

from tests.housing import House
from textkeep.access.principal import Principal, Role
from textkeep.archive.batch import Batch, Incoming, Receipt
from textkeep.archive.tags import Tags
from textkeep.archive.text import Handle
from textkeep.archive.vault import Vault
from textkeep.ingest.wire import Rejected, parse
from textkeep.ledger import log
from textkeep.ledger.log import Entry
from textkeep.retention.approvals.approval import Approval
from textkeep.retention.approvals.approvals import Approvals, Decided
from textkeep.retention.holds.hold import Hold, Scope
from textkeep.retention.holds.holding import Placed, Step
from textkeep.service.holding import Holds

ORG = "org-001"


@dataclass
class Holders:
    """A house and its legal holds; `told` hears of the steps of placing one."""

    house: House
    told: Callable[[Step], None] = lambda _: None
    approvals: Approvals = field(init=False)
    holds: Holds = field(init=False)
    vault: Vault = field(init=False)
    batches: int = 0

    def __post_init__(self) -> None:
        self.house.organisations.register(ORG)
        self.assemble()

    def assemble(self) -> None:
        """Put everything together over the house as it is."""
        house = self.house
        self.approvals = Approvals(house.store, house.sealer, house.clock)
        self.holds = Holds(
            house.store,
            house.keyring,
            house.sealer,
            house.shelves,
            house.organisations,
            self.approvals,
            house.clock,
            told=lambda step: self.told(step),
        )

        self.vault = Vault(
            house.store,
            house.shelves,
            house.sealer,
            Tags(house.keyring),
            house.papers,
            house.clock,
            self.holds.holding.covering,
        )

    def person(self, name: str, *roles: Role, orgs: tuple[str, ...] | None = (ORG,)) -> Principal:
        """Somebody with these roles, in these organisations or in all."""
        with self.house.store.transaction() as connection:
            handle = self.house.persons.handle_of(connection, name)
        seen = None if orgs is None else frozenset(self.org(each) for each in orgs)
        return Principal(handle, f"t-{name}", frozenset(roles), seen)

    def org(self, org_id: str = ORG) -> Handle:
        return self.house.organisations.register(org_id)

    @property
    def officer(self) -> Principal:
        return self.person("Olivia", "officer")

    @property
    def counsel(self) -> Principal:
        return self.person("Carol", "counsel")

    @property
    def approver(self) -> Principal:
        return self.person("Anna", "approver")

    def place(self, *, by: Principal | None = None, days: int = 90, org_id: str = ORG, **scope: Any) -> Placed:
        """Place a hold with this scope, to be reviewed in so many days."""
        return self.holds.holding.place(
            by or self.officer,
            matter="Doe v. Roe 26-1104",
            reason="a subpoena",
            review_at=self.house.clock() + timedelta(days=days),
            scope=Scope(org_id, **scope),
        )

    def ask(self, hold: Hold, by: Principal | None = None) -> Approval:
        return self.holds.releasing.ask(by or self.counsel, hold.id, "the matter is settled")

    def approve(self, asked: Approval, by: Principal | None = None) -> Decided:
        return self.approvals.decide(by or self.approver, asked.id, "approved", asked.digest)

    def release(self, hold: Hold) -> Decided:
        """Ask and approve; the hold keeps for 24 hours from here on."""
        return self.approve(self.ask(hold))

    def take(self, *wire: dict[str, Any] | bytes, **decided: Any) -> Receipt:
        """Accept records as one batch; keyword arguments replace what ingest decided."""
        self.batches += 1
        records = []
        for at, each in enumerate(wire):
            raw = each if isinstance(each, bytes) else json.dumps(each).encode()
            parsed = parse(raw)
            org_id = parsed.org_id if isinstance(parsed, Rejected) else parsed.event.data.org_id
            source, name = (None, None) if isinstance(parsed, Rejected) else (parsed.event.source, parsed.event.id)
            org = None if org_id is None else self.house.organisations.register(org_id)
            said = {"verdict": "accept", "reason": None, "org": org, **decided}
            records.append(Incoming(raw, at, name, parsed.sent_at, source=source, **said))
        batch = Batch(f"batch-{self.batches}", self.house.clock(), bytes(8), records)
        return self.vault.accept([batch])[0]

    def in_force(self) -> list[str]:
        """The ids of the holds in force now."""
        with self.house.store.reading() as connection:
            return [hold.id for hold in self.holds.holding.active(connection)]

    def entries(self, *kinds: str) -> list[Entry]:
        with self.house.store.reading() as connection:
            return log.entries(connection, kinds=kinds)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        with self.house.store.reading() as connection:
            return [dict(row._mapping) for row in connection.execute(select(table))]
