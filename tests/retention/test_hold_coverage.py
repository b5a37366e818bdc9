"""What a hold covers, held against a brute-force reading of the same rules."""

import json
from datetime import UTC, datetime, timedelta
from itertools import chain, combinations, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.housing import NOON, event
from textkeep.archive.text import HOUSE, Event, Handle, read_event
from textkeep.errors import Malformed, QueryMalformed, Refusal
from textkeep.ingest.eligibility import AHEAD_BY
from textkeep.retention.holds.hold import (
    MOST_NAMED,
    MOST_READINGS,
    Hold,
    Scope,
    covers,
    covers_record,
    covers_unreadable,
    scope_of,
)
from textkeep.search.match import matches
from textkeep.search.query import parse

ORG, OTHER = Handle(b"\x01" * 8), Handle(b"\x02" * 8)
NUMBERS = ("+12125550101", "+13125550102", "+14155550103", "28411")
USERS = ("User-1", "user-2")
WORDS = ("merger", "lunch", "call me")
FLAGS = ("late", "healthcare", "rewritten")
DAYS = [datetime(2026, 11, day, tzinfo=UTC) for day in (18, 19, 20, 21)]
QUERIES = (
    "merger",
    "-lunch",
    "with:+12125550101 OR lunch",
    "from:28411",
    "flag:late",
    "-flag:late merger",
    "-(flag:late OR -flag:healthcare)",
    "user:user-1 -flag:rewritten",
    "on:2026-11-19 OR before:2026-11-18",
    "after:2026-11-20 lunch",
    "-to:+13125550102",
)


def hold(**scope: Any) -> Hold:
    """A hold on org-001 with this scope."""
    return Hold("h", ORG, "m", "r", Scope("org-001", **scope), b"p" * 8, NOON, NOON + timedelta(days=1))


def some(values: tuple[Any, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


pairs = tuple((one, other) for one, other in product(NUMBERS, NUMBERS) if one < other)
members = {
    "users": some(USERS),
    "numbers": some(NUMBERS),
    "conversations": some(pairs),
    "after": st.sampled_from(DAYS),
    "before": st.sampled_from(DAYS),
    "query": st.sampled_from(QUERIES),
}
# Two members at most: with more, next to no text would fit.
scopes = (
    st.lists(st.sampled_from(sorted(members)), max_size=2, unique=True)
    .flatmap(lambda names: st.fixed_dictionaries({name: members[name] for name in names}))
    .map(lambda scope: hold(**scope))
)
texts = st.builds(
    lambda **data: {name.rstrip("_"): value for name, value in data.items()},
    org_id=st.sampled_from(("org-001", "org-002")),
    user_id=st.sampled_from(USERS),
    from_=st.sampled_from(NUMBERS),
    to=st.sampled_from(NUMBERS),
    body=st.lists(st.sampled_from(WORDS), max_size=2).map(" ".join),
    sent_at=st.sampled_from([(day + timedelta(hours=hours)).isoformat() for day in DAYS for hours in (0, 23)]),
)


def oracle(held: Hold, text: Event, org: Handle, flags: frozenset[str]) -> bool:
    """The rules as docs/holds.md says them, one by one."""
    scope, data = held.scope, text.data
    return (
        (org == ORG or (org == HOUSE and data.org_id == "org-001"))
        and (not scope.users or data.user_id.lower() in {user.lower() for user in scope.users})
        and (not scope.numbers or bool({data.from_, data.to} & set(scope.numbers)))
        and (not scope.conversations or any({data.from_, data.to} == set(pair) for pair in scope.conversations))
        and (scope.after is None or data.sent_at >= scope.after)
        and (scope.before is None or data.sent_at < scope.before)
        and (scope.query is None or matches(parse(scope.query), data, flags))
    )


def every_set_of_flags() -> list[frozenset[str]]:
    return [frozenset(each) for each in chain.from_iterable(combinations(FLAGS, n) for n in range(len(FLAGS) + 1))]


@given(held=scopes, data=texts, org=st.sampled_from((ORG, OTHER, HOUSE)), flags=st.frozensets(st.sampled_from(FLAGS)))
def test_a_text_is_covered_exactly_when_the_rules_say_so(
    held: Hold, data: dict[str, Any], org: Handle, flags: frozenset[str]
) -> None:
    text = read_event(json.dumps(event(**data)).encode())
    assert covers(held, text, org, flags) == oracle(held, text, org, flags)


@given(held=scopes, data=texts, org=st.sampled_from((ORG, OTHER, HOUSE)))
def test_a_record_that_was_never_judged_is_covered_when_it_is_with_some_flags(
    held: Hold, data: dict[str, Any], org: Handle
) -> None:
    text = read_event(json.dumps(event(**data)).encode())
    wanted = any(oracle(held, text, org, flags) for flags in every_set_of_flags())
    assert covers(held, text, org, None) == wanted
    assert covers_record(held, json.dumps(event(**data)).encode(), org, NOON) == wanted


def test_of_every_query_and_every_text_the_flags_that_nobody_judged_are_left_open() -> None:
    covered = 0
    for query, body, user, sender, day in product(QUERIES, ("", *WORDS), USERS, NUMBERS[::3], DAYS):
        held = hold(query=query)
        record = event(body=body, user_id=user, sent_at=day.isoformat(), **{"from": sender})
        text = read_event(json.dumps(record).encode())
        wanted = any(oracle(held, text, ORG, flags) for flags in every_set_of_flags())
        assert covers(held, text, ORG, None) == wanted, query
        covered += wanted
    assert 100 < covered < len(QUERIES) * 4 * 2 * 2 * 4 - 100


@given(
    held=scopes,
    data=texts,
    senders=st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3),
    receivers=st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3),
)
def test_of_a_group_record_every_pair_of_numbers_counts(
    held: Hold, data: dict[str, Any], senders: list[str], receivers: list[str]
) -> None:
    raw = json.dumps(event(**{**data, "from": senders, "to": receivers})).encode()
    one_by_one = [
        read_event(json.dumps(event(**{**data, "from": one, "to": other})).encode())
        for one, other in product(senders, receivers)
    ]
    wanted = any(oracle(held, text, ORG, flags) for text in one_by_one for flags in every_set_of_flags())
    assert covers_record(held, raw, ORG, NOON) == wanted


@given(held=scopes, data=texts, org=st.sampled_from((ORG, OTHER, HOUSE)), broken=st.sampled_from(["body", "direction"]))
def test_an_unreadable_record_is_covered_by_organisation_and_dates(
    held: Hold, data: dict[str, Any], org: Handle, broken: str
) -> None:
    raw = json.dumps(event(**{**data, broken: 7})).encode()
    sent_at = datetime.fromisoformat(data["sent_at"])
    start, until = held.scope.span
    mine = org == ORG or (org == HOUSE and data["org_id"] == "org-001")
    in_time = (start is None or sent_at >= start) and (until is None or sent_at < until)
    assert covers_record(held, raw, org, NOON) == (mine and in_time)


def test_what_says_nothing_of_itself_may_be_anybodys_and_of_any_time_until_it_came() -> None:
    late = hold(after=NOON + AHEAD_BY + timedelta(seconds=1))
    for held, wanted in ((hold(), True), (hold(before=DAYS[0], query="merger"), True), (late, False)):
        for org in (None, HOUSE, ORG):
            assert covers_record(held, b"not JSON", org, NOON) is wanted
        assert covers_record(held, b"not JSON", OTHER, NOON) is False


def test_a_damaged_text_is_covered_where_its_day_and_the_dates_meet() -> None:
    held = hold(after=DAYS[1], before=DAYS[2], query="merger")
    for day, wanted in zip(DAYS, (False, True, False, False), strict=True):
        last = day + timedelta(days=1) - timedelta(microseconds=1)
        assert covers_unreadable(held, ORG, first=day, last=last) is wanted
    assert covers_unreadable(held, ORG, first=None, last=None)
    asked = hold(query="on:2026-11-19 merger")  # the dates of its query count like its own
    assert [covers_unreadable(asked, ORG, first=day, last=day) for day in DAYS] == [False, True, False, False]
    assert not covers_unreadable(held, None, org_id="org-002", first=None, last=None)


def test_a_group_of_too_many_pairs_counts_as_covered_where_organisation_and_dates_allow() -> None:
    many = [f"+1212555{number:04d}" for number in range(MOST_READINGS + 1)]
    raw = json.dumps(event(to=many)).encode()
    assert covers_record(hold(numbers=("+14155550103",)), raw, ORG, NOON)
    assert not covers_record(hold(numbers=("+14155550103",)), raw, OTHER, NOON)
    assert not covers_record(hold(before=DAYS[0]), raw, ORG, NOON)


@given(held=scopes)
def test_a_scope_reads_back_as_it_is_written(held: Hold) -> None:
    try:
        again = scope_of(json.loads(json.dumps(held.scope.written())))
    except Malformed:  # no moment lies in it
        assert held.scope.after is not None
        assert held.scope.before is not None
        assert held.scope.after >= held.scope.before
        return
    assert again == held.scope


def test_a_scope_takes_numbers_in_any_usual_spelling_and_days_or_instants() -> None:
    scope = scope_of(
        {
            "org_id": "org-001",
            "numbers": ["(212) 555-0101", "28411"],
            "conversations": [["+1 312 555 0102", "212-555-0101"]],
            "after": "2026-11-20",
            "before": "2026-11-21T09:30:00-05:00",
        }
    )
    assert scope.numbers == ("+12125550101", "28411")
    assert scope.conversations == (("+12125550101", "+13125550102"),)
    assert (scope.after, scope.before) == (DAYS[2], datetime(2026, 11, 21, 14, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "scope.org_id"),
        ({"org_id": " "}, "scope.org_id"),
        ({"org_id": "o", "users": [""]}, "scope.users"),
        ({"org_id": "o", "users": ["u"] * (MOST_NAMED + 1)}, "scope.users"),
        ({"org_id": "o", "numbers": ["nobody"]}, "scope.numbers"),
        ({"org_id": "o", "conversations": [["+12125550101"]]}, "scope.conversations"),
        ({"org_id": "o", "conversations": ["28"]}, "scope.conversations"),
        ({"org_id": "o", "after": "soon"}, "scope.after"),
        ({"org_id": "o", "after": "2026-11-21", "before": "2026-11-21"}, "scope.before"),
        ({"org_id": "o", "query": "("}, "scope.query"),
        ({"org_id": "o", "query": ""}, "scope.query"),
    ],
)
def test_a_scope_that_is_none_is_refused_with_the_member_and_without_its_value(
    said: dict[str, Any], field: str
) -> None:
    with pytest.raises((Malformed, QueryMalformed)) as refused:
        scope_of(said)
    error = refused.value
    assert isinstance(error, Refusal)
    assert error.field == field
    assert "nobody" not in error.detail
