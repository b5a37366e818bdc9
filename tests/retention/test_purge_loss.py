"""What a report says when the database is not as the ledger has it: it names what is lost, and fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.schema import DropTable

from tests.housing import House, event
from tests.retention.purging import OLDEST, Purging, evening, lines_of
from textkeep.archive.keyring import shelf_secret
from textkeep.archive.shelf import State
from textkeep.archive.text import leaf
from textkeep.errors import Outage, TextkeepError
from textkeep.ledger import tree
from textkeep.ledger.log import Entry
from textkeep.ledger.state import Forked
from textkeep.retention.counting.census import take_census
from textkeep.retention.holds.agreement import HoldsDisagree
from textkeep.retention.holds.in_force import Kept, NoHolds
from textkeep.retention.purging.begun import BegunShelves
from textkeep.retention.reports import facts
from textkeep.retention.reports.facts import Facts
from textkeep.store.leases import LeaseLost
from textkeep.store.tables import (
    ledger_entries,
    papers_of,
    purges,
    shelves,
    slices,
    texts_of,
)

TEXTS = texts_of(OLDEST.shelf)


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    with Purging.over(house, tmp_path) as made:
        made.take(OLDEST, 3, start=1)
        made.take(OLDEST, 4, start=10)
        yield made


def slice_of(purging: Purging, number: int) -> int:
    """The id of the slice of a batch."""
    with purging.house.store.reading() as connection:
        wanted = select(slices.c.id).where(slices.c.batch == f"batch-{number}")
        return int(connection.execute(wanted).scalar_one())


def change(purging: Purging, statement: Any) -> None:
    """Change the database as somebody would who may do everything in it."""
    with purging.house.behind.transaction() as connection:
        connection.execute(statement)


def report_of(purging: Purging) -> dict[str, Any]:
    """The report of a run on the day it is due."""
    purging.until(OLDEST.due())
    assert purging.run().stopped is None
    return purging.report(OLDEST.shelf)


def written(entry: Entry) -> str:
    """An entry as it lies in the ledger."""
    return rfc8785.dumps(entry.body).decode()


def one_row(slice_id: int) -> Any:
    return TEXTS.c.commitment == select(func.min(TEXTS.c.commitment)).where(TEXTS.c.slice == slice_id).scalar_subquery()


def test_a_missing_row_loses_its_slice_and_fails_the_report(purging: Purging) -> None:
    hurt = slice_of(purging, 1)
    change(purging, delete(TEXTS).where(one_row(hurt)))
    report = report_of(purging)
    totals = report["totals"]
    assert report["verdict"] == "fail"
    assert (totals["taken"], totals["destroyed"], totals["lost"], totals["found"]) == (7, 4, 3, 6)
    assert [(each["slice"], each["taken"], each["found"]) for each in report["slices"]["differing"]] == [
        (f"{hurt:016x}", 3, 2)
    ]
    assert lines_of(report, "steps")["committed"] == "fail"
    assert f"{hurt:016x}" in report["steps"][3]["reason"]
    assert lines_of(report, "readback")["sums"] == "pass"


def test_an_altered_commitment_loses_its_slice(purging: Purging) -> None:
    hurt = slice_of(purging, 2)
    change(purging, update(TEXTS).where(one_row(hurt)).values(commitment=bytes(32)))
    report = report_of(purging)
    assert report["verdict"] == "fail"
    assert (report["totals"]["destroyed"], report["totals"]["lost"]) == (3, 4)


def test_a_text_moved_to_another_organisation_loses_its_slice(purging: Purging) -> None:
    change(purging, update(TEXTS).where(one_row(slice_of(purging, 1))).values(org=bytes(8)))
    assert report_of(purging)["totals"]["lost"] == 3


def test_a_text_moved_to_another_slice_loses_both(purging: Purging) -> None:
    one, other = slice_of(purging, 1), slice_of(purging, 2)
    change(purging, update(TEXTS).where(one_row(one)).values(slice=other))
    report = report_of(purging)
    assert report["totals"]["lost"] == 7
    assert {each["slice"] for each in report["slices"]["differing"]} == {f"{one:016x}", f"{other:016x}"}


def test_a_row_that_nobody_took_is_named_and_not_counted_as_destroyed(purging: Purging) -> None:
    row = {"org": bytes(8), "tag": bytes(16), "version": 1, "slice": 4711, "commitment": bytes(32)}
    change(purging, insert(TEXTS).values(**row, size=1, sealed=b"\x01"))
    report = report_of(purging)
    assert report["verdict"] == "fail"
    assert report["totals"] == {
        "taken": 7,
        "versions": 0,
        "kept": 0,
        "destroyed": 7,
        "lost": 0,
        "found": 8,
        "strays": 1,
    }
    assert report["slices"]["differing"][0]["slice"] == f"{4711:016x}"


def test_a_slice_whose_ledger_entry_is_gone_is_named(purging: Purging) -> None:
    change(purging, delete(ledger_entries).where(ledger_entries.c.seq == purging.entries("slice")[0].seq))
    report = report_of(purging)
    assert report["verdict"] == "fail"
    assert (report["totals"]["taken"], report["totals"]["strays"]) == (4, 3)


def test_an_entry_whose_count_was_changed_breaks_the_sums(purging: Purging) -> None:
    entry = purging.entries("slice")[0]
    change(
        purging,
        update(ledger_entries)
        .where(ledger_entries.c.seq == entry.seq)
        .values(entry=func.replace(ledger_entries.c.entry, '"accepted":3', '"accepted":2')),
    )
    report = report_of(purging)
    assert lines_of(report, "readback")["sums"] == "fail"
    assert report["verdict"] == "fail"


def test_an_entry_that_cannot_be_read_stops_the_day_before_anything_is_destroyed(purging: Purging) -> None:
    entry = purging.entries("slice")[0]
    change(purging, update(ledger_entries).where(ledger_entries.c.seq == entry.seq).values(entry='{"v":1'))
    purging.until(OLDEST.due())
    result = purging.run().document()
    assert result["stopped"] == "unsound"
    assert OLDEST.shelf in result["detail"]
    assert purging.state(OLDEST) == "witnessed"
    assert purging.house.keyring.has(shelf_secret(OLDEST.shelf))


def test_a_day_that_is_not_sound_by_itself_stands_in_no_other_day_s_way(purging: Purging) -> None:
    first = purging.entries("slice")[0]
    change(purging, update(ledger_entries).where(ledger_entries.c.seq == first.seq).values(entry='{"v":1'))
    purging.take(OLDEST.plus(1), 2, start=100)
    purging.until(OLDEST.plus(1).due())
    result = purging.run()
    assert result.stopped is not None
    assert result.stopped.reason == "unsound"
    assert OLDEST.shelf in result.stopped.detail
    assert OLDEST.plus(1).shelf not in result.stopped.detail
    assert purging.state(OLDEST) == "witnessed"
    assert purging.state(OLDEST.plus(1)) == "reported"
    change(purging, update(ledger_entries).where(ledger_entries.c.seq == first.seq).values(entry=written(first)))
    assert purging.run().stopped is None
    assert purging.state(OLDEST) == "reported"


@pytest.mark.parametrize("problem", [Forked("forked"), HoldsDisagree("they differ"), LeaseLost("gone"), Outage("out")])
def test_what_is_wrong_with_the_whole_archive_ends_a_run_at_once(purging: Purging, problem: TextkeepError) -> None:
    class Failing(NoHolds):
        def keep(self, _transaction: object, _shelf: str) -> Kept:
            raise problem

    purging.until(OLDEST.plus(1).due())
    result = purging.run(holds=Failing())
    assert result.stopped is not None
    assert result.stopped.reason == problem.problem
    assert [purging.state(OLDEST.plus(number)) for number in range(2)] == ["intent", "open"]


def test_a_table_that_is_gone_before_its_time_loses_every_slice(purging: Purging) -> None:
    for table in (TEXTS, papers_of(OLDEST.shelf)):
        change(purging, DropTable(table))
    report = report_of(purging)
    assert report["verdict"] == "fail"
    assert (report["totals"]["destroyed"], report["totals"]["lost"]) == (0, 7)


def test_a_quarantined_record_that_is_gone_fails_the_report(purging: Purging) -> None:
    purging.take_records([event(90, sent_at=evening(OLDEST))], verdict="quarantine", reason="mms")
    change(purging, delete(papers_of(OLDEST.shelf)))
    report = report_of(purging)
    assert (report["quarantine"]["taken"], report["quarantine"]["found"]) == (1, 0)
    assert report["verdict"] == "fail"


def test_a_row_that_goes_between_counting_and_dropping_fails_the_report(
    purging: Purging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the rows could not be kept as they were."""
    monkeypatch.setattr(BegunShelves, "counting", lambda *_: None)

    def hurt(_shelf: str, state: str) -> None:
        if state == "committed":
            change(purging, delete(TEXTS).where(one_row(slice_of(purging, 1))))

    purging.until(OLDEST.due())
    purging.run(told=hurt)
    assert lines_of(purging.report(OLDEST.shelf), "steps")["dropped"] == "fail"


def test_a_secret_that_is_not_the_shelfs_own_fails_the_report(purging: Purging) -> None:
    change(purging, update(shelves).where(shelves.c.name == OLDEST.shelf).values(commitment=bytes(32)))
    assert lines_of(report_of(purging), "steps")["shredded"] == "fail"


@pytest.mark.parametrize("state", ["committed", "shredded", "dropped", "verified"])
@pytest.mark.parametrize("gone", ["facts", "row"])
def test_a_retry_without_its_count_says_unknown_and_never_that_nothing_was_destroyed(
    purging: Purging, state: State, gone: str
) -> None:
    def stop(_shelf: str, reached: str) -> None:
        if reached == state:
            purge.interrupt()

    purge = purging.purge(told=stop)
    purging.until(OLDEST.due())
    purge.run(purging.house.clock())
    mine = purges.c.shelf == OLDEST.shelf
    change(purging, delete(purges).where(mine) if gone == "row" else update(purges).where(mine).values(facts="{"))
    assert purging.run().days[0].destroyed is None
    report = purging.report(OLDEST.shelf)
    assert report["totals"] == "unknown"
    assert report["verdict"] == "unknown"
    assert lines_of(report, "steps")["committed"] == "unknown"


def test_kept_texts_are_counted_as_kept_and_not_as_destroyed(purging: Purging) -> None:
    """What a hold carries over leaves the sums whole."""
    with purging.house.store.transaction() as connection:
        everything = take_census(connection, OLDEST.shelf, {})
        kept = {slice_id: frozenset({one}) for slice_id, one in _leaves(connection)}
        census = take_census(connection, OLDEST.shelf, kept)
    assert (everything.kept, everything.destroyed) == (0, 7)
    assert (census.taken, census.kept, census.destroyed, census.lost) == (7, 2, 5, 0)
    assert census.taken_root == everything.taken_root == census.found_root
    assert census.destroyed_root != everything.destroyed_root


def _leaves(connection: Connection) -> list[tuple[int, bytes]]:
    """One leaf of each slice."""
    rows = connection.execute(select(TEXTS.c.slice, TEXTS.c.org, TEXTS.c.commitment)).all()
    return list({row.slice: leaf(row.org, row.commitment) for row in rows}.items())


def test_facts_come_back_as_they_were_saved(purging: Purging) -> None:
    with purging.house.store.transaction() as connection:
        census = take_census(connection, OLDEST.shelf, {})
        begun = facts.begin(connection, OLDEST.shelf, Facts(census=census, clocks={"host": "x"}), purging.house.clock())
        begun.attempt = 7
        facts.save(connection, begun)
        assert facts.load(connection, OLDEST.shelf) == begun


def test_an_entry_made_to_match_a_slice_that_was_emptied_breaks_the_sums(purging: Purging) -> None:
    entry = purging.entries("slice")[0]
    empty = tree.root_of_set([]).hex()
    change(purging, delete(TEXTS).where(TEXTS.c.slice == slice_of(purging, 1)))
    change(
        purging,
        update(ledger_entries)
        .where(ledger_entries.c.seq == entry.seq)
        .values(entry=func.replace(ledger_entries.c.entry, entry.body["root"], empty)),
    )
    report = report_of(purging)
    assert lines_of(report, "readback")["sums"] == "fail"
    assert (report["totals"]["taken"], report["totals"]["destroyed"]) == (7, 4)
