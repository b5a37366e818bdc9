"""Returning from quarantine, by two persons: an officer asks, another person approves, and then it is done at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from textkeep.access.principal import Principal
from textkeep.access.reasons import must_have_reason
from textkeep.archive.permit import Permit
from textkeep.archive.rows import Opened
from textkeep.ingest.returning import NotReturnable, Returning, Waiting
from textkeep.retention.approvals.approval import Approval
from textkeep.retention.approvals.approvals import Approvals
from textkeep.retention.holds.hold import Hold, covers, covers_record
from textkeep.retention.holds.rows import LOCK
from textkeep.retention.purging.destruction import Covered
from textkeep.store import advisory
from textkeep.store.engine import Store

KIND: Final = "return"


class InForce(Protocol):
    """The legal holds in force."""

    def active(self, connection: Connection) -> Sequence[Hold]:
        """Those that keep what they cover now."""


class Permits(Protocol):
    """The choke point of everything that destroys (`destruction.py`)."""

    def permit_return(self, connection: Connection, shelf: str, covered: Covered) -> Permit:
        """The permit to take one record out of quarantine. Raises Conflict where a hold stands against it."""


class Returns:
    """Asks for returns and, once another person has approved, does them in that person's transaction.

    `returned` hears when one is committed.
    """

    def __init__(
        self,
        store: Store,
        approvals: Approvals,
        returning: Returning,
        permits: Permits,
        holds: InForce,
        *,
        returned: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._approvals = approvals
        self._returning = returning
        self._permits = permits
        self._holds = holds
        approvals.on_approved(KIND, self._do, lambda _: returned())

    def ask(self, principal: Principal, why: str, shelf: str, paper_id: str) -> Approval:
        """Ask that a record be made a text after all. It stays in quarantine until another person has approved.

        Raises Forbidden (on record), ReasonRequired, NotFound, NotReturnable with the reason, and Conflict where that
        waits already.
        """
        self._approvals.attempts.require(principal, "quarantine.return", None, KIND)
        reason = why.strip()
        must_have_reason(reason)
        self._returning.refresh()
        with self._store.transaction() as connection:
            waiting = self._returning.find(connection, shelf, bytes.fromhex(paper_id), principal)
            request = {"record": waiting.paper.commitment.hex(), "reason": reason}
            return self._approvals.ask(connection, principal, KIND, f"{shelf}/{paper_id}", request, waiting.org)

    def _do(self, connection: Connection, approved: Approval) -> Mapping[str, Any]:
        """Make the record a text, in the transaction that approves it; gives the receipt.

        The record is judged again. Raises what stands against it; then nothing is approved, and nothing is lost.
        """
        advisory.hold(connection, LOCK)  # before the shelves, as a purge does
        used = self._approvals.use(connection, approved.id, KIND, approved.digest)
        shelf, _, paper_id = used.subject.partition("/")
        asked = (used.request or {}).get("record")

        def permitted(connection: Connection, waiting: Waiting, text: Opened) -> Permit:
            if waiting.paper.commitment.hex() != asked:
                raise NotReturnable("it is not the record that was asked about")
            return self._permits.permit_return(connection, shelf, lambda inside: self._loses(inside, waiting, text))

        done = self._returning.back(connection, used.asked_by, shelf, bytes.fromhex(paper_id), permitted)
        persons = {"asked_by": used.asked_by.hex(), "approved_by": (used.decided_by or b"").hex()}
        now = self._approvals.now(connection)
        self._returning.tell(connection, done, {"approval": used.id, **persons}, now)
        return {"returned": used.subject, "text_id": str(done.text.id), "receipt": asdict(done.receipt)}

    def _loses(self, connection: Connection, waiting: Waiting, text: Opened) -> bool:
        """Whether a hold in force covers the record and would not cover the text that it has become.

        It can where the hold names a flag: a record in quarantine counts as having each of them, a text has its own.
        """
        paper, flags = waiting.paper, frozenset(text.flags)
        return any(
            covers_record(hold, waiting.raw, paper.org, paper.made_at) and not covers(hold, text.event, text.org, flags)
            for hold in self._holds.active(connection)
        )
