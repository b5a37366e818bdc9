"""The first four steps of a purge: intent, kept, witnessed, committed. Until the last of them nothing is destroyed."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from textkeep.archive.keyring import Keyring
from textkeep.archive.shelf import Day, Generation, is_kept
from textkeep.archive.shelves import Shelves
from textkeep.errors import Conflict
from textkeep.ledger.log import moment
from textkeep.retention.counting.census import Census, take_census
from textkeep.retention.counting.leaves import numbers_beside
from textkeep.retention.guards import earliest
from textkeep.retention.holds.in_force import HoldsInForce
from textkeep.retention.purging import releases_due
from textkeep.retention.purging.absence import LookedAgain
from textkeep.retention.purging.awaiting import Awaited, Awaiting
from textkeep.retention.purging.destruction import Destruction
from textkeep.retention.purging.moving import Held, Mover, Order
from textkeep.retention.reports.facts import Checkpointed, Holds, Line, Released, ring_of
from textkeep.store.engine import Store

AGAIN: Final = "earlier shelves"
"""The name of the line about shelves that were purged before."""

NAMED: Final = 10
"""How many slices a reason names; the report lists all of them."""

RELEASES_SAID: Final = 40
"""How many releases an intent names; the report names all of them."""


class Deciding:
    """Makes sure that a shelf may go, and counts what goes."""

    def __init__(
        self,
        mover: Mover,
        holds: HoldsInForce,
        destruction: Destruction,
        awaiting: Awaiting,
        store: Store,
        shelves: Shelves,
        keyring: Keyring,
    ) -> None:
        self._mover = mover
        self._holds = holds
        self._destruction = destruction
        self._awaiting = awaiting
        self._store = store
        self._shelves = shelves
        self._keyring = keyring

    def intent(self, shelf: str, order: Order) -> None:
        """From here the shelf takes no more texts.

        Raises Conflict for a day that is not due by every clock, and for a shelf of held texts for which no release is
        in effect. For the latter the next generation is open before: what is still held always has where to go.
        """
        cutoff = earliest(order.readings)
        kept = is_kept(shelf)
        if kept:
            self._open_next(shelf, order, cutoff)
        elif Day.named(shelf).due() > cutoff:
            raise Conflict("the day's last text is not 400 days old yet; nothing was destroyed")

        def work(held: Held) -> Line:
            facts = held.facts
            if kept:
                facts.released = self._released(held.connection, shelf, cutoff)
            facts.asked_by, facts.confirmed_days = order.asked_by, order.confirmed_days
            facts.cutoff = moment(cutoff)
            facts.clocks = {reading.clock: moment(reading.at) for reading in order.readings}
            facts.last_seen = None if order.last_seen is None else moment(order.last_seen)
            facts.readback = [_looked_again(order.again)]
            said: dict[str, object] = {"cutoff": facts.cutoff, "clocks": facts.clocks}
            if not kept:
                held.write("intent", "intent", said)
                reason = "by every clock the day's last text is 400 days old; no more texts are taken"
                return Line("intent", "pass", reason)
            said["releases"] = [each.hold for each in facts.released[:RELEASES_SAID]]
            held.write("intent", "intent", {**said, "released": len(facts.released)})
            number = len(facts.released)
            return Line("intent", "pass", f"{number} releases are in effect by every clock; nothing more is kept here")

        self._mover.move(shelf, order.turn, "open", "intent", work)

    def kept(self, shelf: str, order: Order) -> None:
        """What holds cover is carried over; the digest says which holds that were.

        It begins when every entry that speaks of the shelf is signed. Raises Outage where that takes too long.
        """
        awaited = self._awaiting.entries_of(shelf, order.turn)
        if awaited is None:
            return
        kept = self._holds.keep(order.turn.transaction, shelf)

        def work(held: Held) -> Line | None:
            digest = kept.digest.hex()
            if digest != held.digest:
                return None
            _note(held, "intent", awaited.document())
            held.facts.holds = Holds(
                digest,
                list(kept.holds),
                kept.examined,
                kept.kept,
                kept.undecided,
                list(kept.slices),
                kept.records_examined,
                kept.records_kept,
                kept.records_undecided,
            )
            return _kept_line(held.facts.holds)

        self._mover.move(shelf, order.turn, "intent", "kept", work)

    def witnessed(self, shelf: str, order: Order) -> None:
        """The intent is inside a signed checkpoint, and cosigned where witnesses are set, or nothing further happens.

        Raises Outage and NotWitnessed.
        """
        intent = self._mover.entry(shelf, "intent")
        awaited = Awaited(None) if intent is None else self._awaiting.witnessed(intent, order.turn)
        if awaited is None:
            return

        def work(held: Held) -> Line:
            _note(held, "witnessed", awaited.document())
            return _witnessed_line(intent, awaited)

        self._mover.move(shelf, order.turn, "kept", "witnessed", work)

    def committed(self, shelf: str, order: Order) -> None:
        """The point of no return: the holds are still those of step 2, or it goes back; everything is counted."""

        def work(held: Held) -> Line | None:
            facts = held.facts
            if not self._destruction.may_commit(held.connection, None if facts.holds is None else facts.holds.digest):
                return None
            with numbers_beside(self._store, held.connection, held.shelf) as numbers:
                kept = self._holds.leaves(held.connection, held.shelf)
                facts.census = take_census(held.connection, held.shelf, kept, numbers)
            facts.ring_before = ring_of(self._keyring.status())
            held.write("committed", "committed", _decision(facts.census, held.digest))
            return _counted(facts.census, facts.holds)

        self._mover.move(shelf, order.turn, "witnessed", "committed", work)

    def _open_next(self, shelf: str, order: Order, cutoff: datetime) -> None:
        """Open the generation that takes what is still held. Raises Conflict where the shelf may not go."""
        with order.turn.transaction() as connection:
            self._released(connection, shelf, cutoff)
        self._shelves.open_generation(Generation.named(shelf).next(), cutoff)

    def _released(self, connection: Connection, shelf: str, cutoff: datetime) -> list[Released]:
        """The releases for which a shelf goes. Raises Conflict where there is none, or a day is half way through."""
        released = releases_due.due(connection, shelf, cutoff)
        if not released:
            raise Conflict("no release is in effect for what is held there; nothing was destroyed")
        undecided = [
            each.name
            for each in self._shelves.list(connection)
            if not is_kept(each.name) and each.state in ("intent", "kept", "witnessed")
        ]
        if undecided:
            raise Conflict("a day is being purged whose held texts may lie on that shelf; nothing was destroyed")
        return released


def _note(held: Held, step: str, document: Checkpointed | None) -> None:
    if document is not None:
        held.facts.checkpoints[step] = document


def _kept_line(holds: Holds) -> Line:
    if not holds.holds:
        return Line("kept", "pass", "no hold is in force: nothing is covered and nothing was carried over")
    said = (
        f"of {holds.examined} texts looked at {holds.kept} are held, each carried over and read back;"
        f" of {holds.records_examined} quarantined records {holds.records_kept}"
    )
    if not holds.undecided and not holds.records_undecided:
        return Line("kept", "pass", said)
    named = ", ".join(holds.slices[:NAMED])
    where = f", in slices {named}" if named else ""
    return Line(
        "kept",
        "unknown",
        f"{said}; {holds.undecided} texts{where} and {holds.records_undecided} records did not open or could not be"
        " decided: they count as held and were carried over as they are",
    )


def _witnessed_line(intent: int | None, awaited: Awaited) -> Line:
    if intent is None:
        return Line("witnessed", "unknown", "it is not on record which entry is the intent")
    signed = awaited.signature
    if signed is None:
        return Line("witnessed", "none", "nothing is signed yet: no checkpoint holds the intent, no witness saw it")
    said = f"the intent is inside the signed checkpoint of size {signed.size}"
    if not awaited.required:
        return Line("witnessed", "pass", f"{said}; no witness is set")
    return Line("witnessed", "pass", f"{said}, cosigned by {', '.join(sorted(signed.witnesses))}")


def sums(census: Census | None) -> Line:
    """Whether taken = kept + destroyed + lost."""
    if census is None:
        return Line("sums", "unknown", "no count from before the destruction is on record")
    said = f"taken {census.taken} = kept {census.kept} + destroyed {census.destroyed} + lost {census.lost}"
    if census.taken == census.kept + census.destroyed + census.lost:
        return Line("sums", "pass", said)
    return Line("sums", "fail", f"does not hold: {said}")


def _counted(census: Census, holds: Holds | None) -> Line:
    wrong = []
    if census.differing:
        named = ", ".join(each.slice for each in census.differing[:NAMED])
        wrong.append(f"{len(census.differing)} slices are not as the ledger says: {named}")
    waiting = census.quarantined - census.returned
    if waiting != census.quarantine_found:
        wrong.append(f"{waiting} records were quarantined and not returned, and {census.quarantine_found} are there")
    if census.reading is not None and census.reading.altered:
        wrong.append(
            f"{census.reading.altered} slices read ahead were not the same when read again; all were read again"
        )
    if holds is not None and census.kept != holds.kept:
        wrong.append(f"{holds.kept} texts are held and {census.kept} of what was taken lie where held texts are")
    if sums(census).verdict == "fail":
        wrong.append("the sums do not add up")
    if wrong:
        return Line("committed", "fail", "; ".join(wrong))
    said = f"the sets of all {census.slices} slices are those that were taken"
    return Line("committed", "pass", f"{said}; {_when_read(census)}")


def _when_read(census: Census) -> str:
    reading = census.reading
    if reading is None or not reading.ahead:
        return "all rows were read at the decision"
    return (
        f"{reading.ahead} of them were read ahead, from {reading.first} to {reading.last}, and counted at the decision;"
        f" {reading.sampled} of these and {reading.at_decision} others were read at the decision"
    )


def _decision(census: Census, holds: str) -> dict[str, object]:
    return {
        "taken": census.taken,
        "kept": census.kept,
        "destroyed": census.destroyed,
        "lost": census.lost,
        "strays": census.strays,
        "differing": len(census.differing),
        "taken_root": census.taken_root,
        "kept_root": census.kept_root,
        "destroyed_root": census.destroyed_root,
        "quarantined": census.quarantined,
        "holds": holds,
    }


def _looked_again(again: LookedAgain) -> Line:
    if again.found:
        return Line(AGAIN, "fail", f"there again, and dropped again: {', '.join(again.found)}")
    return Line(AGAIN, "pass", f"{again.shelves} shelves purged before were looked for again and are still gone")
