"""An archive's evidence as it comes about: texts, holds, releases, a day without a run, a loss, and all the reports."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import delete, select

from tests.housing import NOON, SetClock, event
from tests.service.many import sharing
from tests.whole.living import location, organisation, register, user
from textkeep.access.principal import LOCAL, Principal, Role
from textkeep.archive.shelf import Day
from textkeep.ledger import checkpoints
from textkeep.ledger.cosignature import Cosigner
from textkeep.ledger.note import Verifier
from textkeep.ledger.published import Folder as Log
from textkeep.ledger.witness import Seen, Watch
from textkeep.ledger.witness_memory import MemoryFile
from textkeep.retention.holds.hold import Hold, Scope
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive
from textkeep.store.engine import Store
from textkeep.store.tables import texts_of

DAY: Final = Day.named("2025-10-18")
"""The oldest open day at NOON; due at the next midnight."""

NEXT: Final = DAY.plus(1)
DAMAGED: Final = DAY.plus(2)
MISSED: Final = "missed-run-2026-11-24"
HOUSE_KEPT: Final = "kept-0000000000000000-1"
"""What is held of no known organisation; it turns with any release."""

ORG, OTHER, LATE = "org-001", "org-002", "org-009"
BODY: Final = "a canary in a body 4711"


@dataclass
class Told:
    """An archive that has run its course, and what it left."""

    archive: Archive
    clock: SetClock
    folder: Path
    behind: Store
    names: list[str] = field(default_factory=list)
    early: bytes = b""
    """A checkpoint from after the first purge."""
    cosigner: Cosigner = field(default_factory=lambda: Cosigner.generate("audit.example/w1"))
    """The key of a witness whom two persons have set."""

    @property
    def reports(self) -> Path:
        return self.archive.settings.folder / "reports"

    def report(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.archive.chain.read(name))
        return found

    def kept(self, number: int) -> str:
        """The name of a generation of what is held of the first organisation."""
        return f"kept-{self.archive.organisations.all()[ORG].hex()}-{number}"

    def person(self, name: str, *roles: Role) -> Principal:
        with self.archive.store.transaction() as connection:
            handle = self.archive.persons.handle_of(connection, name)
        return Principal(handle, f"t-{name}", frozenset(roles), None)

    def take(self, *records: dict[str, Any] | bytes) -> None:
        producer = Principal(self.archive.local.person, LOCAL, frozenset({"producer"}), None)
        raw = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in records]
        self.archive.intake.take(producer, [raw])

    def place(self, org: str, query: str, days: float) -> Hold:
        return self.archive.holds.holding.place(
            self.person("Olivia", "officer"),
            matter="Doe v. Roe 26-1104",
            reason="a subpoena",
            review_at=self.clock() + timedelta(days=days),
            scope=Scope(org, query=query),
        ).hold

    def approve(self, asked: Any) -> None:
        approver = self.person("Anna", "approver")
        self.archive.approvals.decide(approver, asked.id, "approved", asked.digest)

    def set_witness(self) -> None:
        request = {"add": str(self.cosigner.witness), "reason": "the audit firm"}
        operator = self.person("Otto", "operator")
        self.approve(self.archive.approvals.put(operator, "witness", "audit.example", request, None))

    def look(self) -> Seen:
        """Let the witness look at an export, and hand in what it cosigned."""
        archive, log = self.archive, self.folder / "watched"
        archive.evidence.export(log)
        watch = Watch(Log(log), MemoryFile(self.folder / "witness"), self.cosigner, silence=timedelta(days=3))
        seen = watch.look(self.clock(), Verifier.parse(archive.evidence.key()))
        assert seen.cosignature is not None, seen.findings
        with archive.store.transaction() as connection:
            checkpoints.cosign(connection, seen.size, seen.cosignature.line, self.clock())
        return seen

    def run(self, at: datetime, confirm_days: int | None = None) -> None:
        """Purge at a moment; every run of this story goes through, each shelf once the witness has seen its intent."""
        self.clock.now = at
        self.archive.shelves.ensure(at)
        self.archive.purge._awaiting._witness_patience = 0.0  # the witness looks when it is told to
        result = self.archive.purge.run(at, confirm_days)
        while result.stopped is not None and result.stopped.reason == "not-witnessed":
            self.look()
            result = self.archive.purge.run(at)
        assert result.stopped is None, result.stopped


@contextmanager
def archive_of(request: pytest.FixtureRequest, engine: str, folder: Path) -> Iterator[Told]:
    """A new archive on an engine, with a directory and backups of its keyring, at noon."""
    (folder / "archive").mkdir(parents=True, mode=0o700)
    clock = SetClock(NOON)
    backups, keys = folder / "backups", folder / "keys-of-backups"
    given: dict[str, Any] = {"data": folder / "archive", "keyring_backups": backups, "keyring_backup_keys": keys}
    with ExitStack() as opened:
        if engine == "postgresql":
            shared = opened.enter_context(sharing(request, folder / "archive"))
            given |= {"database_url": shared.service.database_url, "keyring_url": shared.service.keyring_url}
            owner = Store.open(shared.owner.database)
            opened.callback(owner.close)
        archive = Archive.open(Settings(**given), clock)
        opened.callback(archive.close)
        behind = owner if engine == "postgresql" else archive.store
        for org in (ORG, OTHER):
            register(archive, [organisation(org), location(org), user("u-1", "+12125550101", org)])
        yield Told(archive, clock, folder, behind)


def evening(day: Day, number: int, body: str, org: str = ORG, **data: Any) -> dict[str, Any]:
    """A text of a day's last hour."""
    sent = (day.end() - timedelta(minutes=59)).isoformat()
    return event(number, org_id=org, user_id="u-1", sent_at=sent, body=body, **data)


def live(told: Told) -> Told:
    """Everything that a report can speak of, in four days."""
    told.take(
        evening(DAY, 1, "the merger is on"),
        evening(DAY, 2, "merger and lunch"),
        evening(DAY, 3, BODY),
        evening(DAY, 3, "changed since"),
        evening(DAY, 4, "dinner", OTHER),
        evening(DAY, 5, "a picture of the merger", channel="mms"),
        evening(DAY, 6, "a picture", channel="mms"),
        evening(DAY, 7, "of whom", LATE),
        event(8, org_id=ORG, sent_at=DAY.start().isoformat()),
    )
    register(told.archive, [organisation(LATE), location(LATE), user("u-1", "+12125550101", LATE)])
    give_back(told)
    told.take(evening(NEXT, 20, "lunch again"), evening(DAMAGED, 30, "one"), evening(DAMAGED, 31, "two"))
    merger = told.place(ORG, "merger", 90)
    told.place(ORG, "lunch", 0.4)
    told.archive.keys.tend()
    told.set_witness()
    told.run(NOON + timedelta(hours=13))
    told.early = told.archive.evidence.through([1], 5.0).note
    releasing = told.archive.holds.releasing
    told.approve(releasing.ask(told.person("Carol", "counsel"), merger.id, "the matter is settled"))
    table = texts_of(DAMAGED.shelf)
    with told.behind.transaction() as connection:
        one = connection.execute(select(table.c.tag)).scalars().first()
        connection.execute(delete(table).where(table.c.tag == one))
    told.run(NOON + timedelta(days=2, hours=13), confirm_days=2)
    told.look()
    told.archive.chain.keep()
    told.names = [entry.body["name"] for entry in told.archive.chain.entries()]
    return told


def give_back(told: Told) -> None:
    """Make the record of an organisation that was not known a text after all."""
    archive = told.archive
    with archive.store.reading() as connection:
        papers = list(archive.papers.of_kind(connection, DAY.shelf, "quarantine"))
    [record] = [paper for paper in papers if b"of whom" in paper.plain]
    officer = told.person("Olivia", "officer")
    told.approve(archive.decisions.returns.ask(officer, "registered by now", DAY.shelf, record.id.hex()))
