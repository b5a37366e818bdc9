"""What the memory of a process that opens a keyring must not become: a file."""

import ctypes
import resource
import sys
from contextlib import suppress
from typing import Final

SET_DUMPABLE: Final = 4
GET_DUMPABLE: Final = 3
"""PR_SET_DUMPABLE and PR_GET_DUMPABLE of prctl(2)."""


def keep_memory_private() -> None:
    """Let a crash leave no image of the memory, and no other process of this user look into it.

    Where a handler takes the memory of crashed programs (`kernel.core_pattern` with a pipe) the limit alone does not
    keep it away; on Linux the process calls itself not dumpable besides. Doing it twice changes nothing.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(SET_DUMPABLE, 0)


def is_private() -> bool:
    """Whether this process is one that the system makes no image of, by a handler or otherwise."""
    return _prctl(GET_DUMPABLE) == 0


def _prctl(what: int, value: int = 0) -> int | None:
    """What prctl(2) answers; None where there is none."""
    if sys.platform != "linux":
        return None
    with suppress(OSError, AttributeError):
        return int(ctypes.CDLL(None, use_errno=True).prctl(what, value, 0, 0, 0))
    return None
