"""The two statements of the hot path, handed to the driver as they are.

Building them as expressions costs more than running them: 10 microseconds a text for binding values, 3 for each tag
asked for (cProfile, 50,000 texts over 398 days). The tables stay those of `tables.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row

from textkeep.store.tables import texts_of

ASKED_AT_ONCE: Final = 512
"""How many tags one statement asks for; fewer are filled up to a power of two, so that few statements exist."""

TextValues = tuple[bytes, bytes, int, int, bytes, int, bytes]
"""org, tag, version, slice, commitment, size, sealed."""


def insert_texts(connection: Connection, shelf: str, rows: Sequence[TextValues]) -> None:
    """Add rows to a shelf's table. Raises IntegrityError for an (org, tag, version) that is there."""
    mark = _mark(connection)
    columns = ", ".join(column.name for column in texts_of(shelf).columns)
    marks = ", ".join([mark] * len(texts_of(shelf).columns))
    connection.exec_driver_sql(f"INSERT INTO {texts_of(shelf).name} ({columns}) VALUES ({marks})", list(rows))  # noqa: S608


def texts_with_tags(connection: Connection, shelf: str, tags: Sequence[bytes]) -> Iterator[Row[Any]]:
    """The rows of a shelf with these tags, of every organisation and version, versions in order."""
    mark, table = _mark(connection), texts_of(shelf)
    columns = ", ".join(column.name for column in table.columns)
    for start in range(0, len(tags), ASKED_AT_ONCE):
        asked = list(tags[start : start + ASKED_AT_ONCE])
        asked += [asked[-1]] * ((1 << (len(asked) - 1).bit_length()) - len(asked))
        marks = ", ".join([mark] * len(asked))
        statement = f"SELECT {columns} FROM {table.name} WHERE tag IN ({marks}) ORDER BY tag, version"  # noqa: S608
        yield from connection.exec_driver_sql(statement, tuple(asked))


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"
