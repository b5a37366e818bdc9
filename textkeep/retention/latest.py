"""The clock by which texts are served: never behind what any clock of the archive has told."""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from textkeep.clock import Clock, system_clock
from textkeep.errors import Unsound
from textkeep.retention import notes
from textkeep.store import postgres
from textkeep.store.engine import Store

ASK_EVERY: Final = 30.0
"""Seconds after which the last time seen and the database's clock are asked again."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a clock said, and when it was heard, in seconds of this process's own."""

    said: datetime | None
    heard: float

    def then(self, now: float) -> datetime:
        """What it says by now."""
        return _LONG_AGO if self.said is None else self.said + timedelta(seconds=now - self.heard)


_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING: Final = Told(None, 0.0)


class Latest:
    """A clock: the host's, or, where that is behind, the latest moment that the mark or the database's clock has told.

    What they told goes on with the time that has passed since, so that a host's clock that is set back serves nothing
    that had expired. A purge goes by the earliest clock, this one by the latest: where clocks differ, a text is neither
    served late nor destroyed early. A server is asked beside the host's own clock, not beside one that is handed in
    instead. Calling it raises Outage where the database cannot be asked.
    """

    def __init__(self, store: Store, host: Clock) -> None:
        self._store = store
        self._host = host
        self._has_server = store.shared and host is system_clock
        self._alone = threading.Lock()
        self._asked_at: float | None = None
        self._mark = self._server = _NOTHING

    def __call__(self) -> datetime:
        """The present moment."""
        with self._alone:
            now = time.monotonic()
            if self._asked_at is None or now - self._asked_at >= ASK_EVERY:
                self._ask(now)
                self._asked_at = now
            told = max(self._mark.then(now), self._server.then(now))
        return max(self._host(), told)

    def _ask(self, now: float) -> None:
        with self._store.reading() as connection:
            try:
                seen = notes.read_moment(connection, notes.LAST_SEEN)
            except Unsound:  # a purge says so; here it tells nothing
                seen = None
            server = postgres.now(connection) if self._has_server else None
        if seen != self._mark.said:  # one that stays, as the host is behind it, goes on from where it was
            self._mark = Told(seen, now)
        self._server = Told(server, now)
