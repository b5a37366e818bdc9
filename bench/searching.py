"""Searching 200,000 texts over 398 days, beside the bare queries on the same tables.

The bare queries are what is left when everything Textkeep adds is taken away: the match expressions are known
beforehand, each day's table is asked for its newest matches, the newest of all days make the page, and its sealed rows
are read. Nothing is parsed, keyed, opened, decided or put on record. The last row beside them is a bare query that has
been taught to ask newest days first and to stop when its page is full, as Textkeep does; what is left between the two
is the price of opening, deciding and recording a page.
"""

import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench import feeds
from bench.archives import REASON, Ours
from bench.table import Row, median
from textkeep.archive.text import read_event
from textkeep.search.drivers import fts
from textkeep.search.narrowing import narrow
from textkeep.search.query import parse
from textkeep.search.tokens import Tokens

TEXTS = 200_000
WORDS = 25
RUNS = 5
LIMIT = 50
RARE = range(1, 6)
"""In how many texts of the organisation a rare word is."""
COMMON = 100
"""In one of how many texts, or fewer, a common word is."""
TARGET = 3.0


def run(folder: Path) -> Iterator[Row]:
    """Two rows: milliseconds a search, for rare words and for common ones."""
    lines = feeds.texts(TEXTS)
    ours = Ours(folder / "ours")
    for batch in feeds.batches(lines):
        ours.load(batch)
    ours.archive.store.settle()
    rare, common = chosen_words(lines)
    bare = Bare(folder / "ours", ours)
    for name, words in (("rare words", rare), ("common words", common)):
        mine, theirs, stopping = [], [], []
        for word in words:
            bare.prepare(word)
            ours.archive.finder.find(ours.officer, word, reason=REASON, org=ours.org(), limit=LIMIT)
            if bare.page(word) != len(_found(ours, word)):
                raise RuntimeError("the bare query finds another number of texts")
            for _ in range(RUNS):
                mine.append(timed(partial(_found, ours, word)))
                theirs.append(timed(partial(bare.page, word)))
                stopping.append(timed(partial(bare.page, word, stopping=True)))
        ours_ms, bare_ms = 1000 * median(mine), 1000 * median(theirs)
        yield Row(f"search, {name}, {TEXTS:,} texts", "ms", ours_ms, bare_ms, False, TARGET)
    yield Row("  common, bare query that stops early", "ms", ours_ms, 1000 * median(stopping), False)
    bare.close()
    ours.close()


class Bare:
    """The same tables, asked with SQLite alone."""

    def __init__(self, folder: Path, ours: Ours) -> None:
        self._ours = ours
        self._index = _connected(folder / "index.db")
        self._texts = _connected(folder / "textkeep.db")
        self._tokens = Tokens(ours.archive.keyring)
        self._days = [row[0] for row in self._index.execute("SELECT name FROM shelves ORDER BY name DESC")]
        self._prepared: dict[str, list[tuple[str, str, str]]] = {}

    def prepare(self, word: str) -> None:
        """Know the statements of a word beforehand."""
        query, org = parse(word), self._ours.org()
        self._prepared[word] = []
        for day in self._days:
            tables = fts.Tables.of(day)
            wanted = fts.expression(narrow(query, self._tokens.of(day, org), lambda _: None)) or ""
            self._prepared[word].append(
                (
                    f"SELECT d.place, d.day, d.tag, d.version FROM {tables.terms} t CROSS JOIN {tables.docs} d"
                    f" ON d.place = t.rowid WHERE t.{tables.terms} MATCH ? ORDER BY t.rowid DESC LIMIT ?",
                    wanted,
                    f"texts_{day.replace('-', '_')}",
                )
            )

    def page(self, word: str, *, stopping: bool = False) -> int:
        """Read a page of sealed rows and give how many there are; with `stopping`, ask no more days than that takes."""
        found: list[tuple[str, tuple[bytes, int]]] = []
        for statement, wanted, table in self._prepared[word]:
            hits = self._index.execute(statement, (wanted, LIMIT)).fetchall()
            found += [(table, hit[2:]) for hit in hits]
            if stopping and len(found) >= LIMIT:
                break
        for table, hit in found[:LIMIT]:
            self._texts.execute(f"SELECT sealed FROM {table} WHERE tag = ? AND version = ?", hit).fetchall()
        return len(found[:LIMIT])

    def close(self) -> None:
        """Close both files."""
        self._index.close()
        self._texts.close()


def _found(ours: Ours, word: str) -> tuple[object, ...]:
    return ours.archive.finder.find(ours.officer, word, reason=REASON, org=ours.org(), limit=LIMIT).results


def chosen_words(lines: list[bytes]) -> tuple[list[str], list[str]]:
    """Words of the first organisation's texts: in a few of them, and in one of a hundred or more."""
    counts: Counter[str] = Counter()
    texts = 0
    for line in lines:
        data = read_event(line).data
        if data.org_id == "org-001":
            texts += 1
            counts.update(set(re.findall(r"\b[a-z]{4,12}\b", data.body.lower())))
    ranked = sorted(counts.items(), key=lambda each: (each[1], each[0]))
    floor = max(texts // COMMON, 1)
    rare = [word for word, count in ranked if count in RARE] or [word for word, count in ranked if count < floor]
    common = [word for word, count in ranked if count >= floor]
    return rare[:: max(len(rare) // WORDS, 1)][:WORDS], common[:: max(len(common) // WORDS, 1)][:WORDS]


def timed(what: Callable[[], object]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, cached_statements=4096)
