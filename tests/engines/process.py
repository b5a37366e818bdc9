"""One engine as a process of this machine, under a guard that ends it with whoever it was started for."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

GUARD: Final = Path(__file__).with_name("guard.py")

_KEPT: "Final[list[subprocess.Popen[str]]]" = []
"""Every guard started here: an engine that is shared outlives the object that started it, and no warning is due."""

LOWEST_PORT: Final = 15000
"""Above most ports that something is known by."""

_PICK: Final = random.SystemRandom()
"""Whatever seed a test run sets, its processes pick different ports."""

PATIENCE: Final = 120
"""Seconds that an engine may take to start or to stop on a busy machine."""


class EngineFailed(RuntimeError):
    """An engine did not start or did not stop; says which, and the end of its log."""


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on just now, all different.

    Below those that the system gives to connections: until the engine listens, and while a test has it stopped, no
    connection of another test takes one.
    """
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        while len(sockets) < count:
            each = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):  # somebody's already
                each.bind(("127.0.0.1", _PICK.randrange(LOWEST_PORT, first_given())))
                sockets.append(each)
        return [each.getsockname()[1] for each in sockets]


def first_given() -> int:
    """The lowest port that the system gives to a connection: RFC 6335, section 6, where it does not say another.

    Above all ports where it gives them out from so far below that there is nothing beneath.
    """
    lowest = 49152
    with contextlib.suppress(OSError):
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return lowest if lowest >= 2 * LOWEST_PORT else 65536


def own_folder(kind: str, parent: Path | None = None) -> Path:
    """A new folder, short in name and passable for every user: an engine may run as another one."""
    if parent is None:
        parent = Path(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix=f"textkeep-{kind}-", dir=parent))
    folder.chmod(0o755)
    return folder


@dataclass
class Guarded:
    """A command that runs until it is stopped or killed, or until the process `watch` is gone."""

    name: str
    command: Sequence[str]
    log: Path
    watch: int = field(default_factory=os.getpid)
    user: str | None = None
    remove: Path | None = None
    grace: float = 0
    pid: int = 0
    _guard: "subprocess.Popen[str] | None" = None

    def start(self) -> None:
        """Start it; it may not answer yet. Raises EngineFailed where the command cannot be run."""
        if self.running():
            raise EngineFailed(f"{self.name} is running already")
        options = ["--watch", str(self.watch), "--log", str(self.log), "--grace", str(self.grace)]
        options += ["--user", self.user] if self.user else []
        options += ["--remove", str(self.remove)] if self.remove else []
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-S", "-E", str(GUARD), *options, "--", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        _KEPT.append(self._guard)
        assert self._guard.stdout is not None
        with self._guard.stdout as told:
            line = told.readline()
        if not line:
            self._guard.wait()
            raise self.failed("could not be started")
        self.pid = int(line)

    @property
    def guard_pid(self) -> int:
        """The process to end with SIGTERM, which ends the engine and removes its folder."""
        assert self._guard is not None
        return self._guard.pid

    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._guard is not None and self._guard.poll() is None

    def wait_until(self, answers: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until it answers. Raises EngineFailed where it ends before, or does not within `patience` seconds."""
        deadline = time.monotonic() + patience
        while not answers():
            if not self.running():
                raise self.failed("ended while it started")
            if time.monotonic() > deadline:
                raise self.failed(f"did not answer within {patience:.0f} seconds")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it in order, and wait. Raises EngineFailed, after killing it, where it does not end."""
        if not self.running():
            return
        self.resume()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)
        assert self._guard is not None
        try:
            self._guard.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self.failed("did not stop and was killed") from None

    def kill(self) -> None:
        """End it and all its processes as a power cut would, and wait until they are gone."""
        if not self.running():
            return
        self._signal(signal.SIGKILL)
        assert self._guard is not None
        self._guard.wait()

    def pause(self) -> None:
        """Stop it and all its processes in the middle of whatever they do: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End the guard, and with it the engine and its folder."""
        if self._guard is not None:
            if self._guard.poll() is None:
                self._guard.terminate()
            self._guard.wait()
        if self.remove is not None:
            shutil.rmtree(self.remove, ignore_errors=True)

    def failed(self, what: str) -> EngineFailed:
        """What to raise about this engine: what happened, and the end of its log."""
        with contextlib.suppress(OSError):
            end = self.log.read_text(errors="replace")[-3000:]
            return EngineFailed(f"{self.name} {what}; the end of its log:\n{end}")
        return EngineFailed(f"{self.name} {what}")

    def _signal(self, which: signal.Signals) -> None:
        """To the engine first, so that it starts nothing new, then to what it had started."""
        try:
            engine = psutil.Process(self.pid)
            engine.send_signal(which)
            for child in engine.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.send_signal(which)
        except psutil.NoSuchProcess:
            return


class OneProcess:
    """What an engine can do that is one process; how it starts and ends in order is its own."""

    process: Guarded

    def kill(self) -> None:
        """`kill -9` of every process of it; `start` recovers."""
        self.process.kill()

    def pause(self) -> None:
        """Nothing answers, no connection breaks."""
        self.process.pause()

    def resume(self) -> None:
        """Go on after a pause."""
        self.process.resume()

    def end(self) -> None:
        """Kill it and remove its folder."""
        self.process.end()
