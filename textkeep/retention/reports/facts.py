"""What a purge has found so far: one row of `purges` a shelf, written by each step in its own transaction.

What a report says comes from here and not from looking again: after the point of no return there is nothing left to
look at, and a run that resumes must not take that for "0 destroyed".
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from textkeep.archive.keyring import RingStatus
from textkeep.retention.counting.census import Census
from textkeep.retention.holds.in_force import HoldKept
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


REPORTED: Final = Line("reported", "pass", "written, and its digest is in the ledger")
"""What is put down of the last step, which no report tells of itself."""


class Released(msgspec.Struct, frozen=True):
    """A release that made a shelf of held texts go: its hold, its approval, the two persons."""

    hold: str
    approval: str
    approved_at: str
    effective_at: str
    asked_by: str | None = None
    approved_by: str | None = None


class Holds(msgspec.Struct, frozen=True):
    """What the holds in force were, and what they did: each of them, and all together.

    `kept` counts texts, once each, and among them `undecided`, those that could not be opened or decided; `slices`
    names where these lay (hex). Of quarantined records `records_kept` were kept, of which `records_undecided` did not
    open.
    """

    digest: str
    holds: list[HoldKept]
    examined: int
    kept: int
    undecided: int
    slices: list[str] = []
    records_examined: int = 0
    records_kept: int = 0
    records_undecided: int = 0


class Checkpointed(msgspec.Struct, frozen=True):
    """A signed checkpoint that a step waited for; `required` are the witnesses that were set, `witnesses` who cosigned.

    `note` is its text, `time_token` a token of a time-stamping authority over it (base64), where one is set;
    `time_failed` says that one is set and gave none.
    """

    size: int
    note: str
    at: str
    witnesses: list[str]
    required: list[str] = []
    time_token: str | None = None
    time_failed: bool = False


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


class KeyCopy(msgspec.Struct, frozen=True):
    """A backup of the keyring that holds a secret, and from when on nobody can open it; None where nobody knows."""

    id: str
    made_at: str
    expires_at: str
    root_kind: str
    ends_at: str | None


class Erased(msgspec.Struct, frozen=True):
    """When a secret is gone for good, as it was known when the report was written; None where that is not known."""

    erased_at: str | None
    reason: str
    copies: list[KeyCopy]


class Overdue(msgspec.Struct, frozen=True):
    """A hold in force whose review is due, whosever it is; `entry` is its place in the ledger's tree, if signed."""

    hold: str
    org: str
    entry: int | None
    review_at: str


def ring_of(status: RingStatus) -> Ring:
    """What a report says of the keyring."""
    return Ring(status.generation, status.root, status.root_kind)


class Facts(msgspec.Struct, kw_only=True):
    """What is known so far; what is not stays None or absent and is reported as `unknown`.

    `at`, `lines` and `checkpoints` are by step: when it was done, its verdict, the checkpoint it waited for. `indices`
    gives the places in the log of the entries that the report names, once they are signed (`named.py`). `unfinished`
    are holds among those `released` which kept something on the way that lies on the next generation.
    """

    asked_by: str | None = None
    confirmed_days: int | None = None
    cutoff: str | None = None
    last_seen: str | None = None
    clocks: dict[str, str] = {}
    at: dict[str, str] = {}
    lines: dict[str, Line] = {}
    released: list[Released] = []
    unfinished: list[str] = []
    holds: Holds | None = None
    checkpoints: dict[str, Checkpointed] = {}
    indices: dict[str, int] = {}
    census: Census | None = None
    ring_before: Ring | None = None
    ring_after: Ring | None = None
    secret: str | None = None
    rows_dropped: dict[str, int] | None = None
    evicted: Evicted | None = None
    erased: Erased | None = None
    overdue: list[Overdue] = []
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


_OF_SHELF: Final = select(purges).where(purges.c.shelf == bindparam("of_shelf"))
_SAVE: Final = update(purges).where(purges.c.shelf == bindparam("of_shelf"))


def load(connection: Connection, shelf: str) -> PurgeRow | None:
    """The purge of a shelf, or None where there is none."""
    row = connection.execute(_OF_SHELF, {"of_shelf": shelf}).one_or_none()
    return None if row is None else _purge(row)


def begin(connection: Connection, shelf: str, facts: Facts, now: datetime) -> PurgeRow:
    """A purge of its own number, from 1 without a gap; the caller holds the shelf's lock."""
    last = connection.execute(select(func.max(purges.c.number))).scalar_one()
    begun = PurgeRow(shelf, (last or 0) + 1, 1, facts, now, None)
    connection.execute(insert(purges).values(_columns(begun)))
    return begun


def save(connection: Connection, purge: PurgeRow) -> None:
    """Write what has been found."""
    connection.execute(_SAVE, {"of_shelf": purge.shelf, **_columns(purge)})


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
