"""An archive that many processes share: its databases, and the real command on them."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import make_url

from tests.engines import need
from tests.engines.databases import fresh
from tests.service.conftest import Cli, bearer, command, environment
from textkeep.service import wiring
from textkeep.service.settings import Settings

NOWHERE: Final = "http://127.0.0.1:9/nowhere"
"""An index that never answers."""


@dataclass(frozen=True)
class Shared:
    """Two databases, migrated and without content; `service` are the settings of a role that owns nothing."""

    owner: Settings
    service: Settings
    role: str

    def given(self) -> dict[str, Any]:
        """The settings by name."""
        names = {"data", "database_url", "keyring_url", "index_url"}
        return {name: str(value) for name, value in self.service.model_dump(include=names, exclude_none=True).items()}

    def environment(self) -> dict[str, str]:
        """The settings as processes get them."""
        return environment(**self.given())


@contextmanager
def sharing(request: pytest.FixtureRequest, folder: Path, index: str = NOWHERE) -> Iterator[Shared]:
    """Databases for an archive whose own folder is `folder`; dropped afterwards."""
    server = need(request, "postgres").address
    with fresh(server) as data, fresh(server) as keys:
        login = make_url(data.service)
        keyring = make_url(keys.service).set(username=login.username, password=login.password)
        owner = Settings(data=folder, database_url=data.owner, keyring_url=keys.owner, index_url=index)
        wiring.migrate(owner, data.role)
        written = keyring.render_as_string(hide_password=False)
        service = Settings(data=folder, database_url=data.service, keyring_url=written, index_url=index)
        yield Shared(owner, service, data.role)


@dataclass
class Process:
    """A part that runs; `told` is what it printed."""

    process: "subprocess.Popen[bytes]"
    told: dict[str, Any] = field(default_factory=dict)

    def greeted(self) -> "Process":
        """Wait until it says that it runs."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.told = json.loads(line)
        return self

    def get(self, path: str) -> httpx.Response:
        """What its own listener answers."""
        return httpx.get(self.told["metrics"] + path, timeout=60)

    def client(self, token: str) -> httpx.Client:
        """A client of its API."""
        return httpx.Client(base_url=self.told["url"], headers=bearer(token), timeout=60)

    def stop(self) -> bytes:
        """SIGTERM; it must end with 0. Gives its log."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate()
        assert self.process.returncode == 0, log
        return log


@dataclass
class Many:
    """Processes on one archive."""

    shared: Shared
    opened: ExitStack

    def start(self, *words: str) -> Process:
        """Start a part; the caller waits for its greeting."""
        begun = subprocess.Popen(
            command([*words, "--json", "--metrics", "0"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.shared.environment(),
        )
        self.opened.callback(_end, begun)
        return Process(begun)

    def run(self, *words: str, code: int = 0, stdin: bytes = b"") -> Any:
        """Run a command beside them, and give what it prints as JSON."""
        done = Cli(self.shared.service.folder)(*words, "--json", stdin=stdin, code=code, **self.shared.given())
        return json.loads(done.stdout if code == 0 else done.stderr.splitlines()[-1])

    def token(self, role: str) -> str:
        """A token with a role, for every organisation."""
        token: str = self.run("token", "create", "--role", role, "--for", f"the {role}")["token"]
        return token


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()
