"""Between the decision and the drop nobody changes what was counted; where that cannot be had, it is counted again."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, insert, text
from sqlalchemy.exc import DBAPIError

from tests.housing import House
from tests.retention.purging import OLDEST, Purging, lines_of
from tests.retention.test_recount import STRAY, TEXTS, dropped_line
from textkeep.retention.counting import still
from textkeep.retention.counting.still import Still
from textkeep.store.tables import close_shelf

pytestmark = pytest.mark.parametrize("house", ["postgresql"], indirect=True)
"""On SQLite there is one writer at a time, and the rows are counted twice."""


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    with Purging.over(house, tmp_path) as made:
        made.take(OLDEST, 3, start=1)
        made.take(OLDEST, 4, start=10)
        made.until(OLDEST.due())
        yield made


def counts_of(purging: Purging, **how: Any) -> tuple[dict[str, Any], list[str]]:
    """The report of a run, and which threads counted the rows in it, in order."""
    counted: list[str] = []

    def asked(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if TEXTS.name in statement and "GROUP BY" in statement:
            counted.append(threading.current_thread().name.partition("_")[0])

    engine = purging.house.store._writer
    event.listen(engine, "before_cursor_execute", asked)  # what readers ask passes there too
    try:
        assert purging.run(**how).stopped is None
    finally:
        event.remove(engine, "before_cursor_execute", asked)
    return purging.report(OLDEST.shelf), counted


def test_the_rows_are_counted_once_and_the_report_is_the_same(purging: Purging) -> None:
    report, counted = counts_of(purging)
    assert counted == ["still"]
    assert (report["verdict"], dropped_line(report)[0]) == ("pass", "pass")
    assert report["rows_dropped"]["texts"] == report["totals"]["destroyed"] == 7


def test_who_would_take_rows_out_after_the_decision_waits_and_what_he_then_does_is_counted(purging: Purging) -> None:
    waiting = []

    def change() -> None:
        with purging.house.behind.transaction() as connection:
            connection.execute(delete(TEXTS))

    intruder = threading.Thread(target=change)

    def told(_shelf: str, state: str) -> None:
        if state == "committed":
            intruder.start()
            _until_it_waits(purging)
        elif state == "shredded":
            waiting.append(intruder.is_alive())

    report, counted = counts_of(purging, told=told)
    intruder.join()
    assert waiting == [True]
    assert counted == ["still", "drop"]
    assert (report["verdict"], dropped_line(report)[0]) == ("fail", "fail")
    assert (report["rows_dropped"]["texts"], report["totals"]["lost"]) == (0, 7)


def _until_it_waits(purging: Purging) -> None:
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'RowExclusiveLock'")
    while True:
        with purging.house.behind.reading() as connection:
            if connection.execute(waits).scalar_one():
                return


def test_where_the_connection_is_cut_the_rows_are_counted_again(purging: Purging) -> None:
    def told(_shelf: str, state: str) -> None:
        if state == "committed":
            _cut(purging)
            with purging.house.behind.transaction() as connection:
                connection.execute(insert(TEXTS).values(slice=99, **STRAY))

    report, counted = counts_of(purging, told=told)
    assert counted == ["still", "drop"]
    assert (report["verdict"], dropped_line(report)[0]) == ("fail", "fail")
    assert (report["totals"]["strays"], report["rows_dropped"]["texts"]) == (1, 8)
    assert lines_of(report, "steps")["committed"] == "pass"


def _cut(purging: Purging) -> None:
    """End the connection that keeps the rows as they are."""
    holds = text(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks"
        " WHERE relation = CAST(:name AS regclass) AND mode = 'ShareLock'"
    )
    with purging.house.behind.transaction() as connection:
        assert list(connection.scalars(holds, {"name": TEXTS.name})) == [True]


def test_where_somebody_writes_nobody_waits_and_the_rows_are_counted_twice(purging: Purging) -> None:
    with ExitStack() as writing:
        connection = writing.enter_context(purging.house.behind.transaction())
        connection.execute(text(f"LOCK TABLE {TEXTS.name} IN ROW EXCLUSIVE MODE"))

        def told(_shelf: str, state: str) -> None:
            if state == "committed":
                writing.close()

        report, counted = counts_of(purging, told=told)
    assert counted == ["count", "drop"]
    assert (report["verdict"], report["rows_dropped"]["texts"]) == ("pass", 7)


def test_where_the_role_may_not_close_shelves_the_rows_are_counted_twice(purging: Purging) -> None:
    """A database was put back without the rights of the service's role, say."""
    with purging.house.store.reading() as connection:
        role = connection.execute(text("SELECT quote_ident(current_user)")).scalar_one()
    may = f"EXECUTE ON FUNCTION textkeep_close_shelf(TEXT) {{}} {role}"
    with purging.house.behind.transaction() as connection:
        connection.execute(text(f"REVOKE {may.format('FROM')}"))
    try:
        report, counted = counts_of(purging)
    finally:
        with purging.house.behind.transaction() as connection:
            connection.execute(text(f"GRANT {may.format('TO')}"))
    assert counted == ["count", "drop"]
    assert (report["verdict"], report["rows_dropped"]["texts"]) == ("pass", 7)


def test_a_count_that_was_kept_for_too_long_is_not_relied_on(purging: Purging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(still, "MOST_SECONDS", 0.0)
    report, counted = counts_of(purging)
    assert counted[-1] == "drop"
    assert (report["verdict"], report["rows_dropped"]["texts"]) == ("pass", 7)


def test_it_says_so_once(purging: Purging) -> None:
    _close(purging)
    kept = Still(purging.house.store, OLDEST.shelf)
    assert sorted((kept.numbers() or {}).values()) == [3, 4]
    assert sorted((kept.confirmed() or {}).values()) == [3, 4]
    assert kept.confirmed() is None


def test_a_run_that_ends_early_lets_others_write(purging: Purging) -> None:
    purge = purging.purge(told=lambda _shelf, state: purge.interrupt() if state == "committed" else None)
    assert purge.run(purging.house.clock()).stopped is not None
    with purging.house.behind.transaction() as connection:
        assert connection.execute(delete(TEXTS)).rowcount == 7


def test_an_open_shelf_is_closed_by_nobody(purging: Purging) -> None:
    with pytest.raises(DBAPIError), purging.house.store.transaction() as connection:
        close_shelf(connection, OLDEST.shelf)


def test_a_shelf_without_a_table_has_no_count(purging: Purging) -> None:
    _close(purging)
    with purging.house.behind.transaction() as connection:
        connection.execute(text(f"DROP TABLE {TEXTS.name}"))
    assert Still(purging.house.store, OLDEST.shelf).numbers() is None
    with purging.house.store.transaction() as connection:
        close_shelf(connection, OLDEST.shelf)  # there is nothing to close


def _close(purging: Purging) -> None:
    with purging.house.behind.transaction() as connection:
        connection.execute(text("UPDATE shelves SET state = 'intent' WHERE name = :name"), {"name": OLDEST.shelf})
