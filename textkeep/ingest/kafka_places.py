"""Where the partitions stand that this consumer reads: which offset comes next, and what a message may be. Pure.

A client library that is told to read from elsewhere may still hand out what it had fetched before, and has been seen to
jump. So each message is held against the offset that must come next: what lies before it is dropped, and what lies
behind it is believed only when the partition, read again from where it stood, jumps to the same place. Then there is
really nothing between (the marks that transactional producers leave).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

STORED: Final = -1
"""A place that is read from the database."""


class Step(NamedTuple):
    """Where a batch begins in a partition, and where the next one does."""

    start: int
    next: int


@dataclass(slots=True)
class Places:
    """`next` has the partitions that are being read; `waiting` those to be placed, and where; `stopped` the others."""

    next: dict[int, int] = field(default_factory=dict)
    waiting: dict[int, int] = field(default_factory=dict)
    stopped: set[int] = field(default_factory=set)
    _jumps: dict[int, Step] = field(default_factory=dict)

    @property
    def owned(self) -> list[int]:
        """Every partition that is assigned to this consumer."""
        return sorted({*self.next, *self.waiting, *self.stopped})

    def put(self, starts: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on."""
        for partition, start in starts.items():
            self.waiting.pop(partition, None)
            self.stopped.discard(partition)
            self.next[partition] = start

    def await_place(self, partitions: Iterable[int], at: int = STORED) -> None:
        """Read these partitions no further until they are put somewhere: at an offset, or where the database says."""
        for partition in partitions:
            self.next.pop(partition, None)
            if partition not in self.stopped:
                self.waiting[partition] = at

    def await_again(self) -> None:
        """Read nothing further until each partition is put where it stands now."""
        for partition, at in list(self.next.items()):
            self.await_place([partition], at)

    def await_stored(self) -> None:
        """Forget where partitions stand: the database knows."""
        self.await_place([*self.next, *self.waiting])

    def stop(self, partition: int) -> None:
        """Read this partition no further."""
        self.next.pop(partition, None)
        self.waiting.pop(partition, None)
        self.stopped.add(partition)

    def forget(self, partitions: Iterable[int]) -> None:
        """These partitions are others' now."""
        for partition in partitions:
            self.next.pop(partition, None)
            self.waiting.pop(partition, None)
            self.stopped.discard(partition)
            self._jumps.pop(partition, None)

    def takes(self, partition: int, offset: int) -> bool:
        """Whether a message is the one that comes next; then the partition has moved on behind it."""
        at = self.next.get(partition)
        if at is None or offset < at:
            return False
        if offset > at:
            jump = Step(at, offset)
            if self._jumps.get(partition) != jump:
                self._jumps[partition] = jump
                self.await_place([partition], at)
                return False
        self.next[partition] = offset + 1
        return True
