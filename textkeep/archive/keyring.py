"""The keyring: named secrets of 32 random bytes, kept apart from all data. Destroying one destroys what it sealed.

A secret is in the stored ring before anything uses it. Destroying one writes a new root, then the ring under it, then
forgets the old root: every older copy of the ring is then closed. Whatever a crash leaves in between is finished by
`Keyring.finish`.

With many processes (`confirmed.py`) a root is forgotten only once a stored ring has called it spent, and a ring is only
ever moved to a root made for it. So no root that some ring needs, or is about to need, is among those, whoever
finishes what and whenever.
"""

import hashlib
import math
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from textkeep.archive import confirmed
from textkeep.archive.confirmed import EVERY_SECRET, IDENTITY, RING, Changed, KeyringStore, identity, keyring_missing
from textkeep.archive.recent import Recent
from textkeep.archive.ring import SECRET_BYTES, Ring, Root, Tombstone
from textkeep.archive.text import HOUSE, Handle
from textkeep.errors import NotFound, Unsound

__all__ = [
    "DERIVED_KEYS",
    "EVERY_SECRET",
    "HOUSE_SECRET",
    "HOUSE_SHELF",
    "IDENTITY",
    "LEASE",
    "RING",
    "Changed",
    "Keyring",
    "KeyringStore",
    "Purpose",
    "RingStatus",
    "Root",
    "SecretDestroyed",
    "SecretMissing",
    "Tombstone",
    "commitment_of",
    "identity",
    "keyring_missing",
    "org_secret",
    "prefixed",
    "shelf_secret",
]

HOUSE_SECRET: Final = "house"  # noqa: S105 - a name, not a secret
HOUSE_SHELF: Final = "house"
"""Stands in for a shelf where what is sealed belongs to none: the directory, names of persons."""

DERIVED_KEYS: Final = 32_768
"""How many derived keys are kept in memory (about 320 bytes each), those used last: deriving one takes microseconds."""

LEASE: Final = timedelta(seconds=60)
"""How long secrets are used without the ring being confirmed, where other processes may change it."""

LOOK_AGAIN: Final = 1.0
"""Seconds for which a secret that was looked for in the stored ring, and is not there, is not looked for again."""

LOOKED_FOR: Final = 10_000
"""How many names of such secrets are remembered."""

_LENGTH: Final = struct.Struct(">I").pack

Purpose = Literal["body", "tag", "token", "vocabulary", "quarantine", "activity", "directory", "hold", "mark"]


class SecretMissing(Unsound):
    """The keyring has no secret of that name, and never destroyed one: it is not the keyring of this data."""

    problem = "secret-missing"
    title = "A secret is not in the keyring"
    remedy = "Restore the keyring that belongs to this data; see `textkeep doctor`."


class SecretDestroyed(NotFound):
    """The secret was destroyed by a purge; nothing it sealed can be opened again."""

    problem = "destroyed"
    title = "Destroyed by a purge"
    remedy = "Nothing brings it back; the purge report of its day says when it went."


@dataclass(frozen=True, slots=True)
class RingStatus:
    """What may be said of the ring in the open."""

    generation: int
    root: str
    root_kind: str
    secrets: int
    tombstones: int


def commitment_of(name: str, secret: bytes) -> bytes:
    """SHA-256("textkeep-secret-v1" || length-prefixed name || secret): names a secret without telling it."""
    return hashlib.sha256(b"textkeep-secret-v1" + prefixed(name.encode()) + secret).digest()


def prefixed(*parts: bytes) -> bytes:
    """Each part behind its length (4 bytes, big-endian), so that no two lists of parts give the same bytes."""
    return b"".join([piece for part in parts for piece in (_LENGTH(len(part)), part)])


def org_secret(org: Handle) -> str:
    """The name of an organisation's secret."""
    return HOUSE_SECRET if org == HOUSE else f"org:{org.hex()}"


def shelf_secret(shelf: str) -> str:
    """The name of a shelf's secret."""
    return HOUSE_SECRET if shelf == HOUSE_SHELF else f"shelf:{shelf}"


class Keyring:
    """The secrets, in memory and in their store."""

    def __init__(
        self,
        store: KeyringStore,
        root: Root,
        *,
        keeps: bool,
        lease: timedelta | None,
        ticks: confirmed.Ticks,
        backed: confirmed.Backed,
    ) -> None:
        self._store = store
        self._held = confirmed.ConfirmedRing(store, root, lease, ticks, self._drop, backed)
        self.ring = self._held.whole
        """The ring with its secrets, for who backs it up. Raises Outage once the lease has run out."""
        self.live = self._held.live
        """Raises Outage once the lease has run out. Whoever keeps what was derived asks before each use of it."""
        self._shared = store.shared
        self._root = root
        self._keeps = keeps
        self._derived: Recent[tuple[str, str, bytes], bytes] = Recent(DERIVED_KEYS)
        self._told: list[Callable[[str], None]] = []
        self._missed: dict[str, float] = {}

    @classmethod
    def open(
        cls,
        store: KeyringStore,
        root: Root,
        *,
        create: bool,
        keeps: bool = True,
        lease: timedelta | None = LEASE,
        ticks: confirmed.Ticks = confirmed.ticks,
        backed: confirmed.Backed = confirmed.unbacked,
    ) -> "Keyring":
        """The keyring in `store`; a new one with the house's secret where there is none and `create` is set.

        Without `keeps` it destroys nothing and forgets no root. The lease counts for a shared store only, in seconds of
        `ticks`. Raises Unsound where there is no ring and none may be made, and where the ring does not open. Once it
        is known to be the ring of its data, `finish` ends what a crash left half done.
        """
        keyring = cls(store, root, keeps=keeps, lease=lease, ticks=ticks, backed=backed)
        began = ticks()
        if create and keyring._held.is_missing():
            keyring._held.repeat(keyring._begin)
        keyring._held.reread()
        keyring._held.renew(began)
        return keyring

    def _begin(self) -> None:
        if self._held.ring.generation:  # that of another process, which was quicker
            return
        with self._held.new_root() as root:
            spent = frozenset(self._root.known() - {root})
            self._held.write(Ring(1, root, {HOUSE_SECRET: os.urandom(SECRET_BYTES)}, {}, spent))

    @property
    def lapsed(self) -> bool:
        """Whether the lease has run out."""
        return self._held.lapsed

    def now(self) -> float:
        """This moment, on the clock of the lease."""
        return self._held.ticks()

    def refresh(self) -> int:
        """Confirm the ring, renew the lease, and give the generation. Raises like `reread`.

        A process that is counted by its beats (`nodes.py`) leaves the lease to them.
        """
        began = self.now()
        generation = self.reread()
        self.renew(began)
        return generation

    def reread(self) -> int:
        """Take over what others have changed, drop what was derived from secrets that went; gives the generation.

        Raises Outage where the stored ring cannot be read, Unsound where it could not have come of the one in memory.
        """
        return self._held.reread()

    def renew(self, as_of: float) -> None:
        """Let the lease run from a moment (of `now`) on after which the ring was reread. Raises like `reread`."""
        self._held.renew(as_of)

    def end_lease(self) -> None:
        """Let every secret go, where there is a lease: this process is about to be counted no more."""
        self._held.end()

    def derive(self, purpose: Purpose, shelf: str, org: Handle) -> bytes:
        """A 32-byte key: HKDF-SHA256(shelf secret || org secret, info = length-prefixed purpose, shelf, org handle).

        RFC 5869, without salt. Raises SecretDestroyed or SecretMissing, and Outage once the lease has run out.
        """
        self.live()
        name = (purpose, shelf, org)
        key = self._derived.recall(name)
        if key is None:
            key = self._derive(purpose, shelf, org)
            self._derived.keep(name, key)
            there = self._held.ring.secrets
            if shelf_secret(shelf) not in there or org_secret(org) not in there:
                # Destroyed or let go while it was being derived: what was just kept must not outlive it.
                self._derived.pop(name, None)
                return self._derive(purpose, shelf, org)
        return key

    def _derive(self, purpose: str, shelf: str, org: Handle) -> bytes:
        material = self._secret(shelf_secret(shelf)) + self._secret(org_secret(org))
        info = prefixed(purpose.encode(), shelf.encode(), org)
        return HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=None, info=info).derive(material)

    def has(self, name: str) -> bool:
        """Whether the secret is there."""
        return name in self._held.whole().secrets

    def opens(self, shelf: str, org: Handle) -> bool:
        """Whether the ring holds, in this moment, both secrets that the keys of a shelf and an organisation come of.

        Whoever keeps what it derived asks this after it has put it away: what is destroyed later is told to it.
        """
        there = self._held.ring.secrets
        return shelf_secret(shelf) in there and org_secret(org) in there

    def names(self) -> set[str]:
        """The names of all secrets there are."""
        return set(self._held.whole().secrets)

    def tombstones(self) -> dict[str, Tombstone]:
        """What was destroyed, by name."""
        return dict(self._held.ring.tombstones)

    def tombstone(self, name: str) -> Tombstone | None:
        """What is left of a secret, or None where it was not destroyed."""
        return self._held.ring.tombstones.get(name)

    def commitment(self, name: str) -> bytes:
        """What names a secret without telling it; of a destroyed one too. Raises SecretMissing."""
        stone = self._held.ring.tombstones.get(name)
        return stone.commitment if stone else commitment_of(name, self._secret(name))

    @property
    def keeps(self) -> bool:
        """Whether this process may destroy secrets."""
        return self._keeps

    @property
    def documents(self) -> KeyringStore:
        """What else lies in the keyring's store, each under a name of its own; RING is the ring's alone."""
        return self._store

    def identity(self) -> str:
        """The id of the stored keyring (`identity`), by which an archive is told from others. Raises Outage."""
        return identity(self._store)

    def status(self) -> RingStatus:
        """Counts, generation and root, for reports and the doctor."""
        ring = self._held.whole()
        return RingStatus(ring.generation, ring.root, self._root.kind, len(ring.secrets), len(ring.tombstones))

    def subscribe(self, told: Callable[[str], None]) -> None:
        """Call `told` with the name of each secret that is destroyed, so that nothing derived from it is kept.

        With EVERY_SECRET where all are let go: then nothing derived from any secret is kept.
        """
        self._told.append(told)

    def make(self, names: Iterable[str]) -> None:
        """Make secrets that are not there yet; they are in the stored ring when it returns.

        Those that another process has made meanwhile are taken over. Raises SecretDestroyed for a name that has a
        tombstone: it is never made again.
        """
        wanted = list(names)

        def work() -> None:
            ring = self._held.whole()
            missing = [name for name in wanted if name not in ring.secrets]
            if any(name in ring.tombstones for name in missing):
                raise SecretDestroyed("a destroyed secret is never made again")
            if missing:
                new = {name: os.urandom(SECRET_BYTES) for name in missing}
                self._held.write(replace(ring, generation=ring.generation + 1, secrets={**ring.secrets, **new}))

        self._held.repeat(work)

    def destroy(self, name: str, *, entry: str, now: datetime) -> Tombstone:
        """Destroy a secret for good and leave its tombstone; where that was begun before, finish it.

        `entry` names the ledger entry that decided it. When it returns, no root but the ring's own is left. Raises
        SecretMissing for a name that never was, ValueError for the house's own and where this process keeps nothing,
        Outage where ring or roots cannot be written; then call it again.
        """
        if name == HOUSE_SECRET:
            raise ValueError("the house's secret is never destroyed: it closes no shelf, and opens the directory")
        if not self._keeps:
            raise ValueError("this process was opened to destroy nothing")

        def work() -> Tombstone:
            return self._held.ring.tombstones.get(name) or self._bury(name, entry, now)

        stone = self._held.repeat(work)
        self.finish()
        return stone

    def _bury(self, name: str, entry: str, now: datetime) -> Tombstone:
        """Put a tombstone in the place of a secret, in a ring under a new root."""
        commitment = self.commitment(name)  # may take over a newer ring: what goes into the next one is read after it
        ring = self._held.whole()
        stone = Tombstone(name, commitment, now.isoformat(), entry, ring.generation + 1, ring.root)
        kept = {other: secret for other, secret in ring.secrets.items() if other != name}
        with self._held.new_root() as root:
            spent = frozenset((self._root.known() & ring.spent) | {ring.root})
            self._held.write(Ring(ring.generation + 1, root, kept, {**ring.tombstones, name: stone}, spent))
        return stone

    def finish(self) -> None:
        """Forget every root but the ring's own, once the ring as it is stored is seen to open under that one.

        Does nothing where this process keeps nothing. From there on nothing else opens it: a root that went too early
        would take every secret with it. So a root that a crash left over is called spent in the stored ring first:
        whoever made it and meant to use it finds the ring changed. Raises Unsound where the ring does not open.
        """
        if self._keeps:
            self._held.repeat(self._finish)

    def _finish(self) -> None:
        ring = self._held.whole()
        left_over = self._root.known() - {ring.root}
        if not left_over:
            return
        if not left_over <= ring.spent:
            self._held.write(replace(ring, generation=ring.generation + 1, spent=frozenset(left_over)))
        self._held.check_opens()
        for root in left_over:
            self._root.forget(root)

    def _secret(self, name: str) -> bytes:
        ring = self._held.whole()
        if name not in ring.secrets and name not in ring.tombstones and self._shared:
            ring = self._look_again(name)
        secret = ring.secrets.get(name)
        if secret is None:
            if name in ring.tombstones:
                raise SecretDestroyed("its secret was destroyed by a purge")
            raise SecretMissing("the keyring has no secret of that name")
        return secret

    def _look_again(self, name: str) -> Ring:
        """The ring, reread for a secret that another process may have made; not twice in a moment for one name."""
        with self._held.changing:
            now = self.now()
            if now >= self._missed.get(name, -math.inf) + LOOK_AGAIN:
                self.reread()
                if len(self._missed) >= LOOKED_FOR:
                    self._missed.clear()
                self._missed[name] = now
            return self._held.whole()

    def _drop(self, names: Iterable[str]) -> None:
        """Keep nothing that was derived from these secrets."""
        self._derived.clear()
        for name in names:
            for told in self._told:
                told(name)
