"""Tokens: who presents one, until when, and what is kept of it."""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select

from textkeep.access.principal import LOCAL, Principal
from textkeep.access.tokens import MOST_ORGS, Tokens
from textkeep.errors import Conflict, Malformed, NotFound, Unauthenticated
from textkeep.store.demo import DEMO
from textkeep.store.engine import Store
from textkeep.store.evidence import sides
from textkeep.store.schema import migrate
from textkeep.store.tables import notes
from textkeep.store.tables import tokens as table

BY = Principal(b"\x07" * 8, LOCAL, frozenset(), None)
ORG = b"\x01" * 8


def mac(message: bytes) -> bytes:
    """The port under a key that no row tells."""
    return hmac.digest(b"the key" * 4, message, "sha256")


class Roll:
    """The port's smallest implementation: names in memory."""

    def __init__(self) -> None:
        self.handles: dict[str, bytes] = {}

    def handle_of(self, connection: Connection, name: str) -> bytes:
        return self.handles.setdefault(name, len(self.handles).to_bytes(8, "big"))

    def name_of(self, connection: Connection, handle: bytes) -> str:
        return next(name for name, theirs in self.handles.items() if theirs == handle)


class Bench:
    """Tokens over a store, with a clock set by hand and the ledger entries that were written."""

    def __init__(self, store: Store, *, demo: bool = False) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        self.entries: list[Mapping[str, Any]] = []
        self.store = store
        self.tokens = Tokens(
            store, Roll(), lambda: self.now, lambda _, body: self.entries.append(body), mac, demo=lambda _: demo
        )

    def make(self, *roles: str, person: str = "ada", days: int = 90) -> str:
        return self.tokens.create(person=person, roles=roles, orgs=None, days=days, by=BY)[0]


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def test_a_token_names_its_person_roles_and_organisations(bench: Bench) -> None:
    secret, token = bench.tokens.create(person="ada", roles=["officer", "auditor"], orgs=[ORG], by=BY)
    assert bench.tokens.authenticate(secret) == Principal(
        token.person, token.id, frozenset({"officer", "auditor"}), frozenset({ORG})
    )


def test_only_the_hash_of_a_token_is_stored(bench: Bench) -> None:
    secret = bench.make("officer")
    assert re.fullmatch(r"tk_[A-Za-z0-9_-]{43}", secret)
    with bench.store.reading() as connection:
        row = connection.execute(select(table)).one()
    assert row.hash == hashlib.sha256(secret.encode()).digest()
    assert secret not in repr(tuple(row))
    assert secret not in repr(bench.entries)


def test_a_token_ends_at_the_instant_it_expires(bench: Bench) -> None:
    secret = bench.make("officer")
    bench.now += timedelta(days=90) - timedelta(microseconds=1)
    assert bench.tokens.authenticate(secret).token
    bench.now += timedelta(microseconds=1)
    with pytest.raises(Unauthenticated):
        bench.tokens.authenticate(secret)


def test_a_revoked_token_is_refused_at_once_and_stays_listed(bench: Bench) -> None:
    secret = bench.make("officer")
    token_id = bench.tokens.authenticate(secret).token
    revoked = bench.tokens.revoke(token_id, by=BY)
    assert revoked.revoked_at == bench.now
    assert bench.tokens.revoke(token_id, by=BY) == revoked
    with pytest.raises(Unauthenticated):
        bench.tokens.authenticate(secret)
    [(listed, name)] = bench.tokens.list()
    assert (listed, name) == (revoked, "ada")
    assert [entry["did"] for entry in bench.entries] == ["created", "revoked"]


def test_revoking_what_is_no_token_says_so(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.tokens.revoke("t-0", by=BY)


def test_unknown_expired_and_revoked_tokens_are_refused_in_the_same_words(bench: Bench) -> None:
    said = set()
    expired, revoked = bench.make("officer", days=1), bench.make("officer")
    bench.tokens.revoke(bench.tokens.authenticate(revoked).token, by=BY)
    bench.now += timedelta(days=2)
    for presented in (expired, revoked, "tk_" + "A" * 43, "", "tk_", "x" * 10_000, expired + "A", "tk_" + "ü" * 43):
        with pytest.raises(Unauthenticated) as refused:
            bench.tokens.authenticate(presented)
        said.add(refused.value.detail)
    assert len(said) == 1


@pytest.mark.parametrize("days", [0, -1, 401])
def test_a_token_is_valid_for_one_to_four_hundred_days(bench: Bench, days: int) -> None:
    with pytest.raises(Malformed):
        bench.make("officer", days=days)


def test_a_token_can_be_valid_for_four_hundred_days(bench: Bench) -> None:
    secret = bench.make("officer", days=400)
    bench.now += timedelta(days=399)
    assert bench.tokens.authenticate(secret).roles == {"officer"}


@pytest.mark.parametrize("roles", [[], ["king"], ["officer", "king"]])
def test_what_is_no_role_is_refused(bench: Bench, roles: list[str]) -> None:
    with pytest.raises(Malformed):
        bench.make(*roles)
    assert bench.tokens.list() == []


@pytest.mark.parametrize("person", ["", "  ", "x" * 201, "a\nb", "a\udc80"])
def test_a_person_needs_a_name(bench: Bench, person: str) -> None:
    with pytest.raises(Malformed):
        bench.make("officer", person=person)


def test_a_token_for_no_organisation_at_all_is_refused(bench: Bench) -> None:
    for orgs in ([], [index.to_bytes(8, "big") for index in range(MOST_ORGS + 1)]):
        with pytest.raises(Malformed):
            bench.tokens.create(person="ada", roles=["officer"], orgs=orgs, by=BY)


@pytest.mark.parametrize("other", ["officer", "counsel", "operator"])
def test_one_person_is_never_approver_and_what_an_approver_watches(bench: Bench, other: str) -> None:
    with pytest.raises(Conflict):
        bench.make("approver", other)
    bench.make("approver", person="ada")
    with pytest.raises(Conflict):
        bench.make(other, person="ada")
    bench.make(other, person="grace")
    with pytest.raises(Conflict):
        bench.make("approver", person="grace")


def test_a_role_held_by_an_ended_token_no_longer_counts(bench: Bench) -> None:
    revoked = bench.make("approver")
    bench.tokens.revoke(bench.tokens.authenticate(revoked).token, by=BY)
    bench.make("officer", days=1)
    bench.now += timedelta(days=1)
    assert bench.make("approver")


def test_the_last_token_of_a_side_that_is_revoked_frees_its_person(bench: Bench) -> None:
    first, second = bench.make("officer"), bench.make("counsel", "auditor")
    for secret, left in ((first, ["asks"]), (second, [])):
        bench.tokens.revoke(bench.tokens.authenticate(secret).token, by=BY)
        with bench.store.reading() as connection:
            assert list(connection.scalars(select(sides.c.side))) == left


def test_who_changes_sides_has_their_expired_tokens_written_down_as_ended(bench: Bench) -> None:
    bench.make("officer", days=1)
    bench.make("auditor", days=1)
    bench.now += timedelta(days=1)
    bench.make("approver")
    ended = [token.revoked_at for token, _ in bench.tokens.list()]
    assert ended == [bench.now, bench.now, None]
    with pytest.raises(Conflict):
        bench.make("counsel")


def test_two_who_make_a_token_for_one_person_at_once_never_put_them_on_both_sides(bench: Bench) -> None:
    def make(role: str) -> str:
        try:
            return bench.make(role)
        except Conflict:
            return ""

    for person in range(10):
        bench.now += timedelta(days=100)
        with ThreadPoolExecutor(2) as both:
            made = list(both.map(make, ("approver", "officer")))
        assert [bool(secret) for secret in made].count(True) == 1, person


def test_in_a_demo_one_person_may_hold_every_role(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute(insert(notes).values(name=DEMO, value="{}"))
    bench = Bench(store, demo=True)
    assert bench.tokens.authenticate(bench.make("approver", "officer")).roles == {"approver", "officer"}


@pytest.fixture(scope="module")
def one_token() -> Iterator[Bench]:
    """A bench that holds one live token."""
    store = Store.open("sqlite://")
    migrate(store)
    bench = Bench(store)
    bench.make("officer")
    yield bench
    store.close()


@given(presented=st.text())
def test_nothing_made_up_is_ever_a_token(one_token: Bench, presented: str) -> None:
    with pytest.raises(Unauthenticated):
        one_token.tokens.authenticate(presented)


def test_the_largest_token_still_fits_a_ledger_entry(bench: Bench) -> None:
    orgs = [index.to_bytes(8, "big") for index in range(MOST_ORGS)]
    bench.tokens.create(person="ada", roles=["officer", "auditor", "registrar"], orgs=orgs, by=BY)
    assert len(repr(bench.entries[0])) < 3_500
