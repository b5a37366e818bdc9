"""A day's purge, whole: what it destroys, what it leaves, what it says."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection, select

from tests.housing import House, event
from tests.retention.purging import OLDEST, Purging, evening, lines_of
from textkeep.archive.keyring import SecretDestroyed, shelf_secret
from textkeep.archive.text import HOUSE, TextId
from textkeep.errors import NotFound
from textkeep.ledger import tree
from textkeep.retention.counting import still
from textkeep.retention.holds.in_force import Kept, NoHolds, Transaction
from textkeep.retention.purging.absence import LookedAgain
from textkeep.retention.purging.moving import Order
from textkeep.retention.reports.report import STEPS, digest
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.store.tables import batches, shelf_tables, slices, texts_of

MS = timedelta(milliseconds=1)


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    with Purging.over(house, tmp_path) as made:
        yield made


def rows_of(connection: Connection, shelf: str) -> list[int]:
    """How many slices and batches of a shelf there are."""
    wanted = [select(table).where(table.c.shelf == shelf) for table in (slices, batches)]
    return [len(connection.execute(each).all()) for each in wanted]


def test_a_day_is_not_touched_one_millisecond_before_it_is_due_and_is_gone_after(purging: Purging) -> None:
    purging.take(OLDEST)
    purging.until(OLDEST.due() - MS)
    assert purging.run().days == ()
    assert purging.state(OLDEST) == "open"
    purging.until(OLDEST.due())
    result = purging.run()
    assert [(day.day, day.state) for day in result.days] == [(OLDEST.shelf, "reported")]
    assert result.stopped is None


def test_the_day_is_counted_in_the_answer(purging: Purging) -> None:
    purging.take(OLDEST)
    purging.take_records([event(1, sent_at=evening(OLDEST), body="changed")])
    purging.until(OLDEST.due())
    day = purging.run().document()["days"][0]
    assert day == {
        "day": OLDEST.shelf,
        "state": "reported",
        "taken": 4,
        "versions": 1,
        "kept": 0,
        "destroyed": 4,
        "lost": 0,
        "due": "2026-11-23T00:00:00.000Z",
    }


def test_nothing_of_a_purged_day_opens_or_is_there(purging: Purging) -> None:
    receipt = purging.take(OLDEST)
    kept = purging.take(OLDEST.plus(1), start=100)
    purging.until(OLDEST.due())
    purging.run()
    house = purging.house
    org = house.organisations.register("org-001")
    with pytest.raises(SecretDestroyed):
        house.keyring.derive("body", OLDEST.shelf, HOUSE)
    wanted = [TextId.parse(item.text_id) for item in (*receipt.items, *kept.items) if item.text_id]
    assert {str(text_id) for text_id in house.vault.read([(org, text_id) for text_id in wanted])} == {
        item.text_id for item in kept.items
    }
    with house.store.reading() as connection:
        assert shelf_tables(connection, OLDEST.shelf) == []
        assert rows_of(connection, OLDEST.shelf) == [0, 0]
    assert not purging.index.exists(OLDEST.shelf)
    assert purging.index.exists(OLDEST.plus(1).shelf)


def test_a_purged_day_takes_no_more_texts(purging: Purging) -> None:
    purging.take(OLDEST)
    purging.until(OLDEST.due())
    purging.run()
    receipt = purging.take(OLDEST, start=50)
    assert (receipt.refused, receipt.accepted) == (3, 0)


def test_a_report_adds_up_and_names_every_step(purging: Purging) -> None:
    purging.take(OLDEST, 3)
    purging.take(OLDEST, 2, org="org-002", start=10)
    purging.until(OLDEST.due())
    purging.run()
    report = purging.report(OLDEST.shelf)
    assert report["verdict"] == "pass"
    assert report["totals"] == {
        "taken": 5,
        "versions": 0,
        "kept": 0,
        "destroyed": 5,
        "lost": 0,
        "found": 5,
        "strays": 0,
    }
    expected = dict.fromkeys(STEPS, "pass") | {"witnessed": "none"}
    assert lines_of(report, "steps") == expected
    told = dict.fromkeys(lines_of(report, "readback"), "pass")
    if purging.house.store.shared:  # a server's log is its own
        told["write-ahead log"] = "none"
    assert lines_of(report, "readback") == told
    assert set(lines_of(report, "readback")) == {
        "opening",
        "keyring",
        "tables",
        "rows",
        "index",
        "sums",
        "write-ahead log",
        "earlier shelves",
        "processes",
    }
    assert (report["witnesses"], report["erased_at"], report["time"]) == ("unknown", "unknown", "host clock only")
    assert report["signed"]["says"].startswith("nothing is signed in this archive")
    assert report["roots"]["taken"] == report["roots"]["found"]
    assert report["rows_dropped"]["texts"] == 5


def test_a_report_has_control_totals_by_organisation(purging: Purging) -> None:
    purging.take(OLDEST, 3)
    purging.house.clock.forward(minutes=5)
    purging.take(OLDEST, 2, org="org-002", start=10)
    purging.until(OLDEST.due())
    purging.run()
    report = purging.report(OLDEST.shelf)
    handles = {name: handle.hex() for name, handle in purging.house.organisations.all().items()}
    totals = {each["org"]: each for each in report["organisations"]}
    assert totals[handles["org-001"]]["taken_texts"] == totals[handles["org-001"]]["found"] == 3
    assert totals[handles["org-002"]]["first_received"] == "2026-11-22T12:05:00.000Z"
    assert report["received"] == {"first": "2026-11-22T12:00:00.000Z", "last": "2026-11-22T12:05:00.000Z"}


def test_a_report_names_the_ledger_entry_of_every_slice_counted(purging: Purging) -> None:
    purging.take(OLDEST, 2)
    purging.take(OLDEST.plus(1), 2, start=20)
    purging.take(OLDEST, 2, start=10)
    purging.until(OLDEST.due())
    purging.run(signed=purging.ledger)
    spans = purging.report(OLDEST.shelf)["slices"]["entries"]
    named = [index for first, last in spans for index in range(first, last + 1)]
    entries = purging.entries("slice", shelf=OLDEST.shelf)
    assert named == [entry.index for entry in entries]
    leaves = [tree.leaf_hash(bytes.fromhex(entry.body["root"])) for entry in entries]
    assert purging.report(OLDEST.shelf)["roots"]["taken"] == tree.root(leaves).hex()


def test_quarantine_and_activity_of_a_day_go_with_it_and_are_counted(purging: Purging) -> None:
    bad = [event(number, sent_at=evening(OLDEST)) for number in (7, 8)]
    purging.take_records(bad[:1], verdict="quarantine", reason="mms")
    purging.take_records(bad[1:], verdict="quarantine", reason="group")
    purging.until(OLDEST.due())
    purging.run()
    report = purging.report(OLDEST.shelf)
    assert report["quarantine"]["reasons"] == {"group": 1, "mms": 1}
    assert (report["quarantine"]["taken"], report["quarantine"]["found"]) == (2, 2)
    assert report["papers"] == {"quarantine": 2}
    assert report["verdict"] == "pass"


def test_refusals_that_came_before_the_end_are_counted_by_reason_and_producer(purging: Purging) -> None:
    purging.take_records([event(1, sent_at=OLDEST.start().isoformat())])
    purging.until(OLDEST.due())
    purging.run(signed=purging.ledger)
    refusals = purging.report(OLDEST.shelf)["refusals"]
    entry = purging.entries("refusals", shelf=OLDEST.shelf)[0].index
    assert refusals == {
        "count": 1,
        "reasons": {"expired": 1},
        "producers": {bytes(range(8)).hex(): 1},
        "entries": [[entry, entry]],
    }


def test_a_day_that_never_had_a_text_gets_a_report_too(purging: Purging) -> None:
    purging.until(OLDEST.due())
    purging.run()
    report = purging.report(OLDEST.shelf)
    assert report["verdict"] == "pass"
    assert report["totals"]["taken"] == 0


def test_no_report_quotes_a_text_a_number_a_name_or_a_user(purging: Purging) -> None:
    purging.take_records([event(5, sent_at=evening(OLDEST), body="canary-in-a-body-4711")])
    purging.until(OLDEST.due())
    purging.run()
    written = purging.chain.read(OLDEST.shelf).decode()
    for secret in ("canary", "+1212", "org-001", "user-0001", "txt-"):
        assert secret not in written


def test_each_step_leaves_its_ledger_entry_in_order(purging: Purging) -> None:
    purging.take(OLDEST)
    purging.until(OLDEST.due())
    purging.run(signed=purging.ledger)
    entries = purging.entries("intent", "committed", "key-destroyed", "purge", shelf=OLDEST.shelf)
    assert [entry.kind for entry in entries] == ["intent", "committed", "key-destroyed", "purge"]
    report = purging.report(OLDEST.shelf)
    named = {step["step"]: step["entry"] for step in report["steps"]}
    assert (named["intent"], named["committed"], named["shredded"]) == tuple(entry.index for entry in entries[:3])
    stone = purging.house.keyring.tombstone(shelf_secret(OLDEST.shelf))
    assert stone is not None
    assert stone.entry == str(entries[1].index)
    assert report["keys"]["commitment"] == stone.commitment.hex()
    assert report["keys"]["ring_before"]["root"] != report["keys"]["ring_after"]["root"]


def test_reports_are_chained_by_digest_and_numbered_without_a_gap(purging: Purging) -> None:
    purging.until(OLDEST.plus(2).due())
    purging.run()
    days = [OLDEST.plus(number) for number in range(3)]
    reports = [purging.report(day.shelf) for day in days]
    assert [report["number"] for report in reports] == [1, 2, 3]
    digests = [digest(purging.chain.read(day.shelf)) for day in days]
    assert [report["previous"] for report in reports] == [None, *digests[:2]]
    assert [entry.body["report"] for entry in purging.entries("purge")] == digests


def test_days_go_oldest_first_and_each_step_is_told(purging: Purging) -> None:
    heard: list[tuple[str, str]] = []
    purging.until(OLDEST.plus(1).due())
    purging.run(told=lambda shelf, state: heard.append((shelf, state)))
    assert heard == [(OLDEST.plus(day).shelf, step) for day in range(2) for step in STEPS]


@pytest.mark.parametrize("name", ["2020-01-01", "../textkeep", "missed-run-2020-01-01"])
def test_a_report_that_is_none_is_not_found(purging: Purging, name: str) -> None:
    with pytest.raises(NotFound):
        purging.chain.read(name)


def test_a_second_run_finds_nothing_to_do_and_writes_no_second_report(purging: Purging) -> None:
    purging.take(OLDEST)
    purging.until(OLDEST.due())
    purging.run()
    before = purging.chain.read(OLDEST.shelf)
    assert purging.run().days == ()
    assert purging.chain.read(OLDEST.shelf) == before
    assert len(purging.entries("purge")) == 1


def test_what_comes_back_after_a_purge_is_dropped_again_and_named(purging: Purging) -> None:
    purging.until(OLDEST.due())
    purging.run()
    purging.index.create([OLDEST.shelf])
    with purging.house.behind.transaction() as connection:
        texts_of(OLDEST.shelf).create(connection)
    purging.until(OLDEST.plus(1).due())
    result = purging.run()
    assert result.found_again == (OLDEST.shelf,)
    assert not purging.index.exists(OLDEST.shelf)
    report = purging.report(OLDEST.plus(1).shelf)
    assert lines_of(report, "readback")["earlier shelves"] == "fail"
    assert report["verdict"] == "fail"
    assert purging.run().found_again == ()


def test_looking_again_asks_the_index_once_however_many_days_were_purged(purging: Purging) -> None:
    purging.until(OLDEST.plus(2).due())
    purging.run()
    asked: list[str] = []

    class Asked:
        """The index, and what it was asked."""

        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(index, name)

    index = purging.index
    purging.index = cast(EmbeddedIndex, Asked())
    assert purging.run().stopped is None
    purging.index = index
    assert asked == ["shelves"]


@pytest.mark.parametrize("house", ["sqlite", "memory"], indirect=True)
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_a_drop_leaves_the_database_as_careful_as_it_was(purging: Purging, mode: int) -> None:
    """Pages of a destroyed shelf need not be written over; those of other deleted rows are, where they were before."""
    with purging.house.store.transaction() as connection:
        connection.exec_driver_sql(f"PRAGMA secure_delete={('OFF', 'ON', 'FAST')[mode]}")
    purging.take(OLDEST)
    purging.until(OLDEST.due())
    assert purging.run().stopped is None
    with purging.house.store.transaction() as connection:
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar_one() == mode


class ChangingHolds(NoHolds):
    """Holds whose set is another each time, a few times, as if people were placing them."""

    def __init__(self, changes: int) -> None:
        self.left = changes
        self.kept = 0

    def digest(self, connection: Connection) -> bytes:
        return bytes([self.left]) * 32

    def keep(self, transaction: Transaction, shelf: str) -> Kept:
        self.kept += 1
        with transaction() as connection:
            return Kept(self.digest(connection), (), 0, 0, 0)


def test_a_set_of_holds_that_changed_sends_the_purge_back_to_step_two(purging: Purging) -> None:
    holds = ChangingHolds(2)
    heard: list[str] = []

    def told(_shelf: str, state: str) -> None:
        heard.append(state)
        if state == "witnessed" and holds.left:
            holds.left -= 1

    purging.until(OLDEST.due())
    assert purging.run(told=told, holds=holds).days[0].state == "reported"
    assert heard[:7] == ["intent", "kept", "witnessed", "intent", "kept", "witnessed", "intent"]
    assert holds.kept == 3
    assert len(purging.entries("committed")) == 1


def test_two_purges_of_one_day_leave_one_number_and_one_report(
    purging: Purging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where both believe that it is their turn, each step happens once; who lost it closes no table for long."""
    monkeypatch.setattr(still, "MOST_SECONDS", 0.5)
    purging.take(OLDEST)
    purging.until(OLDEST.due())
    one, two = purging.purge(), purging.purge()
    turn = purging.turn()
    assert turn.take()
    order = Order(turn, tuple(purging.mark().readings()), None, "schedule", None, LookedAgain(0, ()))
    for _ in STEPS:
        one._steps.advance(OLDEST.shelf, order)
        two._steps.advance(OLDEST.shelf, order)
    assert purging.state(OLDEST) == "reported"
    assert [entry.kind for entry in purging.entries("intent", "committed", "key-destroyed", "purge")] == [
        "intent",
        "committed",
        "key-destroyed",
        "purge",
    ]
