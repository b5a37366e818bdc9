"""Narrowing never loses a match: whatever matches has every term that the plan asks for."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from textkeep.archive.rows import Opened
from textkeep.archive.text import Event, Handle, Text, TextId
from textkeep.search.documents import KNOWN_REASONS, document_of, words_of
from textkeep.search.index import AllOf, AnyOf, Everything, Plan, Term
from textkeep.search.match import matches
from textkeep.search.narrowing import MAX_PHRASE_TERMS, narrow, prefixes
from textkeep.search.query import All, Attribute, Either, Not, Number, Query, Sent, Words, parse
from textkeep.search.tokens import ShelfTokens
from textkeep.search.words import sought

ORG, OTHER = Handle(b"12345678"), Handle(b"87654321")
KEY = b"k" * 32
SENT = datetime(2026, 11, 20, 10, tzinfo=UTC)
NUMBERS = ["+12125550101", "+13125550102", "12345"]
ALPHABET = "abc cd'.:1,-京都タワกัม👍🏽é"


def opened(body: str, flags: tuple[str, ...] = (), **members: Any) -> Opened:
    data = {
        "org_id": "org-001",
        "user_id": "User-1",
        "direction": "outbound",
        "channel": "sms",
        "from": NUMBERS[0],
        "to": NUMBERS[1],
        "body": body,
        "sent_at": SENT.isoformat(),
        "disposition": "delivered",
        **members,
    }
    event = Event("1.0", "txt-1", "/x", "textkeep.text.v1", msgspec.convert(data, Text))
    return Opened(TextId(SENT.date(), b"t" * 16, 1), ORG, event, SENT, flags, 1, b"", b"")


def fits(plan: Plan, terms: frozenset[str]) -> bool:
    match plan:
        case Everything():
            return True
        case Term(term):
            return term in terms
        case AllOf(parts):
            return all(fits(part, terms) for part in parts)
        case AnyOf(parts):
            return any(fits(part, terms) for part in parts)


texts = st.builds(
    opened,
    st.text(st.sampled_from(ALPHABET), max_size=30),
    st.sampled_from([(), ("late",), ("late", "rewritten")]),
    **{"from": st.sampled_from(NUMBERS), "to": st.sampled_from(NUMBERS)},
    direction=st.sampled_from(["inbound", "outbound"]),
    disposition=st.sampled_from(["delivered", "blocked"]),
    reason=st.sampled_from([None, *KNOWN_REASONS, "Carrier says no"]),
    user_id=st.sampled_from(["User-1", "user-2"]),
)


@st.composite
def some_words(draw: st.DrawFn) -> Words:
    found, prefix = sought(draw(st.text(st.sampled_from(ALPHABET), min_size=1, max_size=6)), prefix=draw(st.booleans()))
    return Words(found or ("abc",), prefix)


leaves: st.SearchStrategy[Query] = st.one_of(
    some_words(),
    st.builds(Number, st.sampled_from(["from", "to", "with"]), st.sampled_from(NUMBERS)),
    st.sampled_from(
        [
            Attribute("user", "user-1"),
            Attribute("direction", "inbound"),
            Attribute("disposition", "blocked"),
            Attribute("reason", "spam"),
            Attribute("reason", "carrier says no"),
            Attribute("flag", "rewritten"),
            Sent(SENT, None),
            Sent(None, SENT),
        ]
    ),
)
queries = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: All(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Either(tuple(parts))),
    ),
    max_leaves=8,
)


@settings(max_examples=500)
@given(texts, queries, st.booleans())
def test_whatever_matches_is_proposed(text: Opened, query: Query, expandable: bool) -> None:
    made = ShelfTokens(KEY, ORG)
    words = words_of(text)
    document = document_of(text, made, words)
    plan = narrow(
        query, made, lambda prefix: {word for word in words if word.startswith(prefix)} if expandable else None
    )
    if matches(query, text.event.data, frozenset(text.flags)):
        assert fits(plan, frozenset(document.terms))


@settings(max_examples=300)
@given(texts, queries)
def test_nothing_of_another_organisation_is_proposed(text: Opened, query: Query) -> None:
    own, foreign = ShelfTokens(KEY, ORG), ShelfTokens(b"o" * 32, OTHER)
    document = document_of(text, foreign, words_of(text))
    assert not fits(narrow(query, own, lambda _: None), frozenset(document.terms))


def test_a_word_is_one_term_and_a_phrase_is_all_of_its_words() -> None:
    made = ShelfTokens(KEY, ORG)
    assert narrow(parse("tea"), made, lambda _: None) == Term(made.of("word", "tea"))
    plan = narrow(parse('"black tea" -milk on:2026-11-20'), made, lambda _: None)
    assert plan == AllOf((Term(made.of("word", "black")), Term(made.of("word", "tea"))))


def test_what_cannot_narrow_is_everything_of_the_organisation() -> None:
    made = ShelfTokens(KEY, ORG)
    own = Term(made.organisation)
    for typed in ("-tea", "tea OR -milk", "on:2026-11-20", "tea*"):
        assert narrow(parse(typed), made, lambda _: None) == own
    inbound = Term("direction:inbound", keyed=False)
    assert narrow(parse("direction:inbound"), made, lambda _: None) == AllOf((own, inbound))


def test_a_prefix_without_a_word_proposes_nothing() -> None:
    made = ShelfTokens(KEY, ORG)
    assert narrow(parse("zeb*"), made, lambda _: set()) == AnyOf(())
    assert prefixes(parse("zeb* (app* OR -x*) tea")) == {"zeb", "app"}


def test_a_long_phrase_narrows_by_its_longest_words() -> None:
    made = ShelfTokens(KEY, ORG)
    phrase = " ".join(f"w{'x' * (number % 40)}{number}" for number in range(120))
    plan = narrow(parse(f'"{phrase}"'), made, lambda _: None)
    assert isinstance(plan, AllOf)
    assert len(plan.parts) == MAX_PHRASE_TERMS
    assert fits(plan, frozenset(document_of(opened(phrase), made, words_of(opened(phrase))).terms))


def test_a_document_holds_nothing_readable() -> None:
    made = ShelfTokens(KEY, ORG)
    text = opened("My zebracrossing", ("late",), reason="odd words", user_id="bob")
    document = document_of(text, made, words_of(text))
    clear = {term for term in document.terms if ":" in term}
    assert clear == {"direction:outbound", "disposition:delivered", "flag:late"}
    assert all(len(term) == 16 and int(term, 16) >= 0 for term in set(document.terms) - clear)
    assert "zebracrossing" not in repr(document)
    assert {"reason:spam"} < set(document_of(opened("x", reason="SPAM"), made, {"x"}).terms)
