"""Waiting for engines at a start: parts and engines may be started in any order."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from textkeep.errors import Outage
from textkeep.service.folder import Held

START_SECONDS: Final = 120.0
"""How long a start waits for an engine that does not answer yet."""

PAUSES: Final = (0.5, 1.0, 2.0, 5.0)
"""Seconds before the second, third, ... attempt."""

T = TypeVar("T")

_log = structlog.stdlib.get_logger("textkeep.service")


def patiently(work: Callable[[], T], pause: Callable[[float], bool], *, seconds: float = START_SECONDS) -> T:
    """What `work` gives; while an engine does not answer it is tried again, for `seconds`.

    `pause` waits that many seconds, and tells whether to give up. Raises the last Outage; Held at once: whoever has
    what only one process can have does not give it back soon.
    """
    until, attempt = time.monotonic() + seconds, 0
    while True:
        try:
            return work()
        except Held:
            raise
        except Outage as outage:
            wait = min(PAUSES[min(attempt, len(PAUSES) - 1)], max(0.0, until - time.monotonic()))
            attempt += 1
            if wait == 0 or pause(wait):
                raise
            _log.warning("waiting for an engine", detail=outage.detail, attempt=attempt)
