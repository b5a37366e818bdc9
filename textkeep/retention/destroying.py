"""The last four steps of a purge: shredded, dropped, verified, reported. Nothing stops them but an outage.

What lies outside the database is done beside the transaction, in the order that makes a crash harmless: the secret is
destroyed before the state says so, the index goes before the tables, the report is on disk before its entry commits.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import select

from textkeep.archive.keyring import Keyring, shelf_secret
from textkeep.archive.shelf import Day
from textkeep.clock import Clock
from textkeep.ledger.log import moment
from textkeep.retention import evicting
from textkeep.retention import facts as found
from textkeep.retention.absence import Absence, ShelfIndex
from textkeep.retention.census import Census
from textkeep.retention.chain import Chain
from textkeep.retention.deciding import AGAIN, sums
from textkeep.retention.dropping import drop, patiently
from textkeep.retention.evicting import Nodes
from textkeep.retention.facts import Line, ring_of
from textkeep.retention.moving import Held, Mover, Order
from textkeep.retention.report import day_report, verdict_of
from textkeep.store.engine import Store
from textkeep.store.tables import shelves

SETTLE_TRIES: Final = 10
"""How often the write-ahead log is asked to empty itself, half a second each, before the report says `unknown`."""

SERVERS_LOG: Final = (
    "the database server's log, its replicas and backups keep sealed pages of dropped tables until they are recycled;"
    " what opened them is destroyed"
)


class Destroying:
    """Destroys what has been decided and counted, and shows that it is gone."""

    def __init__(
        self,
        mover: Mover,
        store: Store,
        keyring: Keyring,
        index: ShelfIndex,
        absence: Absence,
        chain: Chain,
        clock: Clock,
        nodes: Nodes,
        patience: float,
    ) -> None:
        self._mover = mover
        self._store = store
        self._keyring = keyring
        self._index = index
        self._absence = absence
        self._chain = chain
        self._clock = clock
        self._nodes = nodes
        self._patience = patience

    def shredded(self, day: Day, order: Order) -> None:
        """The secret is destroyed; once that has happened a second call changes nothing."""
        name = shelf_secret(day.shelf)
        with self._store.reading() as connection:
            purge = found.load(connection, day.shelf)
        decided = purge.facts.entries.get("committed") if purge else None
        stone = self._keyring.destroy(name, entry=str(decided or "unknown"), now=self._clock())

        def work(held: Held) -> Line:
            ring = ring_of(self._keyring.status())
            held.facts.secret = stone.commitment.hex()
            held.facts.ring_after = ring
            said = {
                "secret": name,
                "commitment": stone.commitment.hex(),
                "committed": decided,
                "destroyed_at": moment(datetime.fromisoformat(stone.destroyed_at)),
                "generation": ring.generation,
                "root": ring.root,
            }
            held.write("shredded", "key-destroyed", said)
            wanted = select(shelves.c.commitment).where(shelves.c.name == held.shelf)
            if held.connection.execute(wanted).scalar_one() != stone.commitment:
                return Line("shredded", "fail", "the secret destroyed is not the one this shelf was opened with")
            return Line("shredded", "pass", "the secret was destroyed, the ring is under a new root, a tombstone stays")

        self._mover.move(day, order.turn, "committed", "shredded", work)

    def dropped(self, day: Day, order: Order) -> None:
        """Index, tables and the shelf's rows elsewhere go; the write-ahead log is emptied.

        Raises Outage where readers were in the way for too long; the shelf stays as it was then.
        """
        self._index.drop(day.shelf)

        def work(held: Held) -> Line:
            dropped = drop(held.connection, held.shelf)
            held.facts.rows_dropped = dropped
            return _as_counted(dropped, held.facts.census)

        if patiently(lambda: self._mover.move(day, order.turn, "shredded", "dropped", work), order.turn):
            self._store.settle()

    def verified(self, day: Day, order: Order) -> None:
        """Every process has shown that it dropped the secret, or could not; every store is read back."""
        self._keyring.reread()  # another process may have destroyed it
        evicted = evicting.wait(self._nodes, self._generation(day), order.turn, self._patience)
        if evicted is None:
            return
        closed_at = None if evicted.waiting else self._clock()
        lines = [*self._absence.lines(day.shelf), evicting.line_of(evicted), self._settled()]

        def work(held: Held) -> Line:
            held.purge.closed_at = closed_at
            again = [line for line in held.facts.readback if line.name == AGAIN]
            held.facts.evicted = evicted
            held.facts.readback = [*lines, sums(held.facts.census), *again]
            verdict = verdict_of(held.facts.readback)
            bad = [line.name for line in held.facts.readback if line.verdict not in ("pass", "none")]
            if bad:
                return Line("verified", verdict, f"not shown: {', '.join(bad)}")
            return Line("verified", verdict, "opening fails, every store answers that it is gone, the sums add up")

        self._mover.move(day, order.turn, "dropped", "verified", work)

    def _generation(self, day: Day) -> int:
        """The ring from which the secret was gone; the ring as it is now where that is not on record."""
        with self._store.reading() as connection:
            purge = found.load(connection, day.shelf)
        ring = purge.facts.ring_after if purge else None
        return self._keyring.status().generation if ring is None else ring.generation

    def _settled(self) -> Line:
        """Whether the write-ahead log is empty: until it is, it holds pages of what was dropped."""
        if self._store.shared:
            return Line("write-ahead log", "none", SERVERS_LOG)
        for _ in range(SETTLE_TRIES):
            if self._store.settle():
                return Line("write-ahead log", "pass", "it was emptied after the tables were dropped")
        return Line("write-ahead log", "unknown", "a reader was in its way: it may hold sealed pages of dropped tables")

    def reported(self, day: Day, order: Order) -> None:
        """The report is written, and its digest goes into the ledger."""

        def work(held: Held) -> Line:
            self._chain.put(
                held.connection,
                held.shelf,
                lambda previous: day_report(held.purge, reported_at=held.now, previous=previous),
                lambda put: held.write("reported", "purge", {"attempt": held.purge.attempt, **put}),
            )
            return Line("reported", "pass", "written, and its digest is in the ledger")

        self._mover.move(day, order.turn, "verified", "reported", work)


def _as_counted(dropped: dict[str, int], census: Census | None) -> Line:
    if census is None:
        return Line("dropped", "unknown", "index, tables and rows are dropped; no count from before is on record")
    if dropped["texts"] != census.found or dropped["papers"] != sum(census.papers.values()):
        return Line("dropped", "fail", "what was dropped is not as many texts and papers as were counted before")
    return Line("dropped", "pass", f"index, tables and rows are dropped: {dropped['texts']} texts, as counted before")
