"""Asking an engine that may not answer, without waiting for it longer than whoever asks about health would wait."""

import threading
from collections.abc import Callable
from typing import Final

from textkeep.errors import TextkeepError

WAIT_SECONDS: Final = 1.0
"""How long an answer is waited for: less than a load balancer waits for ours."""


class Probe:
    """Asks one question in a thread of its own, one at a time."""

    def __init__(self, ask: Callable[[], object], *, seconds: float = WAIT_SECONDS) -> None:
        self._ask = ask
        self._seconds = seconds
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._why: str | None = None

    def why_not(self) -> str | None:
        """Why the engine does not do what it is asked, or None where it does; an answer that is late is none."""
        with self._lock:
            if self._asking is None or not self._asking.is_alive():
                self._asking = threading.Thread(target=self._run, name="probe", daemon=True)
                self._asking.start()
            asking = self._asking
        asking.join(self._seconds)
        return f"it has not answered for {self._seconds:.0f} s" if asking.is_alive() else self._why

    def _run(self) -> None:
        try:
            self._ask()
        except TextkeepError as error:
            self._why = error.detail
        else:
            self._why = None
