"""Audit of the reports: their chain, both copies of each against the ledger's digest, and the days without a run."""

import json
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select

from textkeep.archive.shelf import LATE_BY, Day, is_kept
from textkeep.errors import NotFound, Outage
from textkeep.ledger import log
from textkeep.ledger.log import Entry, moment
from textkeep.retention import notes
from textkeep.retention.audit.findings import Finding, Line
from textkeep.retention.reports import facts as found
from textkeep.retention.reports.chain import KINDS
from textkeep.retention.reports.facts import REPORTED, PurgeRow
from textkeep.retention.reports.folder import ReportFolder
from textkeep.retention.reports.named import named, of_hold, of_release
from textkeep.retention.reports.report import day_report, digest
from textkeep.store.tables import purges, reports, runs, shelves

FIGURES: Final = frozenset({"number", "attempt", "totals", "roots", "opened_at", "committed_at", "closed_at"})
"""Members of a report that every version of the program writes alike."""

OF_THE_PROGRAM: Final = frozenset({"build", "crypto", "policy", "claim", "not_covered", "previous", "reported_at"})
"""Members that say which program wrote it, or that were compared before."""


class ReportsAudit:
    """Every report there is or should be, in the order of the chain."""

    def __init__(self, connection: Connection, folder: ReportFolder, now: datetime) -> None:
        self._connection = connection
        self._folder = folder
        self._now = now
        self._chain = Line("reports: chain")
        self._copies = Line("reports: copies")
        self._content = Line("reports: figures")
        self._missing = Line("purge runs")

    def findings(self) -> list[Finding]:
        """What was found."""
        told = log.entries(self._connection, kinds=KINDS)
        with self._chain.reading("the chain"):
            self._follow(told)
        with self._missing.reading("a run"):
            self._runs(told)
            self._due()
        number = len(told)
        return [
            *self._chain.findings(f"{number} reports, each names the digest of the one before"),
            *self._copies.findings(f"{number} reports have the digest that the ledger holds"),
            *self._content.findings("numbers, totals and verdicts are those of purges and entries"),
            *self._missing.findings("every day since the first run had one, or a report that says so; none is overdue"),
        ]

    def _follow(self, told: list[Entry]) -> None:
        previous: str | None = None
        numbers: list[int] = []
        names = set(self._connection.scalars(select(reports.c.name)))
        for entry in told:
            with self._chain.reading("what it says", entry):
                body = entry.body
                self._chain.demand(body["previous"] == previous, "it does not follow the report before it", entry)
                previous = body["report"]
                names.discard(body["name"])
                content = self._copy(entry)
                if content is not None:
                    document = json.loads(content)
                    self._chain.demand(document["previous"] == body["previous"], "it names another report", entry)
                    if entry.kind == "purge":
                        numbers.append(document["number"])
                    self._figures(entry, document)
        for name in sorted(names):
            self._copies.fail(f"{name} lies among the reports, and no entry speaks of it")
        gaps = sorted(numbers) != list(range(1, len(numbers) + 1))
        complete = len(numbers) == sum(entry.kind == "purge" for entry in told)
        self._chain.demand(not (gaps and complete), "the numbers of reports have a gap, or come twice")

    def _copy(self, entry: Entry) -> bytes | None:
        """The bytes that have the digest of the entry, from the database or the folder; each that differs is told."""
        name, wanted = entry.body["name"], entry.body["report"]
        if entry.kind == "purge":
            self._chain.demand(name == entry.shelf, "it is of another shelf", entry)
        row = select(reports.c.document).where(reports.c.name == name)
        there = self._connection.execute(row).scalar_one_or_none()
        content = None if there is None else bytes(there)
        if content is None:
            self._copies.fail(f"{name}: the database has no copy of it", entry)
        elif digest(content) != wanted:
            self._copies.fail(f"{name}: the database's copy was altered", entry)
            content = None
        try:
            file = self._folder.read(name)
        except (NotFound, Outage):
            self._copies.doubt(f"{name}: its file is not in this machine's folder of reports", entry)
            return content
        if digest(file) != wanted:
            self._copies.fail(f"{name}: its file was altered", entry)
            return content
        return content or file

    def _figures(self, entry: Entry, document: dict[str, Any]) -> None:
        line = self._content
        line.demand(document["verdict"] == entry.body["verdict"], "its verdict is not the entry's", entry)
        if entry.kind != "purge":
            line.demand(document["day"] == entry.body["day"], "it is of another day", entry)
            return
        row = self._connection.execute(select(purges).where(purges.c.shelf == entry.shelf)).one_or_none()
        purge = None if row is None else found.load(self._connection, row.shelf)
        if purge is None:
            line.fail("there is no purge that it tells of", entry)
            return
        with line.reading("what the purge has found", entry):
            self._same_as(purge, entry, document)

    def _same_as(self, purge: PurgeRow, entry: Entry, document: dict[str, Any]) -> None:
        """Make the report again from what the purge has found, and compare, member by member.

        Where another version of the program wrote it, other words alone are no fault; figures are.
        """
        facts = purge.facts
        facts.at.pop("reported", None)  # put down when the report was written
        last = facts.lines.pop("reported", None)
        at = datetime.fromisoformat(document["reported_at"])
        fresh = day_report(purge, reported_at=at, previous=document["previous"])
        mine = document["build"] == fresh["build"]
        self._content.demand(last == REPORTED or not mine, "the last step says what the service does not say", entry)
        for name in fresh.keys() - OF_THE_PROGRAM:
            if document.get(name, "") == fresh[name]:
                continue
            if mine or name in FIGURES:
                self._content.fail(f"{name} is not what the purge has found", entry)
            else:
                self._content.doubt(f"{name} was written by another version of the program, in other words", entry)
        self._content.demand(document["number"] == entry.body["purge"], "its number is not the entry's", entry)
        on_time = moment(at) == moment(entry.made_at)
        self._content.demand(on_time, "it was written at another time than its entry", entry)
        there = named(self._connection, purge)
        for hold in facts.holds.holds if facts.holds else ():
            self._content.demand(of_hold(hold.id) in there, f"{hold.id}: no entry speaks of its start", entry)
        for each in facts.released:
            known = of_release(each.approval) in there
            self._content.demand(known, f"{each.hold}: no entry speaks of its release", entry)

    def _runs(self, told: list[Entry]) -> None:
        """Every day since the first run had one, or a report that says that it had none."""
        first = self._connection.execute(select(func.min(runs.c.started_at))).scalar_one()
        looked = notes.read_day(self._connection, notes.LOOKED_THROUGH)
        missed = {entry.body["day"]: entry for entry in told if entry.kind == "missed-run"}
        for entry in log.entries(self._connection, kinds=("intent",)):
            day = Day.of(entry.made_at)
            ran = self._ran(day) or self._ran(day.plus(-1))  # a run may go on past midnight
            self._missing.demand(ran, f"a purge began on {day.shelf}, and no run is on record", entry)
        if first is None:
            self._missing.doubt("no purge run was made yet")
            return
        day, yesterday = Day.of(first), Day.of(self._now).plus(-1)
        while day <= yesterday:
            entry_of = missed.pop(day.shelf, None)
            if self._ran(day):
                self._missing.demand(entry_of is None, f"{day.shelf} is reported as a day without a run", entry_of)
            elif entry_of is None and looked is not None and day <= looked:
                self._missing.fail(f"{day.shelf} had no run, and no report says so")
            elif entry_of is None:
                self._missing.doubt(f"{day.shelf} had no run; the next one will report it")
            day = day.plus(1)

    def _ran(self, day: Day) -> bool:
        within = select(runs.c.id).where(runs.c.started_at >= day.start(), runs.c.started_at < day.end())
        return self._connection.execute(within.limit(1)).first() is not None

    def _due(self) -> None:
        for row in self._connection.execute(select(shelves).where(shelves.c.state != "reported")):
            if is_kept(row.name):
                continue
            late = self._now - Day.named(row.name).due()
            if late > LATE_BY:
                self._missing.fail(f"{row.name} should be gone: it is {row.state}")
            elif late.total_seconds() > 0:
                self._missing.doubt(f"{row.name} is due: the next run closes it")
