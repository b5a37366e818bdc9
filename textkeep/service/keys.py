"""What an archive does about its keyring's copies: backs up, ends backups, says when a secret is gone for good."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from textkeep.archive.backup import LIFE
from textkeep.archive.backups import Backups
from textkeep.archive.copies import Copy
from textkeep.archive.erasure import Erasures
from textkeep.archive.keyring import Keyring
from textkeep.clock import Clock
from textkeep.errors import Malformed
from textkeep.ledger.log import moment
from textkeep.retention.approvals.approvals import Approvals
from textkeep.retention.approvals.resuming import Resuming
from textkeep.service.opening import Drivers
from textkeep.service.settings import Settings
from textkeep.store.engine import Store


@dataclass(frozen=True, slots=True)
class Keys:
    """The keyring of an archive and its copies. `erasures` tells reports when a secret is gone for good."""

    keyring: Keyring
    backups: Backups
    erasures: Erasures
    resuming: Resuming
    clock: Clock

    def tend(self) -> None:
        """What is done every hour."""
        self.backups.tend(self.keyring.ring)

    def back_up(self, folder: Path | None, keys: Path | None, days: float) -> dict[str, Any]:
        """Make a backup now: where somebody asks for it to go, else where backups are set to go."""
        if folder is None and not self.backups.set:
            raise Malformed("no folder for backups is set", field="--to", remedy="Say where: --to DIR.")
        if folder is not None and keys is not None and _one_in_other(folder, keys):
            raise Malformed("the backup and its key must lie apart", field="--keys", remedy="Name another folder.")
        if not 0 < days <= LIFE.days:
            raise Malformed(f"a backup of the keyring lives for {LIFE.days} days at most", field="--days")
        made = self.backups.make(
            self.keyring.ring(),
            folder=str(folder) if folder else None,
            keys=str(keys) if keys else None,
            life=timedelta(days=days),
        )
        return shown(made)

    def status(self) -> dict[str, Any]:
        """What may be said of the keyring and its copies."""
        found = self.keyring.status()
        known = self.backups.copies.known().copies
        waiting = self.resuming.waiting()
        return {
            "generation": found.generation,
            "root": found.root,
            "root_kind": found.root_kind,
            "secrets": found.secrets,
            "tombstones": found.tombstones,
            "restored": waiting,
            "backups": [shown(copy) for copy in known if copy.ended_at is None or copy.ended_at > self.clock()],
        }


def keys_of(
    drivers: Drivers, settings: Settings, keyring: Keyring, store: Store, approvals: Approvals, clock: Clock
) -> Keys:
    """The keys of an archive that is open."""
    kept = keyring.documents
    backups = drivers.backups(settings, kept, clock)
    erasures = Erasures(keyring.tombstones, backups.copies, drivers.root(settings, kept), backups.root_of, clock)
    return Keys(keyring, backups, erasures, Resuming(store, kept, approvals, clock), clock)


def shown(copy: Copy) -> dict[str, Any]:
    """A backup as `keyring status` shows it."""
    return {
        "id": copy.id,
        "made_at": moment(copy.made_at),
        "expires_at": moment(copy.expires_at),
        "ended_at": moment(copy.ended_at) if copy.ended_at else None,
        "generation": copy.generation,
        "root_kind": copy.root_kind,
        "file": str(Path(copy.folder) / copy.file),
        "key": str(Path(copy.keys) / copy.root) if copy.keys else copy.root,
    }


def _one_in_other(one: Path, other: Path) -> bool:
    one, other = one.absolute(), other.absolute()
    return one == other or one in other.parents or other in one.parents
