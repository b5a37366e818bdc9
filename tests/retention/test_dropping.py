"""A table is dropped without standing in the way of those who read it, and goes once they have ended."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.housing import House
from tests.retention.purging import OLDEST, Purging
from textkeep.retention.purging import dropping
from textkeep.store.tables import texts_of

TEXTS = texts_of(OLDEST.shelf)

pytestmark = pytest.mark.parametrize("house", ["postgresql"], indirect=True)
"""On the engine whose readers lock tables; no DROP waits for SQLite's, which see a snapshot."""


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    """A day that is due."""
    with Purging.over(house, tmp_path) as made:
        made.take(OLDEST, 3)
        made.until(OLDEST.due())
        yield made


@contextmanager
def reader(purging: Purging) -> Iterator[None]:
    """A backup, say, that has read the table and is not at its end."""
    with purging.house.behind.reading() as connection:
        connection.execute(select(func.count()).select_from(TEXTS)).scalar_one()
        yield


def test_a_reader_that_stays_puts_the_drop_off_to_the_next_run(
    purging: Purging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropping, "TRIES", 3)
    with reader(purging):
        result = purging.run()
    assert result.document()["stopped"] == "outage"
    assert purging.state(OLDEST) == "shredded"
    assert purging.run().stopped is None
    report = purging.report(OLDEST.shelf)
    assert (report["verdict"], report["rows_dropped"]["texts"], report["attempt"]) == ("pass", 3, 2)


def test_a_reader_that_ends_lets_the_same_run_go_on(purging: Purging) -> None:
    waiting, ended = threading.Event(), threading.Event()
    attempts = []
    drop_tables = dropping.drop_tables

    def counted(connection: object, shelf: str) -> None:
        attempts.append(shelf)
        if len(attempts) == 2:
            waiting.set()
        drop_tables(connection, shelf)  # type: ignore[arg-type]

    def read() -> None:
        with reader(purging):
            started.set()
            waiting.wait()
        ended.set()

    started = threading.Event()
    thread = threading.Thread(target=read)
    thread.start()
    started.wait()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dropping, "drop_tables", counted)
        assert purging.run().stopped is None
    thread.join()
    assert ended.is_set()
    assert len(attempts) >= 2
    assert purging.report(OLDEST.shelf)["verdict"] == "pass"


def test_while_a_drop_waits_others_still_read(purging: Purging) -> None:
    """A DROP that waited for as long as the first reader stays would make the second one wait for it."""
    tried, done = threading.Event(), threading.Event()
    drop_tables = dropping.drop_tables

    def told(connection: object, shelf: str) -> None:
        tried.set()
        drop_tables(connection, shelf)  # type: ignore[arg-type]

    def run() -> None:
        purging.run()
        done.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dropping, "drop_tables", told)
        with reader(purging):
            thread = threading.Thread(target=run)
            thread.start()
            tried.wait()
            for _ in range(20):
                with purging.house.store.reading() as connection:
                    assert connection.execute(select(func.count()).select_from(TEXTS)).scalar_one() == 3
            assert not done.is_set()
        thread.join()
    assert purging.state(OLDEST) == "reported"
