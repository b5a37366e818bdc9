"""How a step is taken: one transaction under the locks, from one state of a shelf to the next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from textkeep.archive.shelf import State
from textkeep.archive.shelves import Shelves
from textkeep.clock import Clock
from textkeep.ledger import log
from textkeep.ledger.log import moment
from textkeep.retention.guards import Reading
from textkeep.retention.holds.in_force import HoldsInForce
from textkeep.retention.purging.absence import LookedAgain
from textkeep.retention.reports import facts as found
from textkeep.retention.reports.facts import Facts, Line, PurgeRow
from textkeep.retention.reports.named import KINDS, entry_of
from textkeep.retention.turn import Turn
from textkeep.store.engine import Store


@dataclass(frozen=True, slots=True)
class Order:
    """What a run was told and has seen before its first step, and the turn it works in."""

    turn: Turn
    readings: tuple[Reading, ...]
    last_seen: datetime | None
    asked_by: str
    confirmed_days: int | None
    again: LookedAgain


@dataclass(frozen=True, slots=True)
class Held:
    """A shelf under its lock: the transaction, its purge, the digest of the holds in force, the moment."""

    connection: Connection
    purge: PurgeRow
    digest: str
    now: datetime

    @property
    def shelf(self) -> str:
        """The shelf's name."""
        return self.purge.shelf

    @property
    def facts(self) -> Facts:
        """What is known so far; saved when the step commits."""
        return self.purge.facts

    def write(self, step: State, body: Mapping[str, object]) -> None:
        """Write the step's ledger entry."""
        said = {"purge": self.purge.number, **body}
        log.append(self.connection, KINDS[step], said, now=self.now, shelf=self.shelf)


class Mover:
    """Moves one shelf on, once: a step whose shelf is no longer where it begins does nothing."""

    def __init__(self, store: Store, shelves: Shelves, holds: HoldsInForce, clock: Clock) -> None:
        self._store = store
        self._shelves = shelves
        self._holds = holds
        self._clock = clock

    def state(self, shelf: str) -> State | None:
        """How far a shelf is; None where there is none."""
        with self._store.reading() as connection:
            return self._shelves.states(connection, [shelf]).get(shelf)

    def entry(self, shelf: str, step: State) -> int | None:
        """The `seq` of the ledger entry of a step by now, or None where that is not on record."""
        with self._store.reading() as connection:
            entry = entry_of(connection, shelf, step)
        return None if entry is None else entry.seq

    def move(
        self, shelf: str, turn: Turn, was: State, becomes: State, work: Callable[[Held], Line | None]
    ) -> State | None:
        """Do `work` and move on, in one transaction under the locks; back to `intent` where `work` gives no line.

        Gives the state it has moved to; None where the shelf was in another one than `was`, and nothing was done.

        The lease comes first, then the lock of the holds, always, so that placing a hold and purging never wait for
        each other, then the shelf's: whoever accepts or indexes its texts has ended by then. Raises LeaseLost.
        """
        with turn.transaction() as connection:
            digest = self._holds.digest(connection).hex()
            if self._shelves.lock(connection, [shelf], exclusive=True).get(shelf) != was:
                return None
            now = self._clock()
            purge = found.load(connection, shelf) or found.begin(connection, shelf, Facts(), now)
            line = work(Held(connection, purge, digest, now))
            if line is not None:
                purge.facts.lines[becomes] = line
                purge.facts.at[becomes] = moment(now)
            found.save(connection, purge)
            moved: State = "intent" if line is None else becomes
            self._shelves.set_state(connection, shelf, moved)
        return moved

    def resume(self, shelf: str, turn: Turn) -> None:
        """Count another attempt at a shelf whose purge was cut off."""
        with turn.transaction() as connection:
            state = self._shelves.lock(connection, [shelf], exclusive=True).get(shelf)
            purge = found.load(connection, shelf)
            if purge is not None and state != "reported":
                purge.attempt += 1
                found.save(connection, purge)
