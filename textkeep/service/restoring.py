"""`textkeep keyring restore`: opens a database without its keyring, and gives it the keyring of a backup."""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import inspect, select

from textkeep.archive import backup as backups
from textkeep.archive import restoring
from textkeep.archive.backup import Backup
from textkeep.archive.keyring import IDENTITY, KeyringStore
from textkeep.archive.restoring import Needs
from textkeep.clock import Clock, system_clock
from textkeep.errors import Malformed, Unsound
from textkeep.service import opening
from textkeep.service.alone import check_shared
from textkeep.service.folder import Held
from textkeep.service.memory import keep_memory_private
from textkeep.service.opening import Drivers
from textkeep.service.settings import Settings
from textkeep.store import schema
from textkeep.store.engine import Store
from textkeep.store.tables import nodes

MOST_BYTES: Final = 256 * 1024**2
SEEN_LATELY: Final = timedelta(seconds=75)
"""For how long after its last beat a process may still use the keyring of before."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was restored: counts, and the names of what stays destroyed. `restore` is None where there is no data."""

    restore: str | None
    backup: str
    made_at: str
    generation: int
    secrets: int
    gone: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As the command prints it."""
        return {
            "restore": self.restore,
            "backup": self.backup,
            "made_at": self.made_at,
            "generation": self.generation,
            "secrets": self.secrets,
            "stay_destroyed": list(self.gone),
            "waits_for_two_persons": self.restore is not None,
        }


def restore(settings: Settings, drivers: Drivers, file: Path, keys: Path | None, clock: Clock = system_clock) -> Done:
    """Bring the keyring back from a backup; every process of the archive must be stopped.

    Raises Held where one runs, Conflict for a backup that has expired or does not open what the data needs, and where
    the keyring that is there is whole; Unsound for a file or a key that is none. Then nothing was written.
    """
    keep_memory_private()
    content = _read(file)
    header = backups.header_of(content)
    with ExitStack() as undone:
        opening.keep_for_restore(settings, undone)
        store = drivers.store(settings, undone)
        root = drivers.backup_root(settings, header.keyring, _folder_of_key(header.root_kind, keys))
        found = backups.opened(content, root, clock())
        restoring.check_identity(store, found)
        needs = _needs(settings, clock)
        return _write(settings, drivers, store, found, needs, clock)


def _write(
    settings: Settings, drivers: Drivers, store: KeyringStore, found: Backup, needs: Needs, clock: Clock
) -> Done:
    there = store.read(IDENTITY) is not None
    stored = restoring.stored_ring(store, drivers.root(settings, store)) if there else None
    plan = restoring.plan(found, stored, needs)
    restoring.check(plan, stored, needs)
    restoring.put_identity(store, found)
    # By the id that it has now its roots are found.
    mark = restoring.write(store, drivers.root(settings, store), plan, found, at=clock(), data=not needs.none)
    drivers.open(settings, store, clock, create=False).finish()
    header = found.header
    return Done(mark, header.id, header.made_at.isoformat(), plan.ring.generation, len(plan.ring.secrets), plan.gone)


def _needs(settings: Settings, clock: Clock) -> Needs:
    if not settings.on_server and not Path(settings.database.removeprefix("sqlite:///")).exists():
        return Needs({}, {})
    store = Store.open(settings.database)
    try:
        with store.reading() as connection:
            if "shelves" not in inspect(connection).get_table_names():
                return Needs({}, {})
        if schema.version(store) != schema.newest():
            raise Unsound("the tables are not the newest; nothing was restored", remedy="Run `textkeep migrate`.")
        if store.shared:
            check_shared(store, clock)
        now = store.clock() or clock()
        with store.reading() as connection:
            if store.shared:
                alive = nodes.c.seen_at > now - SEEN_LATELY
                if connection.execute(select(nodes.c.id).where(alive).limit(1)).first() is not None:
                    raise Held(
                        "a process of this archive is running, or was a minute ago; nothing was restored",
                        remedy="Stop every process, wait a minute and a half, then run this again.",
                    )
            return restoring.needs_of(connection)
    finally:
        store.close()


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise Malformed("this is no backup of a keyring", field="FILE")
        return file.read_bytes()
    except OSError:
        raise Malformed(
            "the backup cannot be read; nothing was restored",
            field="FILE",
            remedy="Name a file that this user can read: keyring-....backup, in the folder of the backups.",
        ) from None


def _folder_of_key(kind: str, keys: Path | None) -> str:
    if kind == "local" and keys is None:
        raise Malformed(
            "the key of this backup is a file; nothing was restored",
            field="--keys",
            remedy="Say in which folder it lies: --keys DIR.",
        )
    return str(keys) if kind == "local" else ""
