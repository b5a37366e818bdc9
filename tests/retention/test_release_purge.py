"""What only a released hold kept goes 24 hours later, by the same eight steps; what another one covers moves on."""

from datetime import timedelta
from functools import partial

import pytest

from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST, lines_of
from textkeep.archive.keyring import SecretDestroyed, shelf_secret
from textkeep.archive.text import HOUSE
from textkeep.errors import Conflict
from textkeep.retention.purging.absence import LookedAgain
from textkeep.retention.purging.moving import Order
from textkeep.retention.reports.report import STEPS
from textkeep.store.evidence import kept_slices, releases

pytestmark = pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)


def test_nothing_goes_within_24_hours_and_everything_released_does_after(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    hold = keeping.holders.place(query="merger").hold
    keeping.purge(OLDEST)
    first = keeping.kept_shelf()
    keeping.holders.release(hold)
    ends = keeping.house.clock() + timedelta(hours=24)
    keeping.purging.until(ends - timedelta(milliseconds=1))
    assert keeping.run().released == ()
    assert keeping.bodies(first) == ["merger"]
    keeping.purging.until(ends)
    result = keeping.run()
    assert result.stopped is None
    assert next((each.name, each.state) for each in result.released) == (first, "reported")
    with pytest.raises(SecretDestroyed):
        keeping.house.keyring.derive("body", first, HOUSE)
    assert keeping.kept_shelf() == keeping.generation(2)
    assert keeping.bodies(keeping.kept_shelf()) == []
    [release] = keeping.rows(releases)
    assert release["done_at"] == ends


def test_a_release_has_a_report_of_its_own_under_the_shelfs_name(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger and lunch", "merger", "lunch", "dinner")
    hold = keeping.holders.place(query="merger").hold
    keeping.holders.place(query="lunch")
    keeping.purge(OLDEST)
    shelf = keeping.kept_shelf()
    keeping.released(hold)
    report = keeping.purging.report(shelf)
    assert (report["kind"], report["shelf"], report["verdict"]) == ("release", shelf, "pass")
    totals = report["totals"]
    assert (totals["taken"], totals["kept"], totals["destroyed"], totals["lost"]) == (3, 2, 1, 0)
    assert list(lines_of(report, "steps")) == list(STEPS)
    assert report["cutoff"]["due_at"] == "2026-11-24T00:00:00.000Z"
    assert keeping.bodies(keeping.kept_shelf()) == ["lunch", "merger and lunch"]
    assert keeping.purging.entries("intent", shelf=shelf)[0].body["releases"] == [hold.id]


def test_what_another_hold_covers_moves_on_and_stays_itself(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger and lunch", "merger")
    one, other = keeping.holders.place(query="merger").hold, keeping.holders.place(query="lunch").hold
    keeping.purge(OLDEST)
    [was] = [text for text in keeping.texts(keeping.kept_shelf()) if "lunch" in text.event.data.body]
    keeping.released(one)
    [now] = keeping.texts(keeping.generation(2))
    assert (now.id, now.raw, now.commitment, now.received_at) == (was.id, was.raw, was.commitment, was.received_at)
    [moved] = keeping.rows(kept_slices)
    assert (moved["shelf"], moved["source_shelf"], moved["source_slice"]) == (
        keeping.generation(2),
        keeping.generation(1),
        was.slice,
    )
    keeping.released(other)
    assert keeping.bodies(keeping.generation(3)) == []
    assert keeping.state(keeping.generation(2)) == "reported"


def test_a_generation_turns_even_where_nothing_on_it_was_released_only(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    hold = keeping.holders.place(query="merger").hold
    keeping.holders.place()
    keeping.purge(OLDEST)
    keeping.released(hold)
    assert keeping.bodies(keeping.generation(2)) == ["merger"]
    assert keeping.purging.report(keeping.generation(1))["totals"]["destroyed"] == 0


def test_the_second_run_has_nothing_left_to_do(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    hold = keeping.holders.place(query="merger").hold
    keeping.purge(OLDEST)
    keeping.released(hold)
    before = keeping.kept_shelf()
    assert keeping.run().released == ()
    assert keeping.kept_shelf() == before


def test_two_releases_at_once_turn_one_generation(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    for query in ("merger", "lunch"):
        keeping.holders.release(keeping.holders.place(query=query).hold)
    keeping.purge(OLDEST)
    assert keeping.bodies(keeping.generation(1)) == ["lunch", "merger"]
    keeping.purging.until(OLDEST.due() + timedelta(hours=13))
    assert [each.name for each in keeping.run().released][:1] == [keeping.generation(1)]
    assert {row["done_at"] is None for row in keeping.rows(releases)} == {False}
    assert keeping.kept_shelf() == keeping.generation(2)


def test_a_hold_placed_during_a_release_wins_until_committed(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    hold = keeping.holders.place().hold
    keeping.purge(OLDEST)
    place = partial(keeping.holders.place, query="lunch")
    told = keeping.told_at("witnessed", place, keeping.generation(1))
    keeping.released(hold, told=told)
    assert keeping.bodies(keeping.generation(2)) == ["lunch"]
    report = keeping.purging.report(keeping.generation(1))
    assert (report["totals"]["kept"], report["totals"]["destroyed"], report["verdict"]) == (1, 1, "pass")


def test_a_hold_placed_after_committed_of_a_release_is_told_that_it_is_too_late(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    hold = keeping.holders.place().hold
    keeping.purge(OLDEST)
    placed = []
    told = keeping.told_at("committed", lambda: placed.append(keeping.holders.place()), keeping.generation(1))
    keeping.released(hold, told=told)
    assert keeping.generation(1) in placed[0].reach.too_late
    assert keeping.bodies(keeping.generation(2)) == []


def test_records_that_nobody_holds_any_more_go_with_the_release_those_of_the_house_too(keeping: Keeping) -> None:
    keeping.set_aside(OLDEST, "merger")
    keeping.holders.take(b"{not json", verdict="quarantine", reason="unreadable", org=None)
    one, other = keeping.holders.place().hold, keeping.holders.place().hold
    keeping.purge(OLDEST)
    keeping.released(one)
    assert len(keeping.papers(keeping.generation(2))) == 1
    told = keeping.purging.report(keeping.generation(1))["quarantine"]
    assert (told["taken"], told["found"], told["reasons"]) == (1, 1, {})
    house = keeping.kept_shelf(None)
    assert house.endswith("-2")
    result = keeping.released(other)
    assert keeping.papers(keeping.generation(3)) == []
    assert [each.name for each in result.released] == [keeping.generation(2), house]


def test_a_shelf_of_held_texts_without_a_release_cannot_be_purged(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    keeping.holders.place()
    keeping.purge(OLDEST)
    purge = keeping.purging.purge(holds=keeping.in_force)
    turn = keeping.purging.turn()
    assert turn.take()
    order = Order(turn, tuple(keeping.purging.mark().readings()), None, "schedule", None, LookedAgain(0, ()))
    with pytest.raises(Conflict, match="no release"):
        purge._steps.advance(keeping.kept_shelf(), order)
    turn.release()
    assert keeping.state(keeping.generation(1)) == "open"
    assert not keeping.house.keyring.has(shelf_secret(keeping.generation(2)))


def test_days_go_first_and_a_day_that_stops_keeps_the_release_waiting(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    keeping.take(OLDEST.plus(1), "merger of the next day")
    hold = keeping.holders.place().hold
    keeping.purge(OLDEST)
    keeping.holders.release(hold)
    keeping.purging.until(keeping.house.clock() + timedelta(hours=24))
    heard: list[tuple[str, str]] = []
    keeping.run(told=lambda shelf, state: heard.append((shelf, state)))
    shelves = list(dict.fromkeys(shelf for shelf, _ in heard))
    assert shelves[:2] == [OLDEST.plus(1).shelf, keeping.generation(1)]
    assert keeping.bodies(keeping.generation(2)) == []
