"""The real command in a world of its own: a folder that holds every file it leaves anywhere."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx

HOUR: Final = 3600

FAKED: Final = {"TZ": "UTC", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
"""Only the clock on the wall is moved: under a moved monotonic clock, waiting for a lock never ends."""


@dataclass(frozen=True)
class World:
    """Folders for data, keyring, logs, temporary files, home and work, all below one."""

    base: Path

    @classmethod
    def make(cls, base: Path) -> "World":
        """Make the folders; the archive itself is not there yet."""
        world = cls(base)
        for folder in (world.logs, world.temporary, world.base / "home", world.base / "work"):
            folder.mkdir(mode=0o700, parents=True)
        return world

    @property
    def data(self) -> Path:
        return self.base / "archive"

    @property
    def keyring(self) -> Path:
        return self.base / "archive-keyring"

    @property
    def logs(self) -> Path:
        return self.base / "logs"

    @property
    def temporary(self) -> Path:
        return self.base / "tmp"

    def environment(self, **more: str) -> dict[str, str]:
        """This process's environment without anybody's settings, in this world."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("TEXTKEEP_")}
        temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP", "SQLITE_TMPDIR"), str(self.temporary))
        return {**own, **temporary, "HOME": str(self.base / "home"), "TEXTKEEP_DATA": str(self.data), **more}

    def run(self, *words: str, stdin: bytes = b"", keep: bool = True) -> "subprocess.CompletedProcess[bytes]":
        """Run a command to its end; what it printed is kept in `logs`, unless it is texts that somebody asked for."""
        done = subprocess.run(
            [sys.executable, "-m", "textkeep", *words],
            input=stdin,
            capture_output=True,
            env=self.environment(),
            cwd=self.base / "work",
            check=False,
        )
        with (self.logs / "commands").open("ab") as log:
            log.write(done.stderr + (done.stdout if keep else b""))
        return done

    def begin(self, *before: str, **more: str) -> "Process":
        """Start `textkeep up` on a free port; `before` stands before the command, as a wrapper does."""
        command = [*before, sys.executable, "-m", "textkeep", "up", "--port", "0", "--json"]
        with (self.logs / "up").open("ab") as log:
            begun = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment(**more),
                cwd=self.base / "work",
                start_new_session=True,
            )
        return Process(self, begun)

    def log(self) -> list[dict[str, Any]]:
        """The log of every `up` so far; each line must be a log line and none may tell of a fault."""
        lines = (self.logs / "up").read_text("utf-8").splitlines()
        events: list[dict[str, Any]] = [json.loads(line) for line in lines]
        assert not [event for event in events if event["level"] in ("error", "critical") or "frames" in event]
        return events


@dataclass
class Process:
    """A service that was started, and may not be listening yet."""

    world: World
    process: "subprocess.Popen[bytes]"

    def listening(self) -> "Up":
        """Wait until it listens."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.process.wait(), (self.world.logs / "up").read_text("utf-8")[-2000:])
        with (self.world.logs / "printed").open("ab") as log:
            log.write(line)
        told = json.loads(line)
        secret = json.loads((self.world.data / "service.json").read_bytes())["secret"]
        return Up(self.world, self.process, told["url"], told["pid"], secret)

    def dies_within(self, seconds: float) -> bool:
        """Whether it ends by itself in that time."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
            return True
        return False

    def kill(self) -> None:
        """SIGKILL, to a wrapper around it too; returns when it is gone."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass
class Up:
    """A service that listens. `pid` is its own, also where a wrapper started it."""

    world: World
    process: "subprocess.Popen[bytes]"
    url: str
    pid: int
    secret: str

    def local(self) -> httpx.Client:
        """A client with the secret of the archive's folder: load, directory, purge."""
        return self.client(self.secret)

    def officer(self) -> httpx.Client:
        """A client with the token that `up` left for its OS user."""
        return self.client((self.world.data / "token").read_text("ascii").strip())

    def client(self, token: str) -> httpx.Client:
        """A client with a token."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=HOUR)

    def wait_until_findable(self) -> None:
        """Return when the follower has nothing left to do."""
        with self.local() as client:
            while client.get("/local/state").raise_for_status().json()["unindexed_since"] is not None:
                continue

    def wait_until_closed(self, shelves: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return, when these days are reported, how they stand."""
        with self.local() as client:
            while True:
                days = {day["day"]: day for day in client.get("/v1/days").raise_for_status().json()}
                if all(days[shelf]["state"] == "reported" for shelf in shelves):
                    return {shelf: days[shelf] for shelf in shelves}

    def stop(self) -> None:
        """SIGTERM; it must end with 0."""
        os.kill(self.pid, signal.SIGTERM)
        assert self.process.stdout is not None
        printed = self.process.stdout.read()
        with (self.world.logs / "printed").open("ab") as log:
            log.write(printed)
        assert self.process.wait() == 0


@contextmanager
def up(world: World, *before: str, **more: str) -> Iterator[Up]:
    """`textkeep up` until the block ends; it must stop cleanly."""
    process = world.begin(*before, **more)
    try:
        running = process.listening()
        yield running
        if process.process.poll() is None:
            running.stop()
    finally:
        process.kill()


def at(faketime: str, moment: datetime) -> list[str]:
    """The words that let a command begin at a moment; from there its clock goes on."""
    return [faketime, "-f", f"@{moment:%Y-%m-%d %H:%M:%S}"]
