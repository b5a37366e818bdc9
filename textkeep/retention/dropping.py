"""Dropping a shelf's tables and rows, without standing in anybody's way.

A DROP that waits for a reader of its table makes every later reader wait behind it, and a lock on one table of the
catalogue is enough for that. So it waits for a moment only, gives up, lets the others pass, and tries again.
"""

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, delete, func, select, text

from textkeep.errors import Outage
from textkeep.retention.turn import Turn
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

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
"""Seconds between two tries: twice as long each time, so that all of them take about half a minute."""


def patiently(work: Callable[[], None], turn: Turn) -> bool:
    """Do `work`, which drops in a transaction of its own, and again where something was in its way.

    False where the run is to end first. Raises the last Outage where it was in the way every time.
    """
    pause = FIRST_PAUSE
    for _ in range(TRIES - 1):
        try:
            work()
        except Outage:
            if turn.pause(pause):
                return False
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            return True
    work()
    return True


def drop(connection: Connection, shelf: str) -> dict[str, int]:
    """Drop a shelf's tables and rows, and count what went. Raises Outage where a reader is in the way for too long."""
    there = set(shelf_tables(connection, shelf))
    own = {"texts": texts_of(shelf), "papers": papers_of(shelf)}
    counts = {
        name: connection.execute(select(func.count()).select_from(table)).scalar_one() if table.name in there else 0
        for name, table in own.items()
    }
    drop_tables(connection, shelf)
    for name, table in (("slices", slices), ("batches", batches)):
        counts[name] = connection.execute(delete(table).where(table.c.shelf == shelf)).rowcount
    for table in (surveys, coverage):
        connection.execute(delete(table).where(table.c.shelf == shelf))
    return counts


def drop_tables(connection: Connection, shelf: str) -> None:
    """Drop a shelf's tables where they are there, waiting for their readers for a moment only.

    The secret of the shelf is destroyed. So SQLite need not write over each page it frees, which on builds that do so
    of themselves takes ten times as long, and as much room in the log as the table had.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_MS}"))
        drop_shelf_tables(connection, shelf)
        return
    was = connection.exec_driver_sql("PRAGMA secure_delete").scalar_one()
    connection.exec_driver_sql("PRAGMA secure_delete=FAST")
    try:
        drop_shelf_tables(connection, shelf)
    finally:
        connection.exec_driver_sql(f"PRAGMA secure_delete={('OFF', 'ON', 'FAST')[was]}")
