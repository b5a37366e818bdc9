"""What must become of each line of a feed, told from the lines and `straykind` alone."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

STRAYS: Final = {
    "mms": ("quarantined", "mms"),
    "abroad": ("quarantined", "international"),
    "from-abroad": ("quarantined", "international"),
    "no-sender": ("quarantined", "malformed"),
    "future": ("quarantined", "future"),
    "expired": ("refused", "expired"),
    "too-long": ("quarantined", "too-long"),
    "group": ("quarantined", "group"),
}
"""Outcome and reason by kind; `not-json` cannot carry its kind, and `rewritten` depends on what came before."""

NOT_ON_ITS_DAY: Final = ("unreadable", "future")
"""Reasons for which a quarantined record lies on the shelf of the day it came."""


@dataclass(frozen=True)
class Expected:
    """What a line must become; `kind` is what it was made as, `day` the day it says that it was sent."""

    kind: str
    outcome: str
    reason: str | None
    id: str | None
    day: str | None


def expected(lines: Sequence[bytes]) -> Iterator[Expected]:
    """For each line what must become of it, in an archive that was empty before them."""
    known: dict[tuple[str, str, str], list[Any]] = {}
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            yield Expected("not-json", "quarantined", "unreadable", None, None)
            continue
        kind, data, day = event.get("straykind", "text"), event["data"], event["data"]["sent_at"][:10]
        if kind in STRAYS:
            outcome, reason = STRAYS[kind]
            yield Expected(kind, outcome, reason, event["id"], day)
            continue
        versions = known.setdefault((event["source"], event["id"], day), [])
        outcome = "duplicate" if data in versions else "version" if versions else "accepted"
        if outcome != "duplicate":
            versions.append(data)
        yield Expected(kind, outcome, None, event["id"], day)
