"""The embedded index: one SQLite file, apart from the archive's own; how its tables look is in `fts.py`.

One connection writes. What a transaction committed is on disk when it returns (`synchronous=FULL`).
"""

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from textkeep.archive.text import TextId
from textkeep.errors import Outage, TextkeepError
from textkeep.search.drivers import fts
from textkeep.search.drivers.fts import Tables
from textkeep.search.index import Addition, Asked, Document, Hit, NoIndex, Plan, Window
from textkeep.store.sqlite import PRAGMAS, cause_of, primary_code

FILE: Final = "index.db"

READERS: Final = 4
"""Connections that answer queries at once; each keeps the statements of every shelf."""

STATEMENTS: Final = 4096
"""Prepared statements kept by each connection: a few for each of some 430 shelves."""

CHUNK: Final = 5_000
"""Documents written in one transaction while an index is made anew."""

PAGE: Final = 10_000
"""Ids that are read at once."""

RETRY_AFTER: Final = 5
"""Seconds after which a caller may try again when the index does not answer."""

TRIES: Final = 5
"""How often a query is asked whose tables went, or came, while it was read what they are (SQLITE_SCHEMA)."""

_DAMAGED: Final = "Stop the service, remove index.db and run `textkeep rebuild`: the archive itself is whole."

_PRAGMAS: Final = (*PRAGMAS, "PRAGMA wal_autocheckpoint=8000")


class EmbeddedIndex:
    """An IndexDriver on SQLite: a file of its own, or memory. What one `add` is given it adds as a whole or not at all,
    and nothing of a slice that the shelf already holds."""

    together = 1
    step_texts = 1_000

    def __init__(self, path: str) -> None:
        self._path = path
        self._in_memory = path == ":memory:"
        self._lock = threading.RLock()
        self._writer = self._connect()
        self._readers: SimpleQueue[sqlite3.Connection | None] = SimpleQueue()
        for _ in range(READERS):
            self._readers.put(None)
        with self._writing() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS shelves (name TEXT PRIMARY KEY) WITHOUT ROWID")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS slices"
                " (shelf TEXT NOT NULL, slice INTEGER NOT NULL, PRIMARY KEY (shelf, slice)) WITHOUT ROWID"
            )

    @classmethod
    def open(cls, folder: Path | None) -> "EmbeddedIndex":
        """The index in a folder, made where there is none; None is memory. Raises Outage where it cannot be opened."""
        if folder is None:
            return cls(":memory:")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(str(folder / FILE))

    def create(self, shelves: Collection[str]) -> None:
        """Make an empty index for each shelf that has none."""
        with self._reading() as connection:
            there = {row[0] for row in connection.execute("SELECT name FROM shelves")}
        missing = sorted(set(shelves) - there)
        if missing:
            with self._writing() as connection:
                for shelf in missing:
                    made = connection.execute("INSERT OR IGNORE INTO shelves (name) VALUES (?)", (shelf,))
                    if made.rowcount == 1:  # else another thread was quicker
                        fts.create(connection, Tables.of(shelf))

    def add(self, additions: Sequence[Addition]) -> None:
        """Add documents, in one transaction."""
        by_shelf = sorted(additions, key=lambda each: each.shelf)
        with self._writing() as connection:
            for shelf, group in groupby(by_shelf, key=lambda each: each.shelf):
                _must_have(connection, shelf)
                new = [each for each in group if _take_slice(connection, each)]
                fts.insert(connection, Tables.of(shelf), [document for each in new for document in each.documents])

    def replace(self, shelf: str, additions: Iterable[Addition]) -> None:
        """Make a shelf's index anew, in tables beside it that then take their place."""
        beside = Tables.of(shelf, beside=True)
        with self._writing() as connection:
            _must_have(connection, shelf)
            fts.drop(connection, beside)
            fts.create(connection, beside)
        slices: list[int] = []
        for chunk in _chunks(additions, slices):
            with self._writing() as connection:
                fts.insert(connection, beside, chunk)
        with self._writing() as connection:
            there = _has(connection, shelf)
            if there:
                fts.drop(connection, Tables.of(shelf))
                fts.rename(connection, beside, Tables.of(shelf))
                connection.execute("DELETE FROM slices WHERE shelf = ?", (shelf,))
                rows = [(shelf, each) for each in slices]
                connection.executemany("INSERT OR IGNORE INTO slices (shelf, slice) VALUES (?, ?)", rows)
        if not there:
            self.drop(shelf)
            raise NoIndex("the index was dropped while it was made anew", shelf=shelf)

    def compact(self, shelf: str, leaving: threading.Event) -> bool:
        """Nothing is done: FTS5 merges while it is written, and pages freed since would keep what a drop overwrites."""
        with self._reading() as connection:
            _must_have(connection, shelf)
        return False

    def drop(self, shelf: str) -> None:
        """Remove a shelf's index: its pages are overwritten, and the write-ahead log is emptied."""
        with self._lock, _translated():
            self._writer.execute("PRAGMA secure_delete=ON")
            try:
                with self._writing() as connection:
                    fts.drop(connection, Tables.of(shelf))
                    fts.drop(connection, Tables.of(shelf, beside=True))
                    connection.execute("DELETE FROM shelves WHERE name = ?", (shelf,))
                    connection.execute("DELETE FROM slices WHERE shelf = ?", (shelf,))
            finally:
                self._writer.execute("PRAGMA secure_delete=OFF")
            busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise Outage("the index's log could not be emptied: a query was in its way", retry_after=RETRY_AFTER)

    def exists(self, shelf: str) -> bool:
        """Whether anything of a shelf's index is in the file."""
        names = [*Tables.of(shelf)[:2], *Tables.of(shelf, beside=True)[:2]]
        with self._reading() as connection:
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name IN (?, ?, ?, ?)", names).fetchone()
            return found is not None or _has(connection, shelf)

    def shelves(self) -> set[str]:
        """Every shelf of which anything is in the file."""
        with self._reading() as connection:
            listed = connection.execute("SELECT name FROM shelves UNION SELECT shelf FROM slices")
            return {row[0] for row in listed} | fts.shelves(connection)

    def ids(self, shelf: str) -> Iterator[TextId]:
        """Every id in a shelf's index, read page by page: between two of them nothing waits for whoever reads."""
        after: int | None = None
        while True:
            with self._reading(shelf) as connection:
                try:
                    page, after = fts.ids(connection, Tables.of(shelf), after, PAGE)
                except (TypeError, ValueError, OverflowError):
                    raise Outage("the index holds a document that is not ours", retry_after=RETRY_AFTER) from None
            yield from page
            if after is None:
                return

    def slices(self, shelf: str) -> set[int]:
        """Every slice that a shelf's index holds."""
        with self._reading() as connection:
            _must_have(connection, shelf)
            return {row[0] for row in connection.execute("SELECT slice FROM slices WHERE shelf = ?", (shelf,))}

    def query(self, asked: Asked, window: Window) -> list[Hit]:
        """The documents of some plans, in order."""
        if len(asked) == 1:
            return self._query(*asked[0], window)
        found: list[Hit] = []
        for shelf, plan in asked:
            if len(found) < window.limit:
                found += self._query(shelf, plan, replace(window, limit=window.limit - len(found)))
        return found

    def _query(self, shelf: str, plan: Plan, window: Window) -> list[Hit]:
        wanted = fts.expression(plan)
        if wanted == fts.NOTHING or window.limit <= 0:
            return []
        # Asked once for each of some 400 days by one search: written flat, without the context managers.
        reader = self._borrow()
        try:
            left = TRIES
            while True:
                left -= 1
                try:
                    return fts.ask(reader, shelf, wanted, window)
                except sqlite3.Error as exc:
                    if left and primary_code(exc) == sqlite3.SQLITE_SCHEMA:
                        continue
                    problem = _in_words(exc, shelf)
                    if problem is None:
                        raise
                    raise problem from exc
        finally:
            self._give_back(reader)

    def warnings(self) -> list[str]:
        """Nothing: one file has no settings that others could change."""
        return []

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            self._writer.close()
        while not self._readers.empty():
            reader = self._readers.get_nowait()
            if reader is not None:
                reader.close()

    def _connect(self, *, reading: bool = False) -> sqlite3.Connection:
        with _translated():
            connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
            )
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            if reading:
                connection.execute("PRAGMA query_only=ON")
            return connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self, shelf: str | None = None) -> Iterator[sqlite3.Connection]:
        reader = self._borrow()
        try:
            with _translated(shelf):
                yield reader
        finally:
            self._give_back(reader)

    def _borrow(self) -> sqlite3.Connection:
        if self._in_memory:
            self._lock.acquire()
            return self._writer
        reader = self._readers.get()
        if reader is None:
            try:
                reader = self._connect(reading=True)
            except BaseException:
                self._readers.put(None)
                raise
        return reader

    def _give_back(self, reader: sqlite3.Connection) -> None:
        if self._in_memory:
            self._lock.release()
        else:
            self._readers.put(reader)


def _has(connection: sqlite3.Connection, shelf: str) -> bool:
    return connection.execute("SELECT 1 FROM shelves WHERE name = ?", (shelf,)).fetchone() is not None


def _must_have(connection: sqlite3.Connection, shelf: str) -> None:
    if not _has(connection, shelf):
        raise NoIndex("a day has no index", shelf=shelf)


def _take_slice(connection: sqlite3.Connection, addition: Addition) -> bool:
    taken = connection.execute(
        "INSERT OR IGNORE INTO slices (shelf, slice) VALUES (?, ?)", (addition.shelf, addition.slice)
    )
    return taken.rowcount == 1


def _chunks(additions: Iterable[Addition], slices: list[int]) -> Iterator[list[Document]]:
    """The documents of additions by the thousand; their slices are put down in `slices`."""
    chunk: list[Document] = []
    for each in additions:
        slices.append(each.slice)
        chunk += each.documents
        if len(chunk) >= CHUNK:
            yield chunk
            chunk = []
    yield chunk


@contextmanager
def _translated(shelf: str | None = None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        problem = _in_words(exc, shelf)
        if problem is None:
            raise
        raise problem from exc


def _in_words(exc: sqlite3.Error, shelf: str | None = None) -> TextkeepError | None:
    """What an error of the index means to the house; None where the house itself is at fault."""
    cause = cause_of(exc)
    if cause == "outage":
        return Outage("the index does not answer", retry_after=RETRY_AFTER)
    if cause == "damage":
        return Outage("the index is damaged", retry_after=RETRY_AFTER, remedy=_DAMAGED)
    if primary_code(exc) in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA) and str(exc).startswith("no such table"):
        return NoIndex("a day has no index", shelf=shelf)
    if primary_code(exc) == sqlite3.SQLITE_SCHEMA:
        return Outage("an index is being made or dropped in this very moment", retry_after=RETRY_AFTER)
    return None
