"""What a hold kept is read over HTTP and in the quarantine by naming the hold, and in no other way."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from tests.housing import event
from tests.retention.holding import ORG
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST
from tests.search.searching import Searching
from tests.serving import Serving, serving
from textkeep.access.principal import Principal
from textkeep.archive.shelf import RETENTION, Day
from textkeep.errors import Forbidden, Malformed, NotFound
from textkeep.search.http import router
from textkeep.store.tables import texts_of

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)

WHY = "matter 4711"


@pytest.fixture
def served(keeping: Keeping) -> Iterator[Serving]:
    house = keeping.house
    searching = Searching.build(house, keeping.purging.index, keeping.holders.holds.in_search())
    with serving(house, router(searching.finder, searching.reader, house.organisations)) as running:
        keeping.take(OLDEST, "merger", "lunch")
        searching.follow()
        keeping.hold = keeping.holders.place(query="merger").hold
        keeping.purge(OLDEST)
        searching.follow()
        yield running


def test_a_held_text_is_searched_and_read_over_http_by_naming_its_hold(keeping: Keeping, served: Serving) -> None:
    client = served.client("officer", orgs=[ORG])
    name = keeping.hold.id
    asked = {"query": "merger OR lunch", "reason": WHY}
    assert client.post("/v1/searches", json=asked).json()["results"] == []
    [found] = client.post("/v1/searches", json={**asked, "hold_id": name}).json()["results"]
    assert (found["body"], found["held"]) == ("merger", [name])
    where, why = f"/v1/texts/{found['text_id']}", {"Textkeep-Reason": WHY}
    assert client.get(where, headers=why).status_code == 404
    assert client.get(where, headers={**why, "Textkeep-Hold": name}).json() == found
    assert client.get(f"{where}/conversation", headers=why).status_code == 404
    around = client.get(f"{where}/conversation", headers={**why, "Textkeep-Hold": name}).json()
    assert around["texts"] == [found]
    assert client.get(where, headers={**why, "Textkeep-Hold": "h-0000000000000000"}).status_code == 404
    assert client.post("/v1/searches", json={**asked, "hold_id": "no such hold"}).status_code == 404


def listed(keeping: Keeping, by: Principal, hold: str | None = None) -> list[tuple[str, str, str]]:
    """What a list shows, page by page: where it lies, its id and why it is there."""
    quarantine, found, cursor = keeping.quarantine(), [], None
    while True:
        page = quarantine.page(by, WHY, hold=hold, cursor=cursor, limit=1)
        found += [(entry.shelf, entry.paper_id, entry.reason) for entry in page.items]
        if (cursor := page.cursor) is None:
            return found


def test_a_held_record_is_read_by_its_day_or_its_shelf_by_naming_the_hold(keeping: Keeping) -> None:
    house, holders = keeping.house, keeping.holders
    record = keeping.set_aside(OLDEST, "merger")
    hold, officer = holders.place().hold, holders.officer
    keeping.purge(OLDEST)
    quarantine = keeping.quarantine()
    for shelf in (OLDEST.shelf, keeping.kept_shelf()):
        with pytest.raises(NotFound):
            quarantine.read(officer, WHY, shelf, record)
        entry, raw = quarantine.read(officer, WHY, shelf, record, hold.id)
        assert (entry.shelf, entry.paper_id) == (keeping.kept_shelf(), record)
        assert b"merger" in raw
    stranger = holders.person("Otto", "officer", orgs=("org-002",))
    with pytest.raises(NotFound):
        quarantine.read(stranger, WHY, OLDEST.shelf, record, hold.id)
    with pytest.raises(Forbidden):
        quarantine.read(holders.counsel, WHY, OLDEST.shelf, record, hold.id)
    acts = house.activity.of_day(Day.of(house.clock()))
    assert [act.detail["hold"] for act in acts if act.kind == "quarantine-read"] == [hold.id, hold.id]


def test_what_a_hold_keeps_in_quarantine_is_listed_by_naming_it_wherever_it_lies(keeping: Keeping) -> None:
    holders = keeping.holders
    old, other = keeping.set_aside(OLDEST, "merger"), keeping.set_aside(OLDEST, "lunch")
    new = keeping.set_aside(OLDEST.plus(1), "the merger again")
    hold = holders.place(query="merger").hold
    officer = holders.officer
    days = [(OLDEST.plus(1).shelf, new, "mms"), *sorted([(OLDEST.shelf, each, "mms") for each in (old, other)])]
    assert sorted(listed(keeping, officer)) == sorted(days)
    assert sorted(listed(keeping, officer, hold.id)) == sorted(each for each in days if each[1] != other)
    keeping.purge(OLDEST)
    assert listed(keeping, officer) == [(OLDEST.plus(1).shelf, new, "mms")]
    assert listed(keeping, officer, hold.id) == [(keeping.kept_shelf(), old, "mms"), (OLDEST.plus(1).shelf, new, "mms")]
    assert listed(keeping, holders.person("Otto", "officer", orgs=("org-002",))) == []
    with pytest.raises(NotFound):
        listed(keeping, officer, "h-0000000000000000")
    with pytest.raises(Malformed):
        keeping.quarantine().page(officer, WHY, hold=hold.id, cursor="kept-1/2", limit=1)
    acts = keeping.house.activity.of_day(Day.of(keeping.house.clock()))
    assert {act.detail.get("hold") for act in acts if act.kind == "quarantine-listed"} == {None, hold.id}


def test_what_came_expired_is_shown_to_who_names_the_hold_it_came_under_and_to_nobody_else(keeping: Keeping) -> None:
    holders = keeping.holders
    hold, officer = holders.place(query="merger").hold, holders.officer
    sent_at = (keeping.house.clock() - RETENTION - timedelta(days=100)).isoformat()
    assert holders.take(event(1, body="the merger", sent_at=sent_at)).quarantined == 1
    assert listed(keeping, officer) == []
    [(shelf, record, reason)] = listed(keeping, officer, hold.id)
    assert reason == "expired-under-hold"
    with pytest.raises(NotFound):
        keeping.quarantine().read(officer, WHY, shelf, record)
    assert b"the merger" in keeping.quarantine().read(officer, WHY, shelf, record, hold.id)[1]
    assert shelf == keeping.kept_shelf()
    assert keeping.released(hold).stopped is None
    assert keeping.papers(keeping.kept_shelf()) == [], "it went with what only that hold kept"
    report = keeping.purging.report(shelf)
    assert (report["quarantine"]["taken"], report["quarantine"]["destroyed"]) == (1, 1)
    assert report["quarantine"]["reasons"] == {"expired-under-hold": 1}
    assert listed(keeping, officer) == []
    for named in (None, hold.id):
        with pytest.raises(NotFound):
            keeping.quarantine().read(officer, WHY, shelf, record, named)


def test_what_does_not_open_is_shown_to_who_names_a_hold_that_keeps_it(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    hold = keeping.holders.place(query="merger").hold
    table = texts_of(OLDEST.shelf)
    with keeping.house.store.transaction() as connection:
        sealed = connection.execute(select(table.c.sealed)).scalar_one()
        connection.execute(update(table).values(sealed=sealed[:-1] + bytes([sealed[-1] ^ 1])))
    keeping.purge(OLDEST)
    [(shelf, record, reason)] = listed(keeping, keeping.holders.officer, hold.id)
    assert (shelf, reason) == (keeping.kept_shelf(), "undecided")
    entry, raw = keeping.quarantine().read(keeping.holders.officer, WHY, shelf, record, hold.id)
    assert (entry.reason, entry.batch_id) == ("undecided", None)
    assert b"merger" in raw
    with pytest.raises(NotFound):
        keeping.quarantine().read(keeping.holders.officer, WHY, shelf, record)
