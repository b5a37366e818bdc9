"""Backing the keyring up: before a new secret is first used, every day, and when somebody asks; and ending backups.

Where backups are set, a ring with new secrets is backed up *before* it is stored. So whatever is in a stored ring is in
a backup, whoever made it and wherever a crash came; a backup of a ring that was not stored after all goes again. Days
have their secrets 30 days ahead, so that no text ever waits for this.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final, Protocol

from textkeep.archive import backup
from textkeep.archive.backup import LIFE, Header
from textkeep.archive.confirmed import Changed, KeyringStore
from textkeep.archive.copies import Copies, Copy, utc
from textkeep.archive.marking import MARKS
from textkeep.archive.ring import Ring, Root
from textkeep.clock import Clock
from textkeep.errors import TextkeepError

EVERY: Final = timedelta(hours=24)
"""How old the newest backup made by itself may become."""

SUPERSEDED: Final = timedelta(hours=1)
"""Of backups made by themselves within this time only the newest stays: a new organisation makes one each."""

OTHERS: Final = ("id", "ledger", MARKS)
"""Documents of the keyring's store that are in a backup besides the ring."""

HOLDS: Final = "hold:"


class Folder(Protocol):
    """Where the files of backups are put. `put` MUST be durable when it returns. All raise Outage."""

    @property
    def path(self) -> str:
        """Where it is."""

    def put(self, name: str, content: bytes) -> None:
        """Write a file that only its user can read."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


class Places(Protocol):
    """Where backups go, and what they are sealed under."""

    def folder(self, path: str) -> Folder:
        """A folder for files."""

    def root(self, keys: str) -> Root:
        """The roots of backups: of the kind of the ring's own; in the folder `keys` where they are files."""


class Backups:
    """Makes backups, keeps their record, ends them.

    `folder` is where they go by themselves, None where they are not set; `keys` the folder of their keys, for roots
    that are files.
    """

    def __init__(
        self, store: KeyringStore, places: Places, clock: Clock, *, folder: str | None = None, keys: str = ""
    ) -> None:
        self.copies = Copies(store)
        self._store = store
        self._places = places
        self._clock = clock
        self._folder = folder
        self._keys = keys
        self._strays: set[str] = set()

    @property
    def set(self) -> bool:
        """Whether backups are made by themselves."""
        return self._folder is not None

    @contextmanager
    def around(self, ring: Ring) -> Iterator[None]:
        """Have a ring with new secrets in a backup before it is stored; raises like `make`, and then stores nothing."""
        if self._folder is None:
            yield
            return
        made = self.make(ring)
        try:
            yield
        except Changed:  # another ring was stored, and this one never will be
            with suppress(TextkeepError):
                self.end(made)
            raise
        with suppress(TextkeepError):  # the hourly run ends what this leaves
            self._end_superseded(made)

    def make(self, ring: Ring, *, folder: str | None = None, keys: str | None = None, life: timedelta = LIFE) -> Copy:
        """Write a backup of a ring and put it on record; `folder` says that somebody asked for it, and where to.

        Raises Outage where it cannot be written, ValueError for a life of over 7 days.
        """
        place = self._places.folder(folder or self._folder or "")
        keys = self._keys if keys is None else keys
        root = self._places.root(keys)
        now, name = utc(self._clock()), os.urandom(8).hex()
        if not timedelta() < life <= LIFE:
            raise ValueError("a backup of the keyring lives for 7 days at most")
        copy = Copy(
            id=name,
            made_at=now,
            expires_at=now + life,
            generation=ring.generation,
            root_kind=root.kind,
            root=root.create(),
            folder=place.path,
            file=f"keyring-{now:%Y-%m-%dT%H%M%SZ}-{name}.backup",
            keys=keys,
            by_hand=folder is not None,
        )
        # On record first: what is on record and was never written claims too little, and not too much.
        self.copies.add(copy)
        documents = self._documents()
        header = Header(
            id=copy.id,
            keyring=documents.get("id", b"").decode(),
            made_at=copy.made_at,
            expires_at=copy.expires_at,
            generation=ring.generation,
            root_kind=root.kind,
            root=copy.root,
            secrets=frozenset(ring.secrets),
            tombstones=frozenset(ring.tombstones),
        )
        place.put(copy.file, backup.sealed(header, ring, documents, root))
        return copy

    def root_of(self, copy: Copy) -> Root:
        """The roots that a backup's own is among."""
        return self._places.root(copy.keys)

    def end(self, copy: Copy) -> None:
        """Destroy a backup's root where that can be done here, remove its file, and say so on record."""
        root = self.root_of(copy)
        root.forget(copy.root)
        ends_at = root.fate(copy.root).ends_at
        with suppress(TextkeepError):  # a disk that is not there any more; what opens the file is gone
            self._places.folder(copy.folder).remove(copy.file)
        self.copies.ended(copy.id, ends_at or self._clock())

    def tend(self, ring: Callable[[], Ring]) -> None:
        """What is done every hour: end what has expired, forget roots that no backup needs, make the day's backup."""
        now = self._clock()
        for copy in self.copies.known().copies:
            if copy.ended_at is None and copy.expires_at <= now:
                self.end(copy)
        if self._folder is None:
            return
        self._forget_strays()
        own = [copy for copy in self._alive() if not copy.by_hand]
        newest = max(own, key=lambda copy: copy.made_at, default=None)
        newer = newest is not None and newest.generation < ring().generation
        if newest is None or now - newest.made_at >= EVERY or (newer and now - newest.made_at >= SUPERSEDED):
            self._end_superseded(self.make(ring()))

    def _alive(self) -> list[Copy]:
        now = self._clock()
        return [copy for copy in self.copies.known().copies if copy.ended_at is None and copy.expires_at > now]

    def _end_superseded(self, newest: Copy) -> None:
        for copy in self._alive():
            recent = timedelta() <= newest.made_at - copy.made_at < SUPERSEDED
            if copy.id != newest.id and recent and not copy.by_hand and copy.generation <= newest.generation:
                self.end(copy)

    def _forget_strays(self) -> None:
        """Roots that no backup on record has, seen twice, an hour apart: a crash left them, and nothing uses them."""
        root = self._places.root(self._keys)
        strays = root.known() - {copy.root for copy in self.copies.known().copies}
        for each in strays & self._strays:
            root.forget(each)
        self._strays = strays

    def _documents(self) -> dict[str, bytes]:
        others = {name: self._store.read(name) for name in OTHERS}
        return {name: body for name, body in others.items() if body is not None} | self._store.all(HOLDS)
