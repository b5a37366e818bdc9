"""Looking whether a purged shelf is really gone: its secret, its tables, its rows elsewhere, its index."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final, Protocol, get_args

from sqlalchemy import Column, bindparam, func, select

from textkeep.archive.keyring import Keyring, Purpose, SecretDestroyed, SecretMissing, shelf_secret
from textkeep.archive.text import HOUSE
from textkeep.retention.purging.destruction import Destruction
from textkeep.retention.purging.dropping import drop_tables, patiently
from textkeep.retention.reports.facts import Line
from textkeep.retention.turn import Turn
from textkeep.store.engine import Store
from textkeep.store.evidence import kept_papers, kept_slices
from textkeep.store.tables import (
    batches,
    papers_name,
    shelf_tables,
    shelves,
    slices,
    surveys,
    tables_there,
    texts_name,
)

PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)


class ShelfIndex(Protocol):
    """What a purge needs of the search index, whichever holds it.

    `drop` MUST do nothing where the shelf has no index, and when it returns no document of the shelf MUST remain.
    `exists` and `shelves` MUST look at the index itself and MUST NOT answer from memory.
    """

    def drop(self, shelf: str) -> None:
        """Drop the index of a shelf."""

    def exists(self, shelf: str) -> bool:
        """Whether the shelf has an index."""

    def shelves(self) -> set[str]:
        """Every shelf that has an index."""


@dataclass(frozen=True, slots=True)
class LookedAgain:
    """How many purged shelves were looked for again, and those of which something was there again."""

    shelves: int
    found: tuple[str, ...]


class Absence:
    """Reads back every store after a purge, and again at the next run."""

    def __init__(self, store: Store, keyring: Keyring, index: ShelfIndex, destruction: Destruction) -> None:
        self._store = store
        self._destruction = destruction
        self._keyring = keyring
        self._index = index

    def lines(self, shelf: str) -> list[Line]:
        """One line for each store, by looking and not by remembering. Raises Outage where one cannot be asked."""
        with ThreadPoolExecutor(1, thread_name_prefix="look") as pool:
            index = pool.submit(self._in_index, shelf)  # it is another server that answers
            return [*self._secret(shelf), *self._tables(shelf), index.result()]

    def look_again(self, turn: Turn) -> LookedAgain:
        """Look for every reported shelf again; what is there again is named, and dropped again.

        One question to the catalogue and one to the index, however many shelves there are.
        """
        with self._store.reading() as connection:
            wanted = select(shelves.c.name).where(shelves.c.state == "reported").order_by(shelves.c.name)
            purged = list(connection.scalars(wanted))
            names = {name: (texts_name(name), papers_name(name)) for name in purged}
            tables = tables_there(connection, list(chain.from_iterable(names.values())))
        in_store = {name for name in purged if not tables.isdisjoint(names[name])}
        in_index = self._index.shelves() & set(purged)
        for name in sorted(in_index):
            self._index.drop(name)
        for name in sorted(in_store):
            patiently(partial(self._drop_again, name, turn), turn)
        if in_store:
            self._store.settle()
        return LookedAgain(len(purged), tuple(sorted(in_store | in_index)))

    def _drop_again(self, shelf: str, turn: Turn) -> None:
        with turn.transaction() as connection:
            drop_tables(connection, self._destruction.permit(connection, "found-again", shelf))

    def _secret(self, shelf: str) -> Iterator[Line]:
        opened = [purpose for purpose in PURPOSES if not self._is_destroyed(purpose, shelf)]
        yield _line(
            "opening",
            not opened,
            "no key can be derived for the shelf: the keyring answers that its secret was destroyed",
            f"a key can be derived, or no tombstone says otherwise, for: {', '.join(opened)}",
        )
        name = shelf_secret(shelf)
        stone = self._keyring.tombstone(name)
        yield _line(
            "keyring",
            stone is not None and not self._keyring.has(name),
            "the keyring holds a tombstone and no secret",
            "the keyring holds the secret, or no tombstone",
        )

    def _is_destroyed(self, purpose: Purpose, shelf: str) -> bool:
        try:
            self._keyring.derive(purpose, shelf, HOUSE)
        except SecretDestroyed:
            return True
        except SecretMissing:
            return False
        return False

    def _tables(self, shelf: str) -> Iterator[Line]:
        with self._store.reading() as connection:
            left = shelf_tables(connection, shelf)
            rows: dict[str, int] = dict(connection.execute(_ROWS, {"of": shelf}).mappings().one())
        yield _line("tables", not left, "the shelf has no table", f"there is still: {', '.join(left)}")
        yield _line(
            "rows",
            not any(rows.values()),
            f"no row of the shelf in {', '.join(rows)}",
            f"rows of the shelf remain in {', '.join(name for name, number in rows.items() if number)}",
        )

    def _in_index(self, shelf: str) -> Line:
        return _line("index", not self._index.exists(shelf), "the shelf has no index", "the index is still there")


_COLUMNS: Final[tuple[Column[str], ...]] = (
    slices.c.shelf,
    batches.c.shelf,
    surveys.c.shelf,
    kept_slices.c.shelf,
    kept_papers.c.shelf,
)

_ROWS: Final = select(
    *(
        select(func.count()).where(column == bindparam("of")).scalar_subquery().label(column.table.name)
        for column in _COLUMNS
    )
)
"""How many rows of a shelf each of these tables has, in one statement."""


def _line(name: str, shown: bool, good: str, bad: str) -> Line:
    return Line(name, "pass" if shown else "fail", good if shown else bad)
