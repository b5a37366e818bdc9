"""The statements of the hot path, handed to the driver as they are.

Building them as expressions costs more than running them: 10 microseconds a text for binding values, 3 for each tag
asked for, 1 to 3 milliseconds for each shelf's tables the first time, 0.2 for each answer's result object where a page
of a search reads 20 shelves (cProfile, 50,000 texts over 398 days). The tables stay those of `tables.py`, the
connection and its transaction are the caller's.

On PostgreSQL many rows are copied into the connection's staging table first, and inserted from there in the order of
their key: transactions that insert the same texts at the same time wait for each other, and never in a circle.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import psycopg
from sqlalchemy import Connection

from textkeep.store.postgres import INCOMING
from textkeep.store.tables import papers_name, papers_of, texts_name

ASKED_AT_ONCE: Final = 512
"""Tags or slices that one statement asks for; fewer are filled up to a power of two, so that few statements exist."""


STAGED_FROM: Final = 100
"""Rows of one shelf from which on they are copied into the staging table; fewer are one INSERT of their own."""


class TextRow(NamedTuple):
    """A row of a shelf's sealed texts."""

    org: bytes
    tag: bytes
    version: int
    slice: int
    commitment: bytes
    size: int
    sealed: bytes


_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_HEAD: Final = struct.Struct(">hi")
_COPY_FIXED: Final = struct.Struct(">i8si16siiiqi32siii")
_COPY_SIZES: Final = (8, 16, 32)
_COPY_END: Final = b"\xff\xff"

PaperValues = tuple[bytes, str, bytes, int | None, bytes, int, int, bytes]
"""id, kind, org, slice, commitment, size, made at (ticks), sealed."""

_TEXTS: Final = TextRow._fields
_COLUMNS: Final = ", ".join(_TEXTS)
_LEAVES: Final = "slice, org, commitment"
_BY_TAG: Final = " ORDER BY tag, version"
_PAPERS: Final = [column.name for column in papers_of("any").columns]


def insert_texts(connection: Connection, by_shelf: Mapping[str, Sequence[TextRow]]) -> bool:
    """Add rows to the tables of their shelves, oldest shelf first.

    False where another process has inserted one of them since it was looked for (PostgreSQL): then the caller undoes
    its transaction. Raises IntegrityError for an (org, tag, version) that was there (SQLite: there is one writer).
    """
    if not _is_postgres(connection):
        for shelf in sorted(by_shelf):
            connection.exec_driver_sql(_insert(connection, texts_name(shelf), _TEXTS), list(by_shelf[shelf]))
        return True
    staged = {shelf: rows for shelf, rows in by_shelf.items() if len(rows) >= STAGED_FROM}
    cursor = _driver(connection).cursor()
    try:
        if staged:
            _copy(cursor, staged)
        return all(
            _insert_staged(cursor, shelf) == len(rows) if shelf in staged else _insert_few(cursor, shelf, rows)
            for shelf, rows in sorted(by_shelf.items())
        )
    finally:
        cursor.close()


def _copy(cursor: psycopg.Cursor[Any], by_shelf: Mapping[str, Sequence[TextRow]]) -> None:
    """COPY in its binary form (PostgreSQL's manual on COPY), in one piece: row by row costs half as much again."""
    pieces: list[bytes] = [_COPY_HEADER]
    for shelf, rows in by_shelf.items():
        name = shelf.encode("ascii")
        head = _COPY_HEAD.pack(len(_TEXTS) + 1, len(name)) + name
        for org, tag, version, slice_id, committed, size, sealed in rows:
            if (len(org), len(tag), len(committed)) != _COPY_SIZES:
                raise ValueError("a row of sealed texts is not of its documented form")
            fixed = (8, org, 16, tag, 4, version, 8, slice_id, 32, committed, 4, size, len(sealed))
            pieces += (head, _COPY_FIXED.pack(*fixed), sealed)
    pieces.append(_COPY_END)
    with cursor.copy(f"COPY {INCOMING} (shelf, {_COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(b"".join(pieces))


def _insert_staged(cursor: psycopg.Cursor[Any], shelf: str) -> int:
    statement = (
        f"INSERT INTO {texts_name(shelf)} ({_COLUMNS}) SELECT {_COLUMNS} FROM {INCOMING} WHERE shelf = %s"  # noqa: S608
        " ORDER BY tag, version, org ON CONFLICT DO NOTHING"
    )
    return cursor.execute(statement, (shelf,)).rowcount


def _insert_few(cursor: psycopg.Cursor[Any], shelf: str, rows: Sequence[TextRow]) -> bool:
    ordered = sorted(rows, key=lambda row: (row.tag, row.version, row.org))
    marks = ", ".join(["(%b, %b, %s, %s, %b, %s, %b)"] * len(ordered))
    statement = f"INSERT INTO {texts_name(shelf)} ({_COLUMNS}) VALUES {marks} ON CONFLICT DO NOTHING"  # noqa: S608
    return cursor.execute(statement, [value for row in ordered for value in row]).rowcount == len(ordered)


def insert_paper(connection: Connection, shelf: str, row: PaperValues) -> None:
    """Add a row to a shelf's papers."""
    connection.exec_driver_sql(_insert(connection, papers_name(shelf), _PAPERS), row)


def texts_with_tags(connection: Connection, shelf: str, tags: Sequence[bytes]) -> list[TextRow]:
    """The rows of a shelf with these tags, of every organisation and version, versions in order."""
    return _texts_where(connection, shelf, "tag", tags, _BY_TAG)


def texts_with_tags_of(connection: Connection, wanted: Mapping[str, Sequence[bytes]]) -> dict[str, list[TextRow]]:
    """By shelf, what `texts_with_tags` gives of each; on PostgreSQL all of them are asked before the first answers."""
    if len(wanted) < 2 or not _is_postgres(connection):
        return {shelf: texts_with_tags(connection, shelf, tags) for shelf, tags in wanted.items()}
    driver = _driver(connection)
    with ExitStack() as closed:
        cursors = {shelf: closed.enter_context(driver.cursor(binary=True)) for shelf in wanted}
        with driver.pipeline():
            for shelf, cursor in cursors.items():
                cursor.execute(_any_of(shelf, _COLUMNS, "tag", "bytea", _BY_TAG), (list(wanted[shelf]),))
        return {shelf: list(map(TextRow._make, cursor.fetchall())) for shelf, cursor in cursors.items()}


def texts_of_slices(connection: Connection, shelf: str, slices: Sequence[int]) -> list[TextRow]:
    """The rows of a shelf that came with these slices."""
    return _texts_where(connection, shelf, "slice", slices, "")


def commitments_of_slices(connection: Connection, shelf: str, slices: Sequence[int]) -> list[tuple[int, bytes, bytes]]:
    """Slice, organisation and commitment of the rows of a shelf that came with these slices, slice by slice."""
    return _rows_where(connection, shelf, _LEAVES, "slice", slices, " ORDER BY slice")


def texts_of_org(connection: Connection, shelf: str, org: bytes, *, at_once: int) -> Iterator[TextRow]:
    """The rows of one organisation on a shelf, the versions of a text together and in order; so many in memory."""
    mark = _mark(connection)
    statement = f"SELECT {_COLUMNS} FROM {texts_name(shelf)} WHERE org = {mark} ORDER BY tag, version"  # noqa: S608
    yield from map(TextRow._make, _streamed(connection, statement, [org], at_once))


def paper_ids(connection: Connection, shelf: str, kinds: Sequence[str], orgs: Sequence[bytes]) -> list[bytes]:
    """The ids of the papers of these kinds and organisations on a shelf, in order."""
    mark = _mark(connection)
    one_of = [", ".join([mark] * len(values)) for values in (kinds, orgs)]
    where = f"kind IN ({one_of[0]}) AND org IN ({one_of[1]})"
    statement = f"SELECT id FROM {papers_name(shelf)} WHERE {where} ORDER BY id"  # noqa: S608
    return [bytes(row[0]) for row in _streamed(connection, statement, [*kinds, *orgs], ASKED_AT_ONCE)]


def _streamed(
    connection: Connection, statement: str, values: Sequence[bytes | str], at_once: int
) -> Iterator[tuple[Any, ...]]:
    """Rows as they come; on PostgreSQL through a cursor of the server's."""
    if _is_postgres(connection):
        with _driver(connection).cursor(name="textkeep_streamed") as named:
            named.itersize = at_once
            yield from named.execute(statement, values)
        return
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, values)
        while rows := cursor.fetchmany(at_once):
            yield from rows
    finally:
        cursor.close()


def _texts_where(
    connection: Connection, shelf: str, column: str, values: Sequence[bytes | int], order: str
) -> list[TextRow]:
    return list(map(TextRow._make, _rows_where(connection, shelf, _COLUMNS, column, values, order)))


def _rows_where(
    connection: Connection, shelf: str, wanted: str, column: str, values: Sequence[bytes | int], order: str
) -> list[tuple[Any, ...]]:
    """Columns of the rows with these values; in this order, or where many are asked for, portion by portion."""
    if _is_postgres(connection):
        kind = "bytea" if column == "tag" else "int8"
        with _driver(connection).cursor(binary=True) as cursor:
            return cursor.execute(_any_of(shelf, wanted, column, kind, order), (list(values),)).fetchall()
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(values), ASKED_AT_ONCE):
        asked = list(values[start : start + ASKED_AT_ONCE])
        asked += [asked[-1]] * ((1 << (len(asked) - 1).bit_length()) - len(asked))
        marks = ", ".join("?" * len(asked))
        statement = f"SELECT {wanted} FROM {texts_name(shelf)} WHERE {column} IN ({marks}){order}"  # noqa: S608
        found += _asked(connection, statement, asked)
    return found


def _any_of(shelf: str, wanted: str, column: str, kind: str, order: str) -> str:
    return f"SELECT {wanted} FROM {texts_name(shelf)} WHERE {column} = ANY(%b::{kind}[]){order}"  # noqa: S608


def _asked(connection: Connection, statement: str, values: Sequence[bytes | int]) -> list[tuple[Any, ...]]:
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def _insert(connection: Connection, table: str, columns: Sequence[str]) -> str:
    marks = ", ".join([_mark(connection)] * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    found = connection.connection.driver_connection
    if not isinstance(found, psycopg.Connection):
        raise TypeError("not a connection to PostgreSQL")
    return found


def _is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"
