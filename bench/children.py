"""Work in processes of their own, begun at one moment: what is measured is from there to the end of the last."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Child:
    """`python -m bench.child KIND ARGUMENTS`: ready when made, at work after `go`."""

    def __init__(self, kind: str, **arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.child", kind, json.dumps(arguments, default=str)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    def go(self) -> None:
        """Begin."""
        self._say("go")

    def result(self) -> dict[str, Any]:
        """What the child says when it has done its work."""
        told: dict[str, Any] = json.loads(self._line())
        return told

    def end(self) -> dict[str, Any]:
        """Tell a child that works until it is told to stop, and give what it says then."""
        self._say("stop")
        told = self.result()
        self.close()
        return told

    def close(self) -> None:
        """Wait until the process is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _say(self, word: str) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the child has no way in")
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"the child ended with {self._process.wait()}")
        return line


def together(children: Sequence[Child]) -> float:
    """Let all begin at once; seconds until the last has done its work."""
    begun = time.perf_counter()
    for child in children:
        child.go()
    for child in children:
        child.result()
    took = time.perf_counter() - begun
    for child in children:
        child.close()
    return took


def written(folder: Path, name: str, lines: Sequence[bytes]) -> Path:
    """A feed as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"\n".join(lines))
    return path
