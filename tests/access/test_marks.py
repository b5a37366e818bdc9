"""The mark of a token's row: whoever can write to the database and lacks the key gives nobody a role."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from tests.access.test_tokens import BY, ORG, Bench, mac
from textkeep.access.marks import BOUND, genuine, marked
from textkeep.errors import Unauthenticated
from textkeep.store.engine import Store
from textkeep.store.evidence import sides
from textkeep.store.schema import migrate
from textkeep.store.tables import tokens as table

SECRET = "tk_" + "A" * 43


@pytest.fixture
def bench() -> Iterator[Bench]:
    store = Store.open("sqlite://")
    migrate(store)
    yield Bench(store)
    store.close()


def row(bench: Bench) -> dict[str, Any]:
    with bench.store.reading() as connection:
        return dict(connection.execute(select(table)).one()._mapping)


def write(bench: Bench, statement: Any, *more: Any) -> None:
    with bench.store.transaction() as connection:
        for each in (statement, *more):
            connection.execute(each)


def refused(bench: Bench, secret: str) -> bool:
    try:
        bench.tokens.authenticate(secret)
    except Unauthenticated:
        return True
    return False


def forged(bench: Bench, roles: str, side: str | None, **more: Any) -> dict[str, Any]:
    return {
        "id": "t-forged",
        "hash": hashlib.sha256(SECRET.encode()).digest(),
        "person": b"\x05" * 8,
        "roles": roles,
        "orgs": "*",
        "created_at": bench.now,
        "expires_at": bench.now + timedelta(days=400),
        "revoked_at": None,
        "side": side,
        **more,
    }


@pytest.mark.parametrize("mark", [None, b"", bytes(32)])
def test_two_rows_written_past_the_service_let_nobody_in(bench: Bench, mark: bytes | None) -> None:
    for roles, side in (("officer", "asks"), ("approver", "approves")):
        made = forged(bench, roles, side, mark=mark)
        write(bench, insert(sides).values(person=made["person"], side=side), insert(table).values(made))
        assert refused(bench, SECRET)
        assert bench.tokens.doubtful() == ("t-forged",)
        write(bench, delete(table), delete(sides))


CHANGES: dict[str, Any] = {
    "id": "t-another",
    "person": b"\x06" * 8,
    "roles": "auditor producer",
    "orgs": "*",
    "created_at": timedelta(days=-1),
    "expires_at": timedelta(days=1),
    "hash": hashlib.sha256(SECRET.encode()).digest(),
}


@pytest.mark.parametrize("column", CHANGES)
def test_a_row_that_says_something_else_than_what_was_given_out_is_none(bench: Bench, column: str) -> None:
    secret, _ = bench.tokens.create(person="ada", roles=["auditor"], orgs=[ORG], by=BY)
    assert not refused(bench, secret)
    assert bench.tokens.doubtful() == ()
    change = CHANGES[column]
    value = row(bench)[column] + change if isinstance(change, timedelta) else change
    write(bench, update(table).values({column: value}))
    assert refused(bench, SECRET if column == "hash" else secret)
    assert len(bench.tokens.doubtful()) == 1


def test_a_token_that_was_revoked_does_not_come_back_by_an_edit(bench: Bench) -> None:
    secret = bench.make("auditor")
    bench.tokens.revoke(bench.tokens.authenticate(secret).token, by=BY)
    assert bench.tokens.doubtful() == ()
    write(bench, update(table).values(revoked_at=None))
    assert refused(bench, secret)


def test_revoking_a_row_written_past_the_service_does_not_make_it_the_services_own(bench: Bench) -> None:
    write(bench, insert(table).values(forged(bench, "auditor", None)))
    bench.tokens.revoke("t-forged", by=BY)
    assert bench.tokens.doubtful() == ("t-forged",)
    write(bench, update(table).values(revoked_at=None))
    assert refused(bench, SECRET)


def test_tokens_that_end_for_another_side_keep_a_right_mark(bench: Bench) -> None:
    bench.make("officer", days=1)
    bench.now += timedelta(days=1)
    bench.make("approver")
    assert bench.tokens.doubtful() == ()


def test_what_was_there_before_there_were_marks_is_marked_when_told_to_and_nothing_else(bench: Bench) -> None:
    old, altered = bench.make("auditor"), bench.make("producer", person="grace")
    token = bench.tokens.authenticate(altered).token
    write(
        bench,
        update(table).where(table.c.id != token).values(mark=None),
        update(table).where(table.c.id == token).values(roles="auditor"),
    )
    assert refused(bench, old)
    with bench.store.transaction() as connection:
        assert bench.tokens.mark_earlier(connection) == 1
    assert bench.tokens.authenticate(old).roles == {"auditor"}
    assert refused(bench, altered)


@given(column=st.sampled_from(BOUND), value=st.none() | st.text(max_size=9))
def test_every_column_is_bound_and_no_two_rows_have_one_mark(column: str, value: str | None) -> None:
    rest = {name: f"the {name}" for name in BOUND}
    made = marked(rest, mac)
    assert genuine(made, mac)
    changed = {**made, column: value}
    assert genuine(changed, mac) == (value == rest[column])
    assert not genuine({**made, "mark": None}, mac)
