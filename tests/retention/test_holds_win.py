"""A hold wins until `committed`: against clocks that step, copies that vanish, damage, and releases on the way."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Table, delete, select, update

from tests.housing import event
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST, evening, lines_of
from textkeep.archive.shelf import Generation
from textkeep.archive.text import HOUSE, UNDECIDED
from textkeep.retention.purging.purge import AGAIN_AT_MOST
from textkeep.store.evidence import kept_papers, kept_slices, releases
from textkeep.store.tables import papers_of, texts_of

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)

Transaction = Callable[[], AbstractContextManager[Connection]]


class SteppingClock:
    """The holds in force, asked while the host's clock is set back for one transaction of `keep`."""

    def __init__(self, keeping: Keeping, at: int, back: timedelta, times: int = 1) -> None:
        self._keeping = keeping
        self._real = keeping.in_force
        self._at = at
        self._back = back
        self._left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def keep(self, transaction: Transaction, shelf: str) -> Any:
        clock, numbers = self._keeping.house.clock, iter(range(1_000))
        stepping = self._left > 0
        self._left -= 1

        @contextmanager
        def stepped() -> Iterator[Connection]:
            back = self._back if stepping and next(numbers) == self._at else timedelta(0)
            clock.now -= back
            try:
                with transaction() as connection:
                    yield connection
            finally:
                clock.now += back

        return self._real.keep(stepped, shelf)


def two_holds_of_which_one_ends_when_the_day_is_due(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    keeping.holders.place(query="merger")
    other = keeping.holders.place(query="lunch").hold
    keeping.house.clock.now = OLDEST.due() - timedelta(hours=24)
    keeping.purging.mark().tick()
    keeping.holders.release(other)
    keeping.purging.until(OLDEST.due() + timedelta(seconds=1))


@pytest.mark.parametrize("portion", [0, 1, 2, 3])
def test_a_clock_that_steps_back_for_one_portion_loses_nothing(keeping: Keeping, portion: int) -> None:
    two_holds_of_which_one_ends_when_the_day_is_due(keeping)
    stepping = SteppingClock(keeping, portion, timedelta(seconds=2))
    assert keeping.run(holds=stepping).stopped is None
    assert keeping.bodies(keeping.kept_shelf()) == ["merger"]
    report = keeping.purging.report(OLDEST.shelf)
    assert (report["verdict"], report["totals"]["kept"], report["totals"]["destroyed"]) == ("pass", 1, 0)
    assert (report["holds"]["examined"], len(report["holds"]["holds"])) == (1, 1)


def test_a_clock_that_jumps_ahead_under_a_run_ends_no_hold(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    hold = keeping.holders.place(query="merger").hold
    keeping.house.clock.now = OLDEST.due() - timedelta(hours=1)
    keeping.purging.mark().tick()
    keeping.holders.release(hold)
    clock = keeping.house.clock
    told = keeping.told_at("intent", lambda: clock.forward(days=3))
    stopped = keeping.purge(OLDEST, told=told).stopped
    assert stopped is not None
    assert (stopped.reason, keeping.bodies(OLDEST.shelf)) == ("conflict", ["merger"])
    stopped = keeping.run().stopped
    assert stopped is not None
    assert stopped.reason == "clock-ahead"
    clock.forward(days=-3)
    assert keeping.run().stopped is None
    assert keeping.bodies(keeping.kept_shelf()) == ["merger"]


def test_a_run_under_which_the_holds_never_stay_the_same_ends_and_destroys_nothing(keeping: Keeping) -> None:
    two_holds_of_which_one_ends_when_the_day_is_due(keeping)
    stepping = SteppingClock(keeping, 1, timedelta(seconds=2), times=AGAIN_AT_MOST + 1)
    stopped = keeping.run(holds=stepping).stopped
    assert stopped is not None
    assert (stopped.reason, keeping.state(OLDEST.shelf)) == ("outage", "intent")
    assert keeping.run().stopped is None
    assert keeping.bodies(keeping.kept_shelf()) == ["merger"]


@pytest.mark.parametrize("again", [False, True])
def test_held_copies_that_vanish_before_the_decision_are_made_anew(keeping: Keeping, again: bool) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    keeping.set_aside(OLDEST, "merger")
    keeping.holders.place(query="merger")

    def vanish() -> None:
        shelf = keeping.kept_shelf()
        keeping.behind(delete(texts_of(shelf)), delete(papers_of(shelf)))
        if again:
            raise InterruptedError

    told = keeping.told_at("witnessed", vanish)
    if again:
        with pytest.raises(InterruptedError):
            keeping.purge(OLDEST, told=told)
        assert keeping.run().stopped is None  # another process, which never saw them
    else:
        assert keeping.purge(OLDEST, told=told).stopped is None
    shelf = keeping.kept_shelf()
    assert (keeping.bodies(shelf), len(keeping.papers(shelf))) == (["merger"], 1)
    report = keeping.purging.report(OLDEST.shelf)
    totals, records = report["totals"], report["quarantine"]
    assert (report["verdict"], totals["kept"], totals["destroyed"], totals["lost"]) == ("pass", 1, 1, 0)
    assert (records["kept"], records["destroyed"], records["lost"]) == (1, 0, 0)


def test_a_held_copy_that_vanishes_though_its_hold_has_ended_stands_in_nobodys_way(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    keeping.holders.place(query="merger")
    ends = keeping.holders.place(query="lunch").hold
    keeping.house.clock.now = OLDEST.due() - timedelta(hours=23)
    keeping.purging.mark().tick()
    keeping.holders.release(ends)

    def later() -> None:
        keeping.purging.until(OLDEST.due() + timedelta(hours=2))
        keeping.behind(delete(texts_of(keeping.kept_shelf())))

    assert keeping.purge(OLDEST, told=keeping.told_at("kept", later)).stopped is None
    assert keeping.bodies(keeping.kept_shelf()) == ["merger"]


@pytest.mark.parametrize("links", [kept_slices, kept_papers])
def test_where_a_held_copy_is_not_to_be_told_any_more_the_run_stops(keeping: Keeping, links: Table) -> None:
    keeping.take(OLDEST, "merger")
    keeping.set_aside(OLDEST, "merger")
    keeping.holders.place(query="merger")
    told = keeping.told_at("witnessed", lambda: keeping.behind(delete(links)))
    stopped = keeping.purge(OLDEST, told=told).stopped
    assert stopped is not None
    assert (stopped.reason, keeping.state(OLDEST.shelf)) == ("unsound", "intent")
    assert "nothing was destroyed" in stopped.detail
    assert keeping.bodies(OLDEST.shelf) == ["merger"]


def test_a_record_that_vanishes_before_the_decision_is_lost_unless_it_is_kept(keeping: Keeping) -> None:
    kept = keeping.set_aside(OLDEST, "merger")
    keeping.set_aside(OLDEST, "lunch")
    keeping.set_aside(OLDEST, "lunch too")
    keeping.holders.place(query="merger")
    gone = [each for each in keeping.ids(OLDEST.shelf, "quarantine") if each.hex() != kept]
    table = papers_of(OLDEST.shelf)
    wanted = [bytes.fromhex(kept), gone[0]]
    told = keeping.told_at("witnessed", lambda: keeping.behind(delete(table).where(table.c.id.in_(wanted))))
    keeping.purge(OLDEST, told=told)
    report = keeping.purging.report(OLDEST.shelf)
    records = report["quarantine"]
    assert (records["taken"], records["kept"], records["destroyed"], records["lost"]) == (3, 1, 1, 1)
    assert (records["found"], report["verdict"]) == (1, "fail")


def damage(keeping: Keeping, shelf: str, version: int) -> None:
    table = texts_of(shelf)
    with keeping.house.store.reading() as connection:
        sealed = bytes(connection.execute(select(table.c.sealed).where(table.c.version == version)).scalar_one())
    spoiled = sealed[:-1] + bytes([sealed[-1] ^ 1])
    keeping.behind(update(table).where(table.c.version == version).values(sealed=spoiled))


def two_versions(keeping: Keeping) -> None:
    for body in ("one", "other content"):
        keeping.purging.take_records([event(900, sent_at=evening(OLDEST), body=body)])


def hidden(keeping: Keeping, how: str) -> None:
    table = texts_of(OLDEST.shelf)
    second = table.c.version == 2
    if how == "damaged":
        damage(keeping, OLDEST.shelf, 2)
    elif how == "deleted":
        keeping.behind(delete(table).where(second))
    elif how == "another version":
        keeping.behind(update(table).where(second).values(version=1, tag=b"\x07" * 16))
    else:
        keeping.behind(update(table).where(second).values(tag=b"\x07" * 16))


@pytest.mark.parametrize("how", ["damaged", "deleted", "another version", "another tag"])
def test_what_was_undecided_once_is_never_decided_more_narrowly(keeping: Keeping, how: str) -> None:
    two_versions(keeping)
    stays = keeping.holders.place(query="flag:rewritten").hold
    others = [keeping.holders.place(query="lunch").hold for _ in range(2 if how == "damaged" else 1)]
    hidden(keeping, how)
    keeping.purge(OLDEST)
    for number, other in enumerate(others, 1):
        assert keeping.bodies(keeping.generation(number)) == ["one"]
        [text] = keeping.texts(keeping.generation(number))
        assert text.flags == (UNDECIDED,)
        assert keeping.holders.holds.holding.held_by(keeping.holders.org(), [text]) == [[stays.id]]
        assert keeping.released(other).stopped is None
        report = keeping.purging.report(keeping.generation(number))
        assert (report["totals"]["kept"], report["totals"]["destroyed"]) == (1, 0)
        assert lines_of(report, "steps")["kept"] == "unknown"


def test_versions_that_are_all_there_leave_nothing_undecided(keeping: Keeping) -> None:
    two_versions(keeping)
    keeping.take(OLDEST, "lunch")
    keeping.holders.place()
    keeping.purge(OLDEST)
    flags = {text.event.data.body: text.flags for text in keeping.texts(keeping.kept_shelf())}
    assert flags == {"one": ("rewritten",), "other content": ("rewritten",), "lunch": ()}
    report = keeping.purging.report(OLDEST.shelf)
    assert (report["verdict"], report["holds"]["undecided"]) == ("pass", 0)


@pytest.mark.parametrize("step", ["intent", "kept"])
def test_a_release_that_takes_effect_on_the_way_is_named_by_the_decision(keeping: Keeping, step: str) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    first = keeping.holders.place(query="merger").hold
    second = keeping.holders.place(query="lunch").hold
    keeping.purge(OLDEST)
    keeping.holders.release(first)
    keeping.house.clock.forward(minutes=5)
    keeping.holders.release(second)
    keeping.purging.until(keeping.house.clock() - timedelta(minutes=5) + timedelta(hours=24))
    shelf = keeping.generation(1)
    told = keeping.told_at(step, lambda: keeping.house.clock.forward(minutes=6), shelf)
    assert keeping.run(told=told, signed=keeping.purging.ledger).stopped is None
    report = keeping.purging.report(shelf)
    assert report["totals"]["destroyed"] == (2 if step == "intent" else 1)
    both = [first.id, second.id]
    assert [each["hold"] for each in report["responsible"]["releases"]] == both
    assert all(isinstance(each["entry"], int) for each in report["responsible"]["releases"])
    [intent], [committed] = (keeping.purging.entries(kind, shelf=shelf) for kind in ("intent", "committed"))
    assert (intent.body["releases"], intent.body["released"]) == ([first.id], 1)
    assert (committed.body["releases"], committed.body["released"]) == (both, 2)
    waiting = [row["hold"] for row in keeping.rows(releases) if row["done_at"] is None]
    assert waiting == ([] if step == "intent" else [second.id])
    keeping.house.clock.forward(hours=1)
    house = Generation(HOUSE, 2).shelf  # goes with any release since it was opened
    assert [each.name for each in keeping.run().released if each.name != house] == [
        keeping.generation(2) for _ in waiting
    ]
    if waiting:  # what the second hold kept on the way had gone there before it ended
        report = keeping.purging.report(keeping.generation(2))
        assert (report["totals"]["destroyed"], report["responsible"]["releases"][0]["hold"]) == (1, second.id)
    assert keeping.bodies(keeping.kept_shelf()) == []


def test_a_release_whose_hold_is_in_force_again_turns_no_generation(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    hold = keeping.holders.place(query="merger").hold
    keeping.purge(OLDEST)
    copy = keeping.house.folder / f"hold:{hold.id}"
    before = copy.read_bytes()
    keeping.holders.release(hold)
    copy.write_bytes(before)  # the keyring was restored from before the release
    keeping.purging.until(keeping.house.clock() + timedelta(hours=24))
    for _ in range(2):
        result = keeping.run()
        assert (result.stopped, result.released) == (None, ())
        keeping.house.clock.forward(hours=1)
    assert keeping.bodies(keeping.generation(1)) == ["merger"]
