"""Audit of what was done with approvals: each act names its own, which one person asked for and another one approved.

Neither the act's entry nor the approval's are believed by themselves: the request lies sealed, and is as old as its
entries say.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from textkeep.archive.shelf import RETENTION
from textkeep.archive.text import HOUSE, Handle, leaf
from textkeep.ledger import log, tree
from textkeep.ledger.log import Entry
from textkeep.retention.approvals.approval import Approval, Kind
from textkeep.retention.approvals.approvals import USES
from textkeep.retention.audit.findings import SOON, Finding, Line
from textkeep.store.tables import ledger_entries

KIND_OF: Final[Mapping[str, Kind]] = {
    "release": "release",
    "returned": "return",
    "restore": "resume",
    "key-change": "ledger-key",
    "witness-change": "witness",
}
"""By kind of entry, the kind of request that it takes."""

RESUMED: Final = ("resumed", "database")
"""The entries `restore` that speak of what two persons agreed to; the others say what was found or mended."""

BACKDATED: Final = timedelta(days=1)
"""How long before the entry before it a request may be dated: no clock goes back so far without stopping everything."""

Asked = Mapping[str, Mapping[str, Entry]]
"""By request, its entries `asked`, `approved` and `refused`."""


class ActsAudit:
    """Every entry that takes an approval. `rows` are the requests there are, opened where they open."""

    def __init__(self, connection: Connection, asked: Asked, rows: Mapping[str, Approval], now: datetime) -> None:
        self._connection = connection
        self._asked = asked
        self._rows = rows
        self._now = now
        self._acts = Line("acts")
        self._returns = Line("returns")

    def findings(self) -> list[Finding]:
        """What was found."""
        seen: set[str] = set()
        batches: set[str] = set()
        number = 0
        for entry in log.entries(self._connection, kinds=USES):
            if entry.kind == "restore" and entry.body.get("what") not in RESUMED:
                continue
            number += 1
            with self._acts.reading("what it says", entry):
                named = str(entry.body["approval"])
                self._acts.demand(named not in seen, f"{named}: more was done with it than once", entry)
                seen.add(named)
                self._act(named, entry)
            if entry.kind == "returned":
                with self._returns.reading("what it says", entry):
                    batch = str(entry.body["batch"])
                    self._returns.demand(batch not in batches, "another record became the same text", entry)
                    batches.add(batch)
                    self._became(entry)
        return [
            *self._acts.findings(f"{number} acts of two persons are those that were asked for and approved"),
            *self._returns.findings(
                "each record that came back is the one that was asked for, and is the text it names"
            ),
        ]

    def _act(self, named: str, entry: Entry) -> None:
        line, of = self._acts, self._asked.get(named, {})
        asked, approved = of.get("asked"), of.get("approved")
        if asked is None or approved is None:
            line.fail(f"{named}: nobody asked for it, or nobody approved it, as far as the ledger knows", entry)
            return
        body = entry.body
        line.demand(asked.body["what"] == KIND_OF[entry.kind], f"{named}: something else was asked for", entry)
        persons = (asked.body["by"], approved.body["by"])
        told = (body.get("asked_by", persons[0]), body.get("approved_by", persons[1]))
        line.demand(persons == told, f"{named}: other persons asked for it or approved it", entry)
        line.demand(persons[0] != persons[1], f"{named}: one person asked for it and approved it", entry)
        on_time = asked.made_at - SOON <= entry.made_at <= datetime.fromisoformat(asked.body["until"]) + SOON
        line.demand(on_time, f"{named}: it was done at no time it could be", entry)
        places = [each.index for each in (asked, approved, entry) if each.index is not None]
        line.demand(places == sorted(places), f"{named}: it was done before it was approved", entry)
        if entry.kind == "release":
            line.demand(asked.body["subject"] == body["hold"], f"{named}: another hold was asked for", entry)
        if named not in self._rows:
            self._gone(named, asked, entry)
        if entry.kind == "returned":
            self._record(entry, asked, self._rows.get(named))

    def _gone(self, named: str, asked: Entry, entry: Entry) -> None:
        """A request is forgotten 400 days after it ended; one that only says it is so old is not."""
        if datetime.fromisoformat(asked.body["until"]) + RETENTION > self._now:
            self._acts.fail(f"{named}: the request that it was done by is not there", entry)
            return
        c = ledger_entries.c
        earlier = c.leaf_index >= 0 if asked.index is None else c.leaf_index == asked.index - 1
        before = self._connection.execute(select(func.max(c.made_at)).where(earlier)).scalar_one()
        late = before is not None and asked.made_at < before - BACKDATED
        self._acts.demand(not late, f"{named}: it is dated long before the entry before it", asked)

    def _record(self, entry: Entry, asked: Entry, request: Approval | None) -> None:
        """The record that came back is the one that was asked about."""
        line = self._returns
        line.demand(
            asked.body["subject"].partition("/")[0] == entry.shelf, "a record of another shelf was asked for", entry
        )
        if request is None:
            return  # forgotten, or named already
        record = bytes.fromhex(str((request.request or {}).get("record")))
        owner = HOUSE if request.org is None else Handle(request.org)
        line.demand(leaf(owner, record).hex() == entry.body["leaf"], "another record was asked for", entry)

    def _became(self, entry: Entry) -> None:
        """The text that it names is all there is in the slice that it names: the root of one leaf tells which."""
        body = entry.body
        of_slice = [each for each in log.of_batch(self._connection, body["batch"]) if each.kind == "slice"]
        if len(of_slice) != 1:
            self._returns.fail("no slice is on record of the text it has become", entry)
            return
        made = of_slice[0]
        there = (made.shelf, made.body["slice"], list(made.body["orgs"]), made.body["accepted"] + made.body["versions"])
        self._returns.demand(there == (body["to"], body["slice"], [body["org"]], 1), "it names another text", entry)
        root = tree.root_of_set((bytes.fromhex(body["text_leaf"]),)).hex()
        self._returns.demand(made.body["root"] == root, "the text that it names is not in the slice it names", entry)
