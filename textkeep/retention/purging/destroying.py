"""The last four steps of a purge: shredded, dropped, verified, reported. Nothing stops them but an outage.

What lies outside the database is done beside the transaction, in the order that makes a crash harmless: the secret is
destroyed before the state says so, the index goes before the tables, the report is on disk before its entry commits.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime
from typing import Final

from sqlalchemy import select

from textkeep.archive.keyring import Keyring, shelf_secret
from textkeep.archive.shelf import State
from textkeep.clock import Clock
from textkeep.ledger.log import moment
from textkeep.retention.counting.census import UNREADABLE, Census
from textkeep.retention.counting.recount import recount
from textkeep.retention.holds.in_force import HoldsInForce
from textkeep.retention.purging import evicting, releases_due
from textkeep.retention.purging.absence import Absence
from textkeep.retention.purging.awaiting import Awaiting
from textkeep.retention.purging.begun import BegunShelves
from textkeep.retention.purging.deciding import AGAIN, NAMED, sums
from textkeep.retention.purging.destruction import Destruction, path_of
from textkeep.retention.purging.dropping import There, count, drop, patiently
from textkeep.retention.purging.evicting import Nodes
from textkeep.retention.purging.moving import Held, Mover, Order
from textkeep.retention.reports import erasing
from textkeep.retention.reports import facts as found
from textkeep.retention.reports.chain import Chain
from textkeep.retention.reports.erasing import Erasures
from textkeep.retention.reports.facts import REPORTED, Line, ring_of
from textkeep.retention.reports.named import named
from textkeep.retention.reports.overdue import overdue
from textkeep.retention.reports.report import day_report, verdict_of
from textkeep.retention.turn import Turn
from textkeep.store.engine import Store
from textkeep.store.tables import shelves

SETTLE_TRIES: Final = 10
"""How often the write-ahead log is asked to empty itself, half a second each, before the report says `unknown`."""

SERVERS_LOG: Final = (
    "the database server's log, its replicas and backups keep sealed pages of dropped tables until they are recycled;"
    " what opened them is destroyed"
)

INDEX_SECONDS: Final = 2.0
"""How long a transaction that has counted waits for the index: as long, at most, placing a hold waits for it."""

LOOK_SECONDS: Final = 0.005
"""How often it is looked whether a drop is committed."""


class Destroying:
    """Destroys what has been decided and counted, and shows that it is gone."""

    def __init__(
        self,
        mover: Mover,
        holds: HoldsInForce,
        destruction: Destruction,
        awaiting: Awaiting,
        store: Store,
        keyring: Keyring,
        begun: BegunShelves,
        absence: Absence,
        chain: Chain,
        clock: Clock,
        nodes: Nodes,
        patience: float,
        erasures: Erasures,
    ) -> None:
        self._mover = mover
        self._holds = holds
        self._destruction = destruction
        self._awaiting = awaiting
        self._store = store
        self._keyring = keyring
        self._begun = begun
        self._absence = absence
        self._chain = chain
        self._clock = clock
        self._nodes = nodes
        self._patience = patience
        self._erasures = erasures
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="drop")

    def shredded(self, shelf: str, order: Order) -> State | None:
        """The secret is destroyed; once that has happened a second call changes nothing."""
        name = shelf_secret(shelf)
        decided = self._mover.entry(shelf, "committed")
        # What was decided is signed, and so beyond dispute, before anything is destroyed.
        awaited = self._awaiting.through([] if decided is None else [decided], order.turn)
        if awaited is None:
            return None
        document = self._awaiting.stamped(awaited)
        place = None if awaited.signature is None or decided is None else awaited.signature.indices[decided]
        entry, transaction = "unknown" if place is None else str(place), order.turn.transaction
        stone = self._destruction.shred(transaction, shelf, entry=entry, now=self._clock())

        def work(held: Held) -> Line:
            ring = ring_of(self._keyring.status())
            if document is not None:
                held.facts.checkpoints["committed"] = document
            held.facts.secret = stone.commitment.hex()
            held.facts.ring_after = ring
            said = {
                "secret": name,
                "commitment": stone.commitment.hex(),
                "committed": place,
                "destroyed_at": moment(datetime.fromisoformat(stone.destroyed_at)),
                "generation": ring.generation,
                "root": ring.root,
            }
            held.write("shredded", said)
            wanted = select(shelves.c.commitment).where(shelves.c.name == held.shelf)
            if held.connection.execute(wanted).scalar_one() != stone.commitment:
                return Line("shredded", "fail", "the secret destroyed is not the one this shelf was opened with")
            return Line("shredded", "pass", "the secret was destroyed, the ring is under a new root, a tombstone stays")

        return self._mover.move(shelf, order.turn, "committed", "shredded", work)

    def dropped(self, shelf: str, order: Order) -> State | None:
        """The index goes; then, once their rows are counted, tables and the shelf's rows elsewhere do.

        A log of the database's own file is emptied. Raises Outage where readers were in the way for too long, or the
        index did not go; the shelf stays as it was then.
        """
        begun = self._begun.of(shelf)
        with self._begun.dropping(shelf) as index:
            if not self._store.shared:
                index.ended()  # else the one writer would wait for it

            def work(held: Held) -> Line:
                if begun.still is not None:
                    index.ended(INDEX_SECONDS)  # before the rows are let go of: another try would have to count them
                there = count(held.connection, shelf, begun.still)
                decided = begun.numbers if begun.decided_at == held.facts.at.get("committed") else None
                line, held.facts.census = _recounted(held, there, self._holds, decided)
                index.ended(INDEX_SECONDS)
                gone = drop(held.connection, self._destruction.permit(held.connection, path_of(shelf), shelf))
                if there.texts is not None:
                    held.facts.rows_dropped = {"texts": sum(there.texts.values()), "papers": there.papers, **gone}
                return line

            done = patiently(lambda: self._until_seen(shelf, order.turn, work), order.turn, index.failed)
        if not done:
            return None
        self._store.settle()
        return "dropped"

    def _until_seen(self, shelf: str, turn: Turn, work: Callable[[Held], Line]) -> None:
        """Move on to `dropped`, and return as soon as everybody sees it.

        PostgreSQL shows a commit once it is on disk, and then frees the files of what was dropped before it answers,
        which takes the longer the larger they were. Nothing waits for that: what is left to do is the server's.
        """
        if not self._store.shared:
            self._mover.move(shelf, turn, "shredded", "dropped", work)
            return
        worked = threading.Event()

        def told(held: Held) -> Line:
            line = work(held)
            worked.set()
            return line

        moving = self._aside.submit(self._mover.move, shelf, turn, "shredded", "dropped", told)
        moving.add_done_callback(lambda _: worked.set())
        self._awaiting.ahead()
        worked.wait()
        while not wait([moving], LOOK_SECONDS).done:
            if self._mover.state(shelf) == "dropped":
                return
        moving.result()

    def verified(self, shelf: str, order: Order) -> State | None:
        """Every process has shown that it dropped the secret, or could not; every store is read back."""
        self._keyring.reread()  # another process may have destroyed it
        evicted = evicting.wait(self._nodes, self._generation(shelf), order.turn, self._patience)
        if evicted is None:
            return None
        closed_at = None if evicted.waiting else self._clock()
        lines = [*self._absence.lines(shelf), evicting.line_of(evicted), self._settled()]

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

        return self._mover.move(shelf, order.turn, "dropped", "verified", work)

    def _generation(self, shelf: str) -> int:
        """The ring from which the secret was gone; the ring as it is now where that is not on record."""
        with self._store.reading() as connection:
            purge = found.load(connection, shelf)
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

    def reported(self, shelf: str, order: Order) -> State | None:
        """The report is written, and its digest goes into the ledger, once everything that it names is signed."""
        with self._store.reading() as connection:
            purge = found.load(connection, shelf)
            entries = named(connection, purge) if purge else {}
        awaited = self._awaiting.through([each.seq for each in entries.values()], order.turn)
        if awaited is None:
            return None
        signed = awaited.signature
        places = {} if signed is None else {name: signed.indices[each.seq] for name, each in entries.items()}
        erased = erasing.known(self._erasures, shelf)

        def work(held: Held) -> Line:
            facts = held.facts
            facts.erased, facts.overdue = erased, overdue(held.connection, held.now)
            document = awaited.document()
            if document is not None:
                facts.checkpoints["reported"] = document
                facts.indices = places
            finished = [each for each in facts.released if each.hold not in facts.unfinished]
            releases_due.done(held.connection, held.shelf, finished, held.now)
            self._chain.put(
                held.connection,
                held.shelf,
                lambda previous: day_report(held.purge, reported_at=held.now, previous=previous),
                lambda put: held.write("reported", {"attempt": held.purge.attempt, **put}),
            )
            return REPORTED

        return self._mover.move(shelf, order.turn, "verified", "reported", work)


def _recounted(
    held: Held, there: There, holds: HoldsInForce, decided: Mapping[int, int] | None
) -> tuple[Line, Census | None]:
    """What the report says of the drop, and the census as it stands then."""
    census, connection, shelf = held.facts.census, held.connection, held.shelf
    gone = "index, tables and rows are dropped"
    if census is None:
        return Line("dropped", "unknown", f"{gone}; no count from before is on record"), None
    try:
        after = recount(
            connection, shelf, census, there.texts or {}, lambda: holds.there(connection, shelf).texts, decided
        )
    except UNREADABLE:
        said = "a ledger entry that the decision read cannot be read any more: nobody can say what changed since"
        return Line("dropped", "fail", f"{gone}; {said}"), census
    wrong = []
    if after.changed:
        named = ", ".join(after.changed[:NAMED])
        wrong.append(f"{len(after.changed)} slices had no longer as many rows as at the decision: {named}")
    if there.papers != sum(census.papers.values()):
        wrong.append(f"{there.papers} papers were not as many as at the decision")
    if wrong:
        return Line("dropped", "fail", f"{gone}; {'; '.join(wrong)}"), after.census
    if there.texts is None:
        return Line("dropped", "unknown", f"{gone}; the table of texts was gone before"), after.census
    texts = sum(there.texts.values())
    return Line("dropped", "pass", f"{gone}: {texts} texts, in each slice as many as at the decision"), after.census
