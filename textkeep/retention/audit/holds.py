"""Audit of what people decide: holds, releases and approvals, against the ledger and the keyring's store."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from textkeep.archive.shelf import RETENTION, Generation, is_kept
from textkeep.archive.text import HOUSE
from textkeep.ledger import log
from textkeep.ledger.log import Entry, moment
from textkeep.retention.approvals.approval import Approval
from textkeep.retention.approvals.approvals import USES, Approvals
from textkeep.retention.audit.acts import ActsAudit
from textkeep.retention.audit.findings import Finding, Line, near
from textkeep.retention.holds.agreement import Agreement
from textkeep.retention.holds.hold import ENDS_AFTER
from textkeep.retention.reports import facts as found
from textkeep.store.evidence import approvals, holds, releases
from textkeep.store.tables import purges

_DECIDED: Final = ("approved", "refused")


class HoldsAudit:
    """Every hold, release and approval there is or should be."""

    def __init__(self, connection: Connection, agreement: Agreement, requests: Approvals, now: datetime) -> None:
        self._connection = connection
        self._agreement = agreement
        self._requests = requests
        self._now = now
        self._holds = Line("holds")
        self._releases = Line("releases")
        self._approvals = Line("approvals")
        self._repairs = Line("repairs")

    def findings(self) -> list[Finding]:
        """What was found."""
        known = self._connection.execute(select(holds)).all()
        with self._holds.reading("a hold"):
            self._agree()
            self._check_holds(known)
        with self._releases.reading("a release"):
            self._check_releases()
        acts: list[Finding] = []
        with self._approvals.reading("an approval"):
            acts = self._check_approvals()
        for entry in log.entries(self._connection, kinds=("restore",)):
            what = str(entry.body.get("what"))
            if what not in ("resumed", "keyring"):
                self._repairs.doubt(f"{what}: it was put right, and what had changed it is not known", entry)
            else:
                self._repairs.doubt(f"a restore is on record: {what}", entry)
        return [
            *self._holds.findings(f"{len(known)} holds are the same in ledger, database and keyring"),
            *self._releases.findings("each release is as its entry and its approval say, and done when it says so"),
            *self._approvals.findings("each request opens to its digest, and is as its entries say"),
            *acts,
            *self._repairs.findings("nothing had to be put right"),
        ]

    def _agree(self) -> None:
        started = self._newest("hold", "restore", name="hold")
        for each in self._agreement.differences(self._connection):
            self._holds.fail(f"{each.hold}: {each.what}", started.get(each.hold))
        for each in self._agreement.mended:
            said = f"{each.hold}: {each.what}; this process found it so, and put it right"
            self._holds.fail(said, started.get(each.hold))

    def _newest(self, *kinds: str, name: str) -> dict[str, Entry]:
        told = log.entries(self._connection, kinds=kinds)
        return {str(entry.body[name]): entry for entry in told if name in entry.body}

    def _check_holds(self, known: Any) -> None:
        for row in known:
            entry = log.entry_at(self._connection, row.entry)
            named = entry is not None and entry.kind in ("hold", "restore") and entry.body.get("hold") == row.id
            self._holds.demand(named, f"{row.id}: the entry it names is not that of its start", entry)
            if entry is not None and named:
                same = entry.body["org"] == bytes(row.org).hex()
                review = entry.body.get("review", moment(row.review_at))
                placed = entry.kind != "hold" or moment(entry.made_at) == moment(row.placed_at)
                held = same and placed and review == moment(row.review_at)
                self._holds.demand(held, f"{row.id}: organisation or dates are not those of its entry", entry)

    def _check_releases(self) -> None:
        rows = {row.hold: row for row in self._connection.execute(select(releases))}
        told = self._newest("release", name="hold")
        requests = {row.id: row for row in self._connection.execute(select(approvals))}
        gone = self._gone()
        for hold, entry in told.items():
            row = rows.pop(hold, None)
            if row is None:
                self._releases.fail(f"{hold}: its release is not there", entry)
                continue
            with self._releases.reading(f"{hold}: its release", entry):
                self._release(row, entry, requests.get(row.approval), gone)
        for hold in rows:
            self._releases.fail(f"{hold}: it is called released, and no entry says so")

    def _release(self, row: Row[Any], entry: Entry, asked: Row[Any] | None, gone: Mapping[str, datetime]) -> None:
        body = entry.body
        said = (body["org"], body["approval"], body["asked_by"], body["approved_by"], body["ends"], entry.seq)
        persons = (bytes(row.asked_by).hex(), bytes(row.approved_by).hex())
        there = (bytes(row.org).hex(), row.approval, *persons, moment(row.effective_at), row.entry)
        self._releases.demand(said == there, f"{row.hold}: persons, dates or approval are others", entry)
        if asked is not None:
            same = (asked.subject, asked.decided_at) == (row.hold, row.approved_at)
            self._releases.demand(same, f"{row.hold}: it is not what was approved, or when", entry)
        else:
            on_time = near(row.effective_at - ENDS_AFTER, row.approved_at)
            self._releases.demand(on_time, f"{row.hold}: it was approved at another time", entry)
        done = gone.get(row.hold)
        if done is not None and row.done_at != done:
            self._releases.fail(f"{row.hold}: what it let go was gone at another time", entry)
        elif row.done_at is not None and not row.effective_at <= row.done_at <= self._now:
            self._releases.fail(f"{row.hold}: it was done at no time it could be", entry)

    def _gone(self) -> dict[str, datetime]:
        """By hold, when the purge that its release let begin was reported."""
        when: dict[str, datetime] = {}
        wanted = select(purges.c.shelf).where(purges.c.shelf.like("kept-%"))
        for shelf in list(self._connection.scalars(wanted)):
            if not is_kept(shelf) or Generation.named(shelf).org == HOUSE:
                continue
            ended = log.entries(self._connection, shelf=shelf, kinds=("purge",))
            purge = found.load(self._connection, shelf)
            for each in [] if purge is None or not ended else purge.facts.released:
                when.setdefault(each.hold, ended[-1].made_at)
        return when

    def _check_approvals(self) -> list[Finding]:
        told: dict[str, dict[str, Entry]] = defaultdict(dict)
        for each in log.entries(self._connection, kinds=("approval",)):
            if each.body.get("did") in ("asked", *_DECIDED) and "id" in each.body:
                told[each.body["id"]][each.body["did"]] = each
        used = {
            each.body["approval"]: each
            for each in log.entries(self._connection, kinds=USES)
            if each.body.get("approval") is not None
        }
        seen: dict[str, Approval] = {}
        for asked, opens in self._requests.every(self._connection):
            seen[asked.id] = asked
            entries = told.get(asked.id, {})
            entry = entries.get("asked")
            if not opens:
                self._approvals.fail(f"{asked.id}: it does not open to what its columns say", entry)
            if entry is None:
                self._approvals.fail(f"{asked.id}: nobody asked, as far as the ledger knows")
                continue
            with self._approvals.reading(asked.id, entry):
                body = entry.body
                said = (body["what"], body["subject"], body["digest"], body["by"], body["until"])
                there = (asked.kind, asked.subject, asked.digest.hex(), asked.asked_by.hex(), moment(asked.until))
                org = body.get("org") == (None if asked.org is None else asked.org.hex())
                self._approvals.demand(said == there and org, f"{asked.id}: its entry says otherwise", entry)
                decided = entries.get(asked.outcome or "")
                others = [each for did, each in entries.items() if did in _DECIDED and each is not decided]
                self._approvals.demand(
                    not others and (decided is None) == (asked.outcome is None),
                    f"{asked.id}: it was decided otherwise",
                    others[0] if others else entry,
                )
                if decided is not None:
                    by = decided.body["by"] == (asked.decided_by or b"").hex()
                    self._approvals.demand(by, f"{asked.id}: another person decided", decided)
                self._use(asked.id, asked.used_at, used.get(asked.id), entry)
        for named, of in told.items():
            first = of.get("asked")
            if named in seen or first is None:
                continue
            until = datetime.fromisoformat(first.body["until"])
            self._approvals.demand(until + RETENTION <= self._now, f"{named}: the request is not there", first)
        return ActsAudit(self._connection, told, seen, self._now).findings()

    def _use(self, named: str, at: datetime | None, use: Entry | None, entry: Entry) -> None:
        if use is None:
            self._approvals.demand(at is None, f"{named}: it is called used, and nothing was done with it", entry)
        elif not near(at, use.made_at):
            self._approvals.fail(f"{named}: it was used at another time", use)
