"""Reading the quarantine: who sees what, in which order, and that it is on record first."""

from datetime import timedelta

import pytest

from tests.housing import House, event
from tests.ingest.ways_in import WaysIn
from textkeep.access.reasons import MAX_REASON
from textkeep.archive.shelf import Day
from textkeep.errors import Forbidden, Malformed, NotFound, ReasonRequired

WHY = "complaint 4711"


@pytest.fixture
def ways_in(house: House) -> WaysIn:
    return WaysIn.build(house).register("org-001", "org-002")


@pytest.fixture
def filled(ways_in: WaysIn) -> WaysIn:
    """Two days of two organisations, and two records of the house's own that came today."""
    receipt = ways_in.take(
        event(1, channel="mms"),
        event(2, channel="mms", sent_at="2026-11-21T10:00:00Z"),
        event(3, channel="mms", org_id="org-002"),
        event(4, org_id="org-009"),
        b"not JSON \xff",
    )
    assert receipt.quarantined == 5
    return ways_in


def shown(ways_in: WaysIn, *orgs: str) -> list[tuple[str, str | None, str]]:
    page = ways_in.quarantine.page(ways_in.principal("officer", orgs or None), WHY, limit=50)
    return sorted((entry.shelf, entry.org_id, entry.reason) for entry in page.items)


def test_an_officer_of_an_organisation_sees_its_own_and_nothing_of_the_house(filled: WaysIn) -> None:
    assert shown(filled, "org-001") == [("2026-11-20", "org-001", "mms"), ("2026-11-21", "org-001", "mms")]
    assert shown(filled, "org-002") == [("2026-11-20", "org-002", "mms")]
    assert len(shown(filled, "org-001", "org-002")) == 3


def test_an_officer_of_every_organisation_sees_the_houses_own_too(filled: WaysIn) -> None:
    page = filled.quarantine.page(filled.principal("officer"), WHY, limit=50)
    assert sorted((entry.shelf, entry.org_id or "", entry.reason, entry.index) for entry in page.items) == [
        ("2026-11-20", "", "unknown-organisation", 3),
        ("2026-11-20", "org-001", "mms", 0),
        ("2026-11-20", "org-002", "mms", 2),
        ("2026-11-21", "org-001", "mms", 1),
        ("2026-11-22", "", "unreadable", 4),
    ]


def test_one_organisation_can_be_asked_for(filled: WaysIn) -> None:
    officer = filled.principal("officer")
    page = filled.quarantine.page(officer, WHY, org_id="org-002", limit=50)
    assert [entry.org_id for entry in page.items] == ["org-002"]
    for org, asker in (("org-009", officer), ("org-002", filled.principal("officer", ["org-001"]))):
        with pytest.raises(Forbidden):
            filled.quarantine.page(asker, WHY, org_id=org, limit=50)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 50])
def test_pages_together_give_every_entry_once_newest_day_first(filled: WaysIn, limit: int) -> None:
    officer = filled.principal("officer")
    found: list[tuple[str, str]] = []
    cursor = None
    while True:
        page = filled.quarantine.page(officer, WHY, cursor=cursor, limit=limit)
        assert len(page.items) <= limit
        found += [(entry.shelf, entry.paper_id) for entry in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert len(found) == len(set(found)) == 5
    assert [shelf for shelf, _ in found] == ["2026-11-22", "2026-11-21", *["2026-11-20"] * 3]


@pytest.mark.parametrize("cursor", ["", "x", "2026-11-20", "2026-11-20/xyz", "2026-11-20/" + "a" * 32 + "/"])
def test_a_cursor_that_is_none_is_refused(filled: WaysIn, cursor: str) -> None:
    with pytest.raises(Malformed):
        filled.quarantine.page(filled.principal("officer"), WHY, cursor=cursor, limit=5)


def test_what_came_is_given_back_to_the_byte(filled: WaysIn) -> None:
    officer = filled.principal("officer")
    (entry,) = (each for each in filled.quarantine.page(officer, WHY, limit=50).items if each.reason == "unreadable")
    opened, raw = filled.quarantine.read(officer, WHY, entry.shelf, entry.paper_id)
    assert (opened, raw, entry.size) == (entry, b"not JSON \xff", 10)


def test_an_entry_names_the_member_that_was_amiss(ways_in: WaysIn) -> None:
    ways_in.take(event(1, **{"from": "nobody"}))
    (entry,) = ways_in.quarantine.page(ways_in.principal("officer"), WHY, limit=50).items
    assert (entry.reason, entry.field, entry.org_id) == ("malformed", "data.from", "org-001")


def test_a_foreign_or_absent_record_is_not_found(filled: WaysIn) -> None:
    entries = filled.quarantine.page(filled.principal("officer"), WHY, limit=50).items
    officer = filled.principal("officer", ["org-001"])
    for entry in entries:
        if entry.org_id == "org-001":
            assert filled.quarantine.read(officer, WHY, entry.shelf, entry.paper_id)[0] == entry
        else:
            with pytest.raises(NotFound):
                filled.quarantine.read(officer, WHY, entry.shelf, entry.paper_id)
    for shelf, paper_id in (("2026-11-20", "0" * 32), ("2001-01-01", "0" * 32), ("2026-11-21", entries[-1].paper_id)):
        with pytest.raises(NotFound):
            filled.quarantine.read(filled.principal("officer"), WHY, shelf, paper_id)


def test_other_papers_of_the_shelf_are_not_found(filled: WaysIn) -> None:
    officer = filled.principal("officer")
    filled.quarantine.page(officer, WHY, limit=50)
    (listed,) = filled.house.activity.of_day(Day.of(filled.house.clock()))
    with pytest.raises(NotFound):
        filled.quarantine.read(officer, WHY, "2026-11-22", listed.id)


def test_each_reading_is_on_record_with_its_reason(filled: WaysIn) -> None:
    officer = filled.principal("officer", ["org-001"])
    entry = filled.quarantine.page(officer, WHY, limit=50).items[0]
    filled.house.clock.forward(minutes=1)
    filled.quarantine.read(officer, f" {WHY} ", entry.shelf, entry.paper_id)
    listed, read = filled.house.activity.of_day(Day.of(filled.house.clock()))
    assert (listed.kind, listed.detail["reason"], len(listed.detail["shown"])) == ("quarantine-listed", WHY, 2)
    assert (read.kind, read.detail) == (
        "quarantine-read",
        {"reason": WHY, "read": f"{entry.shelf}/{entry.paper_id}"},
    )
    assert listed.org == read.org == filled.house.organisations.find("org-001")


@pytest.mark.parametrize("why", ["", "  ", "...", "x" * (MAX_REASON + 1)], ids=len)
def test_without_a_reason_nothing_is_shown_and_nothing_recorded(filled: WaysIn, why: str) -> None:
    officer = filled.principal("officer")
    with pytest.raises(ReasonRequired):
        filled.quarantine.page(officer, why, limit=50)
    with pytest.raises(ReasonRequired):
        filled.quarantine.read(officer, why, "2026-11-20", "0" * 32)
    assert filled.house.activity.of_day(Day.of(filled.house.clock())) == []


@pytest.mark.parametrize("role", ["producer", "auditor", "registrar", "counsel", "operator"])
def test_only_an_officer_may_look(filled: WaysIn, role: str) -> None:
    with pytest.raises(Forbidden):
        filled.quarantine.page(filled.principal(role), WHY, limit=50)
    with pytest.raises(Forbidden):
        filled.quarantine.read(filled.principal(role), WHY, "2026-11-20", "0" * 32)


def test_a_record_is_invisible_400_days_after_it_was_sent_or_else_after_it_came(ways_in: WaysIn) -> None:
    officer = ways_in.principal("officer")
    ways_in.take(event(1, channel="mms", sent_at="2026-11-22T10:00:00Z"), b"not JSON")
    entries = ways_in.quarantine.page(officer, WHY, limit=50).items
    assert {entry.shelf for entry in entries} == {"2026-11-22"}
    ways_in.house.clock.forward(days=399)
    ways_in.house.shelves.ensure(ways_in.house.clock())
    (sent,) = (entry for entry in entries if entry.reason == "mms")
    ways_in.house.clock.forward(hours=22, milliseconds=-1)  # it was sent at ten, and came at noon
    assert ways_in.quarantine.read(officer, WHY, sent.shelf, sent.paper_id)[0] == sent
    ways_in.house.clock.forward(milliseconds=1)
    with pytest.raises(NotFound):
        ways_in.quarantine.read(officer, WHY, sent.shelf, sent.paper_id)
    assert [entry.reason for entry in ways_in.quarantine.page(officer, WHY, limit=50).items] == ["unreadable"]
    ways_in.house.clock.now += timedelta(hours=2)
    assert ways_in.quarantine.page(officer, WHY, limit=50).items == []


def test_what_lies_on_a_shelf_whose_purge_has_begun_is_not_shown(filled: WaysIn) -> None:
    with filled.house.store.transaction() as connection:
        filled.house.shelves.set_state(connection, "2026-11-20", "intent")
    assert {shelf for shelf, _, _ in shown(filled)} == {"2026-11-21", "2026-11-22"}
