"""Evidence rests on places in the signed log: whatever numbers the database gives its rows, reports verify."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, update

from tests.housing import NOON, House, SetClock, event
from tests.retention.audited import auditing, faults, few_days
from tests.retention.holding import ORG
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST, PRODUCER, evening
from textkeep.archive.batch import Batch
from textkeep.ledger.state import Forked
from textkeep.ledger.verifying import Asked, steps_of
from textkeep.store.engine import Store
from textkeep.store.schema import migrate
from textkeep.store.tables import ledger_entries

AGREED = "a-0123456789abcdef"


sqlite = pytest.mark.parametrize("house", ["sqlite"], indirect=True)
postgresql = pytest.mark.parametrize("house", ["postgresql"], indirect=True)


def not_shown(keeping: Keeping, folder: Path, shelf: str = OLDEST.shelf) -> dict[str, str]:
    """The steps of a verification of a day's report that stand against it, and why."""
    ledger = keeping.purging.ledger
    keeping.purging.chain.keep()
    ledger.export(folder)
    reports = keeping.purging.folder / "reports"
    asked = Asked(reports / f"{shelf}.json", [ledger.key()], ledger=folder, chain=reports)
    return {step.name: step.reason for step in steps_of(asked) if not step.good}


def lose_and_import(keeping: Keeping, folder: Path, after: int) -> None:
    """The ledger is cut short behind the service's back, put back from an export, and resumed."""
    ledger = keeping.purging.ledger
    ledger.signer.keep_up()
    ledger.export(folder)
    keeping.behind(delete(ledger_entries).where(ledger_entries.c.leaf_index >= after))
    with pytest.raises(Forked):
        ledger.signer.check()
    assert ledger.put_back(folder).entries
    ledger.signer.resume(AGREED, granted)
    ledger.signer.keep_up()


def granted(_connection: Connection) -> dict[str, str]:
    return {"asked_by": "aa", "approved_by": "bb"}


def proof_of_hold(keeping: Keeping, hold_id: str) -> str:
    holding = keeping.holders.holds.holding
    with keeping.house.store.reading() as connection:
        hold = holding.find(connection, hold_id)
        assert hold is not None
        return holding.proof(connection, hold.entry)


@postgresql
def test_a_day_whose_entries_were_put_back_is_purged_and_its_report_verifies(keeping: Keeping, tmp_path: Path) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    keeping.take(OLDEST, "dinner")
    keeping.set_aside(OLDEST, "merger too")
    hold = keeping.holders.place(query="merger").hold
    keeping.house.clock.forward(seconds=1)
    lose_and_import(keeping, tmp_path / "copy", 1)
    assert proof_of_hold(keeping, hold.id) == "signed"
    assert keeping.purge(OLDEST, signed=keeping.purging.ledger).stopped is None
    assert keeping.state(OLDEST.shelf) == "reported"
    report = keeping.purging.report(OLDEST.shelf)
    assert report["verdict"] == "pass"
    assert type(report["holds"]["holds"][0]["entry"]) is int
    assert not_shown(keeping, tmp_path / "ledger") == {}


@sqlite
@pytest.mark.parametrize("step", ["kept", "committed", "dropped"])
def test_entries_that_are_lost_under_way_and_put_back_stand_in_no_purge_s_way(
    keeping: Keeping, tmp_path: Path, step: str
) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    keeping.holders.place(query="merger")
    ledger = keeping.purging.ledger
    purge: list[Any] = []

    def told(_shelf: str, state: str) -> None:
        if state == step:
            purge[0].interrupt()

    purge.append(keeping.purging.purge(told=told, holds=keeping.in_force, signed=ledger))
    keeping.purging.until(OLDEST.due())
    assert purge[0].run(keeping.house.clock()).stopped.reason == "interrupted"
    lose_and_import(keeping, tmp_path / "copy", 0)
    keeping.house.clock.forward(minutes=1)
    assert keeping.run(signed=ledger).stopped is None
    assert keeping.purging.report(OLDEST.shelf)["verdict"] == "pass"
    assert not_shown(keeping, tmp_path / "ledger") == {}


def test_after_an_import_the_audit_finds_every_reference_as_it_was(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'textkeep.db'}")
    migrate(store)
    with few_days():
        house = House.build(store, tmp_path / "keyring", SetClock(NOON))
        with Keeping.over(house, tmp_path) as keeping:
            keeping.take(OLDEST, "merger", "lunch")
            keeping.holders.release(keeping.holders.place(query="lunch").hold)
            keeping.holders.place(query="merger")
            ledger = keeping.purging.ledger
            assert keeping.purge(OLDEST, signed=ledger).stopped is None
            house.clock.forward(minutes=1)
            lose_and_import(keeping, tmp_path / "copy", 0)
            found = [each for each in faults(auditing(house, tmp_path).run()) if AGREED not in each.said]
    store.close()
    assert found == []


@sqlite
def test_an_altered_entry_that_gave_way_to_the_true_one_stands_in_no_hold_s_way(
    keeping: Keeping, tmp_path: Path
) -> None:
    keeping.take(OLDEST, "merger")
    hold = keeping.holders.place(query="merger").hold
    ledger = keeping.purging.ledger
    ledger.signer.keep_up()
    ledger.export(tmp_path / "copy")
    keeping.behind(update(ledger_entries).where(ledger_entries.c.kind == "hold").values(entry='{"v":1}'))
    with pytest.raises(Forked):
        ledger.signer.check()
    assert ledger.put_back(tmp_path / "copy").set_aside
    ledger.signer.resume(AGREED, granted)
    ledger.signer.keep_up()
    assert proof_of_hold(keeping, hold.id) == "signed"
    assert keeping.purge(OLDEST, signed=ledger).stopped is None
    assert not_shown(keeping, tmp_path / "ledger") == {}


@postgresql
def test_of_two_batches_the_one_that_was_written_first_is_committed_last(keeping: Keeping, tmp_path: Path) -> None:
    """The database numbers entries as they are written, the log places them as they are committed."""
    ledger = keeping.purging.ledger
    keeping.take(OLDEST, "before all")
    with ThreadPoolExecutor(1) as pool, keeping.house.store.transaction() as first:
        wire = [
            event(50 + at, org_id=ORG, sent_at=evening(OLDEST), body=body) for at, body in enumerate(("one", "two"))
        ]
        records = [keeping.purging.incoming(at, each) for at, each in enumerate(wire)]
        batch = Batch("slow", keeping.house.clock(), PRODUCER, records)
        keeping.house.vault.accept_within(first, batch, beside=OLDEST.shelf)
        pool.submit(keeping.take, OLDEST, "three").result(timeout=60)
        pool.submit(ledger.signer.keep_up).result(timeout=60)
    ledger.signer.keep_up()
    slices = sorted(keeping.purging.entries("slice", shelf=OLDEST.shelf), key=lambda each: each.seq)
    assert [each.index for each in slices] != sorted(each.index or 0 for each in slices)
    assert keeping.purge(OLDEST, signed=ledger).stopped is None
    assert not_shown(keeping, tmp_path / "ledger") == {}
