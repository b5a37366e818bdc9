"""One shelf's tables in the embedded index: how they are made, filled and asked.

The FTS5 table is contentless and keeps neither positions nor counts (`detail=none`, `columnsize=0`). A document's
rowid is its place:

    (milliseconds since the start of the shelf's day) << 22 | 22 bits of its id, or the next that are free

so that `ORDER BY rowid DESC` is newest first, needs no sort and stops at its limit. Documents of one millisecond are
put in the order of their ids when they are read. An id that is added again gets further terms at the same rowid.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from textkeep.archive.shelf import Day
from textkeep.archive.text import TextId
from textkeep.search.index import AllOf, AnyOf, Document, Everything, Hit, Plan, Term, Window

SPREAD: Final = 22
"""Bits of a rowid below the millisecond: up to 4 million documents of one millisecond."""

AUTOMERGE: Final = 16
"""Segments of a level before FTS5 merges them: the most it takes, for the fewest merges while loading."""

_LAST: Final = (1 << SPREAD) - 1
_EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)
_BEFORE_ALL: Final = -(1 << 63)
_LOWEST, _HIGHEST = -(1 << 62), 1 << 62


class Tables(NamedTuple):
    """The names of a shelf's tables, and the moment from which its places count (milliseconds since 1970)."""

    docs: str
    terms: str
    base: int

    @classmethod
    def of(cls, shelf: str, *, beside: bool = False) -> "Tables":
        """The tables of a shelf, or those that are being made to take their place."""
        return _tables(shelf, beside)


@lru_cache(maxsize=4096)
def _tables(shelf: str, beside: bool) -> Tables:
    if not shelf.replace("-", "").isalnum() or not shelf.isascii():
        raise ValueError("not a shelf's name")
    name = shelf.replace("-", "_") + ("__beside" if beside else "")
    try:
        start = Day.named(shelf).start()
    except ValueError:
        start = _EARLIEST
    return Tables(f"docs_{name}", f"terms_{name}", round(start.timestamp()) * 1000)


def create(connection: sqlite3.Connection, tables: Tables) -> None:
    """Make a shelf's tables."""
    connection.execute(
        f"CREATE TABLE {tables.docs} (place INTEGER PRIMARY KEY, day INTEGER NOT NULL, tag BLOB NOT NULL,"
        " version INTEGER NOT NULL, segments INTEGER NOT NULL)"
    )
    connection.execute(
        f"CREATE VIRTUAL TABLE {tables.terms} USING fts5(terms, content='', columnsize=0, detail=none,"
        " tokenize=\"ascii tokenchars ':-'\")"
    )
    connection.execute(f"INSERT INTO {tables.terms} ({tables.terms}, rank) VALUES ('automerge', {AUTOMERGE})")  # noqa: S608


def drop(connection: sqlite3.Connection, tables: Tables) -> None:
    """Drop a shelf's tables where they are there."""
    connection.execute(f"DROP TABLE IF EXISTS {tables.terms}")
    connection.execute(f"DROP TABLE IF EXISTS {tables.docs}")


def rename(connection: sqlite3.Connection, tables: Tables, to: Tables) -> None:
    """Give a shelf's tables other names."""
    connection.execute(f"ALTER TABLE {tables.terms} RENAME TO {to.terms}")
    connection.execute(f"ALTER TABLE {tables.docs} RENAME TO {to.docs}")


def shelves(connection: sqlite3.Connection) -> set[str]:
    """Every shelf that has a table, or one that was being made to take its place."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'docs_*'")
    return {row[0].removeprefix("docs_").removesuffix("__beside").replace("_", "-") for row in names}


def insert(connection: sqlite3.Connection, tables: Tables, documents: Sequence[Document]) -> None:
    """Add documents. FTS5 writes out what it gathered whenever rowids go backwards, so they are sorted first."""
    distinct = _distinct(documents)
    places = [_first_place(tables, document) for document in distinct]
    if len(set(places)) == len(places) and not _taken(connection, tables, places):
        known: set[int] = set()
    else:
        places, known = _free_places(connection, tables, distinct)
    rows = sorted(zip(places, distinct, strict=True), key=lambda each: each[0])
    connection.executemany(
        f"INSERT INTO {tables.docs} (place, day, tag, version, segments) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        [
            (place, each.id.day.toordinal(), each.id.tag, each.id.version, each.segments)
            for place, each in rows
            if place not in known
        ],
    )
    connection.executemany(
        f"INSERT INTO {tables.terms} (rowid, terms) VALUES (?, ?)",  # noqa: S608
        [(place, " ".join(each.terms)) for place, each in rows],
    )


def _distinct(documents: Sequence[Document]) -> list[Document]:
    by_id: dict[TextId, Document] = {}
    for each in documents:
        other = by_id.get(each.id)
        terms = each.terms if other is None else {*other.terms, *each.terms}
        by_id[each.id] = each if other is None else Document(each.id, each.at, each.segments, terms)
    return list(by_id.values())


def _first_place(tables: Tables, document: Document) -> int:
    spread = (int.from_bytes(document.id.tag[:3], "big") + document.id.version) & _LAST
    return (document.at - tables.base) << SPREAD | spread


def _taken(connection: sqlite3.Connection, tables: Tables, places: Sequence[int]) -> bool:
    wanted = f"SELECT EXISTS (SELECT 1 FROM {tables.docs} WHERE place IN (SELECT value FROM json_each(?)))"  # noqa: S608
    return bool(connection.execute(wanted, (json.dumps(places),)).fetchone()[0])


def _free_places(
    connection: sqlite3.Connection, tables: Tables, documents: Sequence[Document]
) -> tuple[list[int], set[int]]:
    """A place for each document, and those of them that hold this very document already."""
    wanted = f"SELECT place, day, tag, version FROM {tables.docs} WHERE place = ?"  # noqa: S608
    given: set[int] = set()
    known: set[int] = set()
    places: list[int] = []
    for document in documents:
        place = _first_place(tables, document)
        while True:
            row = connection.execute(wanted, (place,)).fetchone()
            if row is not None and id_of(row) == document.id:
                known.add(place)
                break
            if row is None and place not in given:
                break
            place = place & ~_LAST | (place + 1) & _LAST
        given.add(place)
        places.append(place)
    return places, known


def ids(
    connection: sqlite3.Connection, tables: Tables, after: int | None, size: int
) -> tuple[list[TextId], int | None]:
    """The next `size` ids behind a place, or the first ones, and the place of the last; None at the end."""
    wanted = f"SELECT place, day, tag, version FROM {tables.docs} WHERE place > ? ORDER BY place LIMIT ?"  # noqa: S608
    rows = connection.execute(wanted, (_BEFORE_ALL if after is None else after, size)).fetchall()
    return [id_of(row) for row in rows], rows[-1][0] if len(rows) == size else None


def id_of(row: Sequence[Any]) -> TextId:
    """The text id in a row of (place, day, tag, version)."""
    return TextId(_date(row[1]), row[2], row[3])


@lru_cache(maxsize=1024)
def _date(ordinal: int) -> date:
    return date.fromordinal(ordinal)


NOTHING: Final = ""


def expression(plan: Plan) -> str | None:
    """A plan in FTS5's own language; None for every document, `NOTHING` where there can be none."""
    match plan:
        case Everything():
            return None
        case Term(term):
            return f'"{term}"'
        case AllOf(parts):
            inside = [expression(part) for part in parts]
            return NOTHING if NOTHING in inside else _joined(" AND ", inside)
        case AnyOf(parts):
            inside = [each for part in parts if (each := expression(part)) != NOTHING]
            return _joined(" OR ", inside) if inside else NOTHING


def _joined(between: str, parts: Iterable[str | None]) -> str:
    return "(" + between.join(part for part in parts if part is not None) + ")"


def ask(connection: sqlite3.Connection, shelf: str, wanted: str | None, window: Window) -> list[Hit]:
    """The documents of an expression in a window, in the exact order of hits.

    Some 400 of these make one search: what is not needed is not done.
    """
    tables = _tables(shelf, False)
    asking = _Asking(connection, tables, wanted, window.oldest_first)
    if window.after is None and window.start is None and window.until is None:
        found = asking.whole_milliseconds(_LOWEST, _HIGHEST, window.limit)
    else:
        found = asking.bounded(window)
    if len(found) > 1:
        found.sort(reverse=not window.oldest_first)
    return found[: window.limit]


class _Asking:
    """One query on one shelf."""

    __slots__ = ("_base", "_connection", "_oldest_first", "_sql", "_wanted")

    def __init__(self, connection: sqlite3.Connection, tables: Tables, wanted: str | None, oldest_first: bool) -> None:
        self._connection = connection
        self._base = tables.base
        self._oldest_first = oldest_first
        self._wanted = () if wanted is None else (wanted,)
        self._sql = _select(tables, wanted is None, oldest_first)

    def bounded(self, window: Window) -> list[Hit]:
        """At least `window.limit` documents inside its bounds, if there are as many; in no order."""
        low = _LOWEST if window.start is None else self._place(window.start)
        high = _HIGHEST if window.until is None else self._place(window.until) - 1
        found: list[Hit] = []
        if window.after is not None:
            # Those of the same millisecond lie in no order of use: all of them are read.
            same = self._place(window.after.at)
            found = self._hits(self._rows(max(low, same), min(high, same | _LAST), -1))
            found = [hit for hit in found if (hit > window.after if self._oldest_first else hit < window.after)]
            low, high = (max(low, (same | _LAST) + 1), high) if self._oldest_first else (low, min(high, same - 1))
        if len(found) < window.limit:
            found += self.whole_milliseconds(low, high, window.limit - len(found))
        return found

    def whole_milliseconds(self, low: int, high: int, limit: int) -> list[Hit]:
        """At least `limit` documents if there are as many, and with the last one all of its millisecond."""
        rows = self._rows(low, high, limit)
        if len(rows) == limit:
            last = rows[-1][0]
            if self._oldest_first:
                rows += self._rows(last + 1, min(high, last | _LAST), -1)
            else:
                rows += self._rows(max(low, last & ~_LAST), last - 1, -1)
        return self._hits(rows) if rows else []

    def _place(self, at: int) -> int:
        """The first place of a millisecond; one that SQLite cannot count to lies beyond all there are."""
        return min(max((at - self._base) << SPREAD, _LOWEST), _HIGHEST)

    def _hits(self, rows: Sequence[Sequence[Any]]) -> list[Hit]:
        base = self._base
        return [Hit(base + (row[0] >> SPREAD), id_of(row)) for row in rows]

    def _rows(self, low: int, high: int, limit: int) -> list[Sequence[Any]]:
        return self._connection.execute(self._sql, (*self._wanted, low, high, limit)).fetchall()


@lru_cache(maxsize=4096)
def _select(tables: Tables, everything: bool, oldest_first: bool) -> str:
    order = "ASC" if oldest_first else "DESC"
    columns, window = "d.place, d.day, d.tag, d.version", f"BETWEEN ? AND ? ORDER BY {{}} {order} LIMIT ?"
    if everything:
        return f"SELECT {columns} FROM {tables.docs} d WHERE d.place {window.format('d.place')}"  # noqa: S608
    return (
        f"SELECT {columns} FROM {tables.terms} t CROSS JOIN {tables.docs} d ON d.place = t.rowid"  # noqa: S608
        f" WHERE t.{tables.terms} MATCH ? AND t.rowid {window.format('t.rowid')}"
    )
