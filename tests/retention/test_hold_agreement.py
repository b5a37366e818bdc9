"""Ledger, database and keyring know the same holds, whichever of them was restored, cut short or altered."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, update

from tests.archive.keeping import Between
from tests.housing import House
from tests.retention.holding import ORG, Holders
from textkeep.errors import Outage
from textkeep.retention.holds.agreement import HoldsDisagree
from textkeep.retention.holds.copies import HoldCopies
from textkeep.retention.holds.hold import Hold
from textkeep.retention.holds.holding import Step
from textkeep.store.evidence import holds, releases
from textkeep.store.tables import ledger_entries, orgs

pytestmark = pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def holders(house: House) -> Holders:
    return Holders(house)


def behind(holders: Holders, *statements: Any) -> None:
    """Do what only the database's superuser may."""
    with holders.house.behind.transaction() as connection:
        for statement in statements:
            connection.execute(statement)


def copy_of(holders: Holders, hold: Hold) -> bytes | None:
    return holders.house.keyring.documents.read(f"hold:{hold.id}")


def put_copy(holders: Holders, hold: Hold, body: bytes | None) -> None:
    """What a keyring that was restored has in a copy's place."""
    path = holders.house.folder / f"hold:{hold.id}"
    path.unlink() if body is None else path.write_bytes(body)


def must_disagree(holders: Holders) -> None:
    with holders.house.store.transaction() as connection, pytest.raises(HoldsDisagree):
        holders.holds.agreement.check(connection)


def repaired(holders: Holders) -> list[str]:
    """What was repaired; afterwards nothing is left, and a purge may go on."""
    must_disagree(holders)
    agreed = holders.holds.agree()
    assert agreed.beyond_repair == ()
    with holders.house.store.transaction() as connection:
        holders.holds.agreement.check(connection)
    holders.holds.agreement.guard()
    return [each.what for each in agreed.repaired]


def forget(holders: Holders, hold: Hold) -> None:
    """Leave the database as it was before a hold was placed."""
    behind(
        holders,
        delete(holds).where(holds.c.id == hold.id),
        delete(releases).where(releases.c.hold == hold.id),
        delete(ledger_entries).where(ledger_entries.c.kind.in_(["hold", "release", "approval"])),
    )


def test_where_all_agree_nothing_is_done(holders: Holders) -> None:
    holders.place()
    holders.release(holders.place().hold)
    with holders.house.store.transaction() as connection:
        holders.holds.agreement.check(connection)
    agreed = holders.holds.agree()
    assert (agreed.repaired, agreed.beyond_repair, holders.entries("restore")) == ((), (), [])


def test_the_keyrings_store_is_asked_once_however_many_holds_there_are(holders: Holders) -> None:
    placed = {holders.place().hold.id for _ in range(5)}
    between = Between(holders.house.keyring.documents)
    assert HoldCopies(between, holders.house.sealer).all().keys() == placed
    assert between.calls == ["all"]


def test_a_database_older_than_the_newest_hold_gets_it_back(holders: Holders) -> None:
    hold = holders.place(query="merger").hold
    forget(holders, hold)
    assert holders.in_force() == []
    assert repaired(holders) == ["placed-again"]
    again = holders.holds.holding.get(holders.officer, hold.id)
    assert (again.scope, again.matter, again.digest, again.ends_at) == (hold.scope, hold.matter, hold.digest, None)
    [entry] = holders.entries("restore")
    assert (entry.body["hold"], entry.body["what"], again.entry) == (hold.id, "hold-placed-again", entry.seq)


def test_a_database_older_than_the_holds_organisation_gets_that_back_too(holders: Holders) -> None:
    hold = holders.place().hold
    forget(holders, hold)
    behind(holders, delete(orgs))
    restarted = Holders.__new__(Holders)
    house = holders.house.reopened()
    assert house.organisations.find(ORG) is None
    restarted.__dict__.update(holders.__dict__)
    restarted.house, restarted.approvals = house, holders.approvals
    restarted.assemble()
    assert repaired(restarted) == ["placed-again"]
    assert (house.organisations.find(ORG), restarted.in_force()) == (hold.org, [hold.id])


def test_an_organisation_whose_name_stands_for_another_by_now_is_beyond_repair(holders: Holders) -> None:
    hold = holders.place().hold
    forget(holders, hold)
    behind(holders, delete(orgs))
    restarted = Holders(holders.house.reopened())
    assert restarted.org() != hold.org
    assert [each.what for each in restarted.holds.agree().beyond_repair] == ["no-organisation"]
    with pytest.raises(HoldsDisagree):
        restarted.holds.agreement.guard()


def test_a_database_older_than_a_release_keeps_and_it_is_asked_for_again(holders: Holders) -> None:
    hold = holders.place().hold
    holders.release(hold)
    behind(
        holders,
        update(holds).values(ends_at=None),
        delete(releases),
        delete(ledger_entries).where(ledger_entries.c.kind == "release"),
    )
    assert repaired(holders) == ["in-force-again"]
    holders.house.clock.forward(days=2)
    assert holders.in_force() == [hold.id]
    holders.release(hold)
    holders.house.clock.forward(hours=24)
    assert holders.in_force() == []


def test_a_keyring_older_than_the_newest_hold_gets_a_copy(holders: Holders) -> None:
    hold = holders.place().hold
    put_copy(holders, hold, None)
    assert repaired(holders) == ["copied-again"]
    forget(holders, hold)
    assert repaired(holders) == ["placed-again"]


def test_a_keyring_older_than_the_last_release_keeps_and_it_is_asked_for_again(holders: Holders) -> None:
    hold = holders.place().hold
    before = copy_of(holders, hold)
    holders.release(hold)
    holders.house.clock.forward(days=2)
    assert holders.in_force() == []
    put_copy(holders, hold, before)
    assert repaired(holders) == ["in-force-again"]
    assert holders.in_force() == [hold.id]
    holders.release(hold)
    assert len(holders.rows(releases)) == 1
    holders.house.clock.forward(hours=24)
    assert holders.in_force() == []
    assert holders.holds.agree().repaired == ()


def test_a_copy_that_does_not_open_is_written_again(holders: Holders) -> None:
    hold = holders.place().hold
    put_copy(holders, hold, bytes(hold.org) + b"\x01" + bytes(60))
    assert repaired(holders) == ["copied-again"]


def test_a_hold_that_only_the_ledger_knows_stops_every_purge(holders: Holders) -> None:
    hold = holders.place().hold
    behind(holders, delete(holds))
    put_copy(holders, hold, None)
    [lost] = holders.holds.agree().beyond_repair
    assert (lost.hold, lost.what) == (hold.id, "lost")
    with pytest.raises(HoldsDisagree, match=hold.id):
        holders.holds.agreement.guard()
    must_disagree(holders)


def test_a_release_that_was_undone_excuses_no_loss(holders: Holders) -> None:
    hold = holders.place().hold
    before = copy_of(holders, hold)
    holders.release(hold)
    put_copy(holders, hold, before)
    assert repaired(holders) == ["in-force-again"]
    holders.house.clock.forward(days=500)
    behind(holders, delete(holds))
    put_copy(holders, hold, None)
    assert [each.what for each in holders.holds.agree().beyond_repair] == ["lost"]


def test_a_hold_that_opens_nowhere_stops_every_purge(holders: Holders) -> None:
    hold = holders.place().hold
    put_copy(holders, hold, bytes(hold.org) + b"\x01" + bytes(60))
    behind(holders, update(holds).values(sealed=b"\x01" + bytes(60)))
    assert [each.what for each in holders.holds.agree().beyond_repair] == ["unreadable"]
    behind(holders, delete(holds))
    assert [each.what for each in holders.holds.agree().beyond_repair] == ["unreadable"]


EDITS: dict[str, Callable[[Holders], dict[str, Any]]] = {
    "end": lambda held: {"ends_at": held.house.clock()},
    "review": lambda held: {"review_at": held.house.clock.now.replace(month=12)},
    "placed": lambda _: {"placed_by": b"somebody"},
    "sealed": lambda _: {"sealed": b"\x01" + bytes(60)},
    "organisation": lambda held: {"org": held.org("org-002")},
    "sealed and end": lambda held: {"sealed": b"\x01" + bytes(60), "ends_at": held.house.clock()},
    "review and end": lambda held: {"placed_by": b"somebody", "ends_at": held.house.clock()},
}


def test_a_row_that_was_edited_is_noticed_and_set_right(holders: Holders) -> None:
    hold = holders.place(query="merger").hold
    for name, edit in EDITS.items():
        behind(holders, update(holds).values(**edit(holders)))
        assert set(repaired(holders)) <= {"set-right", "in-force-again"}, name
        assert holders.holds.holding.get(holders.officer, hold.id) == hold
        assert holders.in_force() == [hold.id]


def test_a_release_that_was_written_past_the_service_ends_nothing(holders: Holders) -> None:
    hold = holders.place().hold
    now = holders.house.clock()
    ends_at = now.replace(day=now.day + 2)
    forged = {"org": hold.org, "approval": "a", "entry": 1, "asked_by": b"1", "approved_by": b"2", "approved_at": now}
    behind(
        holders,
        releases.insert().values(hold=hold.id, effective_at=ends_at, **forged),
        update(holds).values(ends_at=ends_at),
    )
    holders.house.clock.forward(days=3)
    assert repaired(holders) == ["in-force-again"]
    assert holders.in_force() == [hold.id]


def test_a_release_counts_where_table_ledger_row_and_copy_all_name_it(holders: Holders) -> None:
    for gone in (delete(releases), delete(ledger_entries).where(ledger_entries.c.kind == "release")):
        hold = holders.place().hold
        holders.release(hold)
        behind(holders, gone)
        assert "in-force-again" in repaired(holders)
        assert hold.id in holders.in_force()
        holders.house.clock.forward(days=2)
        assert hold.id in holders.in_force()


def test_a_row_that_does_not_open_is_not_ended_by_its_copy_alone(holders: Holders) -> None:
    hold = holders.place().hold
    holders.release(hold)
    behind(holders, update(holds).values(sealed=b"\x01" + bytes(60), ends_at=None), delete(releases))
    assert repaired(holders) == ["set-right"]
    holders.house.clock.forward(days=2)
    assert holders.in_force() == [hold.id]


@pytest.mark.parametrize("step", ["prepared", "written", "copied"])
def test_a_placing_that_is_cut_off_is_nothing_or_is_finished(holders: Holders, step: Step) -> None:
    def cut(done: Step) -> None:
        if done == step:
            raise Outage("cut off")

    holders.told = cut
    with pytest.raises(Outage):
        holders.place()
    assert holders.rows(holds) == []
    agreed = holders.holds.agree()
    assert [each.what for each in agreed.repaired] == (["placed-again"] if step == "copied" else [])
    assert len(holders.in_force()) == (step == "copied")


def test_an_approval_that_is_cut_off_after_its_copy_ends_nothing(
    holders: Holders, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = holders.place().hold
    asked = holders.ask(hold)
    with monkeypatch.context() as patch:
        patch.setattr(holders.approvals, "_found", lambda *_: (_ for _ in ()).throw(Outage("cut off")))
        with pytest.raises(Outage):
            holders.approve(asked)
    assert repaired(holders) == ["in-force-again"]
    holders.house.clock.forward(hours=1)
    holders.approve(asked)
    assert holders.holds.agree().repaired == ()
