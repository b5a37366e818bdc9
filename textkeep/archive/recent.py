"""What was used last: a map of so many entries at most, from which goes what has not been used for longest."""

from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """Holds `limit` entries at most. Threads may recall, keep and clear at once; whoever goes through it is alone."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def recall(self, key: K) -> V | None:
        """What is kept under a key, which counts as a use of it; or None."""
        found = self.get(key)
        if found is not None:
            try:
                self.move_to_end(key)
            except KeyError:  # another thread has just let it go
                return None
        return found

    def keep(self, key: K, value: V) -> None:
        """Put a value away under a key; where there are too many, those go that were not used for longest."""
        self[key] = value
        with suppress(KeyError):  # another thread may let all of them go
            self.move_to_end(key)
            while len(self) > self.limit:
                self.popitem(last=False)
