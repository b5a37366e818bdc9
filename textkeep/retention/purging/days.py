"""How each day stands: what was taken, and what became of it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Row, bindparam, func, select

from textkeep.archive.shelf import STATES, Day
from textkeep.ledger.log import moment
from textkeep.retention.policy import day_of, due_days, first_not_due
from textkeep.retention.reports import facts as found
from textkeep.retention.reports.facts import PurgeRow
from textkeep.store.tables import shelves, slices

COUNTED: Final = frozenset(STATES[STATES.index("committed") :])
"""The states in which a day has been counted for good."""


CARRIED_OVER: Final = frozenset({"kept", "witnessed"})
"""The states in which held texts were carried over, and a hold may still add to them."""


@dataclass(frozen=True, slots=True)
class DayRow:
    """A day as `GET /v1/days` shows it; `taken` counts accepted texts and versions, None is unknown.

    `due` is RFC 3339, UTC.
    """

    day: str
    state: str
    taken: int | None
    versions: int | None
    kept: int | None
    destroyed: int | None
    lost: int | None
    due: str


@dataclass(frozen=True, slots=True)
class ShelfState:
    """A shelf's name and how far it is."""

    name: str
    state: str


_STANDING: Final = select(shelves.c.name, shelves.c.state).order_by(shelves.c.name)
_NAMED: Final = _STANDING.where(shelves.c.name.in_(bindparam("wanted", expanding=True)))
_WAITING: Final = _STANDING.where(shelves.c.state != "reported", shelves.c.name < bindparam("not_due"))


def standing(connection: Connection, names: Collection[str] | None = None) -> list[ShelfState]:
    """The state of every shelf, or of those of these names that there are, oldest first."""
    if names is None:
        return _states(connection.execute(_STANDING))
    return _states(connection.execute(_NAMED, {"wanted": list(names)})) if names else []


def states_of(connection: Connection, names: Collection[str]) -> tuple[ShelfState, ...]:
    """The states of shelves, in the order given."""
    there = {each.name: each for each in standing(connection, names)}
    return tuple(there[name] for name in names if name in there)


def due(connection: Connection, now: datetime) -> list[Day]:
    """The days due at `now`, oldest first."""
    waiting = connection.execute(_WAITING, {"not_due": first_not_due(now).shelf})
    return due_days(_states(waiting), now)


def day_rows(connection: Connection, wanted: Collection[Day] | None = None) -> list[DayRow]:
    """How these days stand, or all that there are, oldest first."""
    names = None if wanted is None else [day.shelf for day in wanted]
    there = [(day, each.state) for each in standing(connection, names) if (day := day_of(each.name)) is not None]
    taken = _taken(connection, None if wanted is None else [day.shelf for day, state in there if state not in COUNTED])
    return [
        _counted(day, state, found.load(connection, day.shelf))
        if state in COUNTED
        else _waiting(connection, day, state, taken)
        for day, state in there
    ]


def _states(rows: Iterable[Row[tuple[str, str]]]) -> list[ShelfState]:
    return [ShelfState(name, state) for name, state in rows]


def _waiting(connection: Connection, day: Day, state: str, taken: Mapping[str, tuple[int, int]]) -> DayRow:
    texts, versions = taken.get(day.shelf, (0, 0))
    holds = None
    if state in CARRIED_OVER and (purge := found.load(connection, day.shelf)) is not None:
        holds = purge.facts.holds
    kept = 0 if holds is None else holds.kept
    return DayRow(day.shelf, state, texts + versions, versions, kept, 0, 0, moment(day.due()))


def _counted(day: Day, state: str, purge: PurgeRow | None) -> DayRow:
    due = moment(day.due())
    census = purge.facts.census if purge else None
    if census is None:
        return DayRow(day.shelf, state, None, None, None, None, None, due)
    return DayRow(day.shelf, state, census.taken, census.versions, census.kept, census.destroyed, census.lost, due)


def _taken(connection: Connection, wanted: Collection[str] | None) -> dict[str, tuple[int, int]]:
    """Accepted texts and versions of these shelves, or of every one that is not purged yet."""
    sums = select(
        slices.c.shelf,
        func.sum(slices.c.accepted).label("accepted"),
        func.sum(slices.c.versions).label("versions"),
    ).group_by(slices.c.shelf)
    if wanted is not None and not wanted:
        return {}
    rows = connection.execute(sums if wanted is None else sums.where(slices.c.shelf.in_(wanted)))
    return {row.shelf: (int(row.accepted), int(row.versions)) for row in rows}
