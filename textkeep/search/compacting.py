"""Compacting: the index of a day that is over is written anew, once, in the form in which it stays until its purge."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from textkeep.archive.shelf import Day, is_kept
from textkeep.archive.shelves import Shelves
from textkeep.clock import Clock
from textkeep.errors import Outage, TextkeepError
from textkeep.search.index import IndexDriver, NoIndex
from textkeep.store.engine import Store

OVER: Final = timedelta(hours=24)
"""How long after its end a day counts as over: hardly a text comes later than that."""

FAILURES: Final = 3
"""Shelves that cannot be compacted before a run ends: the index as a whole does not answer."""

Failed = Callable[[TextkeepError], None]
"""Hears of a shelf that could not be compacted; the next run tries again."""


class Compacting:
    """Compacts one shelf after another. Two processes at it do no harm: the engine merges once."""

    def __init__(
        self, store: Store, shelves: Shelves, index: IndexDriver, clock: Clock, *, failed: Failed = lambda _: None
    ) -> None:
        self._store = store
        self._shelves = shelves
        self._index = index
        self._clock = clock
        self._failed = failed
        self._leaving = threading.Event()

    def interrupt(self) -> None:
        """End a run; what the engine has begun it goes on with."""
        self._leaving.set()

    def run(self) -> list[str]:
        """Compact every open shelf that is over; gives those that were. Raises the last of three Outages."""
        done: list[str] = []
        failures = 0
        for shelf in self._over():
            if self._leaving.is_set():
                break
            try:
                if self._index.compact(shelf, self._leaving):
                    done.append(shelf)
            except NoIndex:  # purged meanwhile, or made anew by the reconciliation
                continue
            except Outage as exc:
                failures += 1
                if failures == FAILURES:
                    raise
                self._failed(exc)
        return done

    def _over(self) -> list[str]:
        """The shelves of days that are over, and those of held texts, which take some more on each purge."""
        now = self._clock()
        with self._store.reading() as connection:
            named = [each.name for each in self._shelves.list(connection) if each.state == "open"]
        return [name for name in named if is_kept(name) or Day.named(name).end() + OVER <= now]
