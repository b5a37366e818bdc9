"""One engine of each kind for a whole session: started by the first process that needs it, ended with the session."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock

from tests.engines.guard import SESSION
from tests.engines.process import PATIENCE


@dataclass(frozen=True)
class Running:
    """An engine that answers: where, how it was found, and the guards that end it. `extra` is the kind's own."""

    address: str
    how: str
    guards: list[int] = field(default_factory=list)
    extra: dict[str, str] = field(default_factory=dict)


class NotThere(Exception):
    """This engine cannot be had in this session; the message says why, and what would help."""


@dataclass(frozen=True)
class Session:
    """What all processes of a test run share: a folder, made by who needs it first, and the process that ends last."""

    folder: Path
    watch: int

    @classmethod
    def begin(cls) -> "Session":
        """A new one, which ends with this process at the latest."""
        return cls(Path(tempfile.gettempdir()) / f"{SESSION}{secrets.token_hex(6)}", os.getpid())

    @classmethod
    def of(cls, told: str) -> "Session":
        """The session that another process began, from what it `told`."""
        pid, folder = told.split(":", 1)
        return cls(Path(folder), int(pid))

    def told(self) -> str:
        """What another process needs to take part."""
        return f"{self.watch}:{self.folder}"

    def shared(self, kind: str, start: Callable[["Session"], Running]) -> Running:
        """The engine of this kind, started where this is the first to ask. Raises NotThere, to each who asks, alike."""
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)  # an engine may run as another user
        state = self.folder / f"{kind}.json"
        with FileLock(self.folder / f"{kind}.lock"):
            if state.exists():
                told = json.loads(state.read_text())
                if "missing" in told:
                    raise NotThere(told["missing"])
                return Running(**told)
            try:
                running = start(self)
            except NotThere as exc:
                state.write_text(json.dumps({"missing": str(exc)}))
                raise
            state.write_text(json.dumps(asdict(running)))
            return running

    def end(self) -> None:
        """End every engine that this session started, and wait until they are gone."""
        guards: list[int] = []
        for state in self.folder.glob("*.json"):
            guards += json.loads(state.read_text()).get("guards", [])
        for pid in guards:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        _wait_for_the_end_of(guards)
        shutil.rmtree(self.folder, ignore_errors=True)


def _wait_for_the_end_of(pids: Iterable[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    left = set(pids)
    while left and time.monotonic() < deadline:
        for pid in list(left):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                left.discard(pid)
        time.sleep(0.01)
