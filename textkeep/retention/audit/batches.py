"""Audit of what receipts said: each batch's counts and root, against the ledger's entries of it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from textkeep.archive.shelf import STATES, Day
from textkeep.ledger import log, tree
from textkeep.ledger.log import Entry, moment
from textkeep.retention.audit.findings import SOON, Finding, Line
from textkeep.store.tables import batches, ledger_entries, shelves, slices

AT_ONCE: Final = 200
"""How many batches one statement asks for."""

KINDS: Final = ("slice", "quarantine", "refusals")

THERE: Final = frozenset(STATES[: STATES.index("dropped")])
"""The states of a day whose batches are still known."""


class BatchesAudit:
    """Every batch that came on a day whose rows are still there."""

    def __init__(self, connection: Connection, go_on: Callable[[], None]) -> None:
        self._connection = connection
        self._go_on = go_on
        self._line = Line("receipts")
        self._named_since: datetime | None = None
        self._unnamed = 0

    def findings(self) -> list[Finding]:
        """What was found."""
        number = 0
        with self._line.reading("a batch"):
            self._named_since = self._first_named()
            states = {row.name: row.state for row in self._connection.execute(select(shelves.c.name, shelves.c.state))}
            for part in self._portions():
                self._go_on()
                number += len(part)
                self._check(part)
            self._unknown({name for name, state in states.items() if state in THERE})
        if self._unnamed:
            said = f"{self._unnamed} batches came before entries named the producer and counted duplicates"
            self._line.doubt(said)
        return self._line.findings(f"{number} batches have the counts and roots that their entries say")

    def _portions(self) -> Iterator[Sequence[Row[Any]]]:
        last = ""
        while True:
            wanted = select(batches).where(batches.c.id > last).order_by(batches.c.id).limit(AT_ONCE)
            part = self._connection.execute(wanted).all()
            if not part:
                return
            yield part
            last = part[-1].id

    def _check(self, part: Sequence[Row[Any]]) -> None:
        ids = [row.id for row in part]
        of: dict[str, list[Entry]] = defaultdict(list)
        for entry in log.of_batches(self._connection, ids, KINDS):
            of[entry.body["batch"]].append(entry)
        came: dict[str, set[Any]] = defaultdict(set)
        for row in self._connection.execute(
            select(slices.c.batch, slices.c.received_at).where(slices.c.batch.in_(ids))
        ):
            came[row.batch].add(row.received_at)
        for row in part:
            entries = of.get(row.id, [])
            where = entries[0] if entries else None
            with self._line.reading(f"batch {row.id}", where):
                self._batch(row, entries, where)
                same = came[row.id] <= {row.received_at}
                self._line.demand(same, f"batch {row.id}: its slices came at another time", where)

    def _batch(self, row: Row[Any], entries: Sequence[Entry], where: Entry | None) -> None:
        of_slices = sorted(_of(entries, "slice"), key=lambda entry: entry.shelf or "")
        said = (
            sum(entry.body["accepted"] for entry in of_slices),
            sum(entry.body["versions"] for entry in of_slices),
            sum(entry.body["count"] for entry in _of(entries, "quarantine")),
            sum(entry.body["count"] for entry in _of(entries, "refusals")),
        )
        there = (row.accepted, row.versions, row.quarantined, row.refused)
        self._line.demand(said == there, f"batch {row.id}: {there} are counted, the ledger says {said}", where)
        adds_up = row.read == sum(there) + row.duplicates and min(*there, row.duplicates) >= 0
        self._line.demand(adds_up, f"batch {row.id}: what was read is not the sum of what became of it", where)
        roots = [tree.leaf_hash(bytes.fromhex(entry.body["root"])) for entry in of_slices]
        root = tree.root(roots) if roots else None
        same = root == (None if row.root is None else bytes(row.root))
        self._line.demand(same, f"batch {row.id}: its root is not that of its slices", where)
        self._line.demand(row.shelf == Day.of(row.received_at).shelf, f"batch {row.id}: it came on another day", where)
        for entry in entries:
            came = moment(row.received_at)
            near = abs(entry.made_at - row.received_at) < timedelta(days=1)
            on_time = near and entry.body.get("received_at", came) == came
            self._line.demand(on_time, f"batch {row.id}: it came at another time", entry)
            producer = entry.body.get("producer", bytes(row.producer).hex()) == bytes(row.producer).hex()
            self._line.demand(producer, f"batch {row.id}: another producer sent it", entry)
        self._named(row, entries, where)

    def _named(self, row: Row[Any], entries: Sequence[Entry], where: Entry | None) -> None:
        """Who sent a batch and how many duplicates came with it, where entries say so already.

        A batch of nothing but duplicates has no entry: nothing was stored of it, and what it says is its own.
        """
        if not entries:
            return
        if any("producer" not in entry.body for entry in entries):
            self._unnamed += 1
            return
        told = sum(entry.body.get("duplicates", 0) for entry in entries)
        old = not told and not _of(entries, "slice") and not _of(entries, "quarantine")
        if told == row.duplicates:
            return
        if old and (self._named_since is None or row.received_at < self._named_since):
            self._unnamed += 1
        else:
            said = f"batch {row.id}: {row.duplicates} duplicates are counted, the ledger says {told}"
            self._line.fail(said, where)

    def _first_named(self) -> datetime | None:
        """When an entry first named the producer of what was taken: from then on each entry of a batch does."""
        c = ledger_entries.c
        kinds = c.kind.in_(("slice", "quarantine"))
        wanted = select(c.made_at).where(kinds, c.entry.like('%"producer":%')).order_by(c.seq).limit(1)
        return self._connection.execute(wanted).scalar_one_or_none()

    def _unknown(self, there: set[str]) -> None:
        """Batches that the ledger knows and the table has not, though the day they came on is still there."""
        days = [Day.named(name) for name in there if not name.startswith("kept-")]
        if not days:
            return
        c = ledger_entries.c
        wanted = (
            select(c.seq)
            .join(batches, batches.c.id == c.batch, isouter=True)
            .where(c.kind.in_(KINDS), batches.c.id.is_(None), c.made_at >= min(days).start())
        )
        for seq in list(self._connection.scalars(wanted)):
            entry = log.entry_at(self._connection, seq)
            if entry is not None and {Day.of(entry.made_at).shelf, Day.of(entry.made_at - SOON).shelf} <= there:
                self._line.fail("its batch is not there", entry)


def _of(entries: Sequence[Entry], kind: str) -> list[Entry]:
    return [entry for entry in entries if entry.kind == kind]
