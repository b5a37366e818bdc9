"""A release: one person asks, another approves, and 24 hours later the hold keeps nothing any more."""

from datetime import timedelta

import pytest

from tests.housing import House
from tests.retention.holding import Holders
from textkeep.errors import Conflict, Forbidden, Malformed, NotFound
from textkeep.retention.approvals.approval import NotApproved, TwoPersons
from textkeep.retention.holds.release import AlreadyReleased
from textkeep.store.evidence import holds, releases

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)


@pytest.fixture
def holders(house: House) -> Holders:
    return Holders(house)


def test_a_released_hold_keeps_for_24_hours_and_not_longer(holders: Holders) -> None:
    hold = holders.place().hold
    asked = holders.ask(hold)
    holders.house.clock.forward(hours=5)
    decided = holders.approve(asked)
    ends_at = holders.house.clock() + timedelta(hours=24)
    assert decided.effect["hold"] == hold.id
    [row] = holders.rows(releases)
    assert (row["effective_at"], row["asked_by"], row["approved_by"]) == (
        ends_at,
        holders.counsel.person,
        holders.approver.person,
    )
    [entry] = holders.entries("release")
    assert (entry.body["hold"], entry.body["approval"], entry.seq) == (hold.id, asked.id, row["entry"])
    holders.house.clock.now = ends_at - timedelta(microseconds=1)
    assert holders.in_force() == [hold.id]
    holders.house.clock.now = ends_at
    assert holders.in_force() == []
    assert holders.holds.agree() == type(holders.holds.agree())()


def test_asking_alone_ends_nothing(holders: Holders) -> None:
    hold = holders.place().hold
    holders.ask(hold)
    holders.house.clock.forward(days=30)
    assert holders.in_force() == [hold.id]


def test_nobody_approves_their_own_request_and_the_attempt_is_on_record(holders: Holders) -> None:
    hold = holders.place().hold
    asked = holders.ask(hold, by=holders.counsel)
    same = holders.person("Carol", "approver")
    with pytest.raises(TwoPersons):
        holders.approve(asked, by=same)
    attempt = holders.entries("approval")[-1]
    assert (attempt.body["did"], attempt.body["why"], attempt.body["by"]) == (
        "attempt",
        "own-request",
        same.person.hex(),
    )
    assert holders.rows(releases) == []
    holders.house.clock.forward(days=2)
    assert holders.in_force() == [hold.id]


def test_an_approval_after_24_hours_is_refused_and_on_record(holders: Holders) -> None:
    hold = holders.place().hold
    asked = holders.ask(hold)
    holders.house.clock.forward(hours=24)
    with pytest.raises(NotApproved):
        holders.approve(asked)
    assert holders.entries("approval")[-1].body["why"] == "expired"
    assert (holders.rows(releases), holders.rows(holds)[0]["ends_at"]) == ([], None)


def test_a_refused_request_ends_nothing(holders: Holders) -> None:
    hold = holders.place().hold
    asked = holders.ask(hold)
    holders.approvals.decide(holders.approver, asked.id, "refused", asked.digest)
    holders.house.clock.forward(days=2)
    assert holders.in_force() == [hold.id]
    holders.ask(hold)


def test_a_hold_is_released_once_and_asked_for_once_at_a_time(holders: Holders) -> None:
    hold = holders.place().hold
    asked = holders.ask(hold)
    with pytest.raises(AlreadyReleased):
        holders.ask(hold, by=holders.person("Chris", "counsel"))
    holders.approve(asked)
    with pytest.raises(AlreadyReleased):
        holders.ask(hold)
    with pytest.raises(NotApproved):
        holders.approve(asked)
    assert len(holders.rows(releases)) == 1


def test_who_may_not_ask_is_refused_and_on_record(holders: Holders) -> None:
    hold = holders.place().hold
    with pytest.raises(Forbidden):
        holders.ask(hold, by=holders.officer)
    assert holders.entries("approval")[-1].body["subject"] == hold.id
    with pytest.raises(NotFound):
        holders.ask(hold, by=holders.person("Else", "counsel", orgs=("org-002",)))
    assert holders.entries("approval")[-1].body["why"] == "organisation"
    with pytest.raises(Forbidden):
        holders.holds.releasing.ask(holders.person("Aud", "auditor"), hold.id, " ")
    told = [(each.body["what"], each.body["why"], each.body["with"]) for each in holders.entries("approval")]
    assert told == [
        ("release", "role", "t-Olivia"),
        ("release", "organisation", "t-Else"),
        ("release", "role", "t-Aud"),
    ]
    with pytest.raises(Malformed):
        holders.holds.releasing.ask(holders.counsel, hold.id, " ")
    with pytest.raises(NotFound):
        holders.holds.releasing.ask(holders.counsel, "h-none", "why")


def test_a_hold_that_does_not_open_is_not_released(holders: Holders) -> None:
    hold = holders.place().hold
    asked = holders.ask(hold)
    with holders.house.behind.transaction() as connection:
        connection.execute(holds.update().values(sealed=b"\x01" + bytes(60)))
    with pytest.raises(Conflict):
        holders.approve(asked)
    assert holders.rows(releases) == []


def test_narrowing_is_a_new_hold_and_a_release(holders: Holders) -> None:
    wide = holders.place().hold
    narrow = holders.place(query="merger").hold
    holders.release(wide)
    assert holders.in_force() == sorted([wide.id, narrow.id])
    holders.house.clock.forward(hours=24)
    assert holders.in_force() == [narrow.id]


def test_400_days_after_its_release_a_definition_goes_everywhere_and_the_ledger_keeps_the_handles(
    holders: Holders,
) -> None:
    released, standing = holders.place().hold, holders.place().hold
    holders.release(released)
    documents = holders.house.keyring.documents
    holders.house.clock.forward(days=400, microseconds=-1)
    assert holders.holds.holding.drop_ended() == 0
    holders.house.clock.forward(microseconds=1)
    assert holders.holds.holding.drop_ended() == 1
    assert [row["id"] for row in holders.rows(holds)] == [standing.id]
    assert documents.read(f"hold:{released.id}") == b""
    assert documents.read(f"hold:{standing.id}")
    assert len(holders.entries("hold")) == 2
    agreed = holders.holds.agree()
    assert (agreed.repaired, agreed.beyond_repair) == ((), ())
