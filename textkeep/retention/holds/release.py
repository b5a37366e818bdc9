"""Releasing a hold: one person asks, another one approves, and 24 hours later it keeps nothing any more.

The release takes effect where the database and the keyring's store both say so: the copy there is changed before the
transaction that approves commits. What only that hold kept is destroyed by the purge of the shelf it lies on.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select, update

from textkeep.access.principal import Principal
from textkeep.archive.text import Handle
from textkeep.clock import Clock
from textkeep.errors import Conflict, Malformed
from textkeep.ledger import log
from textkeep.ledger.log import moment
from textkeep.retention.approvals.approval import Approval
from textkeep.retention.approvals.approvals import Approvals
from textkeep.retention.holds.copies import Held, HoldCopies
from textkeep.retention.holds.hold import ENDS_AFTER, Hold
from textkeep.retention.holds.holding import REASON_CHARACTERS, Holding, unknown
from textkeep.retention.holds.rows import LOCK
from textkeep.store import advisory
from textkeep.store.engine import Store
from textkeep.store.evidence import approvals, holds, releases
from textkeep.store.once import insert_once

KIND: Final = "release"


class AlreadyReleased(Conflict):
    """The hold was released before, or its release waits to be approved. Nothing was changed."""

    problem = "already-released"
    title = "It is released, or about to be"
    remedy = "`textkeep hold show ID` says when it ends; `textkeep approvals list` what waits."


class Releasing:
    """Asks for releases and makes approved ones effective."""

    def __init__(self, store: Store, holding: Holding, copies: HoldCopies, requests: Approvals, clock: Clock) -> None:
        self._store = store
        self._holding = holding
        self._copies = copies
        self._requests = requests
        self._clock = clock
        requests.on_approved(KIND, self.effect)

    def ask(self, principal: Principal, hold_id: str, reason: str) -> Approval:
        """Ask that a hold be released. The hold keeps until 24 hours after another person has approved.

        Raises Forbidden (on record), NotFound, Malformed without a reason, and AlreadyReleased.
        """
        with self._store.reading() as connection:
            known = self._holding.find(connection, hold_id)
        self._requests.attempts.require(principal, "holds.release", None, KIND, subject=known.id if known else None)
        if known is None:
            raise unknown()
        if not principal.sees(known.org):
            self._requests.attempts.record(principal, KIND, "organisation", subject=known.id)
            raise unknown()
        if not any(character.isalnum() for character in reason) or len(reason) > REASON_CHARACTERS:
            raise Malformed("a release needs a reason, in words", field="reason")
        with self._store.transaction() as connection:
            advisory.hold(connection, LOCK)
            hold = self._releasable(connection, hold_id)
            waiting = select(approvals.c.id).where(
                approvals.c.kind == KIND,
                approvals.c.subject == hold_id,
                approvals.c.outcome.is_(None),
                approvals.c.until > self._requests.now(connection),
            )
            if connection.execute(waiting.limit(1)).first() is not None:
                raise AlreadyReleased("its release waits to be approved")
            request = {"hold": hold.id, "definition": hold.digest.hex(), "reason": reason.strip()}
            return self._requests.ask(connection, principal, KIND, hold.id, request, hold.org)

    def effect(self, connection: Connection, approved: Approval) -> Mapping[str, Any]:
        """Make an approved release effective, in the transaction that approves it; gives when the hold ends.

        Raises NotFound and AlreadyReleased where it is not the hold any more that was asked about.
        """
        advisory.hold(connection, LOCK)
        used = self._requests.use(connection, approved.id, KIND, approved.digest)
        hold = self._releasable(connection, used.subject)
        if used.request is None or used.request["definition"] != hold.digest.hex() or used.org != hold.org:
            raise unknown()
        approved_at = used.decided_at or self._clock()
        ends_at = max(approved_at, self._clock(), self._holding.earliest(connection)) + ENDS_AFTER
        body = {
            "hold": hold.id,
            "org": hold.org.hex(),
            "approval": used.id,
            "asked_by": used.asked_by.hex(),
            "approved_by": (used.decided_by or b"").hex(),
            "ends": moment(ends_at),
        }
        columns = {
            "org": hold.org,
            "approval": used.id,
            "entry": log.append(connection, "release", body, now=self._clock()),
            "asked_by": used.asked_by,
            "approved_by": used.decided_by,
            "approved_at": approved_at,
            "effective_at": ends_at,
            "done_at": None,
        }
        if not insert_once(connection, releases, {"hold": hold.id, **columns}):
            # Released before, by a release that database and keyring did not both know of.
            connection.execute(update(releases).where(releases.c.hold == hold.id).values(columns))
        connection.execute(update(holds).where(holds.c.id == hold.id).values(ends_at=ends_at))
        self._copies.write(replace(held_of(connection, hold.id), ends_at=ends_at))
        return {"hold": hold.id, "ends_at": moment(ends_at)}

    def _releasable(self, connection: Connection, hold_id: str) -> Hold:
        hold = self._holding.find(connection, hold_id)
        if hold is None:
            raise unknown()
        if hold.ends_at is not None:
            raise AlreadyReleased("the hold was released before")
        if hold.unreadable:
            raise Conflict(
                "the hold does not open, so nobody can tell what would be released",
                remedy="Run `textkeep doctor`: ledger, database and keyring must agree first.",
            )
        return hold


def held_of(connection: Connection, hold_id: str) -> Held:
    """A row as its copy holds it."""
    row = connection.execute(select(holds).where(holds.c.id == hold_id)).one()
    ends_at: datetime | None = row.ends_at
    return Held(
        row.id,
        Handle(bytes(row.org)),
        bytes(row.placed_by),
        row.placed_at,
        row.review_at,
        bytes(row.sealed),
        ends_at,
    )
