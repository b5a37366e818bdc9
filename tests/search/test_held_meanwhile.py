"""The index of a day goes while it is decided about: who searches through a hold just then is told nothing wrong."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.housing import House
from tests.retention.purging import OLDEST, lines_of
from tests.search.held import Held
from textkeep.errors import Outage
from textkeep.retention.counting.census import take_census
from textkeep.retention.purging import deciding
from textkeep.search.index import NoIndex
from textkeep.store.engine import Vanished

pytestmark = pytest.mark.parametrize("house", ["postgresql"], indirect=True)
"""On SQLite the index goes after the decision."""


@pytest.fixture
def held(house: House, tmp_path: Path) -> Iterator[Held]:
    with Held.over(house, tmp_path) as made:
        made.take(OLDEST, "merger", "lunch")
        yield made


def failing(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in which the decision is not taken, though the index has gone."""

    def unanswered(connection: Any, shelf: str, *_: Any, **__: Any) -> None:
        while held.searching.index.exists(shelf):
            continue
        raise Outage("the database does not answer", retry_after=1)

    with monkeypatch.context() as patch:
        patch.setattr(deciding, "take_census", unanswered)
        held.keeping.purging.until(OLDEST.due())
        stopped = held.keeping.run().stopped
    assert stopped is not None
    assert stopped.reason == "outage"
    assert held.keeping.state(OLDEST.shelf) == "witnessed"
    assert not held.searching.index.exists(OLDEST.shelf)


def test_where_the_decision_is_not_taken_the_texts_are_there_and_the_next_run_takes_it(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(held, monkeypatch)
    assert sorted(held.keeping.bodies(OLDEST.shelf)) == ["lunch", "merger"]
    assert held.keeping.run().stopped is None
    report = held.keeping.purging.report(OLDEST.shelf)
    assert (report["verdict"], report["totals"]["destroyed"]) == ("pass", 2)
    assert lines_of(report, "readback")["index"] == "pass"


def test_a_hold_that_is_placed_then_wins_and_until_it_is_carried_over_a_search_says_that_it_cannot_tell(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(held, monkeypatch)
    hold = held.keeping.holders.place(query="merger").hold
    with pytest.raises(NoIndex):
        held.find("merger", hold)
    assert held.keeping.run().stopped is None
    held.searching.follow()
    assert held.bodies("merger OR lunch", hold) == ["merger"]
    report = held.keeping.purging.report(OLDEST.shelf)
    assert (report["verdict"], report["totals"]["kept"], report["totals"]["destroyed"]) == ("pass", 1, 1)


def test_an_index_that_a_late_writer_brings_back_after_the_decision_is_dropped_before_the_tables_are(
    held: Held,
) -> None:
    index = held.searching.index

    def bring_back() -> None:
        while index.exists(OLDEST.shelf):
            continue
        index.create([OLDEST.shelf])

    again = held.keeping.told_at("committed", bring_back)
    assert held.keeping.purge(OLDEST, told=again).stopped is None
    assert not index.exists(OLDEST.shelf)
    assert lines_of(held.keeping.purging.report(OLDEST.shelf), "readback")["index"] == "pass"


def test_a_search_waits_for_the_decision_and_is_asked_to_begin_anew(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it began, what is held lay on the day: its own index is gone, and the walk knows no other place."""
    hold = held.keeping.holders.place(query="merger").hold
    told: list[str] = []

    def search() -> None:
        try:
            held.bodies("merger OR lunch", hold)
        except Vanished as vanished:
            told.append(vanished.detail)

    searching = threading.Thread(target=search)

    def slowly(connection: Any, shelf: str, *rest: Any, **more: Any) -> Any:
        while held.searching.index.exists(shelf):
            continue
        searching.start()
        _until_it_waits(held)
        return take_census(connection, shelf, *rest, **more)

    monkeypatch.setattr(deciding, "take_census", slowly)
    held.purge(OLDEST)
    searching.join()
    assert told == ["what is held was carried over in this very moment"]
    assert held.bodies("merger OR lunch", hold) == ["merger"]


def _until_it_waits(held: Held) -> None:
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while True:
        with held.keeping.house.behind.reading() as connection:
            if connection.execute(waits).scalar_one():
                return
