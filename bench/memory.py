"""How much memory a process has held."""

import os
from pathlib import Path


def most_held(process: int | None = None) -> float:
    """The most that a process (this one) ever held in memory since its program was started, in MB.

    From `/proc`: what getrusage calls the maximum is handed on from the process that started it, and may be that one's.
    """
    status = Path(f"/proc/{process or os.getpid()}/status").read_text(encoding="ascii")
    held = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(held.split()[1]) / 1024
