"""A hold ends while a day, or a shelf of held texts, is purged: nothing is missing by that, and nothing is amiss."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from tests.housing import House
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST
from textkeep.archive.rows import open_row
from textkeep.retention.holds.hold import Hold
from textkeep.retention.holds.keeping_over import CarryingOver
from textkeep.store.bulk import TextRow
from textkeep.store.evidence import kept_slices
from textkeep.store.tables import texts_of

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)

BODIES = ("lunch", "merger", "merger and lunch", "dinner")


@pytest.fixture
def keeping(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeping]:
    monkeypatch.setattr("textkeep.retention.holds.keeping_over.TEXTS_AT_ONCE", 1)
    with Keeping.over(house, tmp_path) as made:
        yield made


def prepared(keeping: Keeping, *queries: str) -> list[Hold]:
    """Texts of a day that is due, each a slice of its own, and holds of which the first ends in a minute."""
    for body in BODIES:
        keeping.take(OLDEST, body)
    placed = [keeping.holders.place(query=query).hold for query in queries]
    keeping.purging.until(OLDEST.due() - timedelta(hours=24) + timedelta(minutes=1))
    keeping.holders.release(placed[0])
    return placed


class Ending(CarryingOver):
    """The holds in force, which are asked at most so often before the minute is over."""

    def __init__(self, keeping: Keeping, asked: int) -> None:
        self.__dict__.update(keeping.in_force.__dict__)
        self._inside, self._left, self._keeping = self._holds, asked, keeping
        self._holds = self

    def digest(self, connection: Connection) -> bytes:
        self._left -= 1
        if self._left == 0:
            self._keeping.house.clock.forward(minutes=2)
        return self._inside.digest(connection)

    def active(self, connection: Connection) -> Sequence[Hold]:
        return self._inside.active(connection)


def forward(keeping: Keeping) -> Callable[[], None]:
    return lambda: keeping.house.clock.forward(minutes=2)


def committed(keeping: Keeping, shelf: str = OLDEST.shelf) -> tuple[str, str]:
    """The verdict of the decision, and why."""
    [line] = [line for line in keeping.purging.report(shelf)["steps"] if line["step"] == "committed"]
    return line["verdict"], line["reason"]


def totals(keeping: Keeping, shelf: str = OLDEST.shelf) -> tuple[int, ...]:
    told = keeping.purging.report(shelf)["totals"]
    return tuple(told[name] for name in ("taken", "kept", "destroyed", "lost"))


SAID = "ended since"
"""What the decision says of texts that lie where held texts are and that no hold in force covers."""


@pytest.mark.parametrize("state", ["intent", "kept", "witnessed", "committed"])
@pytest.mark.parametrize("queries", [("merger", "lunch"), ("merger",)], ids=["another one stays", "the only one"])
def test_a_hold_that_ends_between_two_steps_leaves_nothing_amiss(
    keeping: Keeping, state: str, queries: Sequence[str]
) -> None:
    prepared(keeping, *queries)
    keeping.purging.until(OLDEST.due())
    assert keeping.run(told=keeping.told_at(state, forward(keeping))).stopped is None
    verdict, why = committed(keeping)
    assert (verdict, SAID in why) == ("pass", state in ("kept", "witnessed")), why
    still = 2 if len(queries) > 1 else 0
    kept = still if state == "intent" else len(BODIES[1:]) if still else 2
    assert totals(keeping) == (4, kept, 4 - kept, 0)
    assert keeping.purging.report(OLDEST.shelf)["verdict"] == "pass"
    keeping.purging.until(OLDEST.due() + timedelta(hours=1))
    keeping.run()
    assert keeping.bodies(keeping.kept_shelf()) == sorted(body for body in BODIES if still and "lunch" in body)


def test_a_hold_that_ends_between_any_two_portions_leaves_nothing_amiss(keeping: Keeping) -> None:
    seen = []
    for at, asked in enumerate((1, 3, 5, 7, 9)):
        day = OLDEST.plus(at)
        for body in BODIES:
            keeping.take(day, body)
        ends = keeping.holders.place(query="merger", after=day.start(), before=day.end()).hold
        keeping.holders.place(query="lunch", after=day.start(), before=day.end())
        keeping.purging.until(day.due() - timedelta(hours=24) + timedelta(minutes=1))
        keeping.holders.release(ends)
        keeping.purging.until(day.due())
        assert keeping.run(holds=Ending(keeping, asked)).stopped is None
        assert committed(keeping, day.shelf)[0] == "pass", committed(keeping, day.shelf)
        taken, kept, destroyed, lost = totals(keeping, day.shelf)
        assert (taken, kept + destroyed, lost) == (4, 4, 0)
        there = [text.event.data.body for text in keeping.texts(keeping.kept_shelf()) if text.id.day == day.date]
        assert {"lunch", "merger and lunch"} <= set(there)
        seen.append(kept)
    assert {2, 3} <= set(seen), "some ended before anything was carried over, and some after"


def test_a_release_of_held_texts_during_which_another_one_takes_effect_leaves_nothing_amiss(keeping: Keeping) -> None:
    for body in BODIES:
        keeping.take(OLDEST, body)
    first, second = (keeping.holders.place(query=query).hold for query in ("dinner", "merger"))
    keeping.holders.place(query="lunch")
    keeping.purge(OLDEST)
    keeping.holders.release(first)
    keeping.house.clock.forward(minutes=1)
    keeping.holders.release(second)
    keeping.purging.until(keeping.house.clock() - timedelta(minutes=1) + timedelta(hours=24))
    shelf = keeping.generation(1)
    assert keeping.run(told=keeping.told_at("kept", forward(keeping), shelf)).stopped is None
    verdict, why = committed(keeping, shelf)
    assert (verdict, SAID in why) == ("pass", True), why
    assert totals(keeping, shelf) == (4, 3, 1, 0)
    keeping.house.clock.forward(hours=1)
    keeping.run()
    assert totals(keeping, keeping.generation(2)) == (3, 2, 1, 0)
    assert keeping.bodies(keeping.generation(3)) == ["lunch", "merger and lunch"]


def test_what_lies_there_and_no_entry_says_was_carried_over_is_amiss(keeping: Keeping) -> None:
    """Somebody notes as kept, past the service, what nobody kept: then a report would not say that it was destroyed."""
    prepared(keeping, "dinner", "lunch")
    keeping.purging.until(OLDEST.due())

    def forge() -> None:
        target_shelf = keeping.kept_shelf()
        source, target = texts_of(OLDEST.shelf), texts_of(target_shelf)
        with keeping.house.behind.transaction() as connection:
            [row] = [
                dict(each._mapping)
                for each in connection.execute(select(source))
                if open_row(keeping.house.sealer, OLDEST.shelf, TextRow(*each)).event.data.body == "merger"
            ]
            connection.execute(insert(target).values({**row, "slice": 7}))
            noted = {"source_shelf": OLDEST.shelf, "source_slice": row["slice"]}
            connection.execute(insert(kept_slices).values(slice=7, shelf=target_shelf, **noted))

    keeping.run(told=keeping.told_at("witnessed", forge))
    verdict, why = committed(keeping)
    assert (verdict, "no entry" in why) == ("fail", True), why
