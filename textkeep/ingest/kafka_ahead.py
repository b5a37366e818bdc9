"""What was read of a topic and not yet taken into a batch. Pure.

One message may hold thousands of records, so how much a batch is can only be told when its messages are here. What is
more than a batch waits here for the next one: a portion at most. It is as much as the place it was read from: whatever
moves a partition elsewhere forgets what waits of it, and it is read again.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from textkeep.ingest.wire import Arrived

MESSAGES_TOGETHER: Final = 2_000
"""Messages that share a transaction at most."""

RECORDS_TOGETHER: Final = 5_000
BYTES_TOGETHER: Final = 16 * 1024 * 1024
"""Records and their bytes that share a transaction at most, but for a single message that holds more."""

PORTION: Final = 20
"""Messages that are read at once: so many may lie here beyond what a batch takes."""


@dataclass(frozen=True, slots=True)
class Came:
    """One message as records, or the client library's error that stands where a message would; sizes are in bytes."""

    partition: int | None
    offset: int | None
    records: list[Arrived]
    error: object = None

    @property
    def size(self) -> int:
        """How many bytes its records have together."""
        return sum(len(record.raw) for record in self.records)


@dataclass(slots=True)
class Load:
    """How much a batch is."""

    messages: int = 0
    records: int = 0
    size: int = 0

    @property
    def full(self) -> bool:
        """Whether nothing more belongs into a batch of this much."""
        return self.records >= RECORDS_TOGETHER or self.size >= BYTES_TOGETHER

    def plus(self, came: Came) -> "Load":
        """This much and a message more."""
        return Load(self.messages + 1, self.records + len(came.records), self.size + came.size)

    @property
    def too_much(self) -> bool:
        """Whether it is more than a batch may be; a single message never is."""
        return self.messages > 1 and (self.records > RECORDS_TOGETHER or self.size > BYTES_TOGETHER)


class Ahead:
    """Messages in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[Came] = deque()
        self._load = Load()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether a batch need not wait for more."""
        return self._load.full

    def add(self, came: Came) -> None:
        """A message that comes behind the others."""
        self._waiting.append(came)
        self._load = self._load.plus(came)

    def next_batch(self, most: int) -> list[Came]:
        """The messages of the next batch, `most` at most: one where there is one, and more while they fit."""
        load, taken = Load(), list[Came]()
        while self._waiting and load.messages < most:
            load = load.plus(self._waiting[0])
            if load.too_much:
                break
            taken.append(self._waiting.popleft())
        self._weigh()
        return taken

    def forget(self, partitions: Collection[int]) -> None:
        """Nothing of these partitions waits: they are others', or are read from elsewhere."""
        self._waiting = deque(came for came in self._waiting if came.partition not in partitions)
        self._weigh()

    def clear(self) -> None:
        """Nothing waits."""
        self._waiting.clear()
        self._weigh()

    def _weigh(self) -> None:
        self._load = Load()
        for came in self._waiting:
            self._load = self._load.plus(came)
