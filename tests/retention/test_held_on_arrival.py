"""What comes too late and is held: set aside as `expired-under-hold`, never refused and never a readable text."""

from datetime import datetime, timedelta

import pytest

from tests.housing import House, event
from tests.retention.holding import Holders
from textkeep.archive.shelf import RETENTION, Day
from textkeep.archive.text import HOUSE

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)


@pytest.fixture
def holders(house: House) -> Holders:
    return Holders(house)


def sent(at: datetime) -> str:
    return at.isoformat()


def reasons(holders: Holders) -> list[str | None]:
    """Why each record that lies where held texts do is there; none is with what came today."""
    today = Day.of(holders.house.clock()).shelf
    with holders.house.store.reading() as connection:
        kept = holders.house.shelves.kept_of(connection, holders.org())
        assert kept is not None
        assert not list(holders.house.papers.of_kind(connection, today, "quarantine"))
        papers = list(holders.house.papers.of_kind(connection, kept, "quarantine"))
    assert all(paper.org != HOUSE for paper in papers)
    return [paper.plain.split(b"\n", 1)[0].decode() for paper in papers]


def test_what_ingest_calls_expired_is_set_aside_where_a_hold_covers_it(holders: Holders) -> None:
    holders.place(query="merger")
    old = sent(holders.house.clock() - RETENTION)
    receipt = holders.take(
        event(1, body="the merger", sent_at=old),
        event(2, body="lunch", sent_at=old),
        verdict="refuse",
        reason="expired",
    )
    assert [(item.outcome, item.reason) for item in receipt.items] == [
        ("quarantined", "expired-under-hold"),
        ("refused", "expired"),
    ]
    assert (receipt.read, receipt.quarantined, receipt.refused) == (2, 1, 1)
    [said] = reasons(holders)
    assert said is not None
    assert '"expired-under-hold"' in said
    assert holders.entries("quarantine")[-1].body["reasons"] == {"expired-under-hold": 1}
    assert holders.entries("refusals")[-1].body["count"] == 1


def test_a_text_that_turns_400_days_old_on_its_way_in_is_set_aside(holders: Holders) -> None:
    holders.place()
    receipt = holders.take(event(1, sent_at=sent(holders.house.clock() - RETENTION)))
    assert [(item.outcome, item.reason) for item in receipt.items] == [("quarantined", "expired-under-hold")]


@pytest.mark.parametrize("state", ["intent", "committed", "reported"])
def test_a_text_of_a_day_whose_purge_has_begun_is_set_aside(holders: Holders, state: str) -> None:
    holders.place()
    at = holders.house.clock() - RETENTION + timedelta(hours=1)
    with holders.house.store.transaction() as connection:
        holders.house.shelves.set_state(connection, Day.of(at).shelf, state)  # type: ignore[arg-type]
    receipt = holders.take(event(1, sent_at=sent(at)), event(2, org_id="org-002", sent_at=sent(at)))
    assert [item.reason for item in receipt.items] == ["expired-under-hold", "expired"]


def test_a_text_of_a_day_whose_secret_is_destroyed_is_set_aside(holders: Holders) -> None:
    holders.place()
    at = holders.house.clock() - RETENTION + timedelta(hours=1)
    day = Day.of(at).shelf
    with holders.house.store.transaction() as connection:
        holders.house.shelves.set_state(connection, day, "reported")
    holders.house.keyring.destroy(f"shelf:{day}", entry="1", now=holders.house.clock())
    receipt = holders.take(event(1, sent_at=sent(at)))
    assert [item.reason for item in receipt.items] == ["expired-under-hold"]


def test_what_only_another_organisations_hold_covers_is_refused(holders: Holders) -> None:
    holders.place(by=holders.person("Otto", "officer", orgs=("org-002",)), org_id="org-002")
    receipt = holders.take(event(1, sent_at=sent(holders.house.clock() - RETENTION)))
    assert [item.outcome for item in receipt.items] == ["refused"]


def test_a_released_hold_sets_aside_for_24_hours_and_not_longer(holders: Holders) -> None:
    holders.release(holders.place().hold)
    holders.house.clock.forward(hours=23)
    late = sent(holders.house.clock() - RETENTION - timedelta(days=1))
    assert holders.take(event(1, sent_at=late)).quarantined == 1
    holders.house.clock.forward(hours=1)
    assert holders.take(event(2, sent_at=late)).refused == 1


def test_a_hold_that_was_placed_while_a_batch_waited_counts(holders: Holders) -> None:
    old = sent(holders.house.clock() - RETENTION)
    assert holders.take(event(1, sent_at=old), verdict="refuse", reason="expired").refused == 1
    holders.place()
    assert holders.take(event(1, sent_at=old), verdict="refuse", reason="expired").quarantined == 1
