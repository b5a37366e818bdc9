"""What a hold kept is read over HTTP and in the quarantine by naming the hold, and in no other way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.housing import House
from tests.retention.holding import ORG
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST
from tests.search.searching import Searching
from tests.serving import Serving, serving
from textkeep.archive.shelf import Day
from textkeep.errors import Forbidden, NotFound
from textkeep.ingest.quarantine import Quarantine
from textkeep.search.http import router

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)

WHY = "matter 4711"


@pytest.fixture
def keeping(house: House, tmp_path: Path) -> Iterator[Keeping]:
    with Keeping.over(house, tmp_path) as made:
        yield made


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


def test_a_held_record_is_read_by_its_day_or_its_shelf_by_naming_the_hold(keeping: Keeping) -> None:
    house, holders = keeping.house, keeping.holders
    record = keeping.set_aside(OLDEST, "merger")
    hold, officer = holders.place().hold, holders.officer
    keeping.purge(OLDEST)
    quarantine = Quarantine(
        house.store,
        house.shelves,
        house.papers,
        house.organisations,
        house.activity,
        house.clock,
        holders.holds.in_quarantine(),
    )
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
