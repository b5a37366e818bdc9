"""The matcher: what a query means, text by text."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkeep.archive.text import Text
from textkeep.search.match import matches, span
from textkeep.search.query import parse
from textkeep.search.words import words

SENT = datetime(2026, 11, 22, 9, 30, 15, 250_000, UTC)
US, PEER = "+12125550123", "+13125550199"


def text(body: str = "Your appointment has been moved", **members: Any) -> Text:
    given_members = {
        "org_id": "org-001",
        "user_id": "User-1",
        "direction": "outbound",
        "channel": "sms",
        "from": US,
        "to": PEER,
        "body": body,
        "sent_at": SENT.isoformat(),
        "disposition": "delivered",
        **members,
    }
    return msgspec.convert(given_members, Text)


MATCHING = [
    "appointment",
    "APPOINTMENT",
    "moved appointment",
    '"has been moved"',
    '"Appointment has"',
    "appoint*",
    '"been mov*"',
    '"appointment has be*"',
    "refund OR moved",
    "-refund",
    "NOT (refund OR chargeback)",
    "appointment -refund",
    f"from:{US}",
    "from:(212) 555-0123",
    f"to:{PEER}",
    f"with:{US}",
    f"with:{PEER}",
    f"-from:{PEER}",
    "user:user-1",
    "direction:outbound",
    "disposition:delivered",
    "-reason:spam",
    "flag:late",
    "-flag:rewritten",
    "on:2026-11-22",
    "after:2026-11-22 before:2026-11-23",
    "after:2026-11-22T09:30:15.250Z",
    "before:2026-11-22T09:30:15.251Z",
    "on:2026-11-22T09:30:15Z",
    "on:2026-11-22T04:30:15-05:00",
    "-on:2026-11-21",
]
NOT_MATCHING = [
    "appointments",
    "appoint",
    '"appointment been"',
    '"has been move"',
    '"move been has"',
    "refund*",
    '"appoint* has"',
    '"mov* extra"',
    "refund OR chargeback",
    "-moved",
    "moved -appointment",
    "NOT (refund OR moved)",
    f"from:{PEER}",
    f"to:{US}",
    "with:+12125550999",
    "user:user-2",
    "direction:inbound",
    "disposition:blocked",
    "reason:spam",
    "flag:rewritten",
    "-flag:late",
    "on:2026-11-21",
    "after:2026-11-23",
    "before:2026-11-22",
    "before:2026-11-22T09:30:15.250Z",
    "after:2026-11-22T09:30:15.251Z",
    "on:2026-11-22T09:30:16Z",
]


@pytest.mark.parametrize("query", MATCHING)
def test_a_text_that_is_meant_matches(query: str) -> None:
    assert matches(parse(query), text(), frozenset({"late"}))


@pytest.mark.parametrize("query", NOT_MATCHING)
def test_a_text_that_is_not_meant_does_not_match(query: str) -> None:
    assert not matches(parse(query), text(), frozenset({"late"}))


def test_a_reason_is_compared_whole_and_folded() -> None:
    blocked = text(reason="Carrier says NO", disposition="blocked")
    assert matches(parse('reason:"carrier says no"'), blocked, frozenset())
    assert not matches(parse("reason:carrier"), blocked, frozenset())


def test_a_phrase_is_found_wherever_it_stands() -> None:
    assert matches(parse('"a b"'), text("a a b"), frozenset())
    assert matches(parse('"a b a b c"'), text("a b a b a b c"), frozenset())
    assert not matches(parse('"a b c d"'), text("a b c"), frozenset())
    assert matches(parse("東京タワ"), text("昨日は東京タワーへ行った"), frozenset())
    assert not matches(parse("東京タワ"), text("東京のタワー"), frozenset())


def test_a_word_cut_at_its_length_matches_by_what_is_left() -> None:
    assert matches(parse("x" * 99), text("x" * 70), frozenset())
    assert matches(parse("x" * 99 + "*"), text("x" * 70), frozenset())
    assert not matches(parse("x" * 99), text("x" * 63), frozenset())


@given(st.text(), st.text(st.sampled_from("ab c'.1:,東京👍"), max_size=12))
def test_a_phrase_of_a_text_matches_exactly_where_its_words_follow_one_another(before: str, phrase: str) -> None:
    wanted = words(phrase)
    if not wanted or '"' in phrase:
        return
    body = f"{before} {phrase} after"
    assert matches(parse(f'"{phrase}"'), text(body), frozenset())


@given(st.sampled_from(MATCHING + NOT_MATCHING), st.sampled_from(MATCHING + NOT_MATCHING))
def test_operators_mean_what_they_say(one: str, other: str) -> None:
    flags = frozenset({"late"})
    first, second = matches(parse(one), text(), flags), matches(parse(other), text(), flags)
    assert matches(parse(f"({one}) ({other})"), text(), flags) == (first and second)
    assert matches(parse(f"({one}) OR ({other})"), text(), flags) == (first or second)
    assert matches(parse(f"-({one})"), text(), flags) == (not first)


def test_a_span_is_as_narrow_as_the_fields_say() -> None:
    day, next_day = datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)
    assert span(parse("a")) == (None, None)
    assert span(parse("on:2026-11-22 a")) == (day, next_day)
    assert span(parse("after:2026-11-22")) == (day, None)
    assert span(parse("before:2026-11-23 after:2026-11-20 after:2026-11-22")) == (day, next_day)
    assert span(parse("on:2026-11-22 OR a")) == (None, None)
    assert span(parse("on:2026-11-22 OR on:2026-11-20")) == (datetime(2026, 11, 20, tzinfo=UTC), next_day)
    assert span(parse("after:2026-11-22 OR before:2026-11-20")) == (None, None)
    assert span(parse("-on:2026-11-22")) == (None, None)


times = st.sampled_from(
    ["on:2026-11-21", "on:2026-11-22", "on:2026-11-23", "after:2026-11-22", "before:2026-11-22", "a"]
)
queries = st.recursive(
    times,
    lambda inner: st.one_of(
        inner.map(lambda one: f"-({one})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) ({two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) OR ({two[1]})"),
    ),
    max_leaves=6,
)


@given(queries, st.integers(0, 5 * 86_400))
def test_nothing_outside_the_span_matches(typed: str, seconds: int) -> None:
    query = parse(typed)
    sent_at = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=seconds)
    start, until = span(query)
    inside = (start is None or sent_at >= start) and (until is None or sent_at < until)
    if not inside:
        assert not matches(query, text("a", sent_at=sent_at.isoformat()), frozenset())
