"""What the rows of a shelf's table of texts are, slice by slice: read from the rows, and from nothing else.

Rows are counted and read by the table's own column `slice`; neither the table of slices nor the ledger is asked, so
that both can be compared with what is found here.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import compress, groupby
from operator import itemgetter
from typing import Final

import msgspec
from sqlalchemy import Connection, func, select

from textkeep.archive.text import leaf
from textkeep.ledger import tree
from textkeep.store.bulk import commitments_of_slices
from textkeep.store.engine import Store
from textkeep.store.tables import texts_of

PORTION: Final = 10_000
"""About how many rows are read at once; a slice is never divided."""

MOST_SLICES: Final = 256
"""How many slices one statement asks for."""


Numbers = Callable[[], Mapping[int, int]]
"""Gives how many rows each slice of a shelf has."""


class Once:
    """Numbers that are asked for once; `told` is what was given, None until then."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self.told: Mapping[int, int] | None = None

    def __call__(self) -> Mapping[int, int]:
        """How many rows each slice has."""
        if self.told is None:
            self.told = self._numbers()
        return self.told


class Found(msgspec.Struct, frozen=True, gc=False):
    """The set of one slice: how many rows, the root of the set of their leaves (hex), how many of each organisation."""

    number: int
    root: str
    orgs: Mapping[str, int]


NOTHING: Final = Found(0, tree.root_of_set([]).hex(), {})
"""A slice of which no row is there."""


@dataclass(frozen=True, slots=True)
class Members:
    """The leaves of one slice, and of each the organisation (handle) it is of."""

    leaves: list[bytes]
    owners: list[bytes]

    def found(self) -> Found:
        """What is told of the set."""
        return self.without(())

    def without(self, kept: Collection[bytes]) -> Found:
        """What is told of the set without these leaves."""
        left, owners = self.leaves, self.owners
        if kept:
            there = [each not in kept for each in left]
            left, owners = list(compress(left, there)), list(compress(owners, there))
        orgs = {org.hex(): number for org, number in Counter(owners).items()}
        return Found(len(left), tree.root_of_set(left).hex(), orgs)


def numbers(connection: Connection, shelf: str) -> dict[int, int]:
    """How many rows each slice has; the table must be there. It reads an index, and no row where that is enough."""
    table = texts_of(shelf)
    rows = connection.execute(select(table.c.slice, func.count()).group_by(table.c.slice)).all()
    return {row[0]: row[1] for row in rows}


@contextmanager
def numbers_beside(
    store: Store, connection: Connection, shelf: str, begun: Callable[[], Mapping[int, int] | None] = lambda: None
) -> Iterator[Once]:
    """What gives `numbers`; where the store has readers beside a writer they are counted in the meantime.

    `begun` is a count that is at work already, and gives None where nothing came of it. The caller holds the shelf's
    lock, so that its own connection and a reader's snapshot see the same rows.
    """
    if not store.shared:
        yield Once(partial(numbers, connection, shelf))
        return

    def read() -> Mapping[int, int]:
        told = begun()
        if told is not None:
            return told
        with store.reading() as reader:
            return numbers(reader, shelf)

    with ThreadPoolExecutor(1, thread_name_prefix="count") as pool:
        yield Once(pool.submit(read).result)


def portions(wanted: Mapping[int, int], rows: int = PORTION) -> Iterator[list[int]]:
    """Slices, given with their numbers of rows, in parts of about `rows` rows."""
    part: list[int] = []
    size = 0
    for slice_id, number in wanted.items():
        if part and (size + number > rows or len(part) == MOST_SLICES):
            yield part
            part, size = [], 0
        part.append(slice_id)
        size += number
    if part:
        yield part


def members(connection: Connection, shelf: str, slices: Collection[int]) -> Iterator[tuple[int, Members]]:
    """The sets of these slices, as far as there are rows of them; at most `MOST_SLICES` are asked for."""
    rows = commitments_of_slices(connection, shelf, list(slices))
    for slice_id, group in groupby(rows, key=itemgetter(0)):
        own = list(group)
        yield slice_id, Members([leaf(org, commitment) for _, org, commitment in own], [org for _, org, _ in own])
