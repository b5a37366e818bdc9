"""A disk of a few megabytes, and a file that fills it up."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.engines.process import own_folder

_PIECE: Final = bytes(65_536)


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system in memory, mounted at a folder of its own; a skip aloud where this user may mount none."""
    folder = own_folder("disk")
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(folder)]
    done = subprocess.run(mounted, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        folder.rmdir()
        pytest.skip(f"a small disk cannot be mounted here, which takes a privileged user: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


class Filled:
    """A file that takes all the room there is, until its end."""

    def __init__(self, disk: Path) -> None:
        self._file = disk / "filled"

    def __enter__(self) -> Self:
        self.again()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def again(self) -> None:
        """Take what room has become free."""
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            while True:
                os.write(file, _PIECE)
        except OSError as exc:
            if exc.errno != ENOSPC:
                raise
        finally:
            os.close(file)

    def end(self) -> None:
        """Give the room back."""
        with suppress(FileNotFoundError):
            self._file.unlink()
