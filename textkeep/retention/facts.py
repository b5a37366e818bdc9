"""What a purge has found so far: one row of `purges` a shelf, written by each step in its own transaction.

What a report says comes from here and not from looking again: after the point of no return there is nothing left to
look at, and a run that resumes must not take that for "0 destroyed".
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from textkeep.archive.keyring import RingStatus
from textkeep.retention.census import Census
from textkeep.store.tables import purges

Verdict = Literal["pass", "fail", "unknown", "none"]
"""`unknown`: it cannot be shown. `none`: it is not claimed."""

SCHEDULE: Final = "schedule"
"""Who asked for a run that nobody asked for."""


class Line(msgspec.Struct, frozen=True):
    """One thing that a report says: a verdict and the reason for it."""

    name: str
    verdict: Verdict
    reason: str


class Holds(msgspec.Struct, frozen=True):
    """What the holds in force were, and what they did."""

    digest: str
    holds: list[str]
    examined: int
    kept: int
    undecided: int


class Ring(msgspec.Struct, frozen=True):
    """The keyring in the open: its generation and the id of the root that seals it."""

    generation: int
    root: str
    root_kind: str


class Evicted(msgspec.Struct, frozen=True):
    """Which processes have shown that they dropped what a ring of this generation has lost; by id."""

    generation: int
    confirmed: list[str]
    expired: list[str]
    waiting: list[str]


def ring_of(status: RingStatus) -> Ring:
    """What a report says of the keyring."""
    return Ring(status.generation, status.root, status.root_kind)


class Facts(msgspec.Struct, kw_only=True):
    """What is known so far; what is not stays None or absent and is reported as `unknown`.

    `at`, `entries` and `lines` are by step: when it was done, the `seq` of its ledger entry, its verdict.
    """

    asked_by: str | None = None
    confirmed_days: int | None = None
    cutoff: str | None = None
    last_seen: str | None = None
    clocks: dict[str, str] = {}
    at: dict[str, str] = {}
    entries: dict[str, int] = {}
    lines: dict[str, Line] = {}
    holds: Holds | None = None
    census: Census | None = None
    ring_before: Ring | None = None
    ring_after: Ring | None = None
    secret: str | None = None
    rows_dropped: dict[str, int] | None = None
    evicted: Evicted | None = None
    readback: list[Line] = []


@dataclass(slots=True)
class PurgeRow:
    """One purge; `facts` may be changed and saved."""

    shelf: str
    number: int
    attempt: int
    facts: Facts
    opened_at: datetime
    closed_at: datetime | None


def load(connection: Connection, shelf: str) -> PurgeRow | None:
    """The purge of a shelf, or None where there is none."""
    row = connection.execute(select(purges).where(purges.c.shelf == shelf)).one_or_none()
    return None if row is None else _purge(row)


def begin(connection: Connection, shelf: str, facts: Facts, now: datetime) -> PurgeRow:
    """A purge of its own number, from 1 without a gap; the caller holds the shelf's lock."""
    last = connection.execute(select(func.max(purges.c.number))).scalar_one()
    begun = PurgeRow(shelf, (last or 0) + 1, 1, facts, now, None)
    connection.execute(insert(purges).values(_columns(begun)))
    return begun


def save(connection: Connection, purge: PurgeRow) -> None:
    """Write what has been found."""
    connection.execute(update(purges).where(purges.c.shelf == purge.shelf).values(_columns(purge)))


def _columns(purge: PurgeRow) -> dict[str, object]:
    return {
        "shelf": purge.shelf,
        "number": purge.number,
        "attempt": purge.attempt,
        "facts": msgspec.json.encode(purge.facts).decode(),
        "opened_at": purge.opened_at,
        "closed_at": purge.closed_at,
    }


def _purge(row: Row[Any]) -> PurgeRow:
    try:
        facts = msgspec.json.decode(row.facts, type=Facts)
    except msgspec.MsgspecError:
        # What cannot be read is not guessed at: every line that stood on it is reported as unknown.
        facts = Facts()
    return PurgeRow(row.shelf, row.number, row.attempt, facts, row.opened_at, row.closed_at)
