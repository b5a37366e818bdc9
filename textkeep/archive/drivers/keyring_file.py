"""The keyring's documents as files of one folder, for one machine."""

import threading
from pathlib import Path
from typing import Final

from textkeep.archive.confirmed import Changed
from textkeep.archive.drivers.files import make_folder, remove_durably, sync_folder, write_durably
from textkeep.errors import Outage

HALF: Final = ".new"
"""How the name of a document ends that is being written."""


class FolderStore:
    """`KeyringStore` over a folder (0700) of files (0600), for one process: whoever opens it keeps others out.

    A document is written beside the old one, synced, read back, renamed over it, and the folder is synced. With
    `leased` what is read from it is used under a lease, as if it were shared: where a database, and not a lock of this
    machine, keeps other processes out, a process that was cut off from it does not know whether they still are.
    """

    def __init__(self, folder: Path, *, leased: bool = False) -> None:
        self.shared = leased
        self._folder = folder
        self._using = threading.RLock()  # of this process's threads: reading takes away what is half written
        try:
            make_folder(folder)
        except OSError as exc:
            raise Outage("the keyring's folder cannot be made", retry_after=30) from exc

    def read(self, name: str) -> bytes | None:
        """A document, or None; what a crash left half written is not one, and goes."""
        path = self._folder / name
        with self._using:
            try:
                remove_durably(self._half(name))
                return path.read_bytes() if path.exists() else None
            except OSError as exc:
                raise Outage("the keyring cannot be read", retry_after=30) from exc

    def holds(self, name: str, body: bytes | None) -> bool:
        """Whether a document is exactly this, or is not there for None."""
        return self.read(name) == body

    def swap(self, name: str, was: bytes | None, now: bytes) -> None:
        """Put `now` in the place of `was`. Raises Changed where it is not `was` any more, Outage on a full disk."""
        with self._using:
            if self.read(name) != was:
                raise Changed(
                    "the keyring was changed by somebody else",
                    remedy="Stop every other process that uses this keyring, then start again.",
                )
            self._write(name, now)

    def _write(self, name: str, now: bytes) -> None:
        half = self._half(name)
        try:
            write_durably(half, now)
            if half.read_bytes() != now:
                raise Outage("the keyring could not be written as it is", retry_after=30)
            half.replace(self._folder / name)
            sync_folder(self._folder)
        except OSError as exc:
            raise Outage("the keyring cannot be written", retry_after=30) from exc

    def all(self, prefix: str) -> dict[str, bytes]:
        """The documents whose names begin so; what a crash left half written is none."""
        try:
            there = [path.name for path in self._folder.iterdir() if path.is_file()]
        except OSError as exc:
            raise Outage("the keyring cannot be read", retry_after=30) from exc
        named = sorted(name for name in there if name.startswith(prefix) and not name.endswith(HALF))
        return {name: body for name in named if (body := self.read(name)) is not None}

    def _half(self, name: str) -> Path:
        return self._folder / f"{name}{HALF}"
