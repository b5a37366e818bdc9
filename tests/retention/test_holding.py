"""Placing a legal hold: what is stored, what is answered, who may."""

from datetime import timedelta

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from tests.housing import House, event
from tests.retention.holding import ORG, Holders
from textkeep.archive.shelf import Day
from textkeep.errors import Forbidden, Malformed, NotFound
from textkeep.ledger.log import append
from textkeep.retention.holds.hold import Scope
from textkeep.retention.holds.in_force import NO_HOLDS
from textkeep.retention.reports.overdue import overdue
from textkeep.store.evidence import checkpoints, holds, releases
from textkeep.store.tables import ledger_entries

pytestmark = pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)

SECRETS = ("Doe v. Roe", "subpoena", "+12125550101", "org-001-user-0001", ORG)


@pytest.fixture
def holders(house: House) -> Holders:
    return Holders(house)


def test_a_hold_that_answered_is_in_force_and_its_start_is_in_the_ledger(holders: Holders) -> None:
    placed = holders.place(numbers=("+12125550101",))
    assert holders.in_force() == [placed.hold.id]
    [entry] = holders.entries("hold")
    assert (entry.seq, entry.body["hold"], entry.body["digest"]) == (
        placed.hold.entry,
        placed.hold.id,
        placed.hold.digest.hex(),
    )
    assert entry.body["org"] == holders.org().hex()


def test_nothing_of_a_hold_is_readable_in_its_row_its_entry_or_its_copy(holders: Holders) -> None:
    holders.place(users=("org-001-user-0001",), numbers=("+12125550101",), query="subpoena")
    written = repr(holders.rows(holds)).encode() + repr(holders.entries("hold")).encode()
    documents = holders.house.keyring.documents
    for name, content in documents.all("hold:").items():
        written += name.encode() + content
    for secret in SECRETS:
        assert secret.encode() not in written


def test_a_hold_reads_back_as_it_was_placed(holders: Holders) -> None:
    placed = holders.place(
        users=("one", "two"),
        numbers=("+12125550101",),
        conversations=(("+12125550101", "+13125550102"),),
        after=holders.house.clock() - timedelta(days=300),
        before=holders.house.clock(),
        query="merger -lunch",
    )
    again = holders.holds.holding.get(holders.officer, placed.hold.id)
    assert again == placed.hold
    assert again.scope.asked == placed.hold.scope.asked


def test_the_proof_is_pending_until_a_checkpoint_holds_the_entry(holders: Holders) -> None:
    placed = holders.place()
    assert placed.proof == "pending"
    with holders.house.behind.transaction() as connection:
        connection.execute(
            ledger_entries.update().where(ledger_entries.c.seq == placed.hold.entry).values(leaf_index=7)
        )
        connection.execute(checkpoints.insert().values(size=7, at=holders.house.clock(), note=b""))
    with holders.house.store.reading() as connection:
        assert holders.holds.holding.proof(connection, placed.hold.entry) == "pending"
    with holders.house.behind.transaction() as connection:
        connection.execute(checkpoints.insert().values(size=8, at=holders.house.clock(), note=b""))
    with holders.house.store.reading() as connection:
        assert holders.holds.holding.proof(connection, placed.hold.entry) == "signed"


def test_a_hold_finds_its_shelves_open_before_it_is_in_force(holders: Holders) -> None:
    holders.place()
    with holders.house.store.reading() as connection:
        there = holders.house.shelves.generations(connection, None, "open")
    assert set(there) == {"kept-0000000000000000-1", f"kept-{holders.org().hex()}-1"}


def test_a_review_that_is_not_within_180_days_is_refused(holders: Holders) -> None:
    for days in (0, -1, 181):
        with pytest.raises(Malformed) as refused:
            holders.place(days=days)
        assert refused.value.field == "review_at"
    assert holders.rows(holds) == []
    holders.place(days=180)


def test_matter_and_reason_are_said_in_words(holders: Holders) -> None:
    review_at = holders.house.clock() + timedelta(days=1)
    for field in ("matter", "reason"):
        for said in ("", "  -- ", "x" * 3_000, "\ud800 half"):
            words = {"matter": "m", "reason": "r", field: said}
            with pytest.raises(Malformed) as refused:
                holders.holds.holding.place(holders.officer, **words, review_at=review_at, scope=Scope(ORG))
            assert refused.value.field == field
    assert holders.rows(holds) == []


def test_an_overdue_hold_is_named_and_keeps(holders: Holders) -> None:
    placed = holders.place(days=10)
    holders.house.clock.forward(days=10)
    with holders.house.store.reading() as connection:
        assert [each.hold for each in overdue(connection, holders.house.clock())] == [placed.hold.id]
    assert holders.in_force() == [placed.hold.id]


def test_the_digest_names_the_set_in_force(holders: Holders) -> None:
    def digest() -> bytes:
        with holders.house.store.transaction() as connection:
            return holders.holds.holding.digest(connection)

    assert digest() == NO_HOLDS
    first = holders.place()
    one = digest()
    holders.place()
    two = digest()
    assert len({NO_HOLDS, one, two}) == 3
    holders.release(first.hold)
    assert digest() == two
    holders.house.clock.forward(hours=24)
    assert digest() not in (NO_HOLDS, one, two)


def test_only_roles_that_may_place_do_and_only_in_their_organisations(holders: Holders) -> None:
    for role in ("approver", "auditor", "registrar", "operator", "producer"):
        with pytest.raises(Forbidden):
            holders.place(by=holders.person("Nobody", role))
    other = holders.person("Otto", "officer", orgs=("org-002",))
    with pytest.raises(Forbidden):
        holders.place(by=other)
    with pytest.raises(Forbidden):
        holders.place(org_id="org-999")
    placed = holders.place(by=holders.counsel)
    assert holders.holds.holding.listed(other) == []
    with pytest.raises(NotFound):
        holders.holds.holding.get(other, placed.hold.id)
    with pytest.raises(Forbidden):
        holders.holds.holding.listed(other, ORG)
    everywhere = holders.person("Eva", "officer", orgs=None)
    assert [hold.id for hold in holders.holds.holding.listed(everywhere)] == [placed.hold.id]


def attempted(holders: Holders) -> list[tuple[str, str, str]]:
    """What refused attempts are on record: what, why, by whose token."""
    told = [each.body for each in holders.entries("approval")]
    assert {each["did"] for each in told} <= {"attempt"}
    return [(each["what"], each["why"], each["with"]) for each in told]


def test_whoever_tries_to_place_what_they_may_not_is_on_record_and_floods_nothing(holders: Holders) -> None:
    approver = holders.approver
    other = holders.person("Otto", "officer", orgs=("org-002",))
    for _ in range(30):
        with pytest.raises(Forbidden):
            holders.place(by=approver)
        with pytest.raises(Forbidden):
            holders.place(by=other)
        with pytest.raises(Malformed):
            holders.place(days=181)
    assert attempted(holders) == [
        ("hold", "role", "t-Anna"),
        ("hold", "organisation", "t-Otto"),
        ("hold", "review", "t-Olivia"),
    ]
    assert holders.entries("approval")[1].body["org"] == holders.org().hex()
    holders.house.clock.forward(hours=1)
    with pytest.raises(Forbidden):
        holders.place(by=other)
    assert holders.entries("approval")[-1].body["before"] == 29
    assert holders.rows(holds) == []


def test_what_is_only_mistyped_is_not_on_record(holders: Holders) -> None:
    with pytest.raises(Forbidden):
        holders.place(org_id="org-999")
    with pytest.raises(Malformed):
        holders.place(days=-1)
    with pytest.raises(Malformed):
        holders.holds.holding.place(
            holders.officer, matter="m", reason=" ", review_at=holders.house.clock(), scope=Scope(ORG)
        )
    assert attempted(holders) == []


def test_a_hold_says_which_days_it_comes_too_late_for_and_which_it_still_wins(holders: Holders) -> None:
    shelves = holders.house.shelves
    day = Day.of(holders.house.clock())
    states = {-5: "reported", -4: "committed", -3: "witnessed", -2: "intent", -1: "open"}
    with holders.house.store.transaction() as connection:
        for offset, state in states.items():
            shelves.set_state(connection, day.plus(offset).shelf, state)  # type: ignore[arg-type]
    placed = holders.place()
    assert placed.reach.too_late == (day.plus(-5).shelf, day.plus(-4).shelf)
    assert placed.reach.in_purge == (day.plus(-3).shelf, day.plus(-2).shelf)
    dated = holders.place(after=day.plus(-4).end(), before=day.plus(-2).start())
    assert (dated.reach.too_late, dated.reach.in_purge) == ((), (day.plus(-3).shelf,))
    asked = holders.place(query=f"on:{day.plus(-5).shelf}")
    assert (asked.reach.too_late, asked.reach.in_purge) == ((day.plus(-5).shelf,), ())


def test_every_hold_that_covers_a_text_is_named(holders: Holders, house: House) -> None:
    holders.take(event(1), event(2, body="lunch"))
    first, second = holders.place(), holders.place(query="lunch")
    day = Day.named("2026-11-20")
    with house.store.reading() as connection:
        opened = list(house.vault.slice_texts(connection, house.vault.slices_of(connection, day.shelf)))
    named = holders.holds.holding.held_by(holders.org(), opened)
    by_body = {each.event.data.body: ids for each, ids in zip(opened, named, strict=True)}
    assert by_body == {"Text number 1": [first.hold.id], "lunch": sorted([first.hold.id, second.hold.id])}


def test_a_row_that_does_not_open_covers_its_whole_organisation(holders: Holders) -> None:
    placed = holders.place(query="merger")
    with holders.house.behind.transaction() as connection:
        connection.execute(holds.update().values(sealed=b"\x01" + bytes(60)))
    [hold] = holders.holds.holding.in_force(holders.org())
    assert (hold.id, hold.unreadable, hold.scope) == (placed.hold.id, True, Scope(ORG))


def test_a_release_works_on_every_engine(holders: Holders) -> None:
    hold = holders.place().hold
    holders.release(hold)
    holders.house.clock.forward(hours=24)
    assert holders.in_force() == []
    assert holders.holds.agree().repaired == ()
    holders.house.clock.forward(days=400)
    assert holders.holds.holding.drop_ended() == 1


def test_a_late_record_that_is_held_is_set_aside_on_every_engine(holders: Holders) -> None:
    holders.place()
    receipt = holders.take(event(1, sent_at="2025-01-01T00:00:00Z"), verdict="refuse", reason="expired")
    assert [item.reason for item in receipt.items] == ["expired-under-hold"]


def test_another_entry_in_between_changes_nothing(holders: Holders) -> None:
    with holders.house.store.transaction() as connection:
        append(connection, "restore", {"what": "something else"}, now=holders.house.clock())
    holders.place()
    assert holders.holds.agree().repaired == ()


def test_the_database_takes_no_release_by_one_person_or_within_24_hours(holders: Holders) -> None:
    now = holders.house.clock()
    row = {
        "hold": "h-1",
        "org": bytes(8),
        "approval": "a-1",
        "entry": 1,
        "asked_by": b"one",
        "approved_by": b"two",
        "approved_at": now,
        "effective_at": now + timedelta(hours=24),
    }
    for wrong in ({"approved_by": b"one"}, {"effective_at": now + timedelta(hours=23)}):
        with pytest.raises(IntegrityError), holders.house.store.transaction() as connection:
            connection.execute(insert(releases).values({**row, **wrong}))
