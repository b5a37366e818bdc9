"""A preview counts what a purge would keep: by opening and matching, without placing anything, on record."""

import json
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.housing import House, event
from tests.retention.holding import ORG, Holders
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST
from textkeep.archive.shelf import Day
from textkeep.errors import Forbidden, Malformed, ReasonRequired
from textkeep.retention.holds import preview as hold_preview
from textkeep.retention.holds.hold import Scope
from textkeep.retention.holds.preview import Foreseen, Preview, ShelfCount
from textkeep.store.evidence import holds
from textkeep.store.tables import texts_of

pytestmark = pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)

TODAY, THIRD = "2026-11-22", "2026-11-20"


@pytest.fixture
def holders(house: House) -> Holders:
    return Holders(house)


def preview(holders: Holders, cursor: str | None = None, why: str = "a subpoena", **scope: object) -> Foreseen:
    house = holders.house
    counting = Preview(
        house.store, holders.holds.holding, house.shelves, house.sealer, house.papers, house.activity, house.clock
    )
    wanted = Scope(ORG, **scope)  # type: ignore[arg-type]
    return counting.count(holders.officer, reason=why, scope=wanted, cursor=cursor)


def test_texts_are_counted_by_day_and_user_with_what_is_in_quarantine(holders: Holders) -> None:
    holders.take(
        event(1, body="the merger"),
        event(2, body="the Merger, again", user_id="org-001-user-0002"),
        event(3, body="lunch"),
        event(4, body="a merger", sent_at="2026-11-19T23:59:59Z"),
        event(5, body="merger", org_id="org-002"),
    )
    holders.take(event(6, body="merger", channel="mms"), verdict="quarantine", reason="mms")
    holders.take(event(7, body="lunch", channel="mms"), verdict="quarantine", reason="mms")
    holders.take(b"not JSON", verdict="quarantine", reason="unreadable", org=None)
    found = preview(holders, query="merger")
    told = {each.shelf: (each.texts, each.records, dict(each.users)) for each in found.shelves}
    assert told == {
        "2026-11-19": (1, 0, {"org-001-user-0001": 1}),
        THIRD: (2, 1, {"org-001-user-0001": 1, "org-001-user-0002": 1}),
        TODAY: (0, 1, {}),
    }
    assert (found.opened, found.cursor, holders.rows(holds)) == (4, None, [])


def test_it_is_on_record_with_its_reason_before_it_is_given(holders: Holders) -> None:
    found = preview(holders, query="merger")
    [record] = holders.house.activity.of_day(Day.named(TODAY))
    assert (record.id, record.kind, record.person) == (found.preview_id, "hold-preview", holders.officer.person)
    assert (record.detail["reason"], record.detail["scope"]["query"]) == ("a subpoena", "merger")


def test_what_does_not_open_counts_as_undecided(holders: Holders) -> None:
    holders.take(event(1), event(2))
    table = texts_of(THIRD)
    with holders.house.behind.transaction() as connection:
        one = connection.execute(table.select().limit(1)).one()
        connection.execute(table.update().where(table.c.tag == one.tag).values(sealed=b"\x01" + bytes(99)))
    [shelf] = preview(holders).shelves
    assert (shelf.texts, shelf.undecided, shelf.opened) == (1, 1, 2)


def test_an_answer_that_has_opened_enough_says_where_the_next_goes_on(holders: Holders) -> None:
    for day in (18, 19, 20):
        holders.take(event(day, sent_at=f"2026-11-{day}T10:00:00Z"))
    whole = preview(holders)
    shelves: list[ShelfCount] = []
    cursor, answers = None, 0
    with patch.object(hold_preview, "OPENED_AT_MOST", 1):
        while cursor is not None or not answers:
            found = preview(holders, cursor)
            shelves += found.shelves
            cursor, answers = found.cursor, answers + 1
    assert answers >= 3
    assert shelves == list(whole.shelves)
    with pytest.raises(Malformed):
        preview(holders, "yesterday")


def test_of_what_other_holds_keep_it_tells_the_day_each_text_was_sent(holders: Holders, tmp_path: Path) -> None:
    with Keeping.over(holders.house, tmp_path) as keeping:
        keeping.take(OLDEST, "merger", "merger again", "lunch")
        keeping.holders.place()
        keeping.purge(OLDEST)
        [shelf] = preview(keeping.holders, query="merger").shelves
        assert (shelf.shelf, shelf.texts, dict(shelf.days)) == (keeping.kept_shelf(), 2, {OLDEST.shelf: 2})


def test_only_days_that_the_dates_allow_are_opened(holders: Holders) -> None:
    for day in (18, 19, 20):
        holders.take(event(day, sent_at=f"2026-11-{day}T10:00:00Z"))
    start = Day.named("2026-11-19").start()
    found = preview(holders, after=start, before=start + timedelta(days=1))
    assert [each.shelf for each in found.shelves] == ["2026-11-19"]
    assert found.opened <= 2


def test_what_is_too_late_and_what_is_in_purge_is_told(holders: Holders) -> None:
    shelves = holders.house.shelves
    with holders.house.store.transaction() as connection:
        shelves.set_state(connection, "2026-11-18", "committed")
        shelves.set_state(connection, "2026-11-19", "kept")
    found = preview(holders)
    assert (found.reach.too_late, found.reach.in_purge) == (("2026-11-18",), ("2026-11-19",))


def test_a_reason_and_the_right_to_place_are_needed(holders: Holders) -> None:
    with pytest.raises(ReasonRequired):
        preview(holders, why=" ")
    house = holders.house
    counting = Preview(
        house.store, holders.holds.holding, house.shelves, house.sealer, house.papers, house.activity, house.clock
    )
    other = holders.person("Otto", "officer", orgs=("org-002",))
    for nobody in (holders.approver, other):
        with pytest.raises(Forbidden):
            counting.count(nobody, reason="r", scope=Scope(ORG))
    told = [(each.body["what"], each.body["why"]) for each in holders.entries("approval")]
    assert told == [("hold-preview", "role"), ("hold-preview", "organisation")]


def test_a_placed_hold_covers_what_its_preview_counted(holders: Holders, tmp_path: Path) -> None:
    holders.take(*(event(number, body=f"word{number % 3}") for number in range(9)))
    [foreseen] = preview(holders, query="word1").shelves
    placed = holders.place(query="word1")
    with holders.house.store.reading() as connection:
        opened = list(holders.house.vault.slice_texts(connection, holders.house.vault.slices_of(connection, THIRD)))
    named = holders.holds.holding.held_by(holders.org(), opened)
    assert foreseen.texts == sum(ids == [placed.hold.id] for ids in named) == 3
    assert json.dumps(sorted(foreseen.users)) == '["org-001-user-0001"]'
