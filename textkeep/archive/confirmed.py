"""The ring as this process holds it: taken over from its store, changed by compare-and-swap, used under a lease.

Many processes may use one ring. Each change is made again on the ring of whoever was quicker, so every stored ring has
come of the one before it. What others have changed arrives by `reread`. A process that could not confirm the ring for
the length of its lease lets every secret go, and uses none until it has: after that time whoever destroys a secret
need not wait for it any more (docs/adr/0007-a-lease-on-every-key.md).
"""

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final, Protocol, TypeVar

from textkeep.archive.ring import NO_RING, Ring, Root, check_follows, opened, sealed
from textkeep.errors import Outage, TextkeepError, Unsound

RING: Final = "ring"
IDENTITY: Final = "id"

LAPSED_RETRY: Final = 5
"""Seconds after which a caller may try again once the lease has run out."""

ATTEMPTS: Final = 100
"""How often a change is made again because somebody else was quicker. One of them is quicker each time."""

EVERY_SECRET: Final = "*"  # noqa: S105 - a name, not a secret
"""What is told where every secret is let go, without being destroyed."""

Ticks = Callable[[], float]
"""Gives seconds that only grow, at the pace of every other clock."""

ticks: Final[Ticks] = (
    # It goes on while the machine sleeps, which the monotonic clock of Linux does not.
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)

Backed = Callable[[Ring], AbstractContextManager[None]]
"""Has a ring in a backup before it is stored, where backups are set (`backups.py`)."""

_Result = TypeVar("_Result")


def unbacked(_ring: Ring) -> AbstractContextManager[None]:
    """No backup is set."""
    return nullcontext()


class Changed(Unsound):
    """A document is no longer what it was: somebody else was quicker, and nothing was written."""


class KeyringStore(Protocol):
    """Where the keyring's documents lie.

    `swap` MUST be durable when it returns, MUST leave either the old or the new document after a crash, and MUST
    refuse with Changed, and with that only then, when the document is no longer `was`. A document MUST NOT lie where
    backups of the data are made. Everything raises Outage where the store cannot be reached, and Unsound where it was
    not prepared.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes may change documents at the same time."""

    def read(self, name: str) -> bytes | None:
        """A document, or None."""

    def holds(self, name: str, body: bytes | None) -> bool:
        """Whether a document is exactly this, or is not there for None. May be cheaper than `read`."""

    def swap(self, name: str, was: bytes | None, now: bytes) -> None:
        """Put `now` in the place of `was`."""

    def all(self, prefix: str) -> dict[str, bytes]:
        """The documents whose names begin so, in the order of these, in one question; `prefix` is not empty."""


def identity(store: KeyringStore) -> str:
    """The id of the keyring in a store, 16 hex digits, made at the first call: it names a folder of its roots."""
    known = store.read(IDENTITY)
    if known is None:
        with suppress(Changed):
            store.swap(IDENTITY, None, os.urandom(8).hex().encode())
        known = store.read(IDENTITY) or b""
    return known.decode()


def keyring_missing() -> Unsound:
    """What to say where there is data, and no ring that could open it."""
    return Unsound(
        "there is data here, and its keyring is missing",
        field="TEXTKEEP_KEYRING_URL",
        remedy="Restore the keyring of this data from its own backup; a new one could open none of it.",
    )


class ConfirmedRing:
    """The ring in memory, the document it came of, and until when it may be used.

    `ring` is always one whole ring: whoever reads it twice may see two. `changing` is held by whoever puts another one
    in its place. `drop` is called with the names of secrets that went, once they are out of `ring`.
    """

    def __init__(
        self,
        store: KeyringStore,
        root: Root,
        lease: timedelta | None,
        ticks: Ticks,
        drop: Callable[[Iterable[str]], None],
        backed: Backed = unbacked,
    ) -> None:
        self.ring = NO_RING
        self.changing = threading.RLock()
        self.ticks = ticks
        self._store = store
        self._root = root
        self._lease = lease.total_seconds() if lease is not None and store.shared else math.inf
        self._until = -math.inf
        self._document: bytes | None = None
        self._drop = drop
        self._backed = backed

    def live(self) -> None:
        """Raises Outage once the lease has run out. The first to notice lets every secret go."""
        if self.ticks() > self._until:
            self._let_go()
            raise Outage(f"the keyring could not be confirmed for {self._lease:.0f} s", retry_after=LAPSED_RETRY)

    @property
    def lapsed(self) -> bool:
        """Whether the lease has run out."""
        return self.ticks() > self._until

    def whole(self) -> Ring:
        """The ring with its secrets. Raises Outage once the lease has run out."""
        while True:
            ring = self.ring
            self.live()
            if ring.secrets or ring is self.ring:  # else it was let go, and has come back since
                return ring

    def reread(self) -> int:
        """Take over what others have changed, and give the generation.

        Raises Outage where the stored ring cannot be read, Unsound where it could not have come of the one in memory;
        then that one stays, for as long as its lease lasts.
        """
        with self.changing:
            try:
                # After a lapse the secrets in memory are gone, and the same document brings them back.
                if not self.ring.secrets or not self._store.holds(RING, self._document):
                    self._take_over()
            except TextkeepError:
                self._let_go()
                raise
            return self.ring.generation

    def renew(self, as_of: float) -> None:
        """Let the lease run from a moment (of `ticks`) on after which the ring was reread."""
        with self.changing:
            if not self.ring.secrets:  # let go since
                self.reread()
            self._until = max(self._until, as_of + self._lease)

    def end(self) -> None:
        """End the lease, where there is one, and let every secret go."""
        if self._lease < math.inf:
            with self.changing:
                self._until = -math.inf
                self._let_go()

    def is_missing(self) -> bool:
        """Whether nothing is stored yet."""
        return self._store.holds(RING, None)

    def repeat(self, work: Callable[[], _Result]) -> _Result:
        """What `work` gives, made again on the newer ring each time somebody else was quicker."""
        with self.changing:
            for _ in range(ATTEMPTS):
                try:
                    return work()
                except Changed:
                    self.reread()
        raise _never_quiet()

    @contextmanager
    def new_root(self) -> Iterator[str]:
        """A root to write a ring under. It goes again where somebody else was quicker."""
        root = self._root.create()
        try:
            yield root
        except Changed:
            self._root.forget(root)  # no ring was stored under it, and none will be
            raise

    def write(self, ring: Ring) -> None:
        """Store a ring and take it over, in a backup first where it has new secrets and backups are set.

        Raises Changed where the stored one is not the one in memory any more.
        """
        try:
            document = sealed(ring, self._root)
        except Unsound:
            self.check_stored()
            raise
        new = ring.secrets.keys() - self.ring.secrets.keys()
        with self._backed(ring) if new else nullcontext():
            self._store.swap(RING, self._document, document)
        self._put(document, ring)

    def check_stored(self) -> None:
        """Raises Changed where the stored ring is not the one in memory any more."""
        if not self._store.holds(RING, self._document):
            raise Changed("the keyring was changed by somebody else")

    def check_opens(self) -> None:
        """Raises Unsound where the stored document, under its root as that is kept now, is not the ring in memory.

        Raises Changed where the stored one is another by now.
        """
        self.check_stored()
        try:
            same = self._document is not None and opened(self._document, self._root) == self.ring
        except Unsound:
            self.check_stored()  # its root goes where somebody else has just moved on to another
            raise
        if not same:
            raise Unsound("the keyring does not say what was written", remedy="Restore it from its newest backup.")

    def _take_over(self) -> None:
        document = self._store.read(RING)
        for _ in range(ATTEMPTS):
            if document is None:
                raise keyring_missing()
            try:
                ring = opened(document, self._root)
            except Unsound:
                # Its root may have gone since it was read: then there is a newer one.
                again = self._store.read(RING)
                if again == document:
                    raise
                document = again
                continue
            check_follows(self.ring, ring)
            self._put(document, ring)
            return
        raise _never_quiet()

    def _put(self, document: bytes, ring: Ring) -> None:
        gone = self.ring.secrets.keys() - ring.secrets.keys()
        self._document, self.ring = document, ring
        if gone:
            self._drop(gone)

    def _let_go(self) -> None:
        """Let every secret go once the lease has run out; whoever is changing the ring at the moment does it later."""
        if not self.changing.acquire(blocking=False):
            return
        try:
            if self.lapsed and self.ring.secrets:
                self.ring = replace(self.ring, secrets={})
                self._drop([EVERY_SECRET])
        finally:
            self.changing.release()


def _never_quiet() -> Outage:
    return Outage("the keyring is being changed all the time", retry_after=1)
