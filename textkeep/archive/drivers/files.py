"""Files whose being there, or being gone, survives a crash."""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Write a file (0600) and sync it. Its name is durable only after `sync_folder`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Make a folder (0700), and what is missing above it, so that they survive a crash."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        sync_folder(each.parent)


def blank_durably(path: Path) -> None:
    """Write zeros over every byte of a file, in its place, and sync it.

    It is not cut short first: a file that was cut short is given new blocks, and the old ones keep what they held.
    """
    descriptor = os.open(path, os.O_WRONLY)
    with os.fdopen(descriptor, "wb") as file:
        file.write(bytes(os.fstat(descriptor).st_size))
        file.flush()
        os.fsync(descriptor)


def remove_durably(path: Path) -> None:
    """Remove a file, if it is there, and sync its folder."""
    if path.exists():
        path.unlink(missing_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make what was renamed, added or removed in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
