"""Reconciling: the index is compared with the vault, shelf by shelf and both ways, and made right again.

Sets of ids are compared, not marks. What an index lacks altogether is given to the followers again; one that lacks
single documents, holds strays, or does not find a text by its own terms is made anew from the vault. Documents that
were altered are seen by a sample of each shelf on every run, and swept out for good by making one shelf in some hundred
anew on each run, the one whose turn was longest ago.
"""

import math
import secrets
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, delete, exists, insert, select

from textkeep.archive.shelf import Day
from textkeep.archive.shelves import UNSHREDDED, Shelves
from textkeep.archive.vault import Vault
from textkeep.clock import Clock
from textkeep.errors import Conflict, NotFound, Outage, TextkeepError
from textkeep.search.comparing import Comparing, Comparison
from textkeep.search.follower import Follower
from textkeep.search.index import IndexDriver, NoIndex
from textkeep.search.tokens import Tokens
from textkeep.store.engine import Store
from textkeep.store.leases import Leases
from textkeep.store.tables import coverage, shelves, slices

ONE_IN: Final = 720
"""On each run one shelf in so many is made anew, one at least. Run every hour, that is each of some 400 in 17 days, and
however many there are, each in 30."""

LEASE: Final = "reconcile"
LEASE_SECONDS: Final = 300
"""How long a run that was cut off keeps others from running; it is renewed before each shelf."""

SILENT: Final = 3
"""Shelves in a row that cannot be compared before the run ends: the index as a whole does not answer."""

Failed = Callable[[TextkeepError], None]
"""Hears of a shelf that could not be compared or made right; the next run tries again."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of an open shelf the index holds: `found` of `expected` texts, as the last look at `at` had it.

    `missing`, `strays` and `altered` are the differences that the run came upon; it has made them right where `found`
    is `expected`. Of `altered` only a sample is known. A shelf that is not open has nothing but strays: what somebody
    brought back of it, dropped again. An index that could not be read has all of its texts missing. `rebuilt_at` is
    when the reconciliation last made the index anew.
    """

    shelf: str
    at: datetime
    expected: int
    found: int
    missing: int = 0
    strays: int = 0
    altered: int = 0
    rebuilt_at: datetime | None = None

    @property
    def clean(self) -> bool:
        """Whether the run came upon no difference."""
        return not (self.missing or self.strays or self.altered)


class Reconciler:
    """Compares and repairs; one process at a time."""

    def __init__(
        self,
        store: Store,
        shelves: Shelves,
        vault: Vault,
        tokens: Tokens,
        index: IndexDriver,
        follower: Follower,
        clock: Clock,
        *,
        failed: Failed = lambda _: None,
    ) -> None:
        self._store = store
        self._shelves = shelves
        self._vault = vault
        self._index = index
        self._follower = follower
        self._clock = clock
        self._failed = failed
        self._comparing = Comparing(store, vault, tokens, index)
        self._leases = Leases(store, clock)
        self._interrupted = threading.Event()
        self._unreadable: set[str] = set()

    def interrupt(self) -> None:
        """End a run after the shelf it is at; a rebuild that is at work ends at once, and the old index stays."""
        self._interrupted.set()
        self._follower.interrupt()

    def run(self, one_in: int = ONE_IN) -> list[Coverage]:
        """Compare every open shelf, make right what differs, make one in `one_in` anew (none where it is 0).

        Gives and publishes what was found; nothing where another process is at it. Raises Outage where the index does
        not answer for several shelves in a row.
        """
        holder = secrets.token_hex(8)
        if not self._leases.take(LEASE, holder, LEASE_SECONDS):
            return []
        try:
            return self._run(holder, one_in)
        finally:
            with suppress(TextkeepError):  # it ends by itself
                self._leases.release(LEASE, holder)

    def coverage(self) -> list[Coverage]:
        """What the last run found of each shelf."""
        with self._store.reading() as connection:
            return self._published(connection)

    def _run(self, holder: str, one_in: int) -> list[Coverage]:
        there = self._index.shelves()  # asked before the states: a shelf is open before it has an index
        found = self._drop_strays(there)
        with self._store.reading() as connection:
            named = self._open(connection, there)
            rebuilt = {each.shelf: each.rebuilt_at for each in self._published(connection)}
        in_turn = self._in_turn(named, rebuilt, one_in)
        silent = 0
        unreadable: set[str] = set()
        for shelf in named:
            if self._interrupted.is_set() or not self._leases.take(LEASE, holder, LEASE_SECONDS):
                return found
            try:
                found.append(self._check(shelf, rebuilt.get(shelf), anew=shelf in in_turn))
                silent = 0
            except (NotFound, Conflict):  # purged meanwhile, or somebody else is making it anew
                continue
            except Outage as exc:
                self._failed(exc)
                unreadable.add(shelf)
                silent += 1
                if silent >= SILENT:
                    raise
        self._unreadable = unreadable
        self._forget_others(found)
        return found

    def _check(self, shelf: str, rebuilt_at: datetime | None, *, anew: bool) -> Coverage:
        first = self._compare(shelf)
        if first is not None and not first.clean:
            first = self._comparing.compare(shelf)  # a swap, or a moment's failure, looks like a difference once
        if first is None or first.strays or first.altered or not first.explained or (anew and not first.lost):
            self._follower.rebuild(shelf)
            rebuilt_at = self._clock()
            now = self._comparing.compare(shelf)
            first = first or Comparison(now.expected, missing=now.expected)
        else:
            now = first
            if first.lost:
                with self._store.transaction() as connection:
                    self._vault.mark_indexed(connection, first.lost, indexed=False)
                self._follower.wake()
        found = Coverage(
            shelf,
            self._clock(),
            now.expected,
            now.expected - now.missing,
            first.missing,
            first.strays,
            first.altered,
            rebuilt_at,
        )
        self._publish(found)
        return found

    def _compare(self, shelf: str) -> Comparison | None:
        """How an index differs; None where it cannot be read, and that is its own fault.

        It is, where it says which slices it has and not which texts (it holds something that is not ours), and where
        it did not answer at the last run either. Raises Outage where waiting may help.
        """
        try:
            return self._comparing.compare(shelf)
        except Outage:
            if shelf in self._unreadable:
                return None
            with suppress(NoIndex):
                self._index.slices(shelf)
        try:
            return self._comparing.compare(shelf)
        except Outage:
            return None

    def _drop_strays(self, there: Collection[str]) -> list[Coverage]:
        """Drop what the index has of shelves that are purged, or that nobody knows."""
        with self._store.reading() as connection:
            states = self._shelves.states(connection, there)
        dropped: list[Coverage] = []
        for shelf in sorted(there):
            state = states.get(shelf)
            if state is not None and state in UNSHREDDED:
                continue
            strays = 0
            with suppress(NoIndex):
                strays = sum(1 for _ in self._index.ids(shelf))
            self._index.drop(shelf)
            dropped.append(Coverage(shelf, self._clock(), 0, 0, strays=max(strays, 1)))
            self._publish(dropped[-1])
        return dropped

    def _open(self, connection: Connection, there: Collection[str]) -> list[str]:
        """The open shelves that have texts, or an index."""
        something = exists().where(slices.c.shelf == shelves.c.name)
        wanted = select(shelves.c.name, something).where(shelves.c.state == "open").order_by(shelves.c.name)
        return [name for name, has_texts in connection.execute(wanted) if has_texts or name in there]

    def _in_turn(self, named: Collection[str], rebuilt: dict[str, datetime | None], one_in: int) -> set[str]:
        """The shelves whose turn it is to be made anew: those for which that is longest ago."""

        def last(shelf: str) -> datetime:
            return rebuilt.get(shelf) or _first_made(shelf)

        count = math.ceil(len(named) / one_in) if one_in else 0
        return set(sorted(named, key=last)[:count])

    def _publish(self, found: Coverage) -> None:
        with self._store.transaction() as connection:
            connection.execute(delete(coverage).where(coverage.c.shelf == found.shelf))
            connection.execute(insert(coverage).values(asdict(found)))

    def _published(self, connection: Connection) -> list[Coverage]:
        return [Coverage(*row) for row in connection.execute(select(coverage).order_by(coverage.c.shelf))]

    def _forget_others(self, found: Collection[Coverage]) -> None:
        """What is published of shelves that are not open any more, and were not found this time either."""
        with self._store.transaction() as connection:
            is_open = select(shelves.c.name).where(shelves.c.state == "open")
            seen = [each.shelf for each in found]
            connection.execute(delete(coverage).where(coverage.c.shelf.not_in(is_open), coverage.c.shelf.not_in(seen)))


def _first_made(shelf: str) -> datetime:
    """About when a shelf's index was first made."""
    try:
        return Day.named(shelf).start()
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
