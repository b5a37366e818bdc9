"""Which keyring belongs to which data: looked at before anything is made, and kept for one process where that must be.

A keyring is made only where there is no data, and data only where there is no used keyring: whichever of the two is
missing is to be restored from its backup, and must not find something new in its place.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import inspect, literal, make_url, select

from textkeep.archive.backups import Backups, Places
from textkeep.archive.keyring import RING, Keyring, KeyringStore, Root, identity, keyring_missing
from textkeep.clock import Clock
from textkeep.errors import Unsound
from textkeep.service.folder import LOCK, PRIVATE_FILE, PRIVATE_FOLDER, Folder, Held
from textkeep.service.settings import Settings
from textkeep.store.engine import Store
from textkeep.store.tables import orgs, persons, shelves


@dataclass(frozen=True, slots=True)
class Drivers:
    """How the wiring makes the halves of a keyring, and its backups; making one may make its folder."""

    store: Callable[[Settings, ExitStack], KeyringStore]
    root: Callable[[Settings, KeyringStore], Root]
    places: Callable[[Settings, str], Places]

    def open(
        self, settings: Settings, kept: KeyringStore, clock: Clock, *, create: bool, keeps: bool = True
    ) -> Keyring:
        """The keyring in a store. Raises like `Keyring.open`."""
        backed = self.backups(settings, kept, clock).around
        return Keyring.open(kept, self.root(settings, kept), create=create, keeps=keeps, backed=backed)

    def backups(self, settings: Settings, kept: KeyringStore, clock: Clock) -> Backups:
        """Its backups, where the settings say that they go."""
        folder = None if settings.keyring_backups is None else str(settings.keyring_backups)
        keys = None if settings.root_in_token else settings.keyring_backup_keys
        return Backups(
            kept, self.places(settings, identity(kept)), clock, folder=folder, keys=str(keys) if keys else ""
        )

    def backup_root(self, settings: Settings, keyring: str, keys: str) -> Root:
        """The roots of a keyring's backups, by its id; `keys` is their folder where they are files."""
        return self.places(settings, keyring).root(keys)


def keep_for_restore(settings: Settings, undone: ExitStack) -> None:
    """Keep folder, keyring and database for this process until `undone`. Raises Held where another process has one."""
    if not settings.on_server:
        undone.callback(Folder.hold(settings.folder, "keyring restore").release)
        _keep(undone, _lock_database(settings, Path(make_url(settings.database).database or "")))
    if not settings.keyring_in_database:
        _keep(undone, [_lock_keyring(settings)])


def keyring_of_server(
    settings: Settings, drivers: Drivers, store: Store, clock: Clock, undone: ExitStack, *, keeps: bool
) -> Keyring:
    """The keyring of an archive whose texts lie on a server. Raises Unsound where the two do not belong together.

    A keyring in a folder is kept for this process until `undone`. Several processes may come here at the same moment:
    the keyring's store lets one of them make the ring, and each looks for data again once there is one. Without `keeps`
    this process destroys nothing, and forgets no root.
    """
    if not settings.keyring_in_database:
        _keep(undone, [_lock_keyring(settings)])
    kept = drivers.store(settings, undone)
    ring_there = kept.read(RING) is not None
    empty = has_no_rows(store)
    if not empty and not ring_there and kept.read(RING) is None:
        raise keyring_missing()
    keyring = drivers.open(settings, kept, clock, create=empty, keeps=keeps)
    if empty and _is_used(keyring) and has_no_rows(store):
        raise _data_missing()
    return keyring


def keyring_of_file(settings: Settings, drivers: Drivers, clock: Clock, undone: ExitStack) -> Keyring:
    """The keyring of an archive whose texts lie in a file. Raises Unsound where the two do not belong together.

    Keyring and database are kept for this process until `undone`. It looks before it makes anything: a folder or a
    database made on the way to a refusal would stand where a backup is to be restored. Rows tell whether there is
    data, and not the file, which a start that was killed leaves behind without any.
    """
    folder, file = settings.keyring_folder, Path(make_url(settings.database).database or "")
    ring_there, data_there = (folder / RING).exists(), file.exists()
    if ring_there:
        _keep(undone, [_lock_keyring(settings)])
    if data_there:
        _keep(undone, _lock_database(settings, file))
    empty = not data_there or _file_has_no_rows(settings.database)
    if not empty and not (folder / RING).exists():
        raise keyring_missing()
    if not ring_there:
        _keep(undone, [_lock_keyring(settings)])
    kept = drivers.store(settings, undone)
    keyring = drivers.open(settings, kept, clock, create=empty)
    if empty and _is_used(keyring):
        raise _data_missing()
    if not data_there:
        _keep(undone, _lock_database(settings, file))
    return keyring


def has_no_rows(store: Store) -> bool:
    """Whether a database holds nothing that a keyring would have to open; it may have no tables yet."""
    with store.reading() as connection:
        made = set(inspect(connection).get_table_names())
        held = [table for table in (shelves, orgs, persons) if table.name in made]
        return not any(connection.execute(select(literal(1)).select_from(t).limit(1)).first() for t in held)


def _file_has_no_rows(database: str) -> bool:
    store = Store.open(database)
    try:
        return has_no_rows(store)
    finally:
        store.close()


def _is_used(keyring: Keyring) -> bool:
    return bool(keyring.tombstones()) or any(name.startswith("org:") for name in keyring.names())


def _data_missing() -> Unsound:
    return Unsound(
        "there is a keyring here, and the data it belongs to is missing",
        field="--data",
        remedy="Restore the data of this keyring, or name another folder for a new archive. No data was made.",
    )


def _lock_keyring(settings: Settings) -> FileLock:
    """Keep the keyring for this process: two archives on one would lose each other's secrets."""
    return _lock(settings.keyring_folder / LOCK, "keyring", "TEXTKEEP_KEYRING_URL")


def _lock_database(settings: Settings, file: Path) -> Iterator[FileLock]:
    """Keep the database for this process; one in the archive's own folder is kept with the folder."""
    if settings.database_url is not None:
        yield _lock(file.with_name(f"{file.name}.{LOCK}"), "database", "TEXTKEEP_DATABASE_URL")


def _lock(path: Path, what: str, setting: str) -> FileLock:
    lock = FileLock(path, mode=PRIVATE_FILE, thread_local=False)
    try:
        path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise Held(
            f"another process has this {what} open; nothing was done",
            field=setting,
            remedy=f"Stop it, or give each archive a {what} of its own.",
        ) from None
    except OSError as exc:
        raise Unsound(
            f"the folder of the {what} cannot be used",
            field=setting,
            remedy="Name a folder that this user alone can read and write.",
        ) from exc
    return lock


def _keep(undone: ExitStack, locks: Iterable[FileLock]) -> None:
    for lock in locks:
        undone.callback(lock.release)
