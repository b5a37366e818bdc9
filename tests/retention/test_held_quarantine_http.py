"""Over HTTP a record past its 400 days is there for who names a hold that covers it (`Textkeep-Hold`), else hidden."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.housing import event
from tests.ingest.ways_in import WaysIn
from tests.retention.holding import ORG
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST
from tests.serving import Serving, serving
from textkeep.archive.shelf import RETENTION
from textkeep.ingest.door import Door
from textkeep.ingest.http import router

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)

WHY = {"Textkeep-Reason": "matter 4711"}


@pytest.fixture
def served(keeping: Keeping) -> Iterator[Serving]:
    house = keeping.house
    intake = WaysIn.build(house).intake
    with serving(house, router(intake, Door(intake.store), house.vault, keeping.quarantine())) as running:
        yield running


def test_records_past_their_400_days_are_listed_and_read_with_the_holds_header_alone(
    keeping: Keeping, served: Serving
) -> None:
    client = served.client("officer", orgs=[ORG])
    record = keeping.set_aside(OLDEST, "the merger")
    other = keeping.set_aside(OLDEST, "lunch")
    hold = keeping.holders.place(query="merger").hold
    sent_at = (keeping.house.clock() - RETENTION - timedelta(days=3)).isoformat()
    [late] = keeping.holders.take(event(900, body="the merger, late", sent_at=sent_at)).items
    assert (late.outcome, late.reason) == ("quarantined", "expired-under-hold")
    keeping.purging.until(OLDEST.due() - timedelta(seconds=1))
    for purged in (False, True):
        named = {**WHY, "Textkeep-Hold": hold.id}
        assert client.get("/v1/quarantine", headers=WHY).json()["items"] == []
        items = client.get("/v1/quarantine", headers=named).json()["items"]
        assert {each["reason"] for each in items} == {"mms", "expired-under-hold"}
        assert other not in {each["paper_id"] for each in items}
        contents = []
        for each in items:
            where = f"/v1/quarantine/{each['shelf']}/{each['paper_id']}"
            assert client.get(where, headers=WHY).status_code == 404
            contents.append(client.get(where, headers=named).json()["content"])
        assert sorted("late" in each for each in contents) == [False, True]
        assert client.get(f"/v1/quarantine/{OLDEST.shelf}/{record}", headers=named).status_code == 200
        assert client.get(f"/v1/quarantine/{OLDEST.shelf}/{other}", headers=named).status_code == 404
        if not purged:
            assert keeping.purge(OLDEST).stopped is None
    wrong = {**WHY, "Textkeep-Hold": "h-0000000000000000"}
    assert client.get("/v1/quarantine", headers=wrong).status_code == 404
    keeping.holders.release(hold)
    keeping.house.clock.forward(hours=24)
    assert client.get(f"/v1/quarantine/{OLDEST.shelf}/{record}", headers=named).status_code == 404
