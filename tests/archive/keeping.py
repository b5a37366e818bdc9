"""Places for a keyring to lie in, one for each driver of its store; and what stands between a keyring and its store."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.keyring_sql import SqlStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import RING, Keyring, KeyringStore

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Ticks:
    """Seconds that stand still until they are set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Keeping:
    """Where one keyring lies: its documents by one driver, its roots in a folder."""

    kind: Literal["file", "sql"]
    folder: Path
    url: str
    _made: list[SqlStore] = field(default_factory=list)

    @property
    def roots(self) -> Path:
        return self.folder / "roots"

    def store(self) -> KeyringStore:
        """Another opening of the store, as another process would have it."""
        if self.kind == "file":
            return FolderStore(self.folder)
        self._made.append(SqlStore(self.url))
        return self._made[-1]

    def root(self) -> LocalRoot:
        return LocalRoot(self.roots)

    def opened(self, *, create: bool = True, **how: Any) -> Keyring:
        """The keyring as a process has it that starts now."""
        keyring = Keyring.open(self.store(), self.root(), create=create, **how)
        keyring.finish()
        return keyring

    def known_roots(self) -> set[str]:
        return {path.name for path in self.roots.iterdir()}

    def document(self) -> bytes:
        """The stored ring."""
        document = self.store().read(RING)
        assert document is not None
        return document

    def put(self, document: bytes | None) -> None:
        """Put another ring in its place, or none, behind everybody's back."""
        if self.kind == "file":
            path = self.folder / RING
            path.unlink(missing_ok=True)
            if document is not None:
                path.write_bytes(document)
            return
        with psycopg.connect(self.url) as connection:
            connection.execute("DELETE FROM keyring_documents WHERE name = 'ring'")
            if document is not None:
                connection.execute("INSERT INTO keyring_documents VALUES ('ring', %s)", (document,))

    def clear(self) -> None:
        """Leave nothing, as before the first start."""
        self.put(None)
        shutil.rmtree(self.roots, ignore_errors=True)

    def copy(self, to: Path) -> "Copy":
        """What somebody has who copies ring and roots now."""
        shutil.copytree(self.roots, to)
        return Copy(self.document(), to)

    def restore(self, copy: "Copy") -> None:
        """Put ring and roots back as they were copied."""
        self.put(copy.document)
        shutil.rmtree(self.roots)
        shutil.copytree(copy.roots, self.roots)

    def secrets(self) -> dict[str, bytes]:
        """The secrets of the stored ring, read as docs/formats.md describes it and by nothing of the house."""
        document = self.document()
        magic, header, sealed = document.split(b"\n", 2)
        assert magic == b"textkeep-ring-v1"
        said = json.loads(header)
        wrapped = bytes.fromhex(said["wrapped"])
        root = (self.roots / said["root"]).read_bytes()
        key = AESGCM(root).decrypt(wrapped[:12], wrapped[12:], said["root"].encode())
        inside = json.loads(AESGCM(key).decrypt(sealed[:12], sealed[12:], magic + b"\n" + header + b"\n"))
        return {name: bytes.fromhex(secret) for name, secret in inside["secrets"].items()}

    def close(self) -> None:
        for store in self._made:
            store.close()


@dataclass(frozen=True)
class Copy:
    """A ring and its roots as they were."""

    document: bytes
    roots: Path

    def opened(self, roots: Path, at: Path) -> Keyring:
        """The copied ring, opened with these roots. Raises Unsound where none of them opens it."""
        at.mkdir(parents=True, exist_ok=True)
        (at / RING).write_bytes(self.document)
        return Keyring.open(FolderStore(at), LocalRoot(roots), create=False)


class Between:
    """A store that lets a test do something before, after or instead of a call of another one."""

    def __init__(self, store: KeyringStore) -> None:
        self.store = store
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _call: None

    @property
    def shared(self) -> bool:
        return self.store.shared

    def read(self, name: str) -> bytes | None:
        self._called("read")
        return self.store.read(name)

    def holds(self, name: str, body: bytes | None) -> bool:
        self._called("holds")
        return self.store.holds(name, body)

    def swap(self, name: str, was: bytes | None, now: bytes) -> None:
        self._called("swap")
        self.store.swap(name, was, now)

    def all(self, prefix: str) -> dict[str, bytes]:
        self._called("all")
        return self.store.all(prefix)

    def _called(self, call: str) -> None:
        self.calls.append(call)
        self.before(call)


@contextmanager
def child(work: Callable[[Callable[[str], None]], None]) -> Iterator["Child"]:
    """A real process that does `work` and says lines; it is killed when the test is done with it."""
    told, out = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(told)
            work(lambda line: void(os.write(out, f"{line}\n".encode())))
        finally:
            os.write(out, f"died {exc!r}\n".encode() if (exc := sys.exc_info()[1]) else b"")
            os._exit(0)
    os.close(out)
    running = Child(pid, told)
    try:
        yield running
    finally:
        running.end()


def void(_result: object) -> None:
    """Nothing, of anything."""


class Child:
    """A process that says lines."""

    def __init__(self, pid: int, told: int) -> None:
        self.pid = pid
        self._told = os.fdopen(told, "r")
        self._ended = False

    def line(self) -> str:
        """The next line it says; empty once it has ended."""
        return self._told.readline().rstrip("\n")

    def lines(self) -> list[str]:
        """Everything it says until it ends."""
        return self._told.read().splitlines()

    def until(self, wanted: str) -> str:
        """The next line that begins like this."""
        for line in self._told:
            if line.startswith(wanted):
                return line.rstrip("\n")
        raise AssertionError(f"the process ended without saying {wanted!r}")

    def end(self) -> None:
        """Kill it, if it still runs."""
        if not self._ended:
            self._ended = True
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
            self._told.close()
