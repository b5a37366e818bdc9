"""The follower: makes what the vault took findable, soon after, by itself.

It claims slices that no index holds, opens their texts, and writes documents, vocabulary and the claim's end. The index
commits before the vault does; a crash in between leaves slices claimed again, of which the index adds nothing a query
can see twice. The vault never waits for it.

Where the database is shared any number of followers work at once, each on slices and in a transaction of its own. That
transaction stays open while the index is asked, which is bounded by how long the index may take to answer; where the
database ends it meanwhile, the step is lost and done again, and of a day that was purged since nothing comes back.
"""

import random
import threading
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection

from textkeep.archive.shelves import Shelves
from textkeep.archive.vault import SliceRow, Vault
from textkeep.clock import Clock
from textkeep.errors import TextkeepError
from textkeep.search import damaged
from textkeep.search.claiming import Claims
from textkeep.search.index import Addition, IndexDriver, NoIndex
from textkeep.search.preparing import Made, Preparing
from textkeep.search.purged import drop_purged, must_be_open
from textkeep.search.rebuilding import Rebuilding
from textkeep.search.tokens import Tokens
from textkeep.search.vocabulary import Vocabulary, written
from textkeep.store.engine import Store

IDLE: Final = 0.5
"""Seconds after which the follower looks for work that nobody told it of."""

BACK_OFF: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds to wait, at most, after the first, second, ... failure in a row; at least half of that."""

LANES: Final = 2
"""Steps of one process at once where the database is shared: one prepares while another waits for the index."""

_chance: Final = random.SystemRandom()

Failed = Callable[[TextkeepError], None]
"""Hears of what kept a step from doing its work; the next one tries again."""


class Follower:
    """Writes the index behind the vault's back."""

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
        self._index = index
        self._clock = clock
        self._failed = failed
        self._claims = Claims(shelves)
        self._preparing = Preparing(vault, tokens)
        self._rebuilding = Rebuilding(store, shelves, vault, vocabulary, self._preparing, index, clock)
        self._published: set[int] = set()
        self._wake = threading.Event()
        self._dead = threading.Event()

    @property
    def damaged(self) -> int:
        """How many slices cannot be indexed because a text of theirs does not open. They stay unindexed."""
        return len(self._preparing.damaged)

    def wake(self) -> None:
        """Say that there is work; returns at once."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set (and `wake` called, to be quick). Failures are waited out and tried again."""
        beside = LANES - 1 if self._store.shared else 0
        lanes = [threading.Thread(target=self._follow, args=(stop,), daemon=True) for _ in range(beside)]
        for lane in lanes:
            lane.start()
        self._follow(stop)
        for lane in lanes:
            lane.join()

    def _follow(self, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set() and not self._dead.is_set():
            try:
                worked = self.step() > 0
                failures = 0
            except TextkeepError as exc:
                worked = False
                failures += 1
                self._failed(exc)
            except BaseException:
                self._dead.set()  # the other lanes end too: a follower that is half dead would look alive
                raise
            if failures:
                stop.wait(BACK_OFF[min(failures, len(BACK_OFF)) - 1] * _chance.uniform(0.5, 1))
            elif not worked:
                self._wake.wait(IDLE)
                self._wake.clear()

    def step(self) -> int:
        """Make some slices findable, in one transaction, and give how many texts that were; 0 where none is free.

        A slice with a text that does not open is passed over and counted in `damaged`.
        """
        while True:
            texts = self._step()
            self._publish_damaged()
            if texts is not None:
                return texts

    def _step(self) -> int | None:
        """How many texts were made findable; None where nothing of what was claimed opens."""
        created: set[str] = set()
        try:
            with self._store.transaction() as connection:
                return self._write(connection, created)
        except BaseException:
            drop_purged(self._store, self._shelves, self._index, created)
            raise

    def _write(self, connection: Connection, created: set[str]) -> int | None:
        passed_over = dict(self._preparing.damaged)
        claimed = self._claims.take(connection, self._index.step_texts, passed_over)
        if not claimed:
            return 0
        made = Made()
        done = self._preparing.read(connection, claimed, made)
        if not done:
            return None
        self._add(connection, made.additions, created)
        now = self._clock()
        for (shelf, org), (words, numbers) in made.vocabulary.items():
            self._vocabulary.add(connection, shelf, org, written(words, numbers), now=now)
        self._vault.mark_indexed(connection, done)
        return sum(each.texts for each in done)

    def _add(self, connection: Connection, additions: Sequence[Addition], created: set[str]) -> None:
        """Add to the indexes, and make those that are not there; their shelves are put down in `created`.

        An index may not be there because its shelf was purged: the transaction that kept it open is over then.
        """
        try:
            self._index.add(additions)
        except NoIndex:
            wanted = {each.shelf for each in additions}
            must_be_open(connection, self._shelves, wanted)
            created |= wanted
            self._index.create(wanted)
            self._index.add(additions)

    def _publish_damaged(self) -> None:
        """Let every process know which slices do not become findable, where that are more than it knows."""
        there = set(self._preparing.damaged)
        if there - self._published:
            with self._store.transaction() as connection:
                damaged.publish(connection, there)
        self._published = there

    def missing(self) -> int:
        """How many slices count as indexed and are not in the index: sets are compared, not marks."""
        return len(self._missing())

    def reconcile(self) -> int:
        """Take every slice that the index should hold and does not for unindexed again, and give how many.

        An index that was lost, or put back from an older copy, heals by that: the next steps write it anew. It is the
        quick look at a start; `Reconciler` compares text by text.
        """
        lost = self._missing()
        if lost:
            with self._store.transaction() as connection:
                self._vault.mark_indexed(connection, lost, indexed=False)
            self._wake.set()
        return len(lost)

    def _missing(self) -> list[SliceRow]:
        """What an index lacks of the slices that were marked before it was asked."""
        with self._store.reading() as connection:
            marked = self._vault.indexed(connection)
        lost: list[SliceRow] = []
        for shelf, expected in marked.items():
            try:
                there = self._index.slices(shelf)
            except NoIndex:
                there = set()
            lost += [each for each in expected if each.id not in there]
        return lost

    def rebuild(self, shelf: str) -> int:
        """Make the index and the vocabulary of a shelf anew from the vault, and give how many texts that were.

        The old index answers until the new one is whole. Raises NotFound for a shelf that is not open, Conflict where
        another process is making it anew.
        """
        return self._rebuilding.rebuild(shelf)

    def interrupt(self) -> None:
        """End a rebuild that is at work soon, with Outage; the old index stays."""
        self._rebuilding.interrupt()
