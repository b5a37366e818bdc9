"""The survey: what is read ahead of a purge, what is read again, and what is noticed either way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from tests.housing import House
from tests.retention.purging import OLDEST, Purging, lines_of
from textkeep.retention.counting import leaves, survey
from textkeep.retention.counting.census import SAMPLE, Census, take_census
from textkeep.retention.counting.survey import AHEAD, SURVEY
from textkeep.store.tables import ledger_entries, slices, surveys, texts_of

TEXTS = texts_of(OLDEST.shelf)


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    with Purging.over(house, tmp_path) as made:
        made.take(OLDEST, 3, start=1)
        made.take(OLDEST, 4, org="org-002", start=10)
        yield made


def change(purging: Purging, statement: Any) -> None:
    """Change the database as somebody would who may do everything in it."""
    with purging.house.behind.transaction() as connection:
        connection.execute(statement)


def slice_of(purging: Purging, number: int) -> int:
    with purging.house.store.reading() as connection:
        wanted = select(slices.c.id).where(slices.c.batch == f"batch-{number}")
        return int(connection.execute(wanted).scalar_one())


def one_row(slice_id: int) -> Any:
    return TEXTS.c.commitment == select(func.min(TEXTS.c.commitment)).where(TEXTS.c.slice == slice_id).scalar_subquery()


def census(purging: Purging, kept: dict[int, frozenset[bytes]] | None = None) -> Census:
    with purging.house.store.transaction() as connection:
        return take_census(connection, OLDEST.shelf, kept or {})


def reading(purging: Purging) -> tuple[int, int, int, int]:
    """Slices read ahead, sampled, found altered, read at the decision."""
    found = census(purging).reading
    assert found is not None
    return found.ahead, found.sampled, found.altered, found.at_decision


def report_of(purging: Purging) -> dict[str, Any]:
    purging.until(OLDEST.due())
    assert purging.run().stopped is None
    return purging.report(OLDEST.shelf)


def test_a_survey_says_what_the_rows_are(purging: Purging) -> None:
    assert purging.survey().run() == 2
    entries = {int(entry.body["slice"], 16): entry.body for entry in purging.entries("slice", shelf=OLDEST.shelf)}
    with purging.house.store.reading() as connection:
        found = survey.load(connection, OLDEST.shelf)
    assert {each: found[each].found.root for each in found} == {each: entries[each]["root"] for each in entries}
    assert {each: found[each].found.number for each in found} == {each: entries[each]["accepted"] for each in entries}
    assert [list(each.found.orgs.values()) for each in found.values()] in ([[3], [4]], [[4], [3]])
    assert {each.at for each in found.values()} == {purging.house.clock()}


def test_only_days_due_within_two_days_are_surveyed_and_each_slice_once(purging: Purging) -> None:
    purging.take(OLDEST.plus(1), 2, start=20)
    purging.take(OLDEST.plus(2), 2, start=30)
    purging.house.clock.now = OLDEST.due() - AHEAD
    assert purging.survey().run() == 2
    assert purging.survey().run() == 0
    purging.house.clock.forward(days=1)
    assert purging.survey().run() == 1


def test_a_survey_comes_from_the_rows_and_not_from_the_slices_or_the_ledger(purging: Purging) -> None:
    change(purging, delete(slices).where(slices.c.id == slice_of(purging, 1)))
    change(purging, delete(ledger_entries))
    assert purging.survey().run() == 2


def test_a_purge_counts_what_was_surveyed_without_reading_it_and_the_report_says_so(purging: Purging) -> None:
    for number in range(SAMPLE):
        purging.take(OLDEST, 1, start=100 + number)
    plain = census(purging)
    purging.survey().run()
    first = purging.house.clock()
    purging.house.clock.forward(minutes=30)
    purging.take(OLDEST, 2, start=50)
    purging.survey().run()
    last = purging.house.clock()
    assert reading(purging) == (SAMPLE + 3, SAMPLE, 0, 0)
    purging.take(OLDEST, 1, start=60)
    report = report_of(purging)
    said = report["slices"]["read"]
    assert (said["ahead"], said["sampled"], said["altered"], said["at_decision"]) == (SAMPLE + 3, SAMPLE, 0, 1)
    assert (said["first"], said["last"]) == (moment(first), moment(last))
    assert report["verdict"] == "pass"
    assert report["totals"]["destroyed"] == plain.destroyed + 3
    assert report["roots"]["destroyed"] == report["roots"]["taken"] == report["roots"]["found"]
    assert f"{SAMPLE + 3} of them were read ahead" in report["steps"][3]["reason"]


def moment(at: Any) -> str:
    return str(at.isoformat(timespec="milliseconds")).replace("+00:00", "Z")


def test_a_census_with_surveys_is_the_one_without(purging: Purging) -> None:
    plain = census(purging)
    purging.survey().run()
    ahead = census(purging)
    assert plain.reading is not None
    assert ahead.reading is not None
    assert (plain.reading.ahead, ahead.reading.ahead) == (0, 2)
    same = {name: getattr(plain, name) for name in Census.__struct_fields__ if name != "reading"}
    assert {name: getattr(ahead, name) for name in same} == same


@pytest.mark.parametrize("what", ["gone", "more"])
def test_a_slice_whose_number_of_rows_changed_after_its_survey_is_read_again_and_lost(
    purging: Purging, what: str
) -> None:
    purging.survey().run()
    hurt = slice_of(purging, 1)
    row = {"org": bytes(8), "tag": bytes(16), "version": 1, "slice": hurt, "commitment": bytes(32)}
    more = insert(TEXTS).values(**row, size=1, sealed=b"\x01")
    change(purging, delete(TEXTS).where(one_row(hurt)) if what == "gone" else more)
    assert reading(purging) == (1, 1, 0, 1)
    report = report_of(purging)
    assert report["verdict"] == "fail"
    assert (report["totals"]["destroyed"], report["totals"]["lost"]) == (4, 3)


def test_a_slice_that_vanished_after_its_survey_is_lost(purging: Purging) -> None:
    purging.survey().run()
    change(purging, delete(TEXTS).where(TEXTS.c.slice == slice_of(purging, 1)))
    assert report_of(purging)["totals"]["lost"] == 3


def test_a_row_altered_after_its_survey_is_noticed_in_the_sample_and_then_everything_is_read(
    purging: Purging,
) -> None:
    purging.survey().run()
    change(purging, update(TEXTS).where(one_row(slice_of(purging, 1))).values(commitment=bytes(32)))
    assert reading(purging) == (0, 2, 1, 2)
    report = report_of(purging)
    assert report["verdict"] == "fail"
    assert (report["totals"]["destroyed"], report["totals"]["lost"]) == (4, 3)
    assert "read ahead were not the same" in report["steps"][3]["reason"]


def test_a_damage_found_by_the_survey_and_repaired_before_the_decision_is_none(purging: Purging) -> None:
    hurt = slice_of(purging, 1)
    with purging.house.store.reading() as connection:
        true = connection.execute(select(TEXTS.c.commitment).where(one_row(hurt))).scalar_one()
    change(purging, update(TEXTS).where(TEXTS.c.commitment == true).values(commitment=bytes(32)))
    purging.survey().run()
    change(purging, update(TEXTS).where(TEXTS.c.commitment == bytes(32)).values(commitment=true))
    assert reading(purging) == (1, 1, 0, 1)
    report = report_of(purging)
    assert (report["verdict"], report["totals"]["lost"]) == ("pass", 0)


@pytest.mark.parametrize("broken", [{"root": bytes(32)}, {"found": 7}, {"orgs": "{"}, {"orgs": "[1]"}])
def test_a_survey_that_is_not_what_the_ledger_says_is_worth_nothing(purging: Purging, broken: dict[str, Any]) -> None:
    purging.survey().run()
    change(purging, update(surveys).where(surveys.c.slice == slice_of(purging, 1)).values(**broken))
    assert reading(purging) == (1, 1, 0, 1)
    assert report_of(purging)["verdict"] == "pass"


def test_a_survey_of_a_slice_that_the_ledger_does_not_know_leaves_it_a_stray(purging: Purging) -> None:
    purging.survey().run()
    change(purging, delete(ledger_entries).where(ledger_entries.c.seq == purging.entries("slice")[0].seq))
    report = report_of(purging)
    assert (report["totals"]["taken"], report["totals"]["strays"]) == (4, 3)
    assert report["verdict"] == "fail"


def test_slices_with_texts_that_are_kept_are_read_whatever_the_survey_says(purging: Purging) -> None:
    purging.survey().run()
    hurt = slice_of(purging, 1)
    with purging.house.store.reading() as connection:
        ((_, members),) = leaves.members(connection, OLDEST.shelf, [hurt])
    kept = frozenset(members.leaves[:1])
    found = census(purging, {hurt: kept})
    assert (found.taken, found.kept, found.destroyed, found.lost) == (7, 1, 6, 0)
    assert found.reading is not None
    assert (found.reading.ahead, found.reading.at_decision) == (1, 1)
    assert found.destroyed_root != found.taken_root


def test_surveys_go_with_their_day(purging: Purging) -> None:
    purging.survey().run()
    assert report_of(purging)["verdict"] == "pass"
    with purging.house.store.reading() as connection:
        assert connection.execute(select(surveys)).all() == []
    assert lines_of(purging.report(OLDEST.shelf), "readback")["rows"] == "pass"


def test_a_slow_survey_of_a_day_that_is_being_purged_writes_nothing(purging: Purging) -> None:
    """It had read the rows; the purge began before it could write."""
    slow = purging.survey()
    lock = purging.house.shelves.lock

    def late(*args: Any, **how: Any) -> Any:
        return {OLDEST.shelf: "intent"} if not how else lock(*args, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(purging.house.shelves, "lock", late)
        assert slow.run() == 0
    with purging.house.store.reading() as connection:
        assert connection.execute(select(surveys)).all() == []


def test_a_survey_is_left_to_the_keeper_that_is_at_it(purging: Purging) -> None:
    assert purging.leases.take(SURVEY, "another", 60)
    assert purging.survey().run() == 0
    purging.leases.release(SURVEY, "another")
    assert purging.survey().run() == 2


def test_a_survey_that_is_interrupted_ends_after_its_portion(purging: Purging) -> None:
    interrupted = purging.survey()
    interrupted.interrupt()
    assert interrupted.run() == 0
    assert purging.survey().run() == 2


def test_portions_hold_every_slice_once_and_about_as_many_rows_as_asked_for() -> None:
    wanted = {number: number % 7 for number in range(1000)}
    parts = list(leaves.portions(wanted, rows=20))
    assert [each for part in parts for each in part] == list(wanted)
    assert all(sum(wanted[each] for each in part) <= 20 for part in parts)
    assert list(leaves.portions({1: 99, 2: 1}, rows=20)) == [[1], [2]]
    assert all(len(part) <= leaves.MOST_SLICES for part in leaves.portions(dict.fromkeys(range(1000), 0)))
