"""The auditor's own program, in Go: built once, asked for many cases over one process's standard input."""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import pytest

from tests.engines import tool
from tests.engines.needed import missing

SOURCE = Path(__file__).parent / "go"

STUCK_SECONDS = 600
"""After this long the program is stuck, which is an answer too: it has answered 70,000 cases in five."""

Case = tuple[str, Sequence[bytes]]
"""What to check (`p`, `n`, `i`, `c`: see main.go), and the fields of it."""


class Cases:
    """Cases in a file, framed as the program reads them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cases"
        self.number = 0
        self._file = self.path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.path.unlink()

    def add(self, case: Case) -> None:
        """Write one more."""
        self.number += 1
        what, fields = case
        framed = b"".join(struct.pack(">I", len(each)) + each for each in fields)
        self._file.write(what.encode() + struct.pack(">I", len(fields)) + framed)

    def flush(self) -> None:
        """Let others read all that was written."""
        self._file.flush()


class Auditor:
    """The built program."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def accepts(self, cases: Iterable[Case], folder: Path) -> list[bool]:
        """What it says of each case, in order."""
        with Cases(folder) as written:
            for case in cases:
                written.add(case)
            answers = self.answers(written)
        assert len(answers) == written.number
        return answers

    def answers(self, cases: Cases) -> list[bool]:
        """What it says of each case in a file."""
        cases.flush()
        with cases.path.open("rb") as file:
            command = [str(self.program), "-"]
            told = subprocess.run(command, stdin=file, capture_output=True, check=True, timeout=STUCK_SECONDS).stdout
        return [each == 1 for each in told]


def built(request: pytest.FixtureRequest, folder: Path) -> Auditor:
    """Build it. Where there is no Go, or its modules cannot be had, the test is skipped aloud, or fails where engines
    are required."""
    go = tool(request, "go")
    shutil.copytree(SOURCE, folder / "go")
    program = folder / "auditor"
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    made = subprocess.run(
        [go, "build", "-o", program, "."], cwd=folder / "go", env=environment, capture_output=True, text=True
    )
    if made.returncode:
        missing(request, f"the auditor's program cannot be built: {made.stderr.strip()[-500:]}")
    return Auditor(program)


def numbered(value: int) -> bytes:
    """A number as a field."""
    return value.to_bytes(8, "big")
