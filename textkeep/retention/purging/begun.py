"""What this process has begun and found out about a shelf that it is purging.

Nothing of it is needed after a restart: then it is begun, counted and looked for again.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from textkeep.errors import TextkeepError
from textkeep.retention.counting.still import Still
from textkeep.retention.holds.in_force import Covered
from textkeep.retention.purging.absence import ShelfIndex
from textkeep.retention.purging.dropping import Beside
from textkeep.store.engine import Store


@dataclass(slots=True)
class Begun:
    """Of one shelf: what step 2 found covered, and when; what the decision counted, and when; what is at work.

    `numbers` is None where rows were not counted slice by slice. `early` is the index's deletion as it was begun at the
    decision, `index` the one that tables wait for.
    """

    covered_at: str = ""
    covered: Covered = field(default_factory=Covered)
    decided_at: str = ""
    numbers: Mapping[int, int] | None = None
    still: Still | None = None
    early: Beside | None = None
    index: Beside | None = None


class BegunShelves:
    """Keeps it, by shelf, from the first step in this process to the last."""

    def __init__(self, store: Store, index: ShelfIndex) -> None:
        self._store = store
        self._index = index
        self._begun: dict[str, Begun] = {}

    def of(self, shelf: str) -> Begun:
        """What was begun of a shelf; nothing, where it was another process or another start."""
        return self._begun.setdefault(shelf, Begun())

    def counting(self, shelf: str) -> None:
        """Begin to count a shelf's texts, and keep them as they are, where the engine can and they are not by now."""
        begun = self.of(shelf)
        if self._store.shared and (begun.still is None or begun.still.over):
            begun.still = Still(self._store, shelf)

    def counted(self, shelf: str) -> Mapping[int, int] | None:
        """What came of that; None where nothing did, it was not begun, or others may write again."""
        still = self.of(shelf).still
        return None if still is None or still.over else still.numbers()

    def going(self, shelf: str) -> None:
        """Begin to drop a shelf's index while its rows are read and counted, where the engine can do both at once.

        The caller holds the lock of the holds, everything that they cover is carried over, and nobody else may read
        anything of the shelf any more: the index serves nobody. Where the decision is not taken after all, the texts
        are there as before, and what a hold keeps of them is decided by the texts alone.
        """
        begun = self.of(shelf)
        if self._store.shared and begun.early is None:
            begun.early = Beside(partial(self._index.drop, shelf))

    def dropping(self, shelf: str) -> Beside:
        """The drop of a shelf's index for which its tables wait, begun where it is not at work.

        What was begun at the decision is waited for, and looked at again: a writer that came late may have brought the
        index back, and an index that did not answer then may answer now.
        """
        begun = self.of(shelf)
        if begun.index is None:
            begun.index = Beside(partial(self._drop, shelf, begun.early))
        return begun.index

    def rest(self, shelf: str) -> None:
        """Let a shelf be until the next run: nothing is at work for it when this returns; what was found out stays."""
        begun = self._begun.get(shelf, Begun())
        still, early, index = begun.still, begun.early, begun.index
        begun.still = begun.early = begun.index = None
        if still is not None:
            still.end()
        _end(early)
        _end(index)

    def forget(self, shelf: str) -> None:
        """Forget a shelf that is done with."""
        self.rest(shelf)
        self._begun.pop(shelf, None)

    def _drop(self, shelf: str, early: Beside | None) -> None:
        _end(early)
        self._index.drop(shelf)


def _end(work: Beside | None) -> None:
    """Return when that is done, whatever came of it."""
    if work is not None:
        with suppress(TextkeepError), work:
            pass
