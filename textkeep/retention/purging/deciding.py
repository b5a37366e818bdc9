"""The first four steps of a purge: intent, kept, witnessed, committed. Until the last of them nothing is destroyed."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from sqlalchemy import Connection

from textkeep.archive.keyring import Keyring
from textkeep.archive.shelf import Day, Generation, State, is_kept
from textkeep.archive.shelves import Shelves
from textkeep.errors import Conflict
from textkeep.ledger.log import moment
from textkeep.retention.counting.census import Census, take_census
from textkeep.retention.counting.leaves import numbers_beside
from textkeep.retention.guards import STEP_AHEAD, earliest
from textkeep.retention.holds import kept_leaves
from textkeep.retention.holds.in_force import Covered, HoldsInForce
from textkeep.retention.purging import releases_due
from textkeep.retention.purging.absence import LookedAgain
from textkeep.retention.purging.awaiting import Awaited, Awaiting
from textkeep.retention.purging.begun import BegunShelves
from textkeep.retention.purging.destruction import Destruction
from textkeep.retention.purging.moving import Held, Mover, Order
from textkeep.retention.reports.facts import Checkpointed, Facts, Holds, Line, Released, ring_of
from textkeep.store.engine import Store

AGAIN: Final = "earlier shelves"
"""The name of the line about shelves that were purged before."""

NAMED: Final = 10
"""How many slices a reason names; the report lists all of them."""

RELEASES_SAID: Final = 40
"""How many releases an intent and a decision name; the report names all of them."""


class _NoMoreHeld(NamedTuple):
    """Texts that were carried over and that no hold in force covers any more; of how many of them no entry tells."""

    texts: int
    untold: int


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
        begun: BegunShelves,
    ) -> None:
        self._mover = mover
        self._holds = holds
        self._destruction = destruction
        self._awaiting = awaiting
        self._store = store
        self._shelves = shelves
        self._keyring = keyring
        self._begun = begun

    def intent(self, shelf: str, order: Order) -> State | None:
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
                held.write("intent", said)
                reason = "by every clock the day's last text is 400 days old; no more texts are taken"
                return Line("intent", "pass", reason)
            held.write("intent", {**said, **_releases(facts.released)})
            number = len(facts.released)
            return Line("intent", "pass", f"{number} releases are in effect by every clock; nothing more is kept here")

        return self._mover.move(shelf, order.turn, "open", "intent", work)

    def kept(self, shelf: str, order: Order) -> State | None:
        """What holds cover is carried over; the digest says which holds that were.

        It begins when every entry that speaks of the shelf is signed. Raises Outage where that takes too long.
        """
        self._begun.counting(shelf)
        awaited = self._awaiting.entries_of(shelf, order.turn)
        if awaited is None:
            return None
        kept = self._holds.keep(order.turn.transaction, shelf)

        def work(held: Held) -> Line | None:
            digest = kept.digest.hex()
            if digest != held.digest:
                return None
            begun = self._begun.of(shelf)
            begun.covered_at, begun.covered = moment(held.now), kept.covered
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

        return self._mover.move(shelf, order.turn, "intent", "kept", work)

    def witnessed(self, shelf: str, order: Order) -> State | None:
        """The intent is inside a signed checkpoint, and cosigned where witnesses are set, or nothing further happens.

        Raises Outage and NotWitnessed.
        """
        intent = self._mover.entry(shelf, "intent")
        awaited = Awaited(None) if intent is None else self._awaiting.witnessed(intent, order.turn)
        if awaited is None:
            return None
        self._begun.counting(shelf)  # once more, where carrying over or a witness took too long

        def work(held: Held) -> Line:
            _note(held, "witnessed", awaited.document())
            return _witnessed_line(intent, awaited)

        return self._mover.move(shelf, order.turn, "kept", "witnessed", work)

    def committed(self, shelf: str, order: Order) -> State | None:
        """The point of no return. Everything is counted here.

        Where the holds are not those of step 2 any more, or something that they keep is not where it was carried over
        to, it goes back: then that is done again.
        """

        def work(held: Held) -> Line | None:
            facts, connection = held.facts, held.connection
            if held.now - earliest(order.readings) > STEP_AHEAD:  # a hold may be told as ended that has not
                raise Conflict(
                    "the clock is more than 26 hours ahead of where this run began; nothing of the shelf was destroyed",
                    remedy="Look at the clock. The next run checks it, and goes on where this one stopped.",
                )
            if facts.holds is None or not self._destruction.may_commit(connection, facts.holds.digest):
                return None
            with numbers_beside(self._store, connection, shelf, partial(self._begun.counted, shelf)) as numbers:
                there = self._holds.there(connection, shelf)
                if not self._is_kept(shelf, facts.at.get("kept"), facts.holds, there):
                    return None
                facts.ring_before = ring_of(self._keyring.status())
                self._begun.going(shelf)
                signed = "witnessed" in facts.checkpoints
                facts.census = take_census(
                    connection, shelf, there.texts, numbers, records=there.records, signed=signed
                )
            begun = self._begun.of(shelf)
            begun.decided_at, begun.numbers = moment(held.now), numbers.told
            decision = _decision(facts.census, held.digest)
            if is_kept(shelf):
                self._release(connection, shelf, facts, there)
                decision |= _releases(facts.released)
            held.write("committed", decision)
            return _counted(facts.census, facts.holds, self._no_more_held(connection, shelf, there))

        return self._mover.move(shelf, order.turn, "witnessed", "committed", work)

    def _release(self, connection: Connection, shelf: str, facts: Facts, there: Covered) -> None:
        """Name the releases by which a shelf of held texts is decided about: some took effect since the intent.

        What a hold kept that ended since lies on the next generation: its release is not done before that goes too.
        """
        begun = {each.hold for each in facts.released}
        in_force = set() if facts.holds is None else {each.id for each in facts.holds.holds}
        facts.released = releases_due.in_effect(connection, shelf, in_force)
        if self._begun.of(shelf).covered != there:
            facts.unfinished = [each.hold for each in facts.released if each.hold not in begun]

    def _is_kept(self, shelf: str, done_at: str | None, holds: Holds, there: Covered) -> bool:
        """Whether everything that step 2, done at that moment, found covered is there still.

        After a restart nobody knows what that was: where it was anything it is looked for once more.
        """
        if not holds.kept + holds.records_kept:
            return True
        begun = self._begun.of(shelf)
        return begun.covered_at == done_at and begun.covered.lies_in(there)

    def _no_more_held(self, connection: Connection, shelf: str, there: Covered) -> _NoMoreHeld:
        """What lies where held texts are and no hold in force covers: a hold that kept it may have ended on the way."""
        beside = there.beside(self._begun.of(shelf).covered)
        return _NoMoreHeld(len(beside), len(beside - kept_leaves.told(connection, shelf)) if beside else 0)

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


def _releases(released: Sequence[Released]) -> dict[str, object]:
    return {"releases": [each.hold for each in released[:RELEASES_SAID]], "released": len(released)}


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


def _counted(census: Census, holds: Holds, no_more_held: _NoMoreHeld) -> Line:
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
    if census.kept != holds.kept + no_more_held.texts:
        wrong.append(f"{holds.kept} texts are held and {census.kept} of what was taken lie where held texts are")
    if no_more_held.untold:
        wrong.append(f"{no_more_held.untold} texts lie where held texts are, and no entry says that they were kept")
    if sums(census).verdict == "fail":
        wrong.append("the sums do not add up")
    if wrong:
        return Line("committed", "fail", "; ".join(wrong))
    said = f"the sets of all {census.slices} slices are those that were taken"
    if no_more_held.texts:
        said += (
            f"; {no_more_held.texts} of what is kept lie there for holds that have ended since: they go with that shelf"
        )
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
