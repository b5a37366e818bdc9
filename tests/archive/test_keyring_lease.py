"""The lease: whoever cannot confirm the ring for a minute uses no secret any more, until it can."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.archive.keeping import NOW, Between, Keeping, Ticks
from textkeep.archive.keyring import Keyring, SecretDestroyed
from textkeep.archive.sealing import Sealer
from textkeep.archive.text import HOUSE, TextId
from textkeep.errors import Outage
from textkeep.search.cursor import Cursors
from textkeep.search.index import Hit
from textkeep.search.tokens import Tokens

OLD = "shelf:old"
HIT = Hit(1, TextId(date(2026, 11, 22), bytes(16), 1))


class User:
    """A process with everything that keeps what it has derived, on a clock of its own, and a store that can be cut."""

    def __init__(self, keeping: Keeping, lease: timedelta | None = timedelta(seconds=60)) -> None:
        self.ticks = Ticks()
        self.store = Between(keeping.store())
        self.keyring = Keyring.open(self.store, keeping.root(), create=True, keeps=False, lease=lease, ticks=self.ticks)
        self.keyring.make([OLD])
        self.sealer, self.tokens, self.cursors = Sealer(self.keyring), Tokens(self.keyring), Cursors(self.keyring)
        self.sealed = self.sealer.seal("body", "old", HOUSE, [], b"plain")

    def cut(self) -> None:
        def refuse(_call: str) -> None:
            raise Outage("the keyring's database does not answer", retry_after=5)

        self.store.before = refuse

    def heal(self) -> None:
        self.store.before = lambda _call: None

    def uses(self) -> list[Callable[[], object]]:
        return [
            lambda: self.keyring.derive("body", "old", HOUSE),
            lambda: self.sealer.open("body", "old", HOUSE, [], self.sealed),
            lambda: self.sealer.seal("body", "old", HOUSE, [], b"more"),
            lambda: self.tokens.of("old", HOUSE),
            lambda: self.cursors.write(HIT, HOUSE, "query"),
            lambda: self.keyring.has(OLD),
            lambda: self.keyring.names(),
            lambda: self.keyring.commitment(OLD),
            lambda: self.keyring.status(),
            lambda: self.keyring.make(["shelf:new"]),
            lambda: self.keyring.make([OLD]),
        ]

    def works(self) -> None:
        for use in self.uses():
            use()
        assert self.sealer.open("body", "old", HOUSE, [], self.sealed) == b"plain"

    def has_nothing(self) -> bool:
        kept = (self.keyring._held.ring.secrets, self.keyring._derived, self.sealer._ciphers, self.tokens._shelves)
        return not any(kept)


@pytest.fixture
def user(sql_keeping: Keeping) -> User:
    """A process on a shared keyring."""
    return User(sql_keeping)


def test_nothing_is_used_once_the_ring_was_not_confirmed_for_a_minute(user: User) -> None:
    user.works()
    user.cut()
    user.ticks.now += 59.9
    assert not user.keyring.lapsed
    for use in user.uses()[:9]:
        use()
    user.ticks.now += 0.2
    assert user.keyring.lapsed
    for use in user.uses():
        with pytest.raises(Outage) as caught:
            use()
        assert caught.value.retry_after
    assert user.has_nothing()


def test_each_use_notices_by_itself_that_the_lease_has_run_out(user: User) -> None:
    user.works()
    for number in range(len(user.uses())):
        user.keyring.refresh()
        user.works()
        user.ticks.now += 61
        with pytest.raises(Outage):
            user.uses()[number]()


def test_a_refresh_brings_everything_back(user: User) -> None:
    before = user.keyring.commitment(OLD)
    user.ticks.now += 61
    with pytest.raises(Outage):
        user.keyring.live()
    assert user.has_nothing()
    user.keyring.refresh()
    assert user.keyring.commitment(OLD) == before
    user.works()
    user.ticks.now += 59
    user.works()


def test_secrets_are_let_go_by_the_refresh_that_fails_even_where_nobody_asks_for_one(user: User) -> None:
    user.works()
    user.cut()
    with pytest.raises(Outage):
        user.keyring.refresh()
    assert not user.has_nothing()
    user.ticks.now += 61
    with pytest.raises(Outage):
        user.keyring.refresh()
    assert user.has_nothing()
    user.heal()
    user.keyring.refresh()
    user.works()


def test_the_lease_runs_from_before_the_ring_was_read(user: User) -> None:
    def slow(_call: str) -> None:
        user.ticks.now += 30

    user.store.before = slow
    user.keyring.refresh()
    user.heal()
    user.ticks.now += 30.1
    assert user.keyring.lapsed


def test_a_lease_is_not_renewed_by_looking_or_by_writing(user: User) -> None:
    """What others are told of this process is told by its beats; nothing else may lengthen what they count on."""
    user.ticks.now += 50
    user.keyring.make(["shelf:other"])
    user.keyring.reread()
    user.ticks.now += 11
    assert user.keyring.lapsed


def test_what_went_during_a_lapse_stays_gone(user: User, sql_keeping: Keeping) -> None:
    user.ticks.now += 61
    sql_keeping.opened().destroy(OLD, entry="1", now=NOW)
    user.keyring.refresh()
    for use in user.uses()[:4]:
        with pytest.raises(SecretDestroyed):
            use()
    assert not user.keyring.has(OLD)


def test_a_lapsed_process_never_makes_a_secret_anew(user: User, sql_keeping: Keeping) -> None:
    before = sql_keeping.secrets()
    user.ticks.now += 61
    with pytest.raises(Outage):
        user.keyring.make(["house", OLD])
    assert sql_keeping.secrets() == before


def test_a_renewal_brings_back_what_was_let_go_since_the_ring_was_reread(user: User) -> None:
    user.ticks.now += 61
    began = user.keyring.now()
    user.keyring.reread()
    with pytest.raises(Outage):
        user.keyring.live()
    assert user.has_nothing()
    user.keyring.renew(began)
    assert user.keyring.has(OLD)
    user.works()


def test_a_renewal_that_comes_too_late_renews_nothing(user: User) -> None:
    began = user.keyring.now()
    user.keyring.reread()
    user.ticks.now += 61
    user.keyring.renew(began)
    assert user.keyring.lapsed


def test_the_end_of_a_lease_lets_everything_go(user: User) -> None:
    user.keyring.end_lease()
    assert user.has_nothing()
    with pytest.raises(Outage):
        user.keyring.derive("body", "old", HOUSE)


def test_a_key_whose_lease_runs_out_while_it_is_derived_is_not_kept(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:

    def slow(**how: Any) -> HKDF:
        user.ticks.now += 61
        with pytest.raises(Outage):
            user.keyring.live()
        return HKDF(**how)

    monkeypatch.setattr("textkeep.archive.keyring.HKDF", slow)
    with pytest.raises(Outage):
        user.keyring.derive("token", "old", HOUSE)
    assert user.has_nothing()


def test_a_keyring_of_one_process_never_lapses(keeping: Keeping) -> None:
    lease = None if keeping.kind == "sql" else timedelta(seconds=60)
    user = User(keeping, lease)
    user.cut()
    user.ticks.now += 10_000_000
    user.keyring.end_lease()
    user.keyring.live()
    for use in user.uses()[:9]:
        use()
