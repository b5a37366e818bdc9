"""When a destroyed secret is gone for good: when no copy of the keyring known to us can be opened any more.

A secret is closed when no part of the service can use it. It is *erased* when besides that the root is gone that sealed
the last ring with it, and every backup that holds it can be opened by nobody. Where a root is a file, only people know
whether there is another copy of it: then the moment is not known, and the reason says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from textkeep.archive.copies import Copies, Copy, Known
from textkeep.archive.ring import Fate, Root, Tombstone
from textkeep.clock import Clock

GRACE: Final = timedelta(hours=2)
"""How long after its expiry a backup's root may still be there: the service destroys it within the next hour."""

FILE: Final = (
    "the root key is a file: it was overwritten and removed here, but whether there is another copy of it, in a backup"
    " say, only people know; they must delete it together with the keyring's copies"
)
FILE_COPY: Final = (
    "a backup of the keyring holds the secret, and its key is a file: a person must delete every copy of that key"
)


@dataclass(frozen=True, slots=True)
class KnownCopy:
    """A backup that holds the secret. `ends_at`: from when on nobody can open it, None where that is not known."""

    id: str
    made_at: datetime
    expires_at: datetime
    root_kind: str
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Erasure:
    """What a report says of a secret.

    `erased_at` is the latest of all ends, which may lie ahead; None where it is not known, for the `reason`. `done` is
    true once that moment has passed and every root was seen to be gone.
    """

    known: tuple[KnownCopy, ...]
    erased_at: datetime | None
    reason: str
    done: bool = False


class Erasures:
    """Tells of secrets. `clock` is the service's; `backup_root` gives the roots that a backup is sealed under."""

    def __init__(
        self,
        tombstones: Callable[[], Mapping[str, Tombstone]],
        copies: Copies,
        root: Root,
        backup_root: Callable[[Copy], Root],
        clock: Clock,
    ) -> None:
        self._tombstones = tombstones
        self._copies = copies
        self._root = root
        self._backup_root = backup_root
        self._clock = clock

    def of(self, name: str) -> Erasure:
        """Of a secret by its name (`shelf:2026-11-22`). Raises Outage where copies or roots cannot be asked."""
        stones, known = self._tombstones(), self._copies.known()
        stone = stones.get(name)
        if stone is None:
            held = tuple(_named(copy, None) for copy in known.copies if copy.ended_at is None)
            return Erasure(held, None, "its secret has not been destroyed")
        now = self._clock()
        holding = [copy for copy in known.copies if holds(copy, stone)]
        copies = tuple(_named(copy, self._end(copy, now)) for copy in holding)
        at, reason = self._ring_end(stone, stones, known)
        if at is None:
            return Erasure(copies, None, reason)
        unknown = [copy for copy in copies if copy.ends_at is None]
        if unknown:
            return Erasure(copies, None, _why_unknown(unknown))
        ends = [copy.ends_at for copy in copies if copy.ends_at is not None]
        at = max([at, *ends])
        done = now >= at and self._fate(self._root, stone.root).gone and all(self._is_gone(copy) for copy in holding)
        return Erasure(copies, at, _why(at, copies), done)

    def _ring_end(self, stone: Tombstone, stones: Mapping[str, Tombstone], known: Known) -> tuple[datetime | None, str]:
        """When the roots that sealed rings with the secret are gone."""
        if self._root.waiting is None:
            return None, FILE
        destroyed = datetime.fromisoformat(stone.destroyed_at)
        fate = self._fate(self._root, stone.root)
        if stone.root and not fate.gone and fate.ends_at is None:
            return None, "the root that sealed the keyring with the secret is still there: look into the log of `keep`"
        own = known.ends.get(stone.root) or fate.ends_at or destroyed + self._root.waiting
        if fate.ends_at is not None and stone.root not in known.ends:
            self._copies.root_ends(stone.root, fate.ends_at)
        # Rings before that one held the secret too, and their roots may have been given a longer wait.
        before = {each.root for each in stones.values() if datetime.fromisoformat(each.destroyed_at) <= destroyed}
        return max([own, *(at for root, at in known.ends.items() if root in before)]), ""

    def _end(self, copy: Copy, now: datetime) -> datetime | None:
        root = self._backup_root(copy)
        if root.waiting is None:
            return None
        if copy.ended_at is not None:
            return copy.ended_at
        due = copy.expires_at + root.waiting
        return None if now > copy.expires_at + GRACE else due

    def _is_gone(self, copy: Copy) -> bool:
        return copy.ended_at is not None and self._fate(self._backup_root(copy), copy.root).gone

    def _fate(self, root: Root, name: str) -> Fate:
        return root.fate(name) if name else Fate(gone=True)


def holds(copy: Copy, stone: Tombstone) -> bool:
    """Whether a copy may have held a secret when that was destroyed: it was made of an earlier ring, and still there.

    One whose key is a file counts for good.
    """
    destroyed = datetime.fromisoformat(stone.destroyed_at)
    if copy.ended_at is not None and copy.ended_at <= destroyed and copy.root_kind != "local":
        return False
    if stone.generation:
        return copy.generation < stone.generation
    return copy.made_at <= destroyed


def _named(copy: Copy, ends_at: datetime | None) -> KnownCopy:
    return KnownCopy(copy.id, copy.made_at, copy.expires_at, copy.root_kind, ends_at)


def _why_unknown(copies: Sequence[KnownCopy]) -> str:
    files = [copy.id for copy in copies if copy.root_kind == "local"]
    if files:
        return f"{FILE_COPY} ({len(files)}: {', '.join(files[:5])})"
    late = ", ".join(copy.id for copy in copies[:5])
    return f"{len(copies)} backup(s) have expired, and their roots were not destroyed yet: {late}; does `keep` run?"


def _why(at: datetime, copies: Sequence[KnownCopy]) -> str:
    if not copies:
        return "no known backup holds the secret; the root that sealed the last ring with it is gone by then"
    latest = max(copies, key=lambda copy: copy.ends_at or copy.expires_at)
    last = "its root" if latest.ends_at == at else "the root of the last ring with the secret"
    return (
        f"{len(copies)} known backup(s) hold the secret, the last of them until {latest.expires_at.isoformat()};"
        f" {last} is gone by then, and the ledger entry `erased` says that it was seen to be"
    )
