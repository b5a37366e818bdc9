"""AWS KMS as moto's server (`kms_server.py`), a process of this machine."""

import http.client
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.engines.process import EngineFailed, Guarded, OneProcess, free_ports, own_folder
from tests.engines.sharing import Running, Session

REGION = "eu-central-1"


class KmsServer(OneProcess):
    """A server on a free port of 127.0.0.1, ended with the process `watch`; what it holds is in its memory."""

    def __init__(self, *, watch: int | None = None, parent: Path | None = None) -> None:
        self.folder = own_folder("kms", parent)
        self.port = free_ports(1)[0]
        self._days = self.folder / "days"
        self.days_later(0)
        program = str(Path(__file__).with_name("kms_server.py"))
        self.process = Guarded(
            "moto's KMS",
            [sys.executable, program, str(self._days), "-H", "127.0.0.1", "-p", str(self.port)],
            log=self.folder / "log",
            watch=watch or os.getpid(),
            remove=self.folder,
        )

    @property
    def address(self) -> str:
        """What TEXTKEEP_ROOT_KEY would name it by."""
        return f"aws:{REGION}?endpoint=http://127.0.0.1:{self.port}&waiting-days=7"

    def days_later(self, days: float) -> None:
        """Let so many days pass, for keys that wait for their deletion."""
        self._days.write_text(str(days))

    def start(self) -> None:
        """Start, and wait until it answers. Raises EngineFailed."""
        self.process.start()
        self.process.wait_until(self.answers)

    def answers(self) -> bool:
        """Whether it answers now."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/moto-api/data.json")
            return connection.getresponse().status == 200
        except OSError:
            return False


CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_EC2_METADATA_DISABLED": "true"}


def start(session: Session) -> Running:
    """A server for the session. Raises EngineFailed."""
    server = KmsServer(watch=session.watch, parent=session.folder)
    try:
        server.start()
    except EngineFailed:
        server.end()
        raise
    return Running(server.address, "moto's server, a process of this machine", [server.process.guard_pid], CREDENTIALS)


def lacking() -> str | None:
    """What is missing for a server, or None."""
    return None if find_spec("moto") else "the package moto is not installed (`make env`)"
