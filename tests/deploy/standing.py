"""docker-compose.yml without Docker: each service's own command and environment, as processes of this machine.

What a container would see under a path is a folder of the test's; what it would reach by a name is a port of this
machine. Nothing else of a command or a variable is changed.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.deploy.composed import mounted, own, services
from tests.deploy.dockerfile import ROOT, stages
from tests.engines.process import free_ports

START_SECONDS: Final = 300
"""A new archive opens some 430 days, each with an index of its own."""

STOP_SECONDS: Final = 90

API: Final = "8400"
METRICS: Final = "9400"
LISTENING: Final = (API, METRICS)
"""Ports inside a container."""

IMAGE: Final = ROOT / "deploy" / "image"
BIN: Final = Path(sys.executable).parent

_READ_ONLY: Final = (
    'for each in $READ_ONLY; do mount --bind "$each" "$each"; mount -o remount,ro,bind "$each"; done;'
    ' unset READ_ONLY; exec "$@"'
)


def image_environment() -> dict[str, str]:
    """What the image itself sets, but for its search path."""
    told = [each.value for each in stages((ROOT / "Dockerfile").read_text())[-1] if each.name == "ENV"]
    pairs = [word.split("=", 1) for value in told for word in shlex.split(value)]
    return {name: value for name, value in pairs if name != "PATH"}


@dataclass
class Standing:
    """The archive of the compose file; `addresses` says what each `name:port` of it is here."""

    folder: Path
    secrets: Path
    addresses: Mapping[str, str]
    ports: dict[str, dict[str, int]] = field(default_factory=dict)
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = iter(free_ports(len(LISTENING) * len(own())))
        self.ports = {name: {inside: next(found) for inside in LISTENING} for name in own()}

    def paths(self, name: str) -> dict[str, Path]:
        """What stands for each path that is mounted in a service."""
        service = services()[name]
        found = {target: self.folder / "volumes" / source for target, (source, _) in mounted(service).items()}
        for word in service.get("tmpfs", []):
            target = word.partition(":")[0]
            found[target] = self.folder / "tmpfs" / name / target.strip("/").replace("/", "-")
        return {**found, "/run/secrets": self.secrets}

    def here(self, name: str, text: str) -> str:
        """A word of a service's command or environment, or what a secret holds, for this machine."""
        for written, local in self.addresses.items():
            text = text.replace(written, local)
        for inside, port in self.ports[name].items():
            text = str(port) if text == inside else text.replace(f":{inside}", f":{port}")
        text = text.replace("0.0.0.0", "127.0.0.1")  # noqa: S104  replaced, not bound
        paths = self.paths(name)
        targets = "|".join(re.escape(target) for target in sorted(paths, reverse=True))
        return re.sub(rf"(?<![\w/])(/*)({targets})(?=/|$)", lambda found: found[1] + str(paths[found[2]]), text)

    def environment(self, name: str) -> dict[str, str]:
        """The environment of a service: its image's, and its own."""
        given = {**image_environment(), **services()[name]["environment"]}
        told = {variable: self.here(name, str(value)) for variable, value in given.items()}
        return {**told, "PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONSAFEPATH": "1"}

    def command(self, name: str) -> list[str]:
        """What a service runs: the image's start, or an entrypoint of its own."""
        service = services()[name]
        start = service.get("entrypoint", ["/bin/sh", "/opt/textkeep/image/start.sh"])
        words = [self.here(name, str(word)) for word in [*start, *service["command"]]]
        return [word.replace("/opt/textkeep/image", str(IMAGE)) for word in words]

    def start(self, name: str) -> None:
        """Start a service; its folders are made, and what it may only read is read-only, where root can see to that."""
        for target, path in self.paths(name).items():
            if target != "/run/secrets" and not path.exists():
                path.mkdir(mode=0o700, parents=True)
        read_only = {target for target, (_, writable) in mounted(services()[name]).items() if not writable}
        kept = [path for target, path in self.paths(name).items() if target in read_only]
        command, environment = self.command(name), self.environment(name)
        if confines():
            environment["READ_ONLY"] = " ".join(map(str, kept))
            command = ["unshare", "--mount", "/bin/sh", "-euc", _READ_ONLY, "sh", *command]
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def once(self, name: str) -> None:
        """Run a one-shot to its end."""
        self.start(name)
        ended = self.running.pop(name).wait(START_SECONDS)
        assert ended == 0, f"{name}: {self.said(name)}"

    def textkeep(self, name: str, *words: str) -> str:
        """What a command of an operator prints, run beside a service as `docker compose exec` does."""
        done = subprocess.run(
            [BIN / "textkeep", *words],
            cwd=self.folder,
            env=self.environment(name),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def healthy(self, name: str) -> bool:
        """What the health check of a service says now."""
        *python, script = services()[name]["healthcheck"]["test"][1:]
        command = [sys.executable, *python[1:], script.replace("/opt/textkeep/image", str(IMAGE))]
        return subprocess.run(command, env=self.environment(name), check=False).returncode == 0

    def wait_for(self, names: Sequence[str]) -> None:
        """Return when all of these are healthy."""
        until = time.monotonic() + START_SECONDS
        for name in names:
            while not self.healthy(name):
                assert self.running[name].poll() is None, f"{name} has ended: {self.said(name)}"
                assert time.monotonic() < until, f"{name} is not healthy: {self.said(name)}"
                time.sleep(0.5)

    def stop(self, name: str) -> int:
        """Stop a service as Docker does, and tell how it ended."""
        process = self.running.pop(name)
        process.send_signal(getattr(signal, services()[name].get("stop_signal", "SIGTERM")))
        return process.wait(STOP_SECONDS)

    def log(self, name: str) -> Path:
        """Where a service's output goes."""
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        """The end of what a service has put out."""
        return self.log(name).read_text()[-3000:]

    def end(self) -> None:
        """Kill whatever still runs."""
        for process in self.running.values():
            process.kill()
            process.wait()


def confines() -> bool:
    """Whether this machine lets the test make a folder read-only for one process."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = ["unshare", "--mount", "/bin/sh", "-euc", "mount --bind /tmp /tmp"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@contextmanager
def standing(folder: Path, secrets: Path, addresses: Mapping[str, str]) -> Iterator[Standing]:
    """The archive, nothing started yet; the addresses in its secrets are those of this machine."""
    found = Standing(folder, secrets, addresses)
    for secret in secrets.glob("*-url"):
        secret.chmod(0o600)
        # These PostgreSQL programs have no TLS, and this OpenSearch no password.
        address = secret.read_text().partition("?")[0]
        secret.write_text(found.here("api", address))
    try:
        yield found
    finally:
        found.end()


def kafka_programs(folder: Path, command: Sequence[str]) -> Path:
    """A folder with the programs of Kafka that deploy/kafka calls; `command` runs a class of its jars."""
    mains = {
        "kafka-storage.sh": "kafka.tools.StorageTool",
        "kafka-server-start.sh": "kafka.Kafka",
        "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
        "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    }
    folder.mkdir()
    for name, main in mains.items():
        words = [main if word == "MAIN" else word for word in command]
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (folder / name).chmod(0o755)
    return folder
