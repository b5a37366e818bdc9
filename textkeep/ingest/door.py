"""The batching queue at the HTTP door: concurrent small requests share a transaction.

A request waits no longer for company than the transactions before it take. One writer thread drains the queue, or two
where the database takes several transactions at once: the one seals while the other waits for the disk. Whoever
submits gets a future. This queue and FastAPI's thread pool are the only places that know of `async`.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from textkeep.archive.batch import Batch, Receipt
from textkeep.errors import Outage, TooBusy

RECORDS_TOGETHER: Final = 5_000
"""Records after which no further request joins a transaction."""

BATCHES_TOGETHER: Final = 256
"""Requests that share a transaction at most."""

MAX_WAITING_RECORDS: Final = 50_000
"""Records that may wait for the writer."""

MAX_HELD_BYTES: Final = 128 * 1024 * 1024
"""Bytes of all requests that are being read, wait, or are being written."""

RETRY_AFTER: Final = 2
"""Seconds after which a request that found no room should come again."""

Write = Callable[[Sequence[Batch]], list[Receipt]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    batch: Batch
    receipt: "Future[Receipt]"


class Held:
    """The room that one request takes up in memory."""

    def __init__(self, door: "Door") -> None:
        self._door = door
        self.bytes = 0

    def grow(self, size: int) -> None:
        """Take `size` bytes more. Raises TooBusy where all requests together hold too many."""
        self._door.take_room(size)
        self.bytes += size


class Door:
    """Requests in, receipts out; bounded in records and bytes, written by so many threads."""

    def __init__(
        self,
        write: Write,
        *,
        max_records: int = MAX_WAITING_RECORDS,
        max_bytes: int = MAX_HELD_BYTES,
        writers: int = 1,
    ) -> None:
        self._write = write
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._records = 0
        self._bytes = 0
        self._closing = False
        self._writers = [
            threading.Thread(target=self._run, name=f"door-{number}", daemon=True) for number in range(writers)
        ]

    def start(self) -> None:
        """Begin to write."""
        for writer in self._writers:
            writer.start()

    def stop(self) -> None:
        """Take nothing more, write what waits, and return when every future is done."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for writer in self._writers:
            if writer.is_alive():
                writer.join()

    def waiting(self) -> int:
        """How many records wait for the writer."""
        return self._records

    def held_bytes(self) -> int:
        """How many bytes all requests hold that are being read, wait, or are being written."""
        return self._bytes

    @contextmanager
    def holding(self) -> Iterator[Held]:
        """Account for a request's bytes until the block ends."""
        held = Held(self)
        try:
            yield held
        finally:
            self.take_room(-held.bytes)

    def take_room(self, size: int) -> None:
        """Count `size` bytes more, or fewer. Raises TooBusy over the bound."""
        with self._changed:
            if size > 0 and self._bytes + size > self._max_bytes:
                raise TooBusy("too many bytes wait to be written", retry_after=RETRY_AFTER)
            self._bytes += size

    def submit(self, batch: Batch) -> "Future[Receipt]":
        """The receipt to come, once the batch is on disk. Raises TooBusy where the writer is behind or stopping."""
        count = len(batch.records)
        with self._changed:
            if self._closing:
                raise TooBusy("the archive is stopping", retry_after=RETRY_AFTER)
            if self._queue and self._records + count > self._max_records:
                raise TooBusy("too many records wait to be written", retry_after=RETRY_AFTER)
            waiting = _Waiting(batch, Future())
            self._queue.append(waiting)
            self._records += count
            self._changed.notify_all()
        return waiting.receipt

    def _run(self) -> None:
        while together := self._next():
            wanted = [waiting for waiting in together if waiting.receipt.set_running_or_notify_cancel()]
            if wanted:
                self._write_together(wanted)

    def _next(self) -> list[_Waiting]:
        """The requests of the next transaction; none when the door is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            together: list[_Waiting] = []
            records = 0
            while self._queue and len(together) < BATCHES_TOGETHER:
                count = len(self._queue[0].batch.records)
                if together and records + count > RECORDS_TOGETHER:
                    break
                together.append(self._queue.popleft())
                records += count
            self._records -= records
            return together

    def _write_together(self, together: Sequence[_Waiting]) -> None:
        try:
            receipts = self._write([waiting.batch for waiting in together])
            answers = list(zip(together, receipts, strict=True))
        except Outage as outage:
            for waiting in together:
                waiting.receipt.set_exception(outage)
        except Exception as error:  # noqa: BLE001 - it goes to whoever sent what caused it
            if len(together) == 1:
                together[0].receipt.set_exception(error)
            else:
                for waiting in together:
                    self._write_together([waiting])
        else:
            for waiting, receipt in answers:
                waiting.receipt.set_result(receipt)
