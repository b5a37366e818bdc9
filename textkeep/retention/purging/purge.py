"""The purge run: guards first, then each due day, oldest first, through its eight steps."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from textkeep.archive.keyring import Keyring, SecretMissing
from textkeep.archive.shelf import Day
from textkeep.archive.shelves import Shelves
from textkeep.clock import Clock
from textkeep.errors import Conflict, Outage, TextkeepError, Unsound
from textkeep.retention import notes
from textkeep.retention.clockmark import ClockMark
from textkeep.retention.guards import Reading, Stop, check_run, earliest
from textkeep.retention.holds.in_force import HoldsInForce
from textkeep.retention.purging import days, releases_due
from textkeep.retention.purging.absence import Absence, ShelfIndex
from textkeep.retention.purging.awaiting import Awaiting
from textkeep.retention.purging.begun import BegunShelves
from textkeep.retention.purging.days import DayRow, ShelfState
from textkeep.retention.purging.deciding import Deciding
from textkeep.retention.purging.destroying import Destroying
from textkeep.retention.purging.destruction import Destruction, Resumed, never_restored
from textkeep.retention.purging.evicting import PATIENCE_SECONDS, Alone, Nodes
from textkeep.retention.purging.moving import Mover, Order
from textkeep.retention.purging.runs import Runs
from textkeep.retention.purging.steps import Steps
from textkeep.retention.reports.chain import Chain
from textkeep.retention.reports.erasing import Erasures, NotAsked
from textkeep.retention.reports.facts import SCHEDULE
from textkeep.retention.signing import SIGNING_PATIENCE, WITNESS_PATIENCE, Signed, Unsigned
from textkeep.retention.turn import LEASE_SECONDS, Turn
from textkeep.store.engine import Store
from textkeep.store.leases import Leases

Told = Callable[[str, str], None]
"""Hears of each step that is done: shelf and state."""

LEAVING: Final = Stop("interrupted", "the service is stopping", "The next run goes on where this one stopped.")
NOT_KEEPING: Final = Stop(
    "not-the-keeper",
    "this process may destroy nothing; nothing was done",
    "The process that keeps the archive purges every hour; `textkeep purge` on its machine does it at once.",
)
OF_ONE_SHELF: Final = frozenset({Unsound.problem, Conflict.problem, SecretMissing.problem})
"""The problems that one shelf may have by itself. Every other one is the archive's, and ends a run."""

AGAIN_AT_MOST: Final = 20
"""How often one run carries over anew what holds keep of a shelf; after that the next run goes on."""

BUSY: Final = Stop("already-running", "another purge run is at work", "Wait for it to end; nothing has to be done.")


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did: the days that were due as they stand now, and why it stopped, if it did.

    `found_again` names shelves purged before of which something was there again; `missed` the reports of days that had
    no run; `released` the shelves of held texts that a release made go, and how far each is.
    """

    days: tuple[DayRow, ...] = ()
    stopped: Stop | None = None
    dry_run: bool = False
    found_again: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    released: tuple[ShelfState, ...] = ()

    def document(self) -> dict[str, Any]:
        """What `purge --json` prints and `POST /v1/purges` answers."""
        return {
            "days": [asdict(day) for day in self.days],
            "stopped": self.stopped.reason if self.stopped else None,
            "detail": self.stopped.detail if self.stopped else None,
            "remedy": self.stopped.remedy if self.stopped else None,
            "dry_run": self.dry_run,
            "found_again": list(self.found_again),
            "missed_runs": list(self.missed),
            "released": [{"shelf": each.name, "state": each.state} for each in self.released],
        }


class Purge:
    """Runs purges over one archive; of all that there are, in this process and in others, one works at a time.

    `nodes` are the processes that must have dropped a destroyed secret before a report is written; a report waits for
    them `patience` seconds at most. `signed` is the signed ledger, without which every report says that nothing is.
    `lease_seconds` is how long a keeper that was killed keeps the others waiting. `resumed` raises where a restored
    keyring waits for two persons. `erasures` tells of the keyring's copies.
    """

    def __init__(
        self,
        store: Store,
        shelves: Shelves,
        keyring: Keyring,
        index: ShelfIndex,
        holds: HoldsInForce,
        chain: Chain,
        mark: ClockMark,
        clock: Clock,
        *,
        nodes: Nodes | None = None,
        signed: Signed | None = None,
        told: Told = lambda _shelf, _state: None,
        lease_seconds: float = LEASE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        signing_patience: float = SIGNING_PATIENCE,
        witness_patience: float = WITNESS_PATIENCE,
        resumed: Resumed = never_restored,
        erasures: Erasures | None = None,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._mark = mark
        self._clock = clock
        self._told = told
        self._holds = holds
        self._resumed = resumed
        self._awaiting = Awaiting(store, signed or Unsigned(), clock, signing_patience, witness_patience)
        destruction = Destruction(shelves, keyring, holds, resumed)
        self._absence = Absence(store, keyring, index, destruction)
        self._runs = Runs(store, chain, clock)
        self._begun = BegunShelves(store, index)
        mover = Mover(store, shelves, holds, clock)
        destroying = Destroying(
            mover,
            holds,
            destruction,
            self._awaiting,
            store,
            keyring,
            self._begun,
            self._absence,
            chain,
            clock,
            nodes or Alone(),
            patience,
            erasures or NotAsked(),
        )
        self._chain = chain
        deciding = Deciding(mover, holds, destruction, self._awaiting, store, shelves, keyring, self._begun)
        self._steps = Steps(mover, deciding, destroying)
        self._leases = Leases(store, clock)
        self._leaving = threading.Event()
        self.lease_seconds = lease_seconds

    def run(
        self,
        now: datetime | None = None,
        confirm_days: int | None = None,
        dry_run: bool = False,
        *,
        asked_by: str = SCHEDULE,
    ) -> RunResult:
        """Purge what is due, or say what would go and change nothing; `now` stands in for what the host's clock says.

        `confirm_days` is a person's word for exactly that many days. `asked_by` is a handle (hex), `local` or
        `schedule`. Whatever stops a run is named in the result; what it had begun is taken up by the next one.
        """
        if dry_run:
            return self._foresee(*self._look(now), confirm_days)
        if not self._keyring.keeps:
            return RunResult(stopped=NOT_KEEPING)
        turn = Turn(self._store, self._leases, self._leaving, seconds=self.lease_seconds)
        if not turn.take():
            return RunResult(stopped=BUSY)
        try:
            run = self._runs.begin(turn, now or self._clock())
            result = self._work(turn, now, confirm_days, asked_by)
            with suppress(TextkeepError):  # an outage here must not hide what was done
                self._runs.finish(run, _outcome(result))
            return result
        finally:
            turn.release()

    def interrupt(self) -> None:
        """Let a run that is at work end after the step it is in; the service is stopping."""
        self._leaving.set()

    def _look(self, now: datetime | None) -> tuple[datetime | None, Sequence[Reading]]:
        """The last time seen, and then what the clocks say: in this order no mark that is set meanwhile is ahead."""
        with self._store.reading() as connection:
            seen = self._mark.last_seen(connection)
        return seen, self._mark.readings(now)

    def _foresee(self, seen: datetime | None, readings: Sequence[Reading], confirm_days: int | None) -> RunResult:
        with self._store.reading() as connection:
            due = days.due(connection, earliest(readings))
            stop = check_run(
                readings,
                seen,
                due,
                confirm_days=confirm_days,
                confirmed_through=notes.read_day(connection, notes.CONFIRMED_THROUGH),
            )
            released = releases_due.shelves_due(connection, earliest(readings))
            rows = tuple(days.day_rows(connection, due))
            return RunResult(rows, stop, dry_run=True, released=days.states_of(connection, released))

    def _work(self, turn: Turn, now: datetime | None, confirm_days: int | None, asked_by: str) -> RunResult:
        foreseen = RunResult()
        try:
            seen, readings = self._look(now)
            foreseen = replace(self._foresee(seen, readings, confirm_days), dry_run=False)
            if foreseen.stopped is not None:
                return foreseen
            due = [Day.named(row.day) for row in foreseen.days]
            self._let_through(turn, readings, due, confirm_days)
            with self._store.reading() as connection:
                self._resumed(connection)
            self._holds.agree()
            # The whole ledger is read only where something is to be destroyed.
            self._awaiting.prepare(whole=bool(due or foreseen.released))
            missed = tuple(self._runs.report_missed(turn, earliest(readings)))
            self._prove(missed, turn)
            again = self._absence.look_again(turn)
        except TextkeepError as exc:
            return replace(foreseen, stopped=_stopped(exc))
        order = Order(turn, tuple(readings), seen, asked_by, confirm_days, again)
        stops: list[Stop] = []
        released: list[str] = []
        if self._close_all([day.shelf for day in due], order, stops):
            released = self._close_released(order, stops)
        with self._store.reading() as connection:
            rows = tuple(days.day_rows(connection, due))
            states = days.states_of(connection, released)
        return RunResult(rows, _together(stops), found_again=again.found, missed=missed, released=states)

    def _close_released(self, order: Order, stops: list[Stop]) -> list[str]:
        """Close the shelves of held texts that a release makes go, after the days: what these kept lies there then."""
        cutoff = earliest(order.readings)
        try:
            with order.turn.transaction() as connection:
                releases_due.without_shelf(connection, cutoff, self._clock())
                due = releases_due.shelves_due(connection, cutoff)
        except TextkeepError as exc:
            stops.append(_stopped(exc))
            return []
        self._close_all(due, order, stops)
        return due

    def _let_through(
        self, turn: Turn, readings: Sequence[Reading], due: Sequence[Day], confirm_days: int | None
    ) -> None:
        """Store the time and the person's word."""
        with turn.transaction() as connection:
            self._mark.accept(connection, earliest(readings))
            if confirm_days is not None and due:
                notes.write(connection, notes.CONFIRMED_THROUGH, due[-1])

    def _close_all(self, due: Sequence[str], order: Order, stops: list[Stop]) -> bool:
        """Close shelves, in this order; False where the run is to end.

        A shelf that is not sound by itself is left as it is, and the others go on: they are due all the same.
        """
        for shelf in due:
            try:
                self._close(shelf, order)
            except TextkeepError as exc:
                stops.append(_stopped(exc, shelf))
                if exc.problem not in OF_ONE_SHELF:
                    return False
            finally:
                self._begun.rest(shelf)
            if order.turn.leaving:
                stops.append(LEAVING)
                return False
        return True

    def _close(self, shelf: str, order: Order) -> None:
        state = self._steps.state(shelf)
        if state != "open":
            self._steps.resume(shelf, order)
        again = 0
        while state != "reported" and not order.turn.leaving:
            before = state
            state = self._steps.advance(shelf, order, state)
            again += state == "intent" and before != "open"
            if again > AGAIN_AT_MOST:
                raise Outage("what legal holds keep has changed again and again; nothing of it was destroyed")
            if state != before:
                self._told(shelf, state)
        if state == "reported":
            self._begun.forget(shelf)
            self._prove([shelf], order.turn)

    def _prove(self, names: Sequence[str], turn: Turn) -> None:
        """Put the proofs of reports beside them, once they can be had; else the hourly chore does it."""
        entries = [entry for name in names if (entry := self._chain.entry(name)) is not None]
        if not entries:
            return
        with suppress(Outage, Unsound):
            if self._awaiting.through([entry.seq for entry in entries], turn) is not None:
                for name in names:
                    self._chain.prove(name)


def _stopped(exc: TextkeepError, shelf: str | None = None) -> Stop:
    where = "" if shelf is None else f"{shelf}: "
    return Stop(exc.problem, f"{where}{exc.detail}", exc.remedy or "The next run goes on where this one stopped.")


def _together(stops: Sequence[Stop]) -> Stop | None:
    """One reason of all: the last, which the run ended with; the details of each."""
    return replace(stops[-1], detail="; ".join(each.detail for each in stops)) if stops else None


def _outcome(result: RunResult) -> str:
    closed = sum(day.state == "reported" for day in result.days)
    said = f"closed {closed} of {len(result.days)} days"
    if result.released:
        gone = sum(each.state == "reported" for each in result.released)
        said += f" and {gone} of {len(result.released)} shelves of released texts"
    if result.stopped is not None:
        said += f"; stopped: {result.stopped.reason}"
    if result.found_again:
        said += f"; found again: {', '.join(result.found_again)}"
    return said
