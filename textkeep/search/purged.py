"""Purged in the meantime: what keeps a slow writer from bringing the index of a purged day back.

A shelf that a transaction holds stays open only while the database knows of that transaction. It ends it where the
connection is cut, the server starts again, or this process was stopped for too long; and an index is made by no
transaction. So whoever makes one asks through the same connection right before, and looks again where its work failed.
"""

from collections.abc import Collection
from contextlib import suppress
from typing import Final

from sqlalchemy import Connection

from textkeep.archive.shelves import UNSHREDDED, Shelves
from textkeep.errors import TextkeepError
from textkeep.search.index import IndexDriver
from textkeep.store.engine import Store, Vanished

RETRY_AFTER: Final = 1
"""Seconds after which a step that met a purge may be done again."""


def must_be_open(connection: Connection, shelves: Shelves, names: Collection[str]) -> None:
    """Keep shelves open until the transaction ends. Raises Vanished where one is not open any more.

    Fails like any statement where the database has ended the transaction.
    """
    states = shelves.lock(connection, names)
    if any(states.get(name) != "open" for name in names):
        raise Vanished("a day was purged in this very moment", retry_after=RETRY_AFTER)


def drop_purged(store: Store, shelves: Shelves, index: IndexDriver, names: Collection[str]) -> None:
    """Drop the indexes of those shelves whose purge has destroyed their secrets, as the database knows them now.

    The purge itself drops an index only after that, or looks for it once more: one of the two comes after the writer.
    Where database or index do not answer, the next run of the reconciler does it.
    """
    if not names:
        return
    with suppress(TextkeepError):
        with store.reading() as connection:
            states = shelves.states(connection, names)
        for name, state in states.items():
            if state not in UNSHREDDED:
                index.drop(name)
