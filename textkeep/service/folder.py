"""The archive's folder: held by one process at a time, which leaves its address in it.

`DIR/lock` is the lock and the only truth about who is running; `DIR/service.json` (0600) says where, as whom, and
with which secret a command of the same user reaches it. It is made anew by each holder and removed at the end; one
that was left behind is never believed while the lock is free.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from filelock import FileLock, Timeout

from textkeep.errors import Outage, Unsound

LOCK: Final = "lock"
ADDRESS: Final = "service.json"
TOKEN: Final = "token"  # noqa: S105  a file's name
"""The token of the archive's own OS user, which `search` finds."""

PRIVATE_FOLDER: Final = 0o700
PRIVATE_FILE: Final = 0o600
OTHERS: Final = 0o077

WAIT_SECONDS: Final = 10.0
"""How long a command waits for a folder that another one is about to give back."""


class Held(Outage):
    """Another process has the folder open."""


class Address(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who holds a folder, and where they answer; `url` is None where they do not answer others."""

    pid: int
    command: str
    url: str | None = None
    secret: str | None = None
    certificate: str | None = None

    def __repr__(self) -> str:
        return f"Address(pid={self.pid}, command={self.command!r}, url={self.url!r})"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that this process holds; nobody else opens it until `release`."""

    path: Path
    lock: FileLock
    command: str

    @classmethod
    def hold(cls, path: Path, command: str, *, wait: float = WAIT_SECONDS) -> "Folder":
        """Hold a folder, made (0700) where there is none, and keep every new file of this process to its user.

        Raises Held where another process has it for longer than `wait` seconds, Unsound where it is no folder or
        not to be written to.
        """
        keep_files_private()
        lock = FileLock(path / LOCK, mode=PRIVATE_FILE, thread_local=False)
        try:
            path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            lock.acquire(timeout=wait, poll_interval=0.05)
        except Timeout:
            raise held(path) from None
        except OSError as exc:
            raise Unsound(
                "the archive's folder cannot be used: it is no folder, or not this user's to write to",
                field="--data",
                remedy="Name another folder with --data, or run as the user who owns this one.",
            ) from exc
        folder = cls(path, lock, command)
        folder.announce()
        return folder

    def announce(self, url: str | None = None, secret: str | None = None, certificate: Path | None = None) -> None:
        """Say in the folder who holds it and where they answer."""
        said = Address(
            pid=os.getpid(),
            command=self.command,
            url=url,
            secret=secret,
            certificate=str(certificate) if certificate else None,
        )
        write_private(self.path / ADDRESS, msgspec.json.encode(said))

    def release(self) -> None:
        """Give the folder back."""
        (self.path / ADDRESS).unlink(missing_ok=True)
        self.lock.release()


def keep_files_private() -> None:
    """Keep every new file of this process to its user."""
    os.umask(OTHERS)


def address(path: Path) -> Address | None:
    """Who says that they hold a folder; None where nobody does, or where it cannot be read."""
    try:
        return msgspec.json.decode((path / ADDRESS).read_bytes(), type=Address)
    except (OSError, msgspec.DecodeError):
        return None


def read_token(path: Path) -> str | None:
    """The token that was left in an archive's folder, or None."""
    try:
        return (path / TOKEN).read_text("ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its user can read, whole or not at all."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def held(path: Path) -> Held:
    """What to say of a folder that another process has: which one, and what to do."""
    holder = address(path)
    who = f"`textkeep {holder.command}` (process {holder.pid})" if holder else "another process"
    return Held(
        f"{who} has this folder open; nothing was done",
        field="--data",
        remedy="Wait until it has finished, or stop it; then run this command again.",
    )
