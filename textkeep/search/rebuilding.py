"""Rebuilding: a shelf's index and vocabulary made anew from the vault, while followers go on adding to the old ones.

The new index is made beside the old one. Before they are swapped nobody else may add to the shelf's index, for as long
as it takes to give the new one what was added to the old one in the meantime; so nothing is lost with the old one, even
where the process dies in between.
"""

import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Final

from sqlalchemy import Connection, select

from textkeep.archive.shelves import Shelves
from textkeep.archive.vault import SliceRow, Vault
from textkeep.clock import Clock
from textkeep.errors import Conflict, NotFound, Outage, TextkeepError
from textkeep.search.claiming import only_writer
from textkeep.search.index import Addition, IndexDriver
from textkeep.search.preparing import Made, Preparing
from textkeep.search.purged import drop_purged
from textkeep.search.vocabulary import Vocabulary, written
from textkeep.store.engine import Store
from textkeep.store.leases import LeaseLost, Leases
from textkeep.store.tables import slices

GROUP_TEXTS: Final = 1_000
"""Texts that are opened together."""

LEASE_SECONDS: Final = 60
"""How long a rebuild that was cut off keeps others from rebuilding the same shelf."""

RENEW_SECONDS: Final = 15
"""How often a rebuild says that it is still at work."""

ATTEMPTS: Final = 6
"""How often it waits for those who add to the old index; each time as long as a lock is waited for."""

RETRY_AFTER: Final = 5
"""Seconds after which a rebuild that was interrupted may be tried again."""


class Rebuilding:
    """Makes the indexes of open shelves anew, one process at a time for each."""

    def __init__(
        self,
        store: Store,
        shelves: Shelves,
        vault: Vault,
        vocabulary: Vocabulary,
        preparing: Preparing,
        index: IndexDriver,
        clock: Clock,
    ) -> None:
        self._store = store
        self._shelves = shelves
        self._vault = vault
        self._vocabulary = vocabulary
        self._preparing = preparing
        self._index = index
        self._clock = clock
        self._leases = Leases(store, clock)
        self._interrupted = threading.Event()

    def interrupt(self) -> None:
        """End every rebuild of this process soon, with Outage; the old indexes stay."""
        self._interrupted.set()

    def rebuild(self, shelf: str) -> int:
        """Make the index and the vocabulary of a shelf anew, and give how many texts that were.

        The old index answers until the new one is whole. Raises NotFound for a shelf that is not open, Conflict where
        another process is at it.
        """
        with self._store.reading() as connection:
            if self._shelves.states(connection, [shelf]).get(shelf) != "open":
                raise NotFound("no shelf of that name is open")  # before the name, which may be anything, is put down
        lease, holder = f"rebuild:{shelf}", secrets.token_hex(8)
        if not self._leases.take(lease, holder, LEASE_SECONDS):
            raise Conflict("the index of this shelf is being made anew already", remedy="Wait until that has ended.")
        try:
            return self._rebuild(shelf, _Lease(self._leases, lease, holder))
        except BaseException:
            drop_purged(self._store, self._shelves, self._index, [shelf])
            raise
        finally:
            with suppress(TextkeepError):  # it ends by itself
                self._leases.release(lease, holder)

    def _rebuild(self, shelf: str, lease: "_Lease") -> int:
        with self._store.transaction() as connection:
            self._must_be_open(connection, shelf)  # right before: what the purge dropped is not made again
            self._index.create([shelf])
            segments = self._vocabulary.segments(connection, shelf)
            work = _Work(shelf, lease, self._vault.slices_of(connection, shelf))
        with ExitStack() as alone:
            self._index.replace(shelf, self._additions(work, alone))
            if work.connection is None:
                raise RuntimeError("an index was swapped before it was whole")
            words = {org: written(*both) for (_, org), both in work.made.vocabulary.items()}
            self._vocabulary.replace(work.connection, shelf, segments, words, now=self._clock())
            self._vault.mark_indexed(work.connection, work.done)
            self._vault.mark_indexed(work.connection, work.left(), indexed=False)
        return sum(each.texts for each in work.done)

    def _additions(self, work: "_Work", alone: ExitStack) -> Iterator[Addition]:
        """Everything of the shelf; when it is through, `alone` keeps all others from adding to the shelf's index."""
        for group in _by_texts(work.slices):
            if self._interrupted.is_set():
                raise Outage("the service is ending; the old index stays", retry_after=RETRY_AFTER)
            work.lease.renew()
            with self._store.reading() as connection:
                work.done += self._preparing.read(connection, group, work.made)
            yield from work.taken()
        connection = work.connection = self._only_writer(work, alone)
        since = _marked_since(connection, work)
        work.slices += since
        for group in _by_texts(since):
            work.done += self._preparing.read(connection, group, work.made)
            yield from work.taken()
        # Asked of the very transaction that keeps the others out: where the database has ended it, nothing is swapped.
        work.lease.hold(connection)

    def _only_writer(self, work: "_Work", alone: ExitStack) -> Connection:
        """A transaction in which nobody else adds to the shelf's index, open until `alone` is closed."""
        for left in reversed(range(ATTEMPTS)):
            try:
                with ExitStack() as trying:
                    connection = trying.enter_context(self._store.transaction())
                    self._must_be_open(connection, work.shelf)
                    only_writer(connection, work.shelf)
                    work.lease.hold(connection)
                    alone.enter_context(trying.pop_all())
                    return connection
            except Outage:
                if not left:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _must_be_open(self, connection: Connection, shelf: str) -> None:
        if self._shelves.lock(connection, [shelf]).get(shelf) != "open":
            raise NotFound("no shelf of that name is open")


class _Lease:
    """The right to rebuild one shelf."""

    def __init__(self, leases: Leases, name: str, holder: str) -> None:
        self._leases = leases
        self._name = name
        self._holder = holder
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Keep it; asks the database now and then. Raises LeaseLost."""
        if time.monotonic() - self._renewed < RENEW_SECONDS:
            return
        if not self._leases.take(self._name, self._holder, LEASE_SECONDS):
            raise LeaseLost("another process makes the index of this shelf anew")
        self._renewed = time.monotonic()

    def hold(self, connection: Connection) -> None:
        """Keep it, and everybody else from it, until the transaction ends. Raises LeaseLost."""
        self._leases.hold(connection, self._name, self._holder, LEASE_SECONDS)


class _Work:
    """One rebuild: the slices there are, and those that are done."""

    def __init__(self, shelf: str, lease: _Lease, slices: list[SliceRow]) -> None:
        self.shelf = shelf
        self.lease = lease
        self.slices = slices
        self.done: list[SliceRow] = []
        self.made = Made()
        self.connection: Connection | None = None

    def left(self) -> list[SliceRow]:
        """The slices that did not open."""
        done = {each.id for each in self.done}
        return [each for each in self.slices if each.id not in done]

    def taken(self) -> list[Addition]:
        """What was prepared since the last time."""
        additions, self.made.additions = self.made.additions, []
        return additions


def _marked_since(connection: Connection, work: _Work) -> list[SliceRow]:
    """The slices that followers have added to the old index and that the new one does not have."""
    known = {each.id for each in work.slices}
    wanted = select(slices.c.id, slices.c.accepted + slices.c.versions, slices.c.received_at).where(
        slices.c.shelf == work.shelf, slices.c.indexed.is_(True)
    )
    rows = connection.execute(wanted)
    return [SliceRow(row[0], work.shelf, row[1], row[2]) for row in rows if row[0] not in known]


def _by_texts(slices: Iterable[SliceRow]) -> Iterator[Sequence[SliceRow]]:
    """Slices in groups of some `GROUP_TEXTS` texts."""
    group: list[SliceRow] = []
    texts = 0
    for each in slices:
        group.append(each)
        texts += each.texts
        if texts >= GROUP_TEXTS:
            yield group
            group, texts = [], 0
    if group:
        yield group
