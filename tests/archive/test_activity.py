"""Who searched and read what, on record before the answer leaves."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from tests.housing import NOON, House
from textkeep.access.principal import LOCAL, Principal
from textkeep.archive.keyring import SecretDestroyed, shelf_secret
from textkeep.archive.sealing import CannotOpen
from textkeep.archive.shelf import STATES, Day
from textkeep.archive.text import Handle
from textkeep.errors import Unsound
from textkeep.ledger import log
from textkeep.store.tables import drop_shelf_tables, papers_of, shelves

TODAY = Day.of(NOON)
OFFICER = Principal(b"officer1", "token-1", frozenset({"officer"}), None)
DETAIL = {"query": "canary-query-of-a-person", "reason": "case 7, \ud800 naïve", "results": 3, "shelves": ["a", "b"]}


@pytest.fixture
def org(house: House) -> Handle:
    """A registered organisation."""
    return house.organisations.register("org-001")


def ledger(house: House) -> list[log.Entry]:
    with house.store.reading() as connection:
        return log.entries(connection, kinds=["activity"])


def counts(house: House) -> dict[str, int]:
    with house.store.reading() as connection:
        return house.papers.counts(connection, TODAY.shelf)


def test_what_was_recorded_can_be_read_back_whole(house: House, org: Handle) -> None:
    made = house.activity.record(OFFICER, "search", org, DETAIL)
    for activity in (house.activity, house.reopened().activity):
        (record,) = activity.of_day(TODAY)
        assert (record.id, record.kind, record.person, record.org, record.at) == (
            made,
            "search",
            b"officer1",
            org,
            NOON,
        )
        assert record.detail == DETAIL


def test_what_concerns_no_one_organisation_is_sealed_for_the_house(house: House) -> None:
    local = Principal(b"operator", LOCAL, frozenset({"operator"}), None)
    house.activity.record(local, "search", None, {})
    assert [(record.org, record.person) for record in house.activity.of_day(TODAY)] == [(None, b"operator")]


def test_the_ledger_keeps_kind_handles_and_a_digest_and_no_word_of_the_detail(house: House, org: Handle) -> None:
    made = house.activity.record(OFFICER, "search", org, DETAIL)
    (entry,) = ledger(house)
    with house.store.reading() as connection:
        paper = house.papers.get(connection, TODAY.shelf, bytes.fromhex(made))
    assert paper is not None
    assert (entry.shelf, entry.made_at) == (TODAY.shelf, NOON)
    assert entry.body == {
        "v": 1,
        "kind": "activity",
        "time": log.moment(NOON),
        "shelf": TODAY.shelf,
        "id": made,
        "what": "search",
        "person": OFFICER.person.hex(),
        "org": org.hex(),
        "digest": paper.commitment.hex(),
    }


def test_records_come_in_the_order_they_were_made(house: House, org: Handle) -> None:
    made = []
    for number in range(5):
        made.append(house.activity.record(OFFICER, "read", org if number % 2 else None, {"number": number}))
        house.clock.forward(seconds=1)
    assert [record.id for record in house.activity.of_day(TODAY)] == made
    assert [entry.body["id"] for entry in ledger(house)] == made


def test_a_record_lies_on_the_day_it_happened(house: House, org: Handle) -> None:
    house.clock.now = TODAY.end() - timedelta(microseconds=1)
    last = house.activity.record(OFFICER, "read", org, {})
    house.clock.now = TODAY.end()
    first = house.activity.record(OFFICER, "read", org, {})
    assert [[record.id for record in house.activity.of_day(day)] for day in (TODAY, TODAY.plus(1))] == [[last], [first]]


def test_without_an_open_shelf_for_today_nothing_is_recorded_and_nothing_answered(house: House) -> None:
    for state in STATES[1:]:
        with house.store.transaction() as connection:
            house.shelves.set_state(connection, TODAY.shelf, state)
        with pytest.raises(Unsound):
            house.activity.record(OFFICER, "search", None, DETAIL)
        assert (ledger(house), counts(house), house.activity.of_day(TODAY)) == ([], {}, [])


def test_a_day_without_a_shelf_takes_no_record(house: House) -> None:
    with house.behind.transaction() as connection:
        connection.execute(delete(shelves).where(shelves.c.name == TODAY.shelf))
    with pytest.raises(Unsound):
        house.activity.record(OFFICER, "search", None, DETAIL)
    assert ledger(house) == []


def test_record_and_entry_stand_or_fall_together(house: House, org: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="over 4096 bytes"):
        house.activity.record(OFFICER, "x" * 4096, org, DETAIL)
    assert (ledger(house), counts(house)) == ([], {})
    house.keyring.destroy(shelf_secret(TODAY.shelf), entry="1", now=NOON)
    with pytest.raises(SecretDestroyed):
        house.activity.record(OFFICER, "search", org, DETAIL)
    assert (ledger(house), counts(house)) == ([], {})


def test_nothing_can_be_recorded_inside_a_transaction_that_may_still_fail(house: House, org: Handle) -> None:
    with house.store.transaction(), pytest.raises(RuntimeError):
        house.activity.record(OFFICER, "search", org, DETAIL)
    with house.store.reading(), pytest.raises(RuntimeError):
        house.activity.record(OFFICER, "search", org, DETAIL)
    assert ledger(house) == []


def test_an_altered_record_is_not_shown_as_if_it_were_none(house: House, org: Handle) -> None:
    house.activity.record(OFFICER, "search", org, DETAIL)
    with house.behind.transaction() as connection:
        connection.execute(update(papers_of(TODAY.shelf)).values(made_at=NOON - timedelta(hours=1)))
    with pytest.raises(CannotOpen):
        house.activity.of_day(TODAY)


def test_nothing_is_left_to_read_once_the_day_is_purged(house: House, org: Handle) -> None:
    house.activity.record(OFFICER, "search", org, DETAIL)
    house.keyring.destroy(shelf_secret(TODAY.shelf), entry="1", now=NOON)
    with house.store.transaction() as connection:
        house.shelves.set_state(connection, TODAY.shelf, "reported")
        drop_shelf_tables(connection, TODAY.shelf)
    assert house.activity.of_day(TODAY) == []
    assert house.activity.of_day(Day.named("2019-01-01")) == []
    assert len(ledger(house)) == 1


def test_a_record_shows_nothing_of_its_detail_where_it_is_printed(house: House, org: Handle) -> None:
    house.activity.record(OFFICER, "search", org, DETAIL)
    assert "canary" not in repr(house.activity.of_day(TODAY))
