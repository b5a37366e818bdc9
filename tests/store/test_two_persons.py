"""Two persons, and their times, are demanded by the database too: whoever writes past the service meets its rules."""

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from tests.housing import NOON
from textkeep.store.demo import DEMO
from textkeep.store.engine import Store
from textkeep.store.evidence import approvals, holds, releases, sides
from textkeep.store.schema import migrate
from textkeep.store.tables import notes, tokens

ADA, GRACE = b"\x01" * 8, b"\x02" * 8
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
ASKING = ("officer", "counsel", "operator")


@pytest.fixture
def numbers() -> Iterator[int]:
    return count(1)


def write(store: Store, statement: Any) -> None:
    with store.transaction() as connection:
        connection.execute(statement)


def refused(store: Store, statement: Any) -> None:
    with pytest.raises(IntegrityError):
        write(store, statement)


def rows(store: Store, table: Table) -> int:
    with store.reading() as connection:
        return len(connection.execute(select(table)).all())


def token(number: int, person: bytes, roles: str, side: str | None, *, revoked_at: datetime | None = None) -> Any:
    return insert(tokens).values(
        id=f"t-{number}",
        hash=number.to_bytes(32, "big"),
        person=person,
        roles=roles,
        orgs="*",
        created_at=NOON,
        expires_at=NOON + 90 * 24 * HOUR,
        revoked_at=revoked_at,
        side=side,
    )


def stand(store: Store, person: bytes, side: str) -> None:
    write(store, insert(sides).values(person=person, side=side))


def approval(**changed: Any) -> Any:
    asked = {
        "id": "a-1",
        "kind": "release",
        "org": b"\x07" * 8,
        "subject": "h-1",
        "digest": b"\x05" * 32,
        "asked_by": ADA,
        "asked_at": NOON,
        "until": NOON + 24 * HOUR,
        "decided_by": GRACE,
        "decided_at": NOON + HOUR,
        "outcome": "approved",
        "sealed": b"",
    }
    return insert(approvals).values(asked | changed)


def test_a_request_that_two_persons_decided_in_time_is_taken(store: Store) -> None:
    write(store, approval(decided_at=NOON + 24 * HOUR - TICK))
    write(store, approval(id="a-2", used_at=NOON + 2 * HOUR))
    write(store, approval(id="a-3", decided_by=None, decided_at=None, outcome=None))
    assert rows(store, approvals) == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"decided_by": ADA},
        {"decided_at": NOON + 24 * HOUR},
        {"until": NOON + 24 * HOUR + TICK},
        {"outcome": "perhaps"},
        {"outcome": None},
        {"decided_by": None},
        {"decided_at": None},
        {"used_at": NOON + 24 * HOUR},
        {"outcome": "refused", "used_at": NOON + HOUR},
        {"decided_by": None, "decided_at": None, "outcome": None, "used_at": NOON + HOUR},
    ],
    ids=[
        "self-approval",
        "too late",
        "longer than 24 hours",
        "no outcome of ours",
        "decided without outcome",
        "approved by nobody",
        "approved at no time",
        "used too late",
        "used when refused",
        "used undecided",
    ],
)
def test_a_request_decided_otherwise_is_refused_by_the_database(store: Store, changed: dict[str, Any]) -> None:
    refused(store, approval(**changed))
    assert rows(store, approvals) == 0


def test_a_request_that_waits_cannot_be_made_ones_own_approval_by_an_update(store: Store) -> None:
    write(store, approval(decided_by=None, decided_at=None, outcome=None))
    for changed in (
        {"decided_by": ADA, "decided_at": NOON + HOUR, "outcome": "approved"},
        {"decided_by": GRACE, "decided_at": NOON + 25 * HOUR, "outcome": "approved"},
        {"used_at": NOON + HOUR},
    ):
        refused(store, update(approvals).values(changed))


def release(**changed: Any) -> Any:
    made = {
        "hold": "h-1",
        "org": b"\x07" * 8,
        "approval": "a-1",
        "entry": 1,
        "asked_by": ADA,
        "approved_by": GRACE,
        "approved_at": NOON,
        "effective_at": NOON + 24 * HOUR,
    }
    return insert(releases).values(made | changed)


def test_a_release_takes_two_persons_and_24_hours(store: Store) -> None:
    refused(store, release(approved_by=ADA))
    refused(store, release(effective_at=NOON + 24 * HOUR - TICK))
    write(store, release())
    refused(store, release(hold="h-2"))  # one approval, one release
    refused(store, update(releases).values(effective_at=NOON + HOUR))


def hold(review_at: datetime) -> Any:
    return insert(holds).values(
        id="h-1", org=b"\x07" * 8, entry=1, placed_by=ADA, placed_at=NOON, review_at=review_at, sealed=b""
    )


def test_a_hold_is_reviewed_within_180_days(store: Store) -> None:
    refused(store, hold(NOON + timedelta(days=181)))
    refused(store, hold(NOON + timedelta(days=180) + TICK))
    refused(store, hold(NOON))
    write(store, hold(NOON + timedelta(days=180)))
    refused(store, update(holds).values(review_at=NOON + timedelta(days=181)))


@pytest.mark.parametrize("other", ASKING)
def test_a_live_token_that_would_put_a_person_on_both_sides_is_refused(
    store: Store, other: str, numbers: Iterator[int]
) -> None:
    stand(store, ADA, "approves")
    write(store, token(next(numbers), ADA, "approver", "approves"))
    for side in (None, "asks", "approves", "both"):
        refused(store, token(next(numbers), ADA, other, side))
        refused(store, token(next(numbers), ADA, f"approver {other}", side))
        refused(store, token(next(numbers), ADA, f"approver\t{other}", side))
    refused(store, insert(sides).values(person=ADA, side="asks"))
    refused(store, update(sides).values(side="asks"))
    refused(store, delete(sides))
    write(store, token(next(numbers), ADA, "auditor registrar producer", None))
    stand(store, GRACE, "asks")
    write(store, token(next(numbers), GRACE, other, "asks"))
    assert rows(store, tokens) == 3


@pytest.mark.parametrize("other", ASKING)
def test_the_same_the_other_way_round(store: Store, other: str, numbers: Iterator[int]) -> None:
    stand(store, ADA, "asks")
    write(store, token(next(numbers), ADA, other, "asks"))
    for side in (None, "asks", "approves", "both"):
        refused(store, token(next(numbers), ADA, "approver", side))
    refused(store, update(tokens).values(roles=f"approver {other}"))
    refused(store, update(tokens).values(roles="approver"))


def test_who_stands_nowhere_holds_no_role_of_a_side(store: Store, numbers: Iterator[int]) -> None:
    for role in ("approver", *ASKING):
        for side in (None, "asks", "approves", "both"):
            refused(store, token(next(numbers), ADA, role, side))


def test_a_token_that_was_ended_frees_its_person_and_does_not_come_back(store: Store, numbers: Iterator[int]) -> None:
    stand(store, ADA, "asks")
    write(store, token(next(numbers), ADA, "officer", "asks"))
    write(store, update(tokens).values(revoked_at=NOON, side=None))
    write(store, update(sides).values(side="approves"))
    write(store, token(next(numbers), ADA, "approver", "approves"))
    for side in (None, "asks", "approves", "both"):
        refused(store, update(tokens).where(tokens.c.id == "t-1").values(revoked_at=None, side=side))


def test_on_both_sides_stands_only_who_is_in_an_archive_of_made_up_texts(store: Store, numbers: Iterator[int]) -> None:
    for because in (None, DEMO, "id"):
        refused(store, insert(sides).values(person=ADA, side="both", because=because))
    write(store, insert(notes).values(name=DEMO, value="{}"))
    refused(store, insert(sides).values(person=ADA, side="both", because=None))
    write(store, insert(sides).values(person=ADA, side="both", because=DEMO))
    write(store, token(next(numbers), ADA, "approver officer", "both"))
    refused(store, delete(notes).where(notes.c.name == DEMO))


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of somebody's own to the file of an archive: it looks at no foreign key."""
    made = Store.open(f"sqlite:///{tmp_path / 'alone.db'}")
    migrate(made)
    stand(made, ADA, "asks")
    write(made, token(1, ADA, "officer", "asks"))
    made.close()
    opened = sqlite3.connect(tmp_path / "alone.db", isolation_level=None)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tokens (id, hash, person, roles, orgs, created_at, expires_at, side)"
        " SELECT 't-2', x'00', person, 'approver', '*', 0, 9e15, 'approves' FROM tokens",
        "INSERT OR REPLACE INTO sides (person, side) SELECT person, 'approves' FROM sides",
        "INSERT OR REPLACE INTO sides (person, side, because) SELECT person, 'both', 'demo' FROM sides",
        "UPDATE sides SET side = 'approves'",
        "UPDATE sides SET person = x'00'",
        "DELETE FROM sides",
        "UPDATE tokens SET roles = 'approver', side = 'approves'",
        "UPDATE tokens SET person = x'00'",
        "INSERT INTO sides (person, side, because) VALUES (x'00', 'both', 'demo')",
    ],
)
def test_sqlite_refuses_it_also_where_nobody_asked_it_to_look_at_foreign_keys(
    alone: sqlite3.Connection, statement: str
) -> None:
    assert alone.execute("PRAGMA foreign_keys").fetchone() == (0,)
    with pytest.raises(sqlite3.IntegrityError):
        alone.execute(statement)
