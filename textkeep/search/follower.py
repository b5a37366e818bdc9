"""The follower: makes what the vault took findable, soon after, by itself.

It claims slices that no index holds, opens their texts, and writes vocabulary, documents and the claim's end. The
index commits before the vault does; a crash in between leaves slices claimed again, of which the index adds nothing
twice. The vault never waits for it.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from sqlalchemy import Connection

from textkeep.archive.rows import REWRITTEN, Opened
from textkeep.archive.sealing import CannotOpen
from textkeep.archive.shelves import Shelves
from textkeep.archive.text import Handle, TextId
from textkeep.archive.vault import SliceRow, Vault
from textkeep.clock import Clock
from textkeep.errors import NotFound, TextkeepError
from textkeep.search.documents import document_of, words_of
from textkeep.search.index import Addition, Document, IndexDriver, NoIndex
from textkeep.search.tokens import Tokens
from textkeep.search.vocabulary import Vocabulary, written
from textkeep.store.engine import Store

STEP_TEXTS: Final = 1_000
"""Texts of one step: on SQLite a step holds the one writing connection."""

IDLE: Final = 0.5
"""Seconds after which the follower looks for work that nobody told it of."""

BACK_OFF: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds to wait after the first, second, ... failure in a row."""


Failed = Callable[[TextkeepError], None]
"""Hears of what kept a step from doing its work; the next one tries again."""


class _Made:
    """What a step has made so far: additions, and the distinct words and numbers of each shelf and organisation."""

    def __init__(self) -> None:
        self.additions: list[Addition] = []
        self.vocabulary: dict[tuple[str, Handle], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))

    def note(self, shelf: str, opened: Opened, words: Iterable[str]) -> None:
        """Put down the words and numbers of a text."""
        known, numbers = self.vocabulary[shelf, opened.org]
        known.update(words)
        numbers.update((opened.event.data.from_, opened.event.data.to))


class Follower:
    """Writes the index behind the vault's back. One at a time in one archive."""

    def __init__(
        self,
        store: Store,
        shelves: Shelves,
        vault: Vault,
        vocabulary: Vocabulary,
        tokens: Tokens,
        index: IndexDriver,
        clock: Clock,
        *,
        failed: Failed = lambda _: None,
    ) -> None:
        self._store = store
        self._shelves = shelves
        self._vault = vault
        self._vocabulary = vocabulary
        self._tokens = tokens
        self._index = index
        self._clock = clock
        self._alone = threading.Lock()
        self._failed = failed
        self._wake = threading.Event()
        self._damaged: dict[int, int] = {}

    @property
    def damaged(self) -> int:
        """How many slices cannot be indexed because a text of theirs does not open. They stay unindexed."""
        return len(self._damaged)

    def wake(self) -> None:
        """Say that there is work; returns at once."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set (and `wake` called, to be quick). Failures are waited out and tried again."""
        failures = 0
        while not stop.is_set():
            try:
                worked = self.step() > 0
                failures = 0
            except TextkeepError as exc:
                worked = False
                failures += 1
                self._failed(exc)
            if failures:
                stop.wait(BACK_OFF[min(failures, len(BACK_OFF)) - 1])
            elif not worked:
                self._wake.wait(IDLE)
                self._wake.clear()

    def step(self) -> int:
        """Make some slices findable, in one transaction, and give how many texts that were; 0 where none waits.

        A slice with a text that does not open is passed over and counted in `damaged`.
        """
        with self._alone, self._store.transaction() as connection:
            done: list[SliceRow] = []
            made = _Made()
            while not done:
                passed_over = sum(self._damaged.values())
                claimed = self._vault.unindexed(connection, STEP_TEXTS + passed_over)
                claimed = [each for each in claimed if each.id not in self._damaged]
                if not claimed:
                    return 0
                self._read(connection, claimed, made)
                done = [each for each in claimed if each.id not in self._damaged]
            self._index.create({each.shelf for each in done})
            self._index.add(made.additions)
            for (shelf, org), (words, numbers) in made.vocabulary.items():
                self._vocabulary.add(connection, shelf, org, written(words, numbers), now=self._clock())
            self._vault.mark_indexed(connection, done)
            self._tokens.tidy()
            return sum(each.texts for each in done)

    def missing(self) -> int:
        """How many slices count as indexed and are not in the index: sets are compared, not marks."""
        with self._store.reading() as connection:
            return len(self._missing(connection))

    def reconcile(self) -> int:
        """Take every slice that the index should hold and does not for unindexed again, and give how many.

        An index that was lost, or put back from an older copy, heals by that: the next steps write it anew.
        """
        with self._alone, self._store.transaction() as connection:
            lost = self._missing(connection)
            self._vault.mark_indexed(connection, lost, indexed=False)
        if lost:
            self._wake.set()
        return len(lost)

    def _missing(self, connection: Connection) -> list[SliceRow]:
        lost: list[SliceRow] = []
        for shelf, marked in self._vault.indexed(connection).items():
            try:
                there = self._index.slices(shelf)
            except NoIndex:
                there = set()
            lost += [each for each in marked if each.id not in there]
        return lost

    def rebuild(self, shelf: str) -> int:
        """Make the index and the vocabulary of a shelf anew from the vault, and give how many texts that were.

        The old index answers until the new one is whole. Raises NotFound for a shelf that is not open.
        """
        with self._alone:
            with self._store.transaction() as connection:
                if self._shelves.lock(connection, [shelf]).get(shelf) != "open":
                    raise NotFound("no shelf of that name is open")
                self._index.create([shelf])
                slices = self._vault.slices_of(connection, shelf)
            made = _Made()
            self._index.replace(shelf, self._additions(slices, made))
            with self._store.transaction() as connection:
                if self._shelves.lock(connection, [shelf]).get(shelf) != "open":
                    self._index.drop(shelf)
                    raise NotFound("the shelf was purged while its index was made anew")
                for (_, org), (words, numbers) in made.vocabulary.items():
                    self._vocabulary.replace(connection, shelf, org, written(words, numbers), now=self._clock())
                done = [each for each in slices if each.id not in self._damaged]
                self._vault.mark_indexed(connection, done)
                left = [each for each in slices if each.id in self._damaged]
                self._vault.mark_indexed(connection, left, indexed=False)
            return sum(each.texts for each in done)

    def _additions(self, slices: Sequence[SliceRow], made: _Made) -> Iterator[Addition]:
        for group in _by_texts(slices):
            with self._store.reading() as connection:
                self._read(connection, group, made)
            yield from made.additions
            made.additions.clear()

    def _read(self, connection: Connection, claimed: Sequence[SliceRow], made: _Made) -> None:
        """Open slices and put down what the index and the vocabulary get of them; damaged ones are passed over."""
        for shelf, group in groupby(sorted(claimed, key=lambda each: each.shelf), key=lambda each: each.shelf):
            slices = list(group)
            try:
                self._read_slices(connection, shelf, slices, made)
            except CannotOpen:
                for each in slices:
                    try:
                        self._read_slices(connection, shelf, [each], made)
                    except CannotOpen:
                        self._damaged[each.id] = each.texts

    def _read_slices(self, connection: Connection, shelf: str, slices: Sequence[SliceRow], made: _Made) -> None:
        documents: dict[int, list[Document]] = {each.id: [] for each in slices}
        for opened in list(self._vault.slice_texts(connection, slices)):
            words = words_of(opened)
            documents[opened.slice].append(self._document(shelf, opened, words))
            made.note(shelf, opened, words)
            if opened.id.version > 1 and REWRITTEN in opened.flags:
                documents[opened.slice] += self._earlier(connection, shelf, opened.org, opened.id)
        made.additions += [Addition(shelf, each, some) for each, some in documents.items()]
        for each in slices:
            self._damaged.pop(each.id, None)

    def _earlier(self, connection: Connection, shelf: str, org: Handle, text_id: TextId) -> list[Document]:
        """The versions before this one, now that they are known to be rewritten."""
        versions = self._vault.versions(connection, shelf, org, text_id.tag)
        before = [each for each in versions if each.id.version < text_id.version]
        return [self._document(shelf, each, words_of(each)) for each in before]

    def _document(self, shelf: str, opened: Opened, words: set[str]) -> Document:
        return document_of(opened, self._tokens.of(shelf, opened.org), words)


def _by_texts(slices: Iterable[SliceRow]) -> Iterator[list[SliceRow]]:
    """Slices in groups of some `STEP_TEXTS` texts."""
    group: list[SliceRow] = []
    texts = 0
    for each in slices:
        group.append(each)
        texts += each.texts
        if texts >= STEP_TEXTS:
            yield group
            group, texts = [], 0
    if group:
        yield group
