"""Dropping a shelf's tables and rows, without standing in anybody's way.

A DROP that waits for a reader of its table makes every later reader wait behind it, and a lock on one table of the
catalogue is enough for that. So it waits for a moment only, gives up, lets the others pass, and tries again.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import Connection, delete, func, select, text

from textkeep.archive.permit import Permit
from textkeep.errors import Outage
from textkeep.retention.counting.still import Still, numbers_then
from textkeep.retention.turn import Turn
from textkeep.store.evidence import kept_papers, kept_slices
from textkeep.store.tables import (
    batches,
    coverage,
    drop_shelf_tables,
    papers_of,
    shelf_tables,
    slices,
    surveys,
    texts_of,
)

LOCK_MS: Final = 300
"""How long a DROP waits for a lock, in milliseconds; as long, at most, readers wait for it."""

TRIES: Final = 20
"""How often it is tried before the run ends with an outage; the next one goes on there."""

RETRY_AFTER: Final = 5
"""Seconds after which a caller may try again when the index takes that long."""

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
"""Seconds between two tries: twice as long each time, so that all of them take about half a minute."""


def patiently(work: Callable[[], None], turn: Turn, hopeless: Callable[[], bool] = lambda: False) -> bool:
    """Do `work`, which drops in a transaction of its own, and again where something was in its way.

    False where the run is to end first. Raises the last Outage where it was in the way every time, or is for good.
    """
    pause = FIRST_PAUSE
    for _ in range(TRIES - 1):
        try:
            work()
        except Outage:
            if hopeless():
                raise
            if turn.pause(pause):
                return False
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            return True
    work()
    return True


class Beside:
    """Work that is done in a thread of its own while the block is; both have ended when it is left.

    Leaving the block raises what the block raised, else what the work did.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beside")
        self._work = self._pool.submit(work)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        if kind is None:
            self._work.result()

    def failed(self) -> bool:
        """Whether the work ended with an error."""
        return self._work.done() and self._work.exception() is not None

    def ended(self, seconds: float | None = None) -> None:
        """Return when the work is done. Raises what it raised, and Outage where it takes longer than `seconds`."""
        if not wait([self._work], seconds).done:
            raise Outage("the index is still being dropped", retry_after=RETRY_AFTER)
        self._work.result()


@dataclass(frozen=True, slots=True)
class There:
    """What is there of a shelf: texts by slice, None where their table is gone; how many papers."""

    texts: Mapping[int, int] | None
    papers: int


def count(connection: Connection, shelf: str, still: Still | None = None) -> There:
    """Count what a shelf's tables hold, in the transaction that is to drop them; `still` has counted its texts before.

    Raises Outage where somebody who writes is in the way.
    """
    tables = set(shelf_tables(connection, shelf))
    papers = papers_of(shelf)
    number = select(func.count()).select_from(papers)
    return There(
        texts=numbers_then(connection, shelf, still) if texts_of(shelf).name in tables else None,
        papers=connection.execute(number).scalar_one() if papers.name in tables else 0,
    )


def drop(connection: Connection, permit: Permit) -> dict[str, int]:
    """Drop a shelf's tables and its rows elsewhere, and count those. Raises Outage where a reader is in the way."""
    drop_tables(connection, permit)
    shelf = permit.shelf
    gone = {
        table.name: connection.execute(delete(table).where(table.c.shelf == shelf)).rowcount
        for table in (slices, batches, surveys, coverage, kept_slices, kept_papers)
    }
    return {name: gone[name] for name in (slices.name, batches.name)}


def drop_tables(connection: Connection, permit: Permit) -> None:
    """Drop a shelf's tables where they are there, waiting for their readers for a moment only.

    The secret of the shelf is destroyed. So SQLite need not write over each page it frees, which on builds that do so
    of themselves takes ten times as long, and as much room in the log as the table had.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_MS}"))
        drop_shelf_tables(connection, permit.shelf)
        return
    was = connection.exec_driver_sql("PRAGMA secure_delete").scalar_one()
    connection.exec_driver_sql("PRAGMA secure_delete=FAST")
    try:
        drop_shelf_tables(connection, permit.shelf)
    finally:
        connection.exec_driver_sql(f"PRAGMA secure_delete={('OFF', 'ON', 'FAST')[was]}")
