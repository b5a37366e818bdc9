"""The statements of the hot path, handed to the driver as they are.

Building them as expressions costs more than running them: 10 microseconds a text for binding values, 3 for each tag
asked for, 1 to 3 milliseconds for each shelf's tables the first time, 0.2 for each answer's result object where a page
of a search reads 20 shelves (cProfile, 50,000 texts over 398 days). The tables stay those of `tables.py`, the
connection and its transaction are the caller's.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from textkeep.store.tables import papers_name, papers_of, texts_name

ASKED_AT_ONCE: Final = 512
"""Tags or slices that one statement asks for; fewer are filled up to a power of two, so that few statements exist."""


class TextRow(NamedTuple):
    """A row of a shelf's sealed texts."""

    org: bytes
    tag: bytes
    version: int
    slice: int
    commitment: bytes
    size: int
    sealed: bytes


PaperValues = tuple[bytes, str, bytes, int | None, bytes, int, int, bytes]
"""id, kind, org, slice, commitment, size, made at (ticks), sealed."""

_TEXTS: Final = TextRow._fields
_PAPERS: Final = [column.name for column in papers_of("any").columns]


def insert_texts(connection: Connection, shelf: str, rows: Sequence[TextRow]) -> None:
    """Add rows to a shelf's table. Raises IntegrityError for an (org, tag, version) that is there."""
    connection.exec_driver_sql(_insert(connection, texts_name(shelf), _TEXTS), list(rows))


def insert_paper(connection: Connection, shelf: str, row: PaperValues) -> None:
    """Add a row to a shelf's papers."""
    connection.exec_driver_sql(_insert(connection, papers_name(shelf), _PAPERS), row)


def texts_with_tags(connection: Connection, shelf: str, tags: Sequence[bytes]) -> list[TextRow]:
    """The rows of a shelf with these tags, of every organisation and version, versions in order."""
    return _texts_where(connection, shelf, "tag", tags, " ORDER BY tag, version")


def texts_of_slices(connection: Connection, shelf: str, slices: Sequence[int]) -> list[TextRow]:
    """The rows of a shelf that came with these slices."""
    return _texts_where(connection, shelf, "slice", slices, "")


def _texts_where(
    connection: Connection, shelf: str, column: str, values: Sequence[bytes | int], order: str
) -> list[TextRow]:
    mark, columns = _mark(connection), ", ".join(_TEXTS)
    found: list[TextRow] = []
    for start in range(0, len(values), ASKED_AT_ONCE):
        asked = list(values[start : start + ASKED_AT_ONCE])
        asked += [asked[-1]] * ((1 << (len(asked) - 1).bit_length()) - len(asked))
        marks = ", ".join([mark] * len(asked))
        statement = f"SELECT {columns} FROM {texts_name(shelf)} WHERE {column} IN ({marks}){order}"  # noqa: S608
        found += map(TextRow._make, _asked(connection, statement, asked))
    return found


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


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"
