"""A keyring with backups, over roots of one kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.archive.rooting import Rooting
from tests.housing import SetClock
from textkeep.archive import backup
from textkeep.archive.backup import Backup
from textkeep.archive.backups import Backups
from textkeep.archive.copies import Copy
from textkeep.archive.drivers.backup_folder import BackupFolder
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.erasure import Erasures
from textkeep.archive.keyring import Keyring, KeyringStore, identity
from textkeep.archive.ring import Root


@dataclass
class Places:
    """Where backups go, as the service has it."""

    roots: Rooting

    def folder(self, path: str) -> BackupFolder:
        return BackupFolder(Path(path))

    def root(self, keys: str) -> Root:
        return LocalRoot(Path(keys)) if keys else self.roots.backup()


class Backed:
    """A keyring in a folder whose backups go to another one."""

    def __init__(self, roots: Rooting, folder: Path, clock: SetClock, store: KeyringStore | None = None) -> None:
        self.roots = roots
        self.folder = folder
        self.clock = clock
        self.store = store or FolderStore(folder / "ring")
        identity(self.store)
        self.keys = str(folder / "keys") if roots.kind == "local" else ""
        self.to = folder / "backups"
        self.backups = self.another()
        self.keyring = Keyring.open(self.store, roots.ring(), create=True, backed=self.backups.around)
        self.keyring.finish()
        root_of = self.backups.root_of
        self.erasures = Erasures(self.keyring.tombstones, self.backups.copies, roots.ring(), root_of, clock)

    def another(self) -> Backups:
        """The backups as another process has them."""
        return Backups(self.store, Places(self.roots), self.clock, folder=str(self.to), keys=self.keys)

    def known(self) -> tuple[Copy, ...]:
        """What is on record."""
        return self.backups.copies.known().copies

    def files(self) -> Mapping[str, bytes]:
        """The backups that lie there, by name."""
        return {path.name: path.read_bytes() for path in self.to.iterdir()} if self.to.exists() else {}

    def newest(self) -> Copy:
        """The copy that was made last."""
        return max(self.known(), key=lambda copy: (copy.made_at, copy.generation))

    def opened(self, content: bytes) -> Backup:
        """A backup, opened as `restore` does."""
        return backup.opened(content, Places(self.roots).root(self.keys), self.clock())

    def content(self, copy: Copy) -> bytes:
        """The bytes of a backup."""
        return (Path(copy.folder) / copy.file).read_bytes()
