"""The audit: everything that can be recomputed is, and each line names the ledger entry to look at.

It runs where keys are and only reads: a snapshot for each part and each shelf, in bounded memory. What it cannot show
it calls `unknown`. It mends nothing; what a start or a run mends is on record, and told as a repair.
"""

import threading
from array import array
from collections.abc import Callable, Generator, Sequence
from typing import Final

from sqlalchemy import Connection, select

from textkeep.archive.keyring import Keyring
from textkeep.archive.papers import Papers
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelf import STATES
from textkeep.clock import Clock
from textkeep.errors import NotFound, Outage, Unsound
from textkeep.ledger import log
from textkeep.ledger.integrating import reached
from textkeep.ledger.note import Verifier
from textkeep.ledger.signer import LEASE, LEASE_SECONDS
from textkeep.ledger.state import State
from textkeep.retention.approvals.approvals import Approvals
from textkeep.retention.audit import book as audit_book
from textkeep.retention.audit.batches import BatchesAudit
from textkeep.retention.audit.closed import ClosedAudit
from textkeep.retention.audit.coverage import coverage, shelves_with_texts
from textkeep.retention.audit.erased import ErasedAudit
from textkeep.retention.audit.findings import Finding, Line
from textkeep.retention.audit.holds import HoldsAudit
from textkeep.retention.audit.ledger import LedgerAudit, trusted
from textkeep.retention.audit.names import NamesAudit
from textkeep.retention.audit.reports import ReportsAudit
from textkeep.retention.audit.rows import RowsAudit
from textkeep.retention.audit.shelves import DROPPED, ShelvesAudit
from textkeep.retention.holds.agreement import Agreement
from textkeep.retention.reports.folder import ReportFolder
from textkeep.search.comparing import Comparing
from textkeep.store.engine import Store, Vanished
from textkeep.store.leases import Leases
from textkeep.store.tables import papers_name, shelf_tables, shelves, texts_name

TRIES: Final = 3
"""How often a part is read again where somebody was at work on it in that very moment."""

MOVING: Final = 60
"""How often the log is looked at again while more and more is being signed."""

PAUSE: Final = 1.0
"""Seconds between two looks at the log: longer than signing takes."""

AT_WORK: Final = int(LEASE_SECONDS / PAUSE)
"""How often the log is looked at again while a signer has not put down in the database what it has signed."""

__all__ = ["Audit", "Finding"]


class Audit:
    """Recomputes what the archive says of itself. `signed` gives the state that lies with the keyring."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        sealer: Sealer,
        papers: Papers,
        signed: Callable[[], State | None],
        agreement: Agreement,
        approvals: Approvals,
        folder: ReportFolder,
        clock: Clock,
        comparing: Comparing | None = None,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._sealer = sealer
        self._papers = papers
        self._signed = signed
        self._agreement = agreement
        self._approvals = approvals
        self._folder = folder
        self._clock = clock
        self._leases = Leases(store, clock)
        self._comparing = comparing
        self._leaving = threading.Event()

    def interrupt(self) -> None:
        """End it at the next portion; whoever runs it gets Outage. For another thread."""
        self._leaving.set()

    def run(self, shelf: str | None = None) -> list[Finding]:
        """Look at everything, or at one shelf. Raises NotFound for a shelf that is none, Outage."""
        return list(self.each(shelf))

    def each(self, shelf: str | None = None) -> Generator[Finding, None, None]:
        """The findings, part by part as they are made; no snapshot is held between them. Raises like `run`.

        What raises has shown nothing beyond what it gave: an audit that did not come to its end is none.
        """
        if shelf is None:
            yield from self._ledger()
        with self._store.reading() as connection:
            carried = audit_book.carried_from(connection)
            of_shelves = ShelvesAudit(connection, self._keyring, carried)
            whole = of_shelves.findings()
            keys = self._keys(connection)
            indexed = shelves_with_texts(connection)
        if shelf is not None and shelf not in of_shelves.rows:
            raise NotFound("there is no shelf of that name", field="--shelf", remedy="`textkeep days` lists the days.")
        yield from (each for each in whole if shelf is None or shelf in each.said)
        came_back = self._came_back()
        for name, row in of_shelves.rows.items():
            if shelf in (None, name) and (name in of_shelves.used or row.state != "open" or shelf is not None):
                yield from self._again(self._shelf(name, carried.get(name, array("q")), came_back, keys))
            if shelf in (None, name) and name in indexed:
                self._go_on()
                yield from coverage(self._comparing, name, indexed[name])
        if shelf is None:
            for part in (self._batches, self._holds, self._names, self._reports):
                yield from self._again(part)

    def _again(self, part: Callable[[Connection], list[Finding]]) -> list[Finding]:
        """A part, in a snapshot of its own; once more where a shelf went in that moment."""
        self._go_on()
        for _ in range(TRIES - 1):
            try:
                with self._store.reading() as connection:
                    return part(connection)
            except Vanished:
                continue
        with self._store.reading() as connection:
            return part(connection)

    def _go_on(self) -> None:
        """Raises Outage where somebody asked for an end: a part of an audit shows nothing."""
        if self._leaving.is_set():
            raise Outage("the audit was interrupted", remedy="Run it again: it changes nothing, and begins anew.")

    def _ledger(self) -> list[Finding]:
        """The log against a state of the same moment: what is signed meanwhile is looked at again."""
        line = Line("ledger: entries")
        same, before = -1, None
        for left in reversed(range(MOVING)):
            try:
                state = self._signed()
            except Unsound:
                line.fail("what was signed last cannot be read from the keyring's store")
                return line.findings("")
            size = None if state is None else state.size
            same, before = (same + 1 if size == before else 0), size
            with self._store.reading() as connection:
                newest, there = reached(connection)
                if state is None and newest is None and not there:
                    line.doubt("nothing was ever signed")
                    return line.findings("")
                tries = TRIES if state is None or self._leases.holder(connection, LEASE) is None else AT_WORK
                if newest == size or same >= tries - 1 or not left:
                    if state is not None:
                        return LedgerAudit(connection, state, self._go_on).findings()
                    line.fail("entries were signed, and the keyring's store knows nothing of it")
                    return line.findings("")
            self._leaving.wait(PAUSE)
            self._go_on()
        return []

    def _shelf(
        self, name: str, carried: "array[int]", came_back: frozenset[str], keys: Sequence[Verifier]
    ) -> Callable[[Connection], list[Finding]]:
        def look(connection: Connection) -> list[Finding]:
            state = connection.execute(select(shelves.c.state).where(shelves.c.name == name)).scalar_one()
            line = Line("entries", name)
            book = audit_book.read(connection, name, carried, line)
            if state == "open" and book.steps:
                line.fail("it is called open, and its purge has begun", book.last)
            told = line.findings("each can be read, and none speaks twice of the same")
            if state not in STATES:
                return told
            if state != "open":
                told += ClosedAudit(connection, book, state, keys).findings()
            if state in STATES[DROPPED:]:  # whether a table is there all the same is told of the shelves as a whole
                return told
            there = set(shelf_tables(connection, name))
            if {texts_name(name), papers_name(name)} <= there:
                closed = STATES.index(state) >= STATES.index("committed")
                rows = RowsAudit(
                    connection,
                    book,
                    self._sealer,
                    self._papers,
                    closed=closed,
                    came_back=came_back,
                    go_on=self._go_on,
                )
                told += rows.findings()
            return told

        return look

    def _keys(self, connection: Connection) -> list[Verifier]:
        """The keys that checkpoints of this log are checked with; none where nothing was signed."""
        try:
            state = self._signed()
            return [] if state is None else trusted(connection, state)
        except Unsound:
            return []

    def _came_back(self) -> frozenset[str]:
        """The batches in which records came back from quarantine."""
        with self._store.reading() as connection:
            told = log.entries(connection, kinds=("returned",))
            return frozenset(str(entry.body.get("batch")) for entry in told)

    def _batches(self, connection: Connection) -> list[Finding]:
        return BatchesAudit(connection, self._go_on).findings()

    def _holds(self, connection: Connection) -> list[Finding]:
        return HoldsAudit(connection, self._agreement, self._approvals, self._clock()).findings()

    def _names(self, connection: Connection) -> list[Finding]:
        named = NamesAudit(connection, self._keyring, self._sealer).findings()
        return [*named, *ErasedAudit(connection, self._keyring).findings()]

    def _reports(self, connection: Connection) -> list[Finding]:
        return ReportsAudit(connection, self._folder, self._clock()).findings()
