"""What changes between the decision and the drop is seen at the drop, by slice, and nothing is dropped too early."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.schema import DropTable

from tests.housing import House, event
from tests.retention.purging import OLDEST, Purging, evening, lines_of
from textkeep.errors import Outage
from textkeep.retention.counting.census import Census, over_roots, take_census
from textkeep.retention.counting.leaves import members
from textkeep.retention.counting.recount import NOT_READ, recount
from textkeep.retention.counting.still import Still
from textkeep.retention.purging import destroying, dropping
from textkeep.retention.purging.begun import BegunShelves
from textkeep.store.tables import ledger_entries, papers_of, purges, shelf_tables, slices, texts_of

TEXTS = texts_of(OLDEST.shelf)
STRAY = {"org": bytes(8), "tag": bytes(16), "version": 1, "commitment": bytes(32), "size": 1, "sealed": b"\x01"}
on_postgresql = pytest.mark.parametrize("house", ["postgresql"], indirect=True)


@pytest.fixture
def purging(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Purging]:
    """Two batches on a day that is due, whose rows nobody keeps as they are; test_still.py tells of those that are."""
    monkeypatch.setattr(BegunShelves, "counting", lambda *_: None)
    with Purging.over(house, tmp_path) as made:
        made.take(OLDEST, 3, start=1)
        made.take(OLDEST, 4, start=10)
        made.take_records([event(90, sent_at=evening(OLDEST))], verdict="quarantine", reason="mms")
        made.until(OLDEST.due())
        yield made


def slice_of(purging: Purging, number: int) -> int:
    with purging.house.store.reading() as connection:
        wanted = select(slices.c.id).where(slices.c.batch == f"batch-{number}")
        return int(connection.execute(wanted).scalar_one())


def one_row(slice_id: int) -> Any:
    return TEXTS.c.commitment == select(func.min(TEXTS.c.commitment)).where(TEXTS.c.slice == slice_id).scalar_subquery()


def change(purging: Purging, *statements: Any) -> None:
    """Change the database as somebody would who may do everything in it."""
    with purging.house.behind.transaction() as connection:
        for statement in statements:
            connection.execute(statement)


def report_with(purging: Purging, *statements: Any, after: str = "committed") -> dict[str, Any]:
    """The report of a run in which somebody does that after the decision."""

    def meanwhile(_shelf: str, state: str) -> None:
        if state == after:
            change(purging, *statements)

    assert purging.run(told=meanwhile).stopped is None
    return purging.report(OLDEST.shelf)


def dropped_line(report: dict[str, Any]) -> tuple[str, str]:
    (line,) = [each for each in report["steps"] if each["step"] == "dropped"]
    return line["verdict"], line["reason"]


def differing(report: dict[str, Any]) -> list[tuple[str, int, int, str]]:
    return [(each["slice"], each["taken"], each["found"], each["found_root"]) for each in report["slices"]["differing"]]


@pytest.mark.parametrize("after", ["committed", "shredded"])
def test_a_row_that_goes_after_the_decision_loses_its_slice_and_the_report_names_it(
    purging: Purging, after: str
) -> None:
    hurt = slice_of(purging, 1)
    report = report_with(purging, delete(TEXTS).where(one_row(hurt)), after=after)
    verdict, reason = dropped_line(report)
    assert (report["verdict"], verdict) == ("fail", "fail")
    assert f"{hurt:016x}" in reason
    totals = report["totals"]
    assert (totals["taken"], totals["destroyed"], totals["lost"]) == (7, 4, 3)
    assert (totals["found"], report["rows_dropped"]["texts"]) == (7, 6)
    assert differing(report) == [(f"{hurt:016x}", 3, 2, NOT_READ)]
    assert report["roots"]["destroyed"] == over_roots([purging.entries("slice")[1].body["root"]])
    assert lines_of(report, "steps")["committed"] == lines_of(report, "readback")["sums"] == "pass"


def test_what_was_decided_stays_in_the_ledger_as_it_was_decided(purging: Purging) -> None:
    report_with(purging, delete(TEXTS).where(one_row(slice_of(purging, 1))))
    (decision,) = purging.entries("committed")
    assert (decision.body["destroyed"], decision.body["lost"]) == (7, 0)


def test_a_row_that_goes_for_another_of_another_slice_is_seen_though_the_number_of_all_is_the_same(
    purging: Purging,
) -> None:
    one, other = slice_of(purging, 1), slice_of(purging, 2)
    report = report_with(purging, delete(TEXTS).where(one_row(one)), insert(TEXTS).values(**STRAY, slice=other))
    assert report["rows_dropped"]["texts"] == report["totals"]["found"] == 7
    assert dropped_line(report)[0] == "fail"
    assert (report["totals"]["destroyed"], report["totals"]["lost"]) == (0, 7)
    assert report["roots"]["destroyed"] == over_roots([])
    assert {each[0] for each in differing(report)} == {f"{one:016x}", f"{other:016x}"}


def test_rows_that_nobody_took_and_that_come_after_the_decision_are_strays(purging: Purging) -> None:
    report = report_with(purging, insert(TEXTS).values(**STRAY, slice=4711))
    assert dropped_line(report)[0] == "fail"
    totals = report["totals"]
    assert (totals["destroyed"], totals["lost"], totals["strays"], totals["found"]) == (7, 0, 1, 7)
    assert differing(report) == [(f"{4711:016x}", 0, 1, NOT_READ)]
    assert report["roots"]["destroyed"] == report["roots"]["taken"]


def test_papers_that_go_after_the_decision_fail_the_report(purging: Purging) -> None:
    report = report_with(purging, delete(papers_of(OLDEST.shelf)))
    assert dropped_line(report)[0] == "fail"
    assert report["rows_dropped"]["papers"] == 0


def test_a_slice_that_was_lost_at_the_decision_is_not_lost_twice(purging: Purging) -> None:
    hurt = slice_of(purging, 1)
    change(purging, delete(TEXTS).where(one_row(hurt)))
    report = report_with(purging)
    assert dropped_line(report)[0] == "pass"
    assert differing(report)[0][:3] == (f"{hurt:016x}", 3, 2)


def test_and_when_more_of_it_goes_then_that_is_said_too(purging: Purging) -> None:
    hurt = slice_of(purging, 1)
    change(purging, delete(TEXTS).where(one_row(hurt)))
    report = report_with(purging, delete(TEXTS).where(one_row(hurt)))
    assert (report["totals"]["destroyed"], report["totals"]["lost"]) == (4, 3)
    verdict, reason = dropped_line(report)
    assert verdict == "fail"
    assert f"{hurt:016x}" in reason


def test_an_entry_damaged_after_the_decision_stops_nothing_and_fails_the_report(purging: Purging) -> None:
    """The process that goes on did not take the decision, and knows of it by the ledger alone."""
    purge = purging.purge(told=lambda _shelf, state: purge.interrupt() if state == "committed" else None)
    stopped = purge.run().stopped
    assert stopped is not None
    assert purging.state(OLDEST) == "committed"
    entry = purging.entries("slice")[0]
    report = report_with(
        purging,
        update(ledger_entries).where(ledger_entries.c.seq == entry.seq).values(entry='{"v":1'),
        after="shredded",
    )
    assert dropped_line(report)[0] == report["verdict"] == "fail"
    assert report["rows_dropped"]["texts"] == 7


def test_an_entry_that_tells_another_number_is_named_at_the_decision_and_not_taken_for_a_change(
    purging: Purging,
) -> None:
    entry = purging.entries("slice")[0]
    told = func.replace(ledger_entries.c.entry, '"accepted":3', '"accepted":2')
    change(purging, update(ledger_entries).where(ledger_entries.c.seq == entry.seq).values(entry=told))
    report = report_with(purging)
    assert differing(report)[0][:3] == (entry.body["slice"], 2, 3)
    assert lines_of(report, "steps")["committed"] == "fail"
    assert dropped_line(report)[0] == "pass"


def test_of_a_slice_that_changed_what_is_kept_is_not_lost(purging: Purging) -> None:
    hurt = slice_of(purging, 2)
    with purging.house.store.transaction() as connection:
        ((_, there),) = members(connection, OLDEST.shelf, [hurt])
        kept = {hurt: frozenset(there.leaves[:1])}
        census = take_census(connection, OLDEST.shelf, kept)
        after = recount(connection, OLDEST.shelf, census, {slice_of_batch(connection, 1): 3, hurt: 3}, lambda: kept)
    assert after.changed == (f"{hurt:016x}",)
    assert sums(census) == (7, 1, 6, 0)
    assert sums(after.census) == (7, 1, 3, 3)
    assert after.census.destroyed_root == NOT_READ, "what is left of a slice was not read again"


def slice_of_batch(connection: Connection, number: int) -> int:
    return int(connection.execute(select(slices.c.id).where(slices.c.batch == f"batch-{number}")).scalar_one())


def sums(census: Census) -> tuple[int, int, int, int]:
    return census.taken, census.kept, census.destroyed, census.lost


def test_a_purge_whose_count_is_gone_and_whose_table_is_too_says_unknown_and_never_0(purging: Purging) -> None:
    def stop(_shelf: str, state: str) -> None:
        if state == "shredded":
            purge.interrupt()

    purge = purging.purge(told=stop)
    purge.run(purging.house.clock())
    change(purging, update(purges).where(purges.c.shelf == OLDEST.shelf).values(facts="{"))
    change(purging, DropTable(TEXTS))
    assert purging.run().stopped is None
    report = purging.report(OLDEST.shelf)
    assert report["totals"] == report["rows_dropped"] == "unknown"


def test_no_table_goes_before_the_index_has_gone(purging: Purging, monkeypatch: pytest.MonkeyPatch) -> None:
    drop, seen = purging.index.drop, []

    def watched(shelf: str) -> None:
        drop(shelf)
        with purging.house.behind.reading() as connection:
            seen.append(len(shelf_tables(connection, shelf)))

    monkeypatch.setattr(purging.index, "drop", watched)
    assert purging.run().stopped is None
    assert set(seen) == {2}


def test_where_the_index_does_not_go_the_tables_stay_and_it_is_not_tried_again_in_this_run(
    purging: Purging, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refuse(shelf: str) -> None:
        tried.append(shelf)
        raise Outage("the index does not answer", retry_after=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(purging.index, "drop", refuse)
        patch.setattr(purging.turn().__class__, "pause", lambda *_: pytest.fail("it waited for nothing"))
        result = purging.run().document()
    assert (result["stopped"], result["detail"]) == ("outage", f"{OLDEST.shelf}: the index does not answer")
    # On PostgreSQL it is begun at the decision, and tried again when the tables wait for it.
    assert tried == [OLDEST.shelf] * (2 if purging.house.store.shared else 1)
    assert purging.state(OLDEST) == "shredded"
    with purging.house.store.reading() as connection:
        assert len(shelf_tables(connection, OLDEST.shelf)) == 2
    assert purging.run().stopped is None
    report = purging.report(OLDEST.shelf)
    assert (report["verdict"], report["rows_dropped"]["texts"], report["totals"]["destroyed"]) == ("pass", 7, 7)


@on_postgresql
def test_an_index_that_takes_long_keeps_no_lock_from_others(purging: Purging, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction gives up and is tried again, until the index has gone."""
    monkeypatch.setattr(destroying, "INDEX_SECONDS", 0.0)
    drop, again, counts = purging.index.drop, threading.Event(), []
    count = dropping.count

    def counted(connection: Connection, shelf: str, still: Still | None) -> Any:
        counts.append(shelf)
        if len(counts) == 3:
            again.set()
        return count(connection, shelf, still)

    def slow(shelf: str) -> None:
        again.wait()
        drop(shelf)

    monkeypatch.setattr(destroying, "count", counted)
    monkeypatch.setattr(purging.index, "drop", slow)
    assert purging.run().stopped is None
    assert len(counts) >= 3
    assert purging.report(OLDEST.shelf)["verdict"] == "pass"


@on_postgresql
def test_a_run_goes_on_when_the_drop_is_seen_and_does_not_wait_until_the_files_are_freed(
    purging: Purging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers a commit only after it has freed the files; here it does not before the report is written."""
    reported, waited = threading.Event(), []
    transaction = purging.house.store.transaction

    @contextmanager
    def freeing() -> Iterator[Connection]:
        with transaction() as connection:
            yield connection
        if threading.current_thread().name.startswith("drop"):
            waited.append(reported.wait(60))

    monkeypatch.setattr(purging.house.store, "transaction", freeing)

    def told(_shelf: str, state: str) -> None:
        if state == "reported":
            reported.set()

    assert purging.run(told=told).stopped is None
    for thread in threading.enumerate():
        if thread.name.startswith("drop"):
            thread.join(0.1)
    assert waited == [True]
    assert purging.report(OLDEST.shelf)["verdict"] == "pass"


@on_postgresql
def test_a_drop_that_fails_in_its_thread_stops_the_run(purging: Purging, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("a fault of the house")

    monkeypatch.setattr(destroying, "drop", refuse)
    with pytest.raises(RuntimeError, match="fault of the house"):
        purging.run()
    assert purging.state(OLDEST) == "shredded"
