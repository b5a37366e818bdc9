"""Backups of the keyring as files of a folder."""

from pathlib import Path

from textkeep.archive.drivers.files import make_folder, remove_durably, sync_folder, write_durably
from textkeep.errors import Outage


class BackupFolder:
    """`Folder` over a folder (0700, where it is made) of files (0600)."""

    def __init__(self, folder: Path) -> None:
        """Nothing is looked for yet."""
        self._folder = folder

    @property
    def path(self) -> str:
        """Where it is."""
        return str(self._folder)

    def put(self, name: str, content: bytes) -> None:
        """Write a file beside its place, sync it, rename it. Raises Outage."""
        try:
            make_folder(self._folder)
            half = self._folder / f"{name}.new"
            write_durably(half, content)
            if half.read_bytes() != content:
                raise Outage("a backup of the keyring could not be written as it is", retry_after=30)
            half.replace(self._folder / name)
            sync_folder(self._folder)
        except OSError as exc:
            raise Outage("a backup of the keyring cannot be written", retry_after=30) from exc

    def remove(self, name: str) -> None:
        """Remove a file, if it is there. Raises Outage."""
        try:
            remove_durably(self._folder / f"{name}.new")
            remove_durably(self._folder / name)
        except OSError as exc:
            raise Outage("a backup of the keyring cannot be removed", retry_after=30) from exc
