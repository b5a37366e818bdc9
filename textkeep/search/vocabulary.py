"""The vocabulary of an organisation on a shelf: its distinct words and numbers, sealed in segments.

A segment is UTF-8 text: the words, sorted, one a line; an empty line; the numbers, sorted, one a line. Segments are
only added, and made one when they are many.

Several followers add to one vocabulary at once. Only one of them compacts it at a time (an advisory lock of shelf and
organisation, tried and never waited for: the others leave it to that one), and what it removes is exactly what it has
read: a segment that came in the meantime stays.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from textkeep.archive.papers import Papers
from textkeep.archive.sealing import CannotOpen
from textkeep.archive.text import Handle
from textkeep.store import advisory
from textkeep.store.tables import papers_of

MAX_SEGMENTS: Final = 32
"""Segments of one organisation on one shelf before they are made one."""

LOOK_EVERY: Final = 8
"""Segments that are added before it is looked how many there are."""

MAX_EXPANSION: Final = 512
"""Words that a prefix may stand for on one shelf; one that stands for more does not narrow the search there."""

MAX_EXPANSIONS: Final = 2_048
"""Words that all prefixes of a query together may stand for on one shelf."""

REMEMBERED: Final = 20_000
"""Counts of segments added that are kept in memory."""


def written(words: Iterable[str], numbers: Iterable[str]) -> bytes:
    """A segment."""
    return "\n\n".join(("\n".join(sorted(set(words))), "\n".join(sorted(set(numbers))))).encode("utf-8")


def read(segment: bytes) -> tuple[list[str], list[str]]:
    """The words and the numbers of a segment, each sorted."""
    words, _, numbers = segment.decode("utf-8").partition("\n\n")
    return words.split("\n") if words else [], numbers.split("\n") if numbers else []


class Vocabulary:
    """Adds to, asks and compacts the vocabularies of every shelf, in the caller's transaction."""

    def __init__(self, papers: Papers) -> None:
        self._papers = papers
        self._added: dict[tuple[str, Handle], int] = {}

    def add(self, connection: Connection, shelf: str, org: Handle, plain: bytes, *, now: datetime) -> None:
        """Add a segment, and make all of them one where they are too many. The caller holds the shelf locked."""
        self._papers.add(connection, shelf, "vocabulary", org, plain, now=now)
        added = self._added.get((shelf, org), 0) + 1
        if added >= LOOK_EVERY:
            added = 0
            if _count(connection, shelf, org) > MAX_SEGMENTS:
                self._compact(connection, shelf, org, now=now)
        if len(self._added) >= REMEMBERED:
            self._added.clear()
        self._added[shelf, org] = added

    def segments(self, connection: Connection, shelf: str) -> list[bytes]:
        """The ids of the segments of a shelf, whether or not they open."""
        table = papers_of(shelf)
        return list(connection.scalars(select(table.c.id).where(table.c.kind == "vocabulary")))

    def replace(
        self,
        connection: Connection,
        shelf: str,
        segments: Sequence[bytes],
        plains: Mapping[Handle, bytes],
        *,
        now: datetime,
    ) -> None:
        """Put one new segment for each organisation in the place of these old ones; any other stays."""
        for org, plain in plains.items():
            self._papers.add(connection, shelf, "vocabulary", org, plain, now=now)
        self._papers.remove(connection, shelf, segments)

    def expand(
        self, connection: Connection, shelf: str, org: Handle, wanted: Collection[str]
    ) -> dict[str, set[str] | None]:
        """For each prefix the words that begin with it; None where they are too many, or a segment is damaged.

        Taken together they are `MAX_EXPANSIONS` at most.
        """
        found: dict[str, set[str]] = {prefix: set() for prefix in wanted}
        try:
            for paper in self._papers.of_kind(connection, shelf, "vocabulary", org):
                words, _ = read(paper.plain)
                for prefix, expanded in found.items():
                    _expand(words, prefix, expanded)
        except CannotOpen:
            return dict.fromkeys(wanted)
        left = MAX_EXPANSIONS
        bounded: dict[str, set[str] | None] = {}
        for prefix, expanded in found.items():
            fits = len(expanded) <= min(MAX_EXPANSION, left)
            bounded[prefix] = expanded if fits else None
            left -= len(expanded) if fits else 0
        return bounded

    def _compact(self, connection: Connection, shelf: str, org: Handle, *, now: datetime) -> None:
        if not advisory.try_hold(connection, f"vocabulary {shelf} {org.hex()}"):
            return
        words: set[str] = set()
        numbers: set[str] = set()
        merged: list[bytes] = []
        try:
            for paper in self._papers.of_kind(connection, shelf, "vocabulary", org):
                some_words, some_numbers = read(paper.plain)
                words.update(some_words)
                numbers.update(some_numbers)
                merged.append(paper.id)
        except CannotOpen:
            return  # stays as it is until a rebuild: a prefix does not narrow the search there, and finds the same
        self.replace(connection, shelf, merged, {org: written(words, numbers)}, now=now)


def _expand(words: Sequence[str], prefix: str, into: set[str]) -> None:
    start = bisect_left(words, prefix)
    for word in words[start : start + MAX_EXPANSION + 1]:
        if not word.startswith(prefix) or len(into) > MAX_EXPANSION:
            return
        into.add(word)


def _count(connection: Connection, shelf: str, org: Handle) -> int:
    table = papers_of(shelf)
    wanted = select(func.count()).select_from(table).where(table.c.kind == "vocabulary", table.c.org == org)
    return int(connection.execute(wanted).scalar_one())
