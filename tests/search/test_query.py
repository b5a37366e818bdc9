"""The query language: what is read from what is typed, and that nothing else can come of it."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkeep.errors import QueryMalformed
from textkeep.search.query import (
    FIELDS,
    FLAGS,
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_TERMS,
    All,
    Attribute,
    Either,
    Not,
    Number,
    Query,
    Sent,
    Words,
    parse,
)


def word(*words: str) -> Words:
    return Words(words)


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


A, B, C = word("a"), word("b"), word("c")
US = "+12125550123"

READ: dict[str, Query] = {
    "refund": word("refund"),
    "Refund NOW!": All((word("refund"), word("now"))),
    "a b c": All((A, B, C)),
    "a AND b": All((A, B)),
    "a OR b": Either((A, B)),
    "a OR b c": Either((A, All((B, C)))),
    "a b OR c": Either((All((A, B)), C)),
    "(a OR b) c": All((Either((A, B)), C)),
    "a (b c)": All((A, B, C)),
    "a or b": All((A, word("or"), B)),
    '"OR"': word("or"),
    "ORder ANDy NOTe": All((word("order"), word("andy"), word("note"))),
    "-a": Not(A),
    "–a": Not(A),
    "--a": A,
    "NOT a": Not(A),
    "a NOT b": All((A, Not(B))),
    "a -b": All((A, Not(B))),
    "a-b": word("a", "b"),
    "-(a OR b)": Not(Either((A, B))),
    '-"a b"': Not(word("a", "b")),
    f"-from:{US}": Not(Number("from", US)),
    '"a b"': word("a", "b"),
    "“a b”": word("a", "b"),
    'a"b"c': All((A, B, C)),
    '"a b"OR"c"': Either((word("a", "b"), C)),
    '"appointment mov*"': Words(("appointment", "mov"), prefix=True),
    "appoint*": Words(("appoint",), prefix=True),
    "f***": Words(("f",), prefix=True),
    "www.example.com": word("www", "example", "com"),
    "https://example.com/x": word("https", "example", "com", "x"),
    "don’t-know": word("don't", "know"),
    "don’t-kn*": Words(("don't", "kn"), prefix=True),
    "2:30pm": word("2:30pm"),
    "re: hi": All((word("re"), word("hi"))),
    "👍": word("👍"),
    "👍🏽": word("👍", "🏽"),
    "京": Words(("京",), prefix=True),
    "東京都": word("東京", "京都"),
    "from:+12125550123": Number("from", US),
    "from:212-555-0123": Number("from", US),
    "from:2125550123": Number("from", US),
    "from:12125550123": Number("from", US),
    "from:(212)555-0123": Number("from", US),
    "from:(212) 555-0123": Number("from", US),
    "from:212.555.0123": Number("from", US),
    "from:212 555 0123": Number("from", US),
    "from: +1 212 555 0123": Number("from", US),
    'to:"+1 (212) 555-0123"': Number("to", US),
    'with:"1-800-FLOWERS"': Number("with", "+18003569377"),
    "(from:(212) 555-0123)": Number("from", US),
    "FROM:(212) 555-0123 a": All((Number("from", US), A)),
    "from:12345": Number("from", "12345"),
    "to:123456": Number("to", "123456"),
    'from:"+44 20 7946 0958"': Number("from", "+442079460958"),
    "user:org-001-user-0001": Attribute("user", "org-001-user-0001"),
    "user:Bob@Example.com": Attribute("user", "bob@example.com"),
    'user:"Bob (Sales)"': Attribute("user", "bob (sales)"),
    "direction:inbound": Attribute("direction", "inbound"),
    "disposition:Blocked": Attribute("disposition", "blocked"),
    "reason:spam": Attribute("reason", "spam"),
    'reason:"carrier says no"': Attribute("reason", "carrier says no"),
    "flag:rewritten": Attribute("flag", "rewritten"),
    "on:2026-11-22": Sent(moment(2026, 11, 22), moment(2026, 11, 23)),
    "after:2026-11-22": Sent(moment(2026, 11, 22), None),
    "before:2026-11-22": Sent(None, moment(2026, 11, 22)),
    "after:2026-11-22T09:30:00Z": Sent(moment(2026, 11, 22, 9, 30), None),
    "before:2026-11-22t09:30:00.250-05:00": Sent(None, moment(2026, 11, 22, 14, 30, 0, 250_000)),
    "on:2026-11-22T09:30:15Z": Sent(moment(2026, 11, 22, 9, 30, 15), moment(2026, 11, 22, 9, 30, 16)),
}

REFUSED: dict[str, tuple[int, str]] = {
    "a (b": (5, "ends too early"),
    "a)": (2, "parenthesis"),
    "()": (2, "parenthesis"),
    "a OR": (5, "ends too early"),
    "OR a": (1, "between two terms"),
    "a AND OR b": (7, "between two terms"),
    "NOT": (4, "ends too early"),
    "a - b": (3, "minus"),
    "-": (1, "minus"),
    'a "b': (3, "never closed"),
    "“a b": (1, "never closed"),
    'from:"212': (6, "never closed"),
    "a ... b": (3, "no word"),
    '"!!!"': (1, "no word"),
    "*": (1, "no word"),
    "a*b": (1, "star"),
    "from:": (6, "ends too early"),
    "from:(a OR b)": (6, "value"),
    "from:911": (6, "telephone number"),
    "from:abc": (6, "telephone number"),
    "from:2125550123x9": (6, "telephone number"),
    "with:OR": (6, "telephone number"),
    "direction:in": (11, "inbound, outbound"),
    "disposition:lost": (13, "delivered"),
    "flag:odd": (6, "rewritten"),
    "user:bob*": (6, "whole value"),
    'user:""': (6, "value is missing"),
    "on:yesterday": (4, "a day"),
    "on:2026-02-30": (4, "a day"),
    "on:20261122": (4, "a day"),
    "on:2026-W47-7": (4, "a day"),
    "after:2026-11-22T09:30:00": (7, "an instant"),
    "after:0001-01-01T00:00:00+23:00": (7, "an instant"),
    "before:2026-11-22T25:00:00Z": (8, "an instant"),
    "sender:bob": (1, "no field of that name"),
    "user:\ud800": (6, "missing"),
}


@pytest.mark.parametrize("typed", READ, ids=str)
def test_a_query_is_read(typed: str) -> None:
    assert parse(typed) == READ[typed]


@pytest.mark.parametrize("typed", REFUSED, ids=ascii)
def test_a_query_that_is_none_is_refused_at_its_place(typed: str) -> None:
    position, words = REFUSED[typed]
    with pytest.raises(QueryMalformed) as refused:
        parse(typed)
    assert refused.value.detail.startswith(f"at character {position}: ")
    assert words in refused.value.detail
    assert refused.value.field == "query"


@pytest.mark.parametrize("typed", ["", "   ", "\n", "x" * (MAX_LENGTH + 1)])
def test_nothing_and_too_much_are_refused(typed: str) -> None:
    with pytest.raises(QueryMalformed):
        parse(typed)


def test_bounds_are_exact() -> None:
    parse("x" * MAX_LENGTH)
    parse("a " * MAX_TERMS)
    with pytest.raises(QueryMalformed, match="terms"):
        parse("a " * (MAX_TERMS + 1))
    parse(nested(MAX_DEPTH))
    with pytest.raises(QueryMalformed, match="deeper"):
        parse(nested(MAX_DEPTH + 1))


def nested(depth: int) -> str:
    """A query of that depth: groups that negate one another."""
    query = "a"
    for level in range(depth - 1):
        query = f"-({query})" if level % 2 else f"(a {query})"
    return query


@pytest.mark.parametrize(
    "typed",
    [
        "(" * 1999 + "a" + ")" * 1999,
        "-" * 3999 + "a",
        "(" * 4000,
        ")" * 4000,
        "-(" * 1300 + "a",
        '"' * 3999,
        "OR " * 1000,
    ],
    ids=["groups", "minuses", "open", "close", "open negations", "quotes", "operators"],
)
def test_hostile_depth_is_answered_at_once(typed: str) -> None:
    assert isinstance(read_or_refused(typed), Query | QueryMalformed)


def read_or_refused(typed: str) -> Query | QueryMalformed:
    """What comes of what was typed; anything else is raised."""
    try:
        return parse(typed)
    except QueryMalformed as refused:
        return refused


pieces = st.lists(
    st.one_of(
        st.sampled_from(
            [*(f"{name}:" for name in FIELDS), "(", ")", '"', "“", "”", "-", "OR", "AND", "NOT", "*", " ", "a"]
        ),
        st.sampled_from(["2026-11-22", "+12125550123", "(212) 555-0123", "inbound", "東京", "👍🏽", ":", "\\", "\x00"]),
        st.text(max_size=6),
    ),
    max_size=40,
)


@given(st.one_of(st.text(), pieces.map("".join), pieces.map(" ".join), st.text(st.characters(categories=("Cs", "Cc")))))
def test_whatever_is_typed_is_a_query_or_refused(typed: str) -> None:
    found = read_or_refused(typed)
    if isinstance(found, QueryMalformed):
        foreign = [word for word in typed.split() if len(word) > 3 and word.isalnum() and not word.isascii()]
        assert not any(word in found.detail for word in foreign)
    else:
        assert found == parse(typed)
        hash(found)


def test_naughty_strings_are_queries_or_refused(shared: Path) -> None:
    for typed in json.loads((shared / "data" / "naughty" / "blns.json").read_text("utf-8")):
        read_or_refused(typed)
        assert isinstance(read_or_refused('"' + re.sub('["“”„‟]', " ", typed) + ' word"'), Words)


def test_a_refusal_never_repeats_what_was_typed() -> None:
    secret = "zebracrossing"
    for typed in (
        f"({secret}",
        f"{secret}*x",
        f"from:{secret}",
        f"direction:{secret}",
        f"{secret}:x",
        f"on:{secret}",
        f'"{secret}',
    ):
        with pytest.raises(QueryMalformed) as refused:
            parse(typed)
        assert secret not in str(refused.value)
        assert refused.value.__cause__ is None


def test_every_flag_a_text_can_have_can_be_asked_for() -> None:
    ingest = pytest.importorskip("textkeep.ingest.eligibility")
    assert {*ingest.FLAGS, "updated", "rewritten"} == set(FLAGS)
