"""Tokens: an HMAC like any other, apart for each field, shelf and organisation, and gone with the secret."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.housing import House
from textkeep.archive.keyring import SecretDestroyed
from textkeep.archive.text import Handle
from textkeep.search import tokens
from textkeep.search.tokens import ShelfTokens, Tokens, padded, size_class

ORG = Handle(b"12345678")


def plain_hmac(key: bytes, field: bytes, value: bytes) -> str:
    message = len(field).to_bytes(4, "big") + field + len(value).to_bytes(4, "big") + value
    return hmac.new(key, message, hashlib.sha256).digest()[:8].hex()


@given(
    st.binary(min_size=32, max_size=32),
    st.sampled_from(["word", "from", "pair"]),
    st.text(st.characters(codec="utf-8")),
)
def test_a_token_is_the_beginning_of_an_hmac_sha256(key: bytes, field: str, value: str) -> None:
    made = ShelfTokens(key, ORG)
    expected = plain_hmac(key, field.encode(), value.encode())
    assert made.token(field, value.encode()) == expected
    assert made.of(field, value) == expected
    assert made.keep(field, [value, value]) == [expected, expected]
    assert made.of(field, value) == expected
    assert made.organisation == plain_hmac(key, b"organisation", ORG)


def test_fields_are_apart() -> None:
    made = ShelfTokens(b"k" * 32, ORG)
    assert len({made.of(field, "+12125550123") for field in ("word", "from", "to", "pair", "user", "reason")}) == 6


def test_shelves_and_organisations_are_apart(house: House) -> None:
    one, other = house.organisations.register("org-001"), house.organisations.register("org-002")
    made = Tokens(house.keyring)
    found = {made.of(shelf, org).of("word", "tea") for shelf in ("2026-11-20", "2026-11-21") for org in (one, other)}
    assert len(found) == 4
    assert made.of("2026-11-20", one).of("word", "tea") in found


def test_nothing_is_made_for_a_shelf_whose_secret_is_destroyed(house: House) -> None:
    org = house.organisations.register("org-001")
    made = Tokens(house.keyring)
    made.of("2026-11-20", org).keep("word", ["tea"])
    house.keyring.destroy("shelf:2026-11-20", entry="7", now=house.clock())
    with pytest.raises(SecretDestroyed):
        made.of("2026-11-20", org)
    made.of("2026-11-21", org)


def test_tokens_of_an_organisation_go_with_its_secret(house: House) -> None:
    one, other = house.organisations.register("org-001"), house.organisations.register("org-002")
    made = Tokens(house.keyring)
    for org in (one, other):
        made.of("2026-11-20", org)
    house.keyring.destroy(f"org:{one.hex()}", entry="7", now=house.clock())
    with pytest.raises(SecretDestroyed):
        made.of("2026-11-20", one)
    made.of("2026-11-20", other)


def test_tokens_that_are_kept_are_bounded_and_stay_the_same(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CACHED_TOKENS", 100)
    monkeypatch.setattr(tokens, "LEFT_TOKENS", 60)
    made = Tokens(house.keyring)
    org = house.organisations.register("org-001")
    words = [f"w{number}" for number in range(500)]
    first = [made.of("2026-11-20", org).keep("word", [word])[0] for word in words]
    assert all_kept(made) <= 100
    assert [made.of("2026-11-20", org).keep("word", [word])[0] for word in words] == first


def test_the_days_not_used_for_longest_lose_their_tokens_first(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CACHED_TOKENS", 100)
    monkeypatch.setattr(tokens, "LEFT_TOKENS", 60)
    made = Tokens(house.keyring)
    org = house.organisations.register("org-001")
    for day in ("2026-11-18", "2026-11-19", "2026-11-20"):
        made.of(day, org).keep("word", [f"w{number}" for number in range(30)])
    dense = made.of("2026-11-18", org)  # used again
    made.of("2026-11-21", org).keep("word", [f"w{number}" for number in range(11)])
    assert [shelf for shelf, _ in made._shelves] == ["2026-11-18", "2026-11-21"]
    assert made.of("2026-11-18", org) is dense
    assert all_kept(made) == 41


def test_one_text_of_more_words_than_are_kept_leaves_none(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CACHED_TOKENS", 100)
    monkeypatch.setattr(tokens, "LEFT_TOKENS", 60)
    made = Tokens(house.keyring)
    org = house.organisations.register("org-001")
    assert len(set(made.of("2026-11-20", org).keep("word", [f"w{number}" for number in range(1_000)]))) == 1_000
    assert all_kept(made) == 0


def test_days_whose_keys_are_kept_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CACHED_SHELVES", 3)
    made = Tokens(house.keyring)
    org = house.organisations.register("org-001")
    days = [f"2026-11-{day}" for day in range(10, 21)]
    first = [made.of(day, org).of("word", "tea") for day in days]
    assert [shelf for shelf, _ in made._shelves] == days[-3:]
    assert [made.of(day, org).of("word", "tea") for day in days] == first


def all_kept(made: Tokens) -> int:
    return sum(each.size() for each in made._shelves.values())


@pytest.mark.parametrize(
    ("count", "size"),
    [(0, 8), (1, 8), (8, 8), (9, 16), (17, 32), (33, 64), (64, 64), (65, 128), (128, 128), (129, 256), (257, 384)],
)
def test_a_document_has_one_of_few_sizes(count: int, size: int) -> None:
    assert size_class(count) == size
    own = [f"{number:016x}" for number in range(count)]
    filled = padded(own)
    assert len(filled) == len(set(filled)) == size
    assert filled == sorted(filled)
    assert set(own) <= set(filled)
    assert all(len(token) == 16 and int(token, 16) >= 0 for token in filled)


def test_padding_is_random() -> None:
    assert not set(padded([])) & set(padded([]))
    many = [token for _ in range(500) for token in padded([])]
    assert len(set(many)) == len(many)
