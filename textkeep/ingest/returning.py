"""Returning: a quarantined record becomes a text after all, judged by what the directory says today.

All of it happens in the caller's transaction: the record is accepted as a text, read back, and only then taken out of
the quarantine. Whoever calls has had it approved, and brings the permit. Where anything stands against it the whole
transaction is undone, and the record stays where it was.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from textkeep.access.principal import Principal
from textkeep.archive.batch import Batch, Incoming, Receipt
from textkeep.archive.papers import Paper, Papers
from textkeep.archive.permit import Permit
from textkeep.archive.rows import Opened
from textkeep.archive.shelf import Day, expired
from textkeep.archive.shelves import Shelves
from textkeep.archive.text import HOUSE, Handle, TextId, leaf
from textkeep.archive.vault import Vault
from textkeep.clock import Clock
from textkeep.directory.directory import Directory
from textkeep.errors import Conflict, NotFound
from textkeep.ingest.eligibility import decide, flags_of
from textkeep.ingest.quarantine import sees, split
from textkeep.ingest.wire import Parsed, Rejected, parse
from textkeep.ledger import log
from textkeep.store import advisory

BECOMES: Final = ("accepted", "version")
"""What a returned record must become; anything else leaves it in quarantine."""


class NotReturnable(Conflict):
    """The record cannot become a text: the detail names why. It stays in quarantine, and nothing was changed."""

    problem = "not-returnable"
    title = "The record stays in quarantine"
    remedy = "Mend what the reason names (the directory, say) and ask again; the record is kept until its day ends."


@dataclass(frozen=True, slots=True)
class Waiting:
    """A quarantined record and what it would be as a text today. `org` is who it belongs to in quarantine."""

    shelf: str
    paper: Paper
    raw: bytes
    record: Incoming

    @property
    def org(self) -> Handle | None:
        """The organisation that it lies in quarantine for; None where that is the house itself."""
        return None if self.paper.org == HOUSE else self.paper.org

    def __repr__(self) -> str:
        return f"Waiting({self.shelf}, {self.paper.id.hex()})"


@dataclass(frozen=True, slots=True)
class Returned:
    """What a record has become. `leaf` is what it was in the root of the quarantine, `slice` that of the text."""

    receipt: Receipt
    text: Opened
    leaf: bytes
    shelf: str


Permitted = Callable[[Connection, Waiting, Opened], Permit]
"""Gives the permit to take a record out, given the text it has become. MUST refuse where a hold would lose it."""


class Returning:
    """Does the work on the record; who may have it done, and who must agree, is decided above."""

    def __init__(self, shelves: Shelves, papers: Papers, vault: Vault, directory: Directory, clock: Clock) -> None:
        self._shelves = shelves
        self._papers = papers
        self._vault = vault
        self._directory = directory
        self._clock = clock

    def refresh(self) -> None:
        """Know what other processes have registered by now; before a transaction, never inside. Raises Outage."""
        self._directory.refresh()

    def find(self, connection: Connection, shelf: str, paper_id: bytes, principal: Principal | None = None) -> Waiting:
        """A record that could be returned now; with `principal` only one that this principal sees.

        Raises NotFound, and NotReturnable with the reason why it could not be.
        """
        state = self._shelves.states(connection, [shelf]).get(shelf)
        if state is None:
            raise _unknown()
        if state != "open":
            raise NotReturnable("the purge of its day has begun", field="shelf")
        paper = self._papers.get(connection, shelf, paper_id)
        if paper is None or paper.kind != "quarantine":
            raise _unknown()
        if principal is not None and not sees(principal, paper.org):
            raise _unknown()
        return self._judged(shelf, paper)

    def back(
        self, connection: Connection, asked_by: bytes, shelf: str, paper_id: bytes, permitted: Permitted
    ) -> Returned:
        """Make the record a text and take it out of the quarantine, in the caller's transaction.

        Who asked for it is named as who brought the new batch. The caller holds the lock that placing holds takes: it
        comes before those of the shelves. Raises like `find`, whatever `permitted` does, and Outage where another
        process stores the same record at this moment.
        """
        advisory.hold(connection, f"paper {shelf}/{paper_id.hex()}")
        waiting = self.find(connection, shelf, paper_id)
        batch = Batch(uuid.uuid4().hex, self._clock(), asked_by, [waiting.record], waiting.paper.made_at)
        receipt = self._vault.accept_within(connection, batch, beside=shelf)
        [item] = receipt.items
        if item.outcome == "duplicate":
            raise NotReturnable("the archive has a text with the same id and content", field="id")
        if item.outcome not in BECOMES or item.text_id is None:
            raise NotReturnable(f"it is not acceptable: {item.reason}")
        text = self._read_back(connection, TextId.parse(item.text_id), waiting)
        permit = permitted(connection, waiting, text)
        self._papers.take_out(connection, shelf, paper_id, permit)
        if self._papers.get(connection, shelf, paper_id) is not None:
            raise NotReturnable("it could not be taken out of the quarantine")
        return Returned(receipt, text, leaf(waiting.paper.org, waiting.paper.commitment), shelf)

    def tell(self, connection: Connection, returned: Returned, more: dict[str, Any], now: datetime) -> int:
        """Write the entry `returned` on the shelf that the record lay on, and give its `seq`."""
        body = {
            "count": 1,
            "leaf": returned.leaf.hex(),
            "org": returned.text.org.hex(),
            "batch": returned.receipt.batch_id,
            "slice": f"{returned.text.slice:016x}",
            "to": str(Day(returned.text.id.day).shelf),
            "text_leaf": leaf(returned.text.org, returned.text.commitment).hex(),
            **more,
        }
        return log.append(connection, "returned", body, now=now, shelf=returned.shelf)

    def _judged(self, shelf: str, paper: Paper) -> Waiting:
        _, raw = split(paper)
        found = parse(raw)
        if isinstance(found, Rejected):
            raise NotReturnable(f"it is not acceptable: {found.reason}", field=found.field)
        now = self._clock()
        if expired(found.sent_at, now):
            raise NotReturnable("its 400 days are over", field="data.sent_at")
        return Waiting(shelf, paper, raw, self._decided(raw, found, paper, now))

    def _decided(self, raw: bytes, found: Parsed, paper: Paper, now: datetime) -> Incoming:
        """The record by today's directory; whether it was late is told by when it came, not by when it is returned."""
        event, sent_at = found.event, found.sent_at
        facts = self._directory.as_of(event.data.org_id, event.data.user_id, sent_at)
        if facts is not None and paper.org not in (HOUSE, facts.handle):
            facts = None
        verdict = decide(found, facts, now)
        if facts is None or verdict.kind != "accept":
            raise NotReturnable(f"it is not acceptable: {verdict.reason}", field=verdict.field)
        flags = flags_of(event.data, facts, sent_at, paper.made_at)
        return Incoming(raw, 0, event.id, sent_at, facts.handle, event.source, "accept", None, flags=flags)

    def _read_back(self, connection: Connection, text_id: TextId, waiting: Waiting) -> Opened:
        """The text as it lies on its shelf now. Raises NotReturnable unless it is that record, byte for byte."""
        org = waiting.record.org or HOUSE
        there = self._vault.versions(connection, Day(text_id.day).shelf, org, text_id.tag)
        text = next((each for each in there if each.id == text_id), None)
        if text is None or text.raw != waiting.raw:
            raise NotReturnable("the text does not read back as the record")
        return text


def _unknown() -> NotFound:
    return NotFound("there is no such record in quarantine, or it belongs to another organisation")
