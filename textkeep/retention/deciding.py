"""The first four steps of a purge: intent, kept, witnessed, committed. Until the last of them nothing is destroyed."""

from typing import Final

from textkeep.archive.keyring import Keyring
from textkeep.archive.shelf import Day
from textkeep.errors import Conflict
from textkeep.ledger.log import moment
from textkeep.retention.absence import LookedAgain
from textkeep.retention.census import Census, take_census
from textkeep.retention.facts import Holds, Line, ring_of
from textkeep.retention.guards import earliest
from textkeep.retention.holds import HoldsInForce
from textkeep.retention.moving import Held, Mover, Order

AGAIN: Final = "earlier shelves"
"""The name of the line about shelves that were purged before."""

NAMED: Final = 10
"""How many slices a reason names; the report lists all of them."""


class Deciding:
    """Makes sure that a day may go, and counts what goes."""

    def __init__(self, mover: Mover, holds: HoldsInForce, keyring: Keyring) -> None:
        self._mover = mover
        self._holds = holds
        self._keyring = keyring

    def intent(self, day: Day, order: Order) -> None:
        """From here the shelf takes no more texts. Raises Conflict for a day that is not due by every clock."""
        cutoff = earliest(order.readings)
        if day.due() > cutoff:
            raise Conflict("the day's last text is not 400 days old yet; nothing was destroyed")

        def work(held: Held) -> Line:
            facts = held.facts
            facts.asked_by, facts.confirmed_days = order.asked_by, order.confirmed_days
            facts.cutoff = moment(cutoff)
            facts.clocks = {reading.clock: moment(reading.at) for reading in order.readings}
            facts.last_seen = None if order.last_seen is None else moment(order.last_seen)
            facts.readback = [_looked_again(order.again)]
            held.write("intent", "intent", {"cutoff": facts.cutoff, "clocks": facts.clocks})
            return Line("intent", "pass", "by every clock the day's last text is 400 days old; no more texts are taken")

        self._mover.move(day, order.turn, "open", "intent", work)

    def kept(self, day: Day, order: Order) -> None:
        """What holds cover is carried over; the digest says which holds that were."""

        def work(held: Held) -> Line:
            kept = self._holds.keep(held.connection, held.shelf)
            digest = kept.digest.hex()
            held.facts.holds = Holds(digest, list(kept.holds), kept.examined, kept.kept, kept.undecided)
            if not kept.holds:
                return Line("kept", "pass", "no hold is in force: nothing is covered and nothing was carried over")
            said = f"{kept.kept} texts were carried over and read back, {kept.undecided} of them undecided"
            return Line("kept", "pass", said)

        self._mover.move(day, order.turn, "intent", "kept", work)

    def witnessed(self, day: Day, order: Order) -> None:
        """Nothing is signed in this version, and the report says so."""

        def work(_held: Held) -> Line:
            return Line("witnessed", "none", "nothing is signed yet: no checkpoint holds the intent, no witness saw it")

        self._mover.move(day, order.turn, "kept", "witnessed", work)

    def committed(self, day: Day, order: Order) -> None:
        """The point of no return: the holds are still those of step 2, or it goes back; everything is counted."""

        def work(held: Held) -> Line | None:
            facts = held.facts
            if facts.holds is None or facts.holds.digest != held.digest:
                return None
            facts.census = take_census(held.connection, held.shelf, self._holds.leaves(held.connection, held.shelf))
            facts.ring_before = ring_of(self._keyring.status())
            held.write("committed", "committed", _decision(facts.census, held.digest))
            return _counted(facts.census)

        self._mover.move(day, order.turn, "witnessed", "committed", work)


def sums(census: Census | None) -> Line:
    """Whether taken = kept + destroyed + lost."""
    if census is None:
        return Line("sums", "unknown", "no count from before the destruction is on record")
    said = f"taken {census.taken} = kept {census.kept} + destroyed {census.destroyed} + lost {census.lost}"
    if census.taken == census.kept + census.destroyed + census.lost:
        return Line("sums", "pass", said)
    return Line("sums", "fail", f"does not hold: {said}")


def _counted(census: Census) -> Line:
    wrong = []
    if census.differing:
        named = ", ".join(each.slice for each in census.differing[:NAMED])
        wrong.append(f"{len(census.differing)} slices are not as the ledger says: {named}")
    if census.quarantined != census.quarantine_found:
        wrong.append(f"{census.quarantined} records were quarantined and {census.quarantine_found} are there")
    if census.reading is not None and census.reading.altered:
        wrong.append(
            f"{census.reading.altered} slices read ahead were not the same when read again; all were read again"
        )
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
