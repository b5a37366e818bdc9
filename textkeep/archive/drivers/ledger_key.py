"""The file of the ledger's private key: 0600, apart from the data."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from textkeep.archive.drivers.files import make_folder, remove_durably, sync_folder, write_durably
from textkeep.errors import Outage

NAME: Final = "ledger-key"


class LedgerKeyFile:
    """`ledger.keys.KeyFile` over the file `ledger-key` of a folder, which is asked for when it is first needed.

    A new content is written beside the old one, synced and renamed over it; then the bytes of the old one are
    overwritten. On copy-on-write and flash storage old blocks may outlive that.
    """

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder

    def read(self) -> bytes | None:
        """What it holds, or None where there is none. Raises Outage."""
        try:
            return (self._folder() / NAME).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise Outage("the ledger's key cannot be read", retry_after=30) from exc

    def create(self, content: bytes) -> bool:
        """Make it, whole or not at all; False where it is there already. Raises Outage."""
        folder = self._folder()
        half = folder / f"{NAME}.{os.getpid()}"
        try:
            make_folder(folder)
            write_durably(half, content)
            try:
                os.link(half, folder / NAME)
            except FileExistsError:
                return False
            finally:
                remove_durably(half)
            sync_folder(folder)
        except OSError as exc:
            raise Outage("the ledger's key cannot be written", retry_after=30) from exc
        return True

    def write(self, content: bytes) -> None:
        """Replace it, and write zeros over what it held. Raises Outage."""
        folder = self._folder()
        try:
            write_durably(folder / f"{NAME}.new", content)
            with (folder / NAME).open("r+b") as old:
                (folder / f"{NAME}.new").replace(folder / NAME)
                sync_folder(folder)
                old.write(bytes(os.fstat(old.fileno()).st_size))
                old.flush()
                os.fsync(old.fileno())
        except OSError as exc:
            raise Outage("the ledger's key cannot be written", retry_after=30) from exc
