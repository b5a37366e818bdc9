"""The survey: what there is of a day, read from its rows before the day is due, so that its purge need not.

A survey of a slice is made once, and says what its rows were at that moment. What it is worth at the decision is
weighed there (`census.py`): a slice that came later, one whose rows are no longer as many, and one whose survey is not
what its ledger entry says, are read again, and so are a few others by chance.
"""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, select, text

from textkeep.archive.shelf import Day
from textkeep.archive.shelves import Shelves
from textkeep.clock import Clock
from textkeep.retention.counting import leaves
from textkeep.retention.counting.leaves import Found
from textkeep.retention.policy import due_days
from textkeep.retention.turn import Turn
from textkeep.store.columns import Instant
from textkeep.store.engine import Store
from textkeep.store.leases import Leases
from textkeep.store.tables import shelf_tables, surveys, texts_of

AHEAD: Final = timedelta(hours=48)
"""How long before it is due a day is surveyed first; what comes after that is surveyed at the next waking."""

SURVEY: Final = "survey"
"""The name of the lease of surveys."""

_INSERT: Final = text(
    "INSERT INTO surveys (slice, shelf, found, root, orgs, at) VALUES (:slice, :shelf, :found, :root, :orgs, :at)"
    " ON CONFLICT (slice) DO NOTHING"
).bindparams(bindparam("at", type_=Instant))

_OF_SHELF: Final = select(surveys.c.slice, surveys.c.found, surveys.c.root, surveys.c.orgs, surveys.c.at).where(
    surveys.c.shelf == bindparam("of_shelf")
)

_ORGS: Final = msgspec.json.Decoder(dict[str, int])


class Surveyed(msgspec.Struct, frozen=True, gc=False):
    """What was found of a slice, and when."""

    found: Found
    at: datetime


class Survey:
    """Reads ahead; one keeper at a time, in portions, each a snapshot to read from and a transaction to write."""

    def __init__(self, store: Store, shelves: Shelves, clock: Clock) -> None:
        self._store = store
        self._shelves = shelves
        self._clock = clock
        self._leaving = threading.Event()

    def run(self) -> int:
        """Survey every slice that has no survey yet of every open day due within 48 hours; gives how many that were.

        Another keeper at it is as good: then it is 0. What it was interrupted in is done at the next waking.
        """
        turn = Turn(self._store, Leases(self._store, self._clock), self._leaving, name=SURVEY)
        if not turn.take():
            return 0
        try:
            with self._store.reading() as connection:
                wanted = [each for each in self._shelves.list(connection) if each.state == "open"]
            return sum(self._survey(day, turn) for day in due_days(wanted, self._clock() + AHEAD))
        finally:
            turn.release()

    def interrupt(self) -> None:
        """Let a survey end after the portion it is in; the service is stopping."""
        self._leaving.set()

    def _survey(self, day: Day, turn: Turn) -> int:
        with self._store.reading() as connection:
            if texts_of(day.shelf).name not in shelf_tables(connection, day.shelf):
                return 0
            known = _known(connection, day.shelf)
            there = leaves.numbers(connection, day.shelf)
        done = 0
        for part in leaves.portions({each: there[each] for each in there if each not in known}):
            if turn.leaving:
                break
            done += self._portion(day, part, turn)
        return done

    def _portion(self, day: Day, part: list[int], turn: Turn) -> int:
        at = self._clock()
        with self._store.reading() as connection:
            found = {each: members.found() for each, members in leaves.members(connection, day.shelf, part)}
        rows = [_row(day, slice_id, each, at) for slice_id, each in found.items()]
        with turn.transaction() as connection:
            if rows and self._shelves.lock(connection, [day.shelf]).get(day.shelf) == "open":
                connection.execute(_INSERT, rows)
                return len(rows)
        return 0


def load(connection: Connection, shelf: str) -> dict[int, Surveyed]:
    """The surveys of a shelf, by slice; one that cannot be read is as good as none."""
    found = {}
    for slice_id, number, root, written, at in connection.execute(_OF_SHELF, {"of_shelf": shelf}).all():
        orgs = _orgs(written)
        if orgs is not None:
            found[slice_id] = Surveyed(Found(number, root.hex(), orgs), at)
    return found


def _known(connection: Connection, shelf: str) -> set[int]:
    return set(connection.scalars(select(surveys.c.slice).where(surveys.c.shelf == shelf)))


def _row(day: Day, slice_id: int, found: Found, at: datetime) -> dict[str, object]:
    return {
        "slice": slice_id,
        "shelf": day.shelf,
        "found": found.number,
        "root": bytes.fromhex(found.root),
        "orgs": msgspec.json.encode(found.orgs).decode(),
        "at": at,
    }


def _orgs(written: str) -> Mapping[str, int] | None:
    try:
        return _ORGS.decode(written)
    except msgspec.MsgspecError:
        return None
