"""Refused attempts: whoever tries what they may not do is on record, by handle, without flooding the ledger."""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from textkeep.access.principal import Action, Principal
from textkeep.access.rules import Denied, decide
from textkeep.clock import Clock
from textkeep.errors import Forbidden
from textkeep.ledger import log
from textkeep.store.engine import Store

AGAIN_AFTER: Final = timedelta(hours=1)
"""For how long the same attempt of the same person is only counted, in this process's memory.

The next entry says how many that were (`before`). What was counted when the process ended is not said by any.
"""

REMEMBERED: Final = 10_000
"""How many attempts are remembered at once; past that, all are written anew."""

_Key = tuple[bytes, str, str | None, str]


class Attempts:
    """Writes `approval` entries of what was refused, each in a transaction of its own."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._seen: dict[_Key, tuple[datetime, int]] = {}
        self._guard = threading.Lock()

    def record(
        self,
        principal: Principal,
        what: str,
        why: str,
        *,
        subject: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> bool:
        """Put a refused attempt on record; False where the same one was, less than an hour ago, and is counted.

        `what` is the kind of request or the action, `why` a word; `subject` only what the archive knows by that name.
        Raises Outage where it cannot be recorded.
        """
        now = self._clock()
        key = (principal.person, what, subject, why)
        with self._guard:
            last, unwritten = self._seen.get(key, (None, 0))
            if last is not None and abs(now - last) < AGAIN_AFTER:
                self._seen[key] = (last, unwritten + 1)
                return False
            if len(self._seen) >= REMEMBERED:
                self._seen.clear()
            self._seen[key] = (now, 0)
        body = {
            "did": "attempt",
            "what": what,
            "why": why,
            "by": principal.person.hex(),
            "with": principal.token,
            **({"subject": subject} if subject else {}),
            **({"before": unwritten} if unwritten else {}),
            **(more or {}),
        }
        try:
            with self._store.transaction() as connection:
                log.append(connection, "approval", body, now=now)
        except BaseException:
            with self._guard:
                self._seen.pop(key, None)
            raise
        return True

    def require(
        self, principal: Principal, action: Action, org: bytes | None, what: str, *, subject: str | None = None
    ) -> None:
        """Raises Forbidden, with the attempt on record, unless the principal may do `action` in `org`.

        Never inside a transaction: what is raised there would undo the record too.
        """
        verdict = decide(principal, action, org)
        if isinstance(verdict, Denied):
            self.record(principal, what, verdict.why, subject=subject)
            raise Forbidden(verdict.reason)
