"""The finder: exact, newest first, within 400 days and the caller's organisations, and on record."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.housing import House, event
from tests.search.searching import PERSON, WHY, Searching, Together
from textkeep.access.principal import Principal
from textkeep.access.reasons import MAX_REASON
from textkeep.archive.shelf import RETENTION, Day
from textkeep.errors import Forbidden, Malformed, Outage, QueryMalformed, ReasonRequired, Unanswerable
from textkeep.search import finder as finder_module
from textkeep.search import vocabulary as vocabulary_module
from textkeep.search.finder import Page, place_of
from textkeep.search.index import NoIndex

pytestmark = pytest.mark.parametrize("house", ["memory"], indirect=True)


@pytest.fixture(params=[1, 5], ids=["a day at a time", "five days together"])
def searching(house: House, request: pytest.FixtureRequest) -> Searching:
    return Searching.build(house, Together(request.param))


def test_results_are_whole_texts_newest_first(searching: Searching) -> None:
    searching.load("tea one", "coffee", "tea two")
    page = searching.find("tea")
    assert [each.event.data.body for each in page.results] == ["tea two", "tea one"]
    assert page.cursor is None
    assert page.indexed_up_to == searching.house.clock()
    assert page.shelves_searched == 1, "days that hold nothing are not looked into"


def test_what_is_not_findable_yet_is_told(searching: Searching) -> None:
    searching.load("tea")
    received = searching.house.clock()
    searching.take(event(9, body="more tea"))
    searching.house.clock.forward(hours=1)
    page = searching.find("tea")
    assert len(page.results) == 1
    assert page.indexed_up_to == received


QUERIES = {
    "every text": ("-nothing", "abcdef"),
    "a word": ("tea", "abc"),
    "two words": ("tea green", "b"),
    "a phrase": ('"green tea"', "b"),
    "a phrase the other way round": ('"tea green"', ""),
    "a prefix": ("coff*", "de"),
    "a prefix of nothing": ("zeb*", ""),
    "either": ("green OR coffee", "bd"),
    "neither": ("-tea -coff*", "f"),
    "a word but not another": ("tea -green", "ac"),
    "only a negation": ("-tea", "def"),
    "a sender": ("from:+12125550101", "abcdf"),
    "a receiver": ("to:+12125550101", "e"),
    "either number": ("with:(312) 555-0102 tea", "abc"),
    "a number and not a word": ("with:+13125550103 -green", "d"),
    "a user": ("user:USER-2", "f"),
    "a direction": ("direction:inbound", "e"),
    "a disposition": ("disposition:blocked", "f"),
    "a known reason": ("reason:spam", "f"),
    "a flag": ("flag:late", "abcdef"),
    "a flag that none has": ("flag:rewritten", ""),
    "a day": ("on:2026-11-20", "abcd"),
    "from a day on": ("after:2026-11-21", "ef"),
    "before an instant": ("before:2026-11-20T10:00:02Z", "ab"),
    "a word on a day": ("tea on:2026-11-21", ""),
    "days apart": ("on:2026-11-20 on:2026-11-21", ""),
    "one of two days": ("on:2026-11-21 OR on:2026-11-22", "ef"),
    "a day far away": ("on:1999-01-01 OR after:2999-01-01", ""),
    "the beginning of time": ("after:0001-01-01 tea", "abc"),
    "before the beginning of time": ("before:0001-01-01", ""),
    "until the end of time": ("before:9999-12-30 milk", "f"),
    "the end of time": ("after:9999-12-30T00:00:00Z", ""),
}


def load_six(searching: Searching) -> None:
    second = "2026-11-20T10:00:0{}.000Z".format
    records = [
        event(1, body="a tea", sent_at=second(0)),
        event(2, body="b green tea", sent_at=second(1)),
        event(3, body="c tea", sent_at=second(2)),
        event(4, body="d coffee", sent_at=second(3), to="+13125550103"),
        event(5, body="e coffees", sent_at="2026-11-21T00:00:00.000Z", direction="inbound", **swapped()),
        event(
            6, body="f milk", sent_at="2026-11-22T11:59:59.999Z", user_id="user-2", disposition="blocked", reason="spam"
        ),
    ]
    searching.take(*records, flags=("late",))
    searching.take(event(7, org_id="org-002", body="z tea of another organisation"))
    searching.follow()


def swapped() -> dict[str, Any]:
    return {"from": "+13125550102", "to": "+12125550101"}


def test_every_kind_of_query_finds_exactly_what_it_means(searching: Searching) -> None:
    load_six(searching)
    found = {name: "".join(body[0] for body in searching.bodies(query))[::-1] for name, (query, _) in QUERIES.items()}
    assert found == {name: expected for name, (_, expected) in QUERIES.items()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 7), st.sampled_from(["tea", "t*", "-coffee", "tea -green", "flag:late", "tea OR milk"]))
def test_pages_put_together_are_the_whole(searching: Searching, limit: int, query: str) -> None:
    if searching.house.vault.batch("batch-1") is None:
        moments = [f"2026-11-{day:02d}T10:00:0{second}Z" for day in (18, 19, 20) for second in (0, 0, 0, 1, 2)]
        searching.take(*(event(at, body=f"tea {at}", sent_at=sent) for at, sent in enumerate(moments)), flags=("late",))
        searching.follow()
    whole = searching.find(query).results
    paged = searching.every(query, limit=limit)
    assert [each.id for each in paged] == [each.id for each in whole]
    assert [place_of(each) for each in whole] == sorted((place_of(each) for each in whole), reverse=True)


def test_a_full_page_without_more_has_no_cursor(searching: Searching) -> None:
    searching.load("tea", "tea", "coffee")
    assert searching.find("tea", limit=2).cursor is None
    assert searching.find("tea", limit=1).cursor is not None


def test_a_cursor_stays_where_it_was_when_newer_texts_come(searching: Searching) -> None:
    searching.load("tea 1", "tea 2", "tea 3")
    page = searching.find("tea", limit=2)
    searching.load("tea 4")
    rest = searching.find("tea", limit=2, cursor=page.cursor)
    assert [each.event.data.body for each in rest.results] == ["tea 1"]
    searching.follower.rebuild("2026-11-20")
    assert searching.find("tea", limit=2, cursor=page.cursor).results == rest.results


def test_a_cursor_is_good_for_its_own_search_only(searching: Searching) -> None:
    searching.load("tea 1", "tea 2")
    searching.load("tea 3", "tea 4", org_id="org-002")
    cursor = searching.find("tea", limit=1).cursor
    assert cursor is not None
    assert "tea" not in cursor
    wrong: list[tuple[str, str, str]] = [("t*", "org-001", cursor), ("tea", "org-002", cursor)]
    wrong += [
        ("tea", "org-001", mangled)
        for mangled in ("", "x", "é", cursor[:-1], cursor + "A", cursor[::-1], "A" * len(cursor), "\ud800", "=" * 9)
    ]
    wrong += [
        ("tea", "org-001", cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :])
        for at in range(0, 60, 7)
    ]
    for query, org, mangled in wrong:
        with pytest.raises(Malformed) as refused:
            searching.find(query, org=org, cursor=mangled)
        assert refused.value.field == "cursor"


def test_a_text_is_there_until_its_400_days_have_passed_to_the_millisecond(searching: Searching) -> None:
    searching.load("tea", sent_at="2026-11-20T10:00:00.000Z")
    clock = searching.house.clock
    gone = datetime(2026, 11, 20, 10, tzinfo=UTC) + RETENTION
    clock.now = gone - timedelta(milliseconds=1)
    searching.house.shelves.ensure(clock())
    for query in ("tea", "-coffee", "t*", "on:2026-11-20"):
        assert searching.bodies(query) == ["tea"]
    clock.now = gone
    for query in ("tea", "-coffee", "t*", "on:2026-11-20"):
        assert searching.bodies(query) == []


def test_a_text_of_the_next_minutes_is_found(searching: Searching) -> None:
    searching.house.clock.now = datetime(2026, 11, 22, 23, 59, tzinfo=UTC)
    searching.load("tea", sent_at="2026-11-23T00:05:00.000Z")
    assert searching.bodies("tea") == ["tea"]


def test_organisations_are_apart(searching: Searching) -> None:
    searching.load("tea of one")
    searching.load("tea of another", org_id="org-002")
    for query in ("tea", "t*", "-coffee", "direction:outbound", "with:+12125550101"):
        assert searching.bodies(query) == ["tea of one"]
        assert searching.bodies(query, org="org-002") == ["tea of another"]


def test_only_an_officer_of_the_organisation_may_search(searching: Searching) -> None:
    searching.load("tea")
    own, other = searching.org("org-001"), searching.org("org-002")
    refused = [
        Principal(PERSON, "t", frozenset({"officer"}), frozenset({bytes(other)})),
        Principal(PERSON, "t", frozenset({"auditor", "producer", "registrar", "operator"}), None),
        Principal(PERSON, "t", frozenset(), None),
    ]
    for principal in refused:
        with pytest.raises(Forbidden):
            searching.finder.find(principal, "tea", reason=WHY, org=own)
    everywhere = Principal(PERSON, "t", frozenset({"officer"}), None)
    assert len(searching.finder.find(everywhere, "tea", reason=WHY, org=own).results) == 1


def recorded(searching: Searching) -> list[tuple[str, dict[str, Any]]]:
    today = Day.of(searching.house.clock())
    return [(each.kind, each.detail) for each in searching.house.activity.of_day(today)]


def test_a_search_is_on_record_with_its_reason(searching: Searching) -> None:
    searching.load("tea", "tea")
    page = searching.find("tea", limit=1)
    found = searching.house.activity.of_day(Day.of(searching.house.clock()))
    assert [(each.id, each.kind, each.person, each.org) for each in found] == [
        (page.search_id, "search", PERSON, searching.org())
    ]
    detail = {"query": "tea", "reason": WHY, "shelves": page.shelves_searched, "count": 1}
    assert found[0].detail == detail


def test_a_search_that_cannot_be_put_on_record_gives_nothing(searching: Searching) -> None:
    searching.load("tea")
    today = Day.of(searching.house.clock()).shelf
    with searching.house.store.transaction() as connection:
        searching.house.shelves.set_state(connection, today, "intent")
    with pytest.raises(Exception, match="no open shelf"):
        searching.find("tea")


@pytest.mark.parametrize("reason", ["", "   ", "...", "\x00", "x" * (MAX_REASON + 1)], ids=len)
def test_without_a_reason_there_is_no_result(searching: Searching, reason: str) -> None:
    searching.load("tea")
    with pytest.raises(ReasonRequired):
        searching.finder.find(searching.officer(), "tea", reason=reason, org=searching.org())
    assert recorded(searching) == []


@pytest.mark.parametrize("limit", [0, -1, 201, 10**9])
def test_a_page_has_a_bounded_size(searching: Searching, limit: int) -> None:
    with pytest.raises(Malformed) as refused:
        searching.find("tea", limit=limit)
    assert refused.value.field == "limit"


def test_a_query_that_is_none_is_refused_and_not_recorded(searching: Searching) -> None:
    with pytest.raises(QueryMalformed):
        searching.find("(tea")
    assert recorded(searching) == []


def test_opening_too_many_texts_is_refused_with_the_bound(
    searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder_module, "MAX_OPENED", 10)
    searching.load(*["tea"] * 11)
    with pytest.raises(Unanswerable, match="10"):
        searching.find("-tea")
    assert [(said["query"], said["refused"]) for _, said in recorded(searching)] == [("-tea", "unanswerable")]
    assert len(searching.find("-coffee", limit=5).results) == 5
    assert len(searching.find("tea coffee").results) == 0


def test_a_prefix_that_stands_for_too_much_does_not_narrow_and_is_still_exact(
    searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary_module, "MAX_EXPANSION", 3)
    monkeypatch.setattr(vocabulary_module, "MAX_EXPANSIONS", 4)
    searching.load("tea", "ten", "tee", "two", "other")
    assert sorted(searching.bodies("t*")) == ["tea", "tee", "ten", "two"]
    assert sorted(searching.bodies("te*")) == ["tea", "tee", "ten"]
    assert sorted(searching.bodies("te* OR tw* OR o*")) == ["other", "tea", "tee", "ten", "two"]


def test_a_day_that_lost_its_index_is_an_outage_and_not_an_empty_answer(searching: Searching) -> None:
    searching.load("tea")
    searching.index.drop("2026-11-20")
    with pytest.raises(NoIndex) as missing:
        searching.find("tea")
    assert isinstance(missing.value, Outage)
    assert "rebuild" in missing.value.remedy
    assert searching.bodies("tea on:2026-11-19") == []
    searching.follower.rebuild("2026-11-20")
    assert searching.bodies("tea") == ["tea"]


@pytest.mark.parametrize("drop_first", [True, False])
def test_a_day_that_is_purged_is_simply_not_there(searching: Searching, drop_first: bool) -> None:
    searching.load("tea today", sent_at="2026-11-21T10:00:00Z")
    searching.load("old tea", sent_at="2026-11-19T10:00:00Z")
    with searching.house.store.transaction() as connection:
        searching.house.shelves.set_state(connection, "2026-11-19", "committed")
    searching.house.keyring.destroy("shelf:2026-11-19", entry="1", now=searching.house.clock())
    if drop_first:
        searching.index.drop("2026-11-19")
    for query in ("tea", "t*", "-coffee"):
        assert searching.bodies(query) == ["tea today"]


def test_a_secret_that_goes_while_a_search_runs_is_no_failure(searching: Searching) -> None:
    searching.load("tea", sent_at="2026-11-19T10:00:00Z")
    searching.house.keyring.destroy("shelf:2026-11-19", entry="1", now=searching.house.clock())
    assert searching.bodies("tea") == []
    assert searching.bodies("t*") == []


def test_page_shows_no_text_by_accident(searching: Searching) -> None:
    searching.load("zebracrossing")
    page: Page = searching.find("zebracrossing")
    assert "zebracrossing" not in repr(page)
