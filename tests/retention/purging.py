"""A purge over a real vault, keyring, index and folder of reports."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.housing import House, event
from tests.ledger.signing import Secret
from textkeep.archive.batch import Batch, Incoming, Receipt
from textkeep.archive.shelf import Day
from textkeep.archive.text import read_event
from textkeep.ledger import log
from textkeep.ledger.log import Entry
from textkeep.retention.approvals.approvals import Approvals
from textkeep.retention.clockmark import ClockMark
from textkeep.retention.counting.survey import Survey
from textkeep.retention.holds.in_force import HoldsInForce, NoHolds
from textkeep.retention.purging.destruction import Resumed, never_restored
from textkeep.retention.purging.evicting import PATIENCE_SECONDS, Nodes
from textkeep.retention.purging.purge import Purge, RunResult, Told
from textkeep.retention.reports.chain import Chain
from textkeep.retention.reports.folder import ReportFolder
from textkeep.retention.signing import SIGNING_PATIENCE, WITNESS_PATIENCE, Signed
from textkeep.retention.turn import LEASE_SECONDS, Turn
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.search.index import IndexDriver
from textkeep.service.evidence import Evidence
from textkeep.store.leases import Leases

PRODUCER = bytes(range(8))
OLDEST = Day.named("2025-10-18")
"""The oldest open day of a house built at noon of 2026-11-22; due at the next midnight."""


@dataclass
class Purging:
    """A house, what is purged in it, and what was found."""

    house: House
    folder: Path
    index: IndexDriver
    batches: int = 0
    evidence: Evidence | None = field(default=None, init=False)

    @classmethod
    @contextmanager
    def over(cls, house: House, folder: Path, index: IndexDriver | None = None) -> Iterator["Purging"]:
        """A purge over a house, with its reports in `folder`, and its index, unless another one is given."""
        made = cls(house, folder, index or EmbeddedIndex.open(folder / "index"))
        yield made
        if made.evidence is not None:
            made.evidence.signer.close()
        if index is None:
            made.index.close()

    @property
    def ledger(self) -> Evidence:
        """A ledger that is signed, for whoever asks for one; a purge has none unless it is given it."""
        if self.evidence is None:
            house = self.house
            approvals = Approvals(house.store, house.sealer, house.clock)
            self.evidence = Evidence(house.store, house.keyring, Secret(), approvals, house.clock)
        return self.evidence

    @property
    def reports(self) -> ReportFolder:
        return ReportFolder(self.folder / "reports")

    @property
    def chain(self) -> Chain:
        return Chain(self.house.store, self.reports, self.evidence)

    def mark(self, **others: Any) -> ClockMark:
        return ClockMark(self.house.store, self.house.clock, others)

    def purge(
        self,
        *,
        told: Told = lambda _shelf, _state: None,
        holds: HoldsInForce | None = None,
        nodes: Nodes | None = None,
        lease_seconds: float = LEASE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        signed: Signed | None = None,
        signing_patience: float = SIGNING_PATIENCE,
        witness_patience: float = WITNESS_PATIENCE,
        resumed: Resumed = never_restored,
        **others: Any,
    ) -> Purge:
        """A new Purge over the same store, keyring, index and folder; `others` are further clocks by name."""
        return Purge(
            self.house.store,
            self.house.shelves,
            self.house.keyring,
            self.index,
            holds or NoHolds(),
            self.chain,
            self.mark(**others),
            self.house.clock,
            nodes=nodes,
            told=told,
            lease_seconds=lease_seconds,
            patience=patience,
            signed=signed,
            signing_patience=signing_patience,
            witness_patience=witness_patience,
            resumed=resumed,
        )

    def run(self, confirm_days: int | None = None, dry_run: bool = False, **how: Any) -> RunResult:
        """One run of a fresh Purge at the clock's time."""
        return self.purge(**how).run(self.house.clock(), confirm_days, dry_run)

    def survey(self) -> Survey:
        return Survey(self.house.store, self.house.shelves, self.house.clock)

    def turn(self) -> Turn:
        """A turn at the purge; the caller takes it."""
        return Turn(self.house.store, self.leases, threading.Event())

    @property
    def leases(self) -> Leases:
        return Leases(self.house.store, self.house.clock)

    def restart(self) -> None:
        """Open keyring and vault again over the same store, with the checks of a start and no lease of before."""
        self.house = self.house.reopened()
        self.leases.clear()

    def take(self, day: Day, number: int = 3, *, org: str = "org-001", start: int = 1, **how: Any) -> Receipt:
        """Accept texts of a day's last hour, as one batch."""
        wire = [event(start + at, org_id=org, sent_at=evening(day)) for at in range(number)]
        receipt = self.take_records(wire, **how)
        self.index.create([day.shelf])
        return receipt

    def take_records(self, wire: list[dict[str, Any]], **how: Any) -> Receipt:
        """Accept records as one batch; keyword arguments replace what ingest decided."""
        self.batches += 1
        records = [self.incoming(at, each, **how) for at, each in enumerate(wire)]
        batch = Batch(f"batch-{self.batches}", self.house.clock(), PRODUCER, records)
        return self.house.vault.accept([batch])[0]

    def incoming(self, index: int, record: dict[str, Any], **how: Any) -> Incoming:
        """A record as ingest hands it over."""
        raw = json.dumps(record).encode()
        parsed = read_event(raw)
        org = self.house.organisations.register(parsed.data.org_id)
        decided = {"verdict": "accept", "reason": None, **how}
        return Incoming(raw, index, parsed.id, parsed.data.sent_at, org, parsed.source, **decided)

    def report(self, name: str) -> dict[str, Any]:
        """A report, read through the chain that checks its digest."""
        found: dict[str, Any] = json.loads(self.chain.read(name))
        return found

    def state(self, day: Day) -> str | None:
        with self.house.store.reading() as connection:
            return self.house.shelves.states(connection, [day.shelf]).get(day.shelf)

    def entries(self, *kinds: str, shelf: str | None = None) -> list[Entry]:
        with self.house.store.reading() as connection:
            return log.entries(connection, shelf=shelf, kinds=kinds)

    def until(self, moment: datetime) -> None:
        """Set the clock, with a mark just before, as the minute's ticking would have left it."""
        self.house.clock.now = moment
        with self.house.store.transaction() as connection:
            self.mark().accept(connection, moment - timedelta(minutes=1))


def evening(day: Day) -> str:
    """A moment in the last hour of a day, as the wire has it: a text of it is readable until shortly before its end."""
    return (day.end() - timedelta(minutes=59)).isoformat()


def lines_of(report: dict[str, Any], part: str) -> dict[str, str]:
    """The verdicts of a report's steps or read-back, by name."""
    return {line.get("step") or line["name"]: line["verdict"] for line in report[part]}
