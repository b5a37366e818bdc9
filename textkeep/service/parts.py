"""The parts an archive can run as, in one process or in many, and the threads that are theirs."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal, get_args

import structlog

from textkeep.errors import TextkeepError
from textkeep.search.follower import Follower

Part = Literal["api", "consume", "follow", "keep"]
"""`api` answers HTTP, `consume` reads a topic, `follow` makes texts findable, `keep` holds the schedule: it purges."""

EVERY: Final[frozenset[Part]] = frozenset(get_args(Part))
"""What one process of an archive of its own does, as far as it is asked to."""

SERVING: Final[frozenset[Part]] = frozenset({"api", "consume"})
"""Parts that take texts, and so need the directory."""

BEAT_SECONDS: Final = 1.0
"""How often a process says that it is there and asks for what other processes have changed about the keyring."""

_log = structlog.stdlib.get_logger("textkeep.service")


def report_failure(error: TextkeepError) -> None:
    """Put down what kept work in the background from being done; it is tried again."""
    _log.warning("background work was put off", error=type(error).__qualname__, detail=error.detail)


def quietly(work: Callable[[], object]) -> None:
    """Do what an engine that is silent just now makes unnecessary: a process that ends is missed soon all the same."""
    with suppress(TextkeepError):
        work()


class Following:
    """The follower's thread."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._stop = threading.Event()
        self._thread = threading.Thread(target=follower.run, args=(self._stop,), name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the step that is at work has ended."""
        self._stop.set()
        self._follower.wake()
        self._thread.join()

    def alive(self) -> bool:
        """Whether it follows."""
        return self._thread.is_alive()


class Beating:
    """Does something small every second. Where that fails it is put down once, and tried again every second."""

    def __init__(self, work: Callable[[], object], *, every: float = BEAT_SECONDS) -> None:
        self._work = work
        self._every = every
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Return after the last beat."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self.beat()

    def beat(self) -> None:
        """Beat once. Raises nothing that a later beat could mend."""
        try:
            self._work()
        except TextkeepError as error:
            if not self._failing:
                _log.warning("the heart stumbles", error=type(error).__qualname__, detail=error.detail)
            self._failing = True
        else:
            if self._failing:
                _log.warning("the heart beats again")
            self._failing = False
