"""Returning from quarantine: judged again today, by two persons, and never less than what was there."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.housing import House, event
from tests.ingest.ways_in import WaysIn
from tests.retention.holding import Holders
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST, evening
from textkeep.access.principal import Principal
from textkeep.archive.papers import Paper
from textkeep.archive.shelf import RETENTION, Day
from textkeep.archive.text import Handle, TextId, leaf
from textkeep.errors import Conflict, Forbidden, NotFound, ReasonRequired, TextkeepError
from textkeep.ingest.returning import NotReturnable, Returning
from textkeep.retention.approvals.approval import Approval, NotApproved, TwoPersons
from textkeep.retention.purging.destruction import Destruction, Resumed, never_restored
from textkeep.retention.returns import Returns
from textkeep.store.evidence import leaves
from textkeep.store.tables import papers_of, slices, texts_of

SHELF, TODAY = "2026-11-20", "2026-11-22"
WHY = "registered after all"


class ReturnDesk:
    """A house with ways in, legal holds, and a way back from the quarantine."""

    def __init__(self, house: House, holders: Holders | None = None, resumed: Resumed = never_restored) -> None:
        self.house = house
        self.holders = holders or Holders(house)
        self.ways_in = WaysIn.build(house)
        returning = Returning(house.shelves, house.papers, self.holders.vault, self.ways_in.directory, house.clock)
        self.approvals = self.holders.approvals
        permits = Destruction(house.shelves, house.keyring, self.holders.holds.carrying_over(house.papers), resumed)
        self.committed = 0
        self.returns = Returns(
            house.store, self.approvals, returning, permits, self.holders.holds.holding, returned=self._hear
        )
        self.officer = self.holders.person("Olivia", "officer", orgs=None)
        self.approver = self.holders.person("Anna", "approver", orgs=None)

    def _hear(self) -> None:
        self.committed += 1

    def waiting(self, shelf: str = SHELF) -> list[Paper]:
        with self.house.store.reading() as connection:
            return list(self.house.papers.of_kind(connection, shelf, "quarantine"))

    def texts(self, shelf: str = SHELF) -> int:
        table = texts_of(shelf)
        with self.house.store.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    def ask(self, shelf: str = SHELF, by: Principal | None = None, paper: Paper | None = None) -> Approval:
        """Ask for the one record there is."""
        [found] = [paper] if paper else self.waiting(shelf)
        return self.returns.ask(by or self.officer, WHY, shelf, found.id.hex())

    def approve(self, asked: Approval) -> dict[str, Any]:
        return dict(self.approvals.decide(self.approver, asked.id, "approved", asked.digest).effect)

    def register(self) -> None:
        self.ways_in.register("org-009")

    def reckoned(self, shelf: str = SHELF) -> tuple[int, int, int]:
        """What was quarantined on a shelf and what returned, from the ledger, and what waits, from the rows."""
        found = [entry for entry in self.holders.entries("quarantine", "returned") if entry.shelf == shelf]
        counts = {kind: sum(each.body["count"] for each in found if each.kind == kind) for kind in ("quarantine",)}
        returned = sum(each.body["count"] for each in found if each.kind == "returned")
        return counts["quarantine"], returned, len(self.waiting(shelf))


@pytest.fixture
def desk(house: House) -> ReturnDesk:
    """One record waits whose organisation was registered too late."""
    made = ReturnDesk(house)
    assert made.ways_in.take(event(1, org_id="org-009", user_id="org-009-user-0001")).quarantined == 1
    house.clock.forward(hours=1)
    return made


@pytest.fixture
def asked(desk: ReturnDesk) -> Approval:
    desk.register()
    return desk.ask()


def test_a_record_becomes_a_text_on_the_shelf_of_its_day_and_leaves_the_quarantine(
    desk: ReturnDesk, asked: Approval
) -> None:
    [paper] = desk.waiting()
    assert desk.texts() == 0
    told = desk.approve(asked)
    text_id = TextId.parse(told["text_id"])
    org = desk.house.organisations.find("org-009")
    assert org is not None
    text = desk.holders.vault.read([(org, text_id)])[text_id]
    assert json.loads(text.raw) == event(1, org_id="org-009", user_id="org-009-user-0001")
    assert (text.received_at, text.flags) == (paper.made_at, ())
    assert (desk.waiting(), desk.texts(), desk.committed) == ([], 1, 1)
    receipt = told["receipt"]
    assert (receipt["read"], receipt["accepted"], receipt["quarantined"]) == (1, 1, 0)


def test_the_ledger_says_which_leaf_came_back_and_into_which_slice(desk: ReturnDesk, asked: Approval) -> None:
    [paper] = desk.waiting()
    told = desk.approve(asked)
    [entry] = desk.holders.entries("returned")
    [made] = desk.holders.entries("slice")
    assert entry.shelf == SHELF
    assert entry.body["leaf"] == leaf(paper.org, paper.commitment).hex()
    assert (entry.body["slice"], entry.body["to"], entry.body["batch"]) == (
        made.body["slice"],
        SHELF,
        told["receipt"]["batch_id"],
    )
    assert (entry.body["approval"], entry.body["asked_by"], entry.body["approved_by"]) == (
        asked.id,
        desk.officer.person.hex(),
        desk.approver.person.hex(),
    )
    with desk.house.store.reading() as connection:
        hashes = dict(connection.execute(select(leaves.c.id, leaves.c.hashes)).tuples().all())
        assert connection.execute(select(slices.c.indexed)).scalar_one() is False
    [quarantined] = desk.holders.entries("quarantine")
    assert bytes.fromhex(entry.body["leaf"]) in _split(hashes[f"{quarantined.body['batch']}:{SHELF}"])
    assert _split(hashes[made.body["slice"]]) == [bytes.fromhex(entry.body["text_leaf"])]


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + 32] for at in range(0, len(hashes), 32)]


def test_quarantined_is_waiting_and_returned_from_entries_and_rows(desk: ReturnDesk) -> None:
    desk.ways_in.take(*(event(number, channel="mms", org_id="org-009") for number in range(2, 5)))
    assert desk.reckoned() == (4, 0, 4)
    desk.register()
    [wanted] = [paper for paper in desk.waiting() if b"mms" not in paper.plain]
    desk.approve(desk.ask(paper=wanted))
    assert desk.reckoned() == (4, 1, 3)


def test_until_another_person_has_approved_nothing_happens(desk: ReturnDesk, asked: Approval) -> None:
    own = Principal(desk.officer.person, "t-2", frozenset({"approver"}), None)
    with pytest.raises(TwoPersons):
        desk.approvals.decide(own, asked.id, "approved", asked.digest)
    desk.approvals.decide(desk.approver, asked.id, "refused", asked.digest)
    assert (len(desk.waiting()), desk.texts(), desk.committed) == (1, 0, 0)


@pytest.mark.parametrize("role", ["producer", "counsel", "approver", "auditor", "registrar", "operator"])
def test_only_an_officer_asks_and_who_tries_is_on_record(desk: ReturnDesk, role: Any) -> None:
    desk.register()
    with pytest.raises(Forbidden):
        desk.ask(by=desk.holders.person("Oscar", role, orgs=None))
    [entry] = desk.holders.entries("approval")
    assert (entry.body["did"], entry.body["what"], entry.body["why"]) == ("attempt", "return", "role")


def test_what_belongs_to_no_organisation_is_returned_by_who_sees_every_one(desk: ReturnDesk) -> None:
    desk.register()
    for orgs in (("org-001",), ("org-009",)):
        with pytest.raises(NotFound):
            desk.ask(by=desk.holders.person("Oscar", "officer", orgs=orgs))
    asked = desk.ask()
    theirs = desk.holders.person("Ada", "approver", orgs=("org-009",))
    with pytest.raises(NotFound):
        desk.approvals.decide(theirs, asked.id, "approved", asked.digest)


def test_a_reason_is_needed(desk: ReturnDesk) -> None:
    desk.register()
    [paper] = desk.waiting()
    with pytest.raises(ReasonRequired):
        desk.returns.ask(desk.officer, " ", SHELF, paper.id.hex())


def test_what_is_still_not_acceptable_is_refused_with_its_reason(desk: ReturnDesk) -> None:
    with pytest.raises(NotReturnable, match="unknown-organisation"):
        desk.ask()
    desk.register()
    desk.ways_in.take(b"no JSON \xff", event(2, channel="mms", org_id="org-009", sent_at="2026-11-19T10:00:00Z"))
    for shelf, why in ((TODAY, "unreadable"), ("2026-11-19", "mms")):
        with pytest.raises(NotReturnable, match=why):
            desk.ask(shelf)
        assert len(desk.waiting(shelf)) == 1
    assert desk.holders.entries("approval") == []


def test_it_is_judged_again_when_it_is_approved(desk: ReturnDesk, asked: Approval) -> None:
    desk.house.clock.now = datetime(2026, 11, 20, 10, tzinfo=UTC) + RETENTION
    with pytest.raises(NotApproved):
        desk.approve(asked)
    with pytest.raises(NotReturnable, match="400 days"):
        desk.ask()
    desk.house.clock.now -= timedelta(hours=1)
    again = desk.ask()
    desk.house.clock.now += timedelta(hours=1)
    with pytest.raises(NotReturnable, match="400 days"):
        desk.approve(again)
    assert (len(desk.waiting()), desk.texts()) == (1, 0)
    attempt = desk.holders.entries("approval")[-1].body
    assert (attempt["did"], attempt["why"], attempt["id"]) == ("attempt", "not-returnable", again.id)


def test_once_the_purge_of_its_day_has_begun_it_stays(desk: ReturnDesk, asked: Approval) -> None:
    with desk.house.store.transaction() as connection:
        desk.house.shelves.set_state(connection, SHELF, "intent")
    with pytest.raises(NotReturnable, match="purge of its day has begun"):
        desk.approve(asked)
    with desk.house.store.transaction() as connection:
        desk.house.shelves.set_state(connection, SHELF, "open")
    assert (len(desk.waiting()), desk.texts()) == (1, 0)


def test_where_the_archive_has_that_text_already_it_stays(desk: ReturnDesk, asked: Approval) -> None:
    desk.ways_in.take(event(1, org_id="org-009", user_id="org-009-user-0001"))
    with pytest.raises(NotReturnable, match="same id and content"):
        desk.approve(asked)
    assert (len(desk.waiting()), desk.texts()) == (1, 1)
    assert len(desk.holders.entries("slice")) == 1


def test_beside_another_content_of_the_same_id_it_becomes_a_version(desk: ReturnDesk, asked: Approval) -> None:
    desk.ways_in.take(event(1, org_id="org-009", user_id="org-009-user-0001", body="another body"))
    told = desk.approve(asked)
    assert (told["text_id"][-2:], told["receipt"]["versions"], desk.texts()) == ("-2", 1, 2)
    assert desk.waiting() == []


def test_a_record_of_the_future_returns_to_the_shelf_of_its_day_when_that_has_come(desk: ReturnDesk) -> None:
    desk.register()
    sent = desk.house.clock() + timedelta(days=2)
    record = event(7, org_id="org-009", user_id="org-009-user-0001", sent_at=sent.isoformat())
    assert desk.ways_in.take(record).quarantined == 1
    with pytest.raises(NotReturnable, match="future"):
        desk.ask(TODAY)
    desk.house.clock.forward(days=2)
    desk.approve(desk.ask(TODAY))
    assert (desk.waiting(TODAY), desk.texts(Day.of(sent).shelf)) == ([], 1)
    [entry] = desk.holders.entries("returned")
    assert (entry.shelf, entry.body["to"]) == (TODAY, Day.of(sent).shelf)


def test_whether_it_was_late_is_told_by_when_it_came(desk: ReturnDesk, asked: Approval) -> None:
    desk.house.clock.forward(hours=20)
    late = event(8, org_id="org-010", user_id="org-010-user-0001", sent_at="2026-11-10T10:00:00Z")
    desk.ways_in.take(late)
    desk.ways_in.register("org-010")
    desk.house.clock.forward(hours=2)
    desk.approve(asked)
    text_id = TextId.parse(desk.approve(desk.ask("2026-11-10"))["text_id"])
    org = Handle(desk.holders.org("org-010"))
    assert desk.holders.vault.read([(org, text_id)])[text_id].flags == ("late",)


def test_of_two_who_approve_two_requests_for_one_record_at_once_one_does(desk: ReturnDesk, asked: Approval) -> None:
    [paper] = desk.waiting()
    other = desk.returns.ask(desk.officer, "another reason", SHELF, paper.id.hex())

    def approve(each: Approval) -> bool:
        try:
            desk.approve(each)
        except TextkeepError:
            return False
        return True

    with ThreadPoolExecutor(2) as both:
        assert sorted(both.map(approve, (asked, other))) == [False, True]
    assert (desk.waiting(), desk.texts(), len(desk.holders.entries("returned"))) == ([], 1, 1)


def test_a_record_that_a_hold_covers_is_returned_where_the_text_stays_covered(
    desk: ReturnDesk, asked: Approval
) -> None:
    hold = desk.holders.place(by=desk.officer, org_id="org-009", query="Text").hold
    text_id = TextId.parse(desk.approve(asked)["text_id"])
    text = desk.holders.vault.read([(hold.org, text_id)])[text_id]
    assert desk.holders.holds.holding.held_by(hold.org, [text]) == [[hold.id]]


def test_a_record_that_only_in_quarantine_a_hold_covers_stays(desk: ReturnDesk, asked: Approval) -> None:
    """In quarantine it counts as having every flag; as a text it has its own."""
    desk.holders.place(by=desk.officer, org_id="org-009", query="flag:healthcare")
    with pytest.raises(Conflict, match="legal hold"):
        desk.approve(asked)
    assert (len(desk.waiting()), desk.texts()) == (1, 0)


def test_a_record_that_another_one_stands_in_for_is_not_returned(desk: ReturnDesk, asked: Approval) -> None:
    """Somebody past the service seals another record under the same id: it is not what was approved."""
    [paper] = desk.waiting()
    said = paper.plain.split(b"\n", 1)[0]
    other = json.dumps(event(9, org_id="org-009", user_id="org-009-user-0001")).encode()
    table = papers_of(SHELF)
    with desk.house.behind.transaction() as connection:
        connection.execute(table.delete())
        desk.house.papers.add(
            connection,
            SHELF,
            "quarantine",
            paper.org,
            said + b"\n" + other,
            now=paper.made_at,
            paper_id=paper.id,
        )
    with pytest.raises(NotReturnable, match="not the record that was asked about"):
        desk.approve(asked)
    assert desk.texts() == 0


def test_what_was_returned_is_found_missing_by_no_purge(house: House, tmp_path: Path) -> None:
    with Keeping.over(house, tmp_path) as keeping:
        desk = ReturnDesk(house, keeping.holders)
        keeping.take(OLDEST, "one text")
        sent = {"org_id": "org-009", "user_id": "org-009-user-0001", "sent_at": evening(OLDEST)}
        assert desk.ways_in.take(event(11, **sent), event(12, channel="mms", **sent)).quarantined == 2
        desk.register()
        [wanted] = [paper for paper in desk.waiting(OLDEST.shelf) if b"mms" not in paper.plain]
        desk.approve(desk.ask(OLDEST.shelf, paper=wanted))
        assert desk.reckoned(OLDEST.shelf) == (2, 1, 1)
        assert keeping.purge(OLDEST).stopped is None
        report = json.loads(keeping.purging.chain.read(OLDEST.shelf))
    [committed] = [line for line in report["steps"] if line["step"] == "committed"]
    assert committed["verdict"] == "pass", committed
    assert report["totals"]["taken"] == report["totals"]["destroyed"] == 2
    assert report["quarantine"]["taken"] == 2
