"""A real archive over real HTTP, and the real command."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from typer.testing import CliRunner

from textkeep.service import demo_feed
from textkeep.service.cli import app
from textkeep.service.folder import Folder
from textkeep.service.running import Running
from textkeep.service.settings import Settings

DIRECTORY = b"".join(json.dumps(record).encode() + b"\n" for record in demo_feed.directory())


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without anybody's settings, and with these."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TEXTKEEP_")}
    return {**own, **{f"TEXTKEEP_{name.upper()}": value for name, value in settings.items()}}


@dataclass
class Done:
    """What a command left."""

    returncode: int
    stdout: bytes
    stderr: bytes


@dataclass
class Cli:
    """The command on one folder: in this process, or as one of its own."""

    data: Path
    own_process: bool = False

    def __call__(self, *words: str, stdin: bytes = b"", code: int | None = 0, **settings: str) -> Done:
        """Run it and hold its exit code against `code`."""
        env = environment(**{"data": str(self.data), **settings})
        if self.own_process:
            ended = subprocess.run(command(words), input=stdin, capture_output=True, env=env, check=False)
            done = Done(ended.returncode, ended.stdout, ended.stderr)
        else:
            with as_before(), pytest.MonkeyPatch.context() as patch:
                for name in [name for name in os.environ if name.startswith("TEXTKEEP_")]:
                    patch.delenv(name)
                result = CliRunner(env={k: v for k, v in env.items() if k.startswith("TEXTKEEP_")}).invoke(
                    app, list(words), input=stdin
                )
            done = Done(result.exit_code, result.stdout_bytes, result.stderr_bytes)
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert b"Traceback" not in done.stderr
        return done

    def json(self, *words: str, **more: Any) -> Any:
        """What it prints with --json."""
        return json.loads(self(*words, "--json", **more).stdout)

    def start(self, *words: str, **settings: str) -> "subprocess.Popen[bytes]":
        """Start it as a process of its own and leave it running."""
        return subprocess.Popen(
            command(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**{"data": str(self.data), **settings}),
        )


def command(words: Sequence[str]) -> list[str]:
    """How it is called."""
    return [sys.executable, "-m", "textkeep", *words]


@contextmanager
def as_before() -> Iterator[None]:
    """Put back what a command changes about its process."""
    umask = os.umask(0o022)
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        os.umask(umask)
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.excepthook, threading.excepthook = hooks
        structlog.reset_defaults()


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command in this process, on a folder that is not there yet."""
    return Cli(tmp_path / "archive")


@pytest.fixture
def process(tmp_path: Path) -> Cli:
    """The command as people run it, on the same folder."""
    return Cli(tmp_path / "archive", own_process=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An archive that is open and answers, with the demo's directory in it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TEXTKEEP_")]:
            patch.delenv(name)
        settings = Settings.load(tmp_path_factory.mktemp("service") / "archive")
    with as_before(), Running.start(settings, Folder.hold(settings.folder, "up")) as started:
        with httpx.Client(base_url=started.listening.url, headers=bearer(started.secret)) as client:
            client.post("/v1/directory", content=DIRECTORY, headers={"Content-Type": "application/x-ndjson"})
        yield started


@pytest.fixture(scope="module")
def http(running: Running) -> Iterator[httpx.Client]:
    """A client of it without a credential."""
    with httpx.Client(base_url=running.listening.url) as client:
        yield client


@pytest.fixture(scope="module")
def tokens(running: Running) -> dict[str, dict[str, str]]:
    """The header of a token of each role, for every organisation."""
    archive = running.archive
    roles = ("producer", "officer", "counsel", "approver", "auditor", "registrar", "operator")
    made = {
        role: archive.tokens.create(person=f"the {role}", roles=[role], orgs=None, by=archive.local)[0]
        for role in roles
    }
    return {role: bearer(token) for role, token in made.items()}


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
