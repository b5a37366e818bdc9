"""Activity: who searched and read what, and why, on record before the answer leaves.

The detail is sealed on the shelf of the day it happened and goes with it; the ledger keeps kind, handle, time and a
digest of the sealed detail.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from textkeep.access.principal import Principal
from textkeep.archive.papers import Papers
from textkeep.archive.shelf import Day
from textkeep.archive.shelves import Shelves
from textkeep.archive.text import HOUSE, Handle
from textkeep.clock import Clock
from textkeep.errors import Unsound
from textkeep.ledger import log
from textkeep.store.engine import Store


@dataclass(frozen=True, slots=True)
class ActivityRecord:
    """One recorded act. `detail` holds what was asked and why."""

    id: str
    kind: str
    person: bytes
    org: Handle | None
    at: datetime
    detail: dict[str, Any]

    def __repr__(self) -> str:
        return f"ActivityRecord({self.id}, {self.kind})"


class Activity:
    """Records and reads back what people did with texts."""

    def __init__(self, store: Store, shelves: Shelves, papers: Papers, clock: Clock) -> None:
        self._store = store
        self._shelves = shelves
        self._papers = papers
        self._clock = clock

    def record(self, principal: Principal, kind: str, org: Handle | None, detail: Mapping[str, Any]) -> str:
        """Put an act on record, durably, and give its id (hex). Raises Outage or Unsound; then no answer may leave."""
        now = self._clock()
        shelf = Day.of(now).shelf
        owner = org or HOUSE
        plain = json.dumps(
            {"kind": kind, "person": principal.person.hex(), "token": principal.token, "detail": dict(detail)}
        ).encode()
        with self._store.transaction() as connection:
            if self._shelves.lock(connection, [shelf]).get(shelf) != "open":
                raise Unsound("today has no open shelf to record on", remedy="Start the archive again.")
            paper = self._papers.add(connection, shelf, "activity", owner, plain, now=now)
            body = {
                "id": paper.id.hex(),
                "what": kind,
                "person": principal.person.hex(),
                "org": owner.hex(),
                "digest": paper.commitment.hex(),
            }
            log.append(connection, "activity", body, now=now, shelf=shelf)
        return paper.id.hex()

    def of_day(self, day: Day) -> list[ActivityRecord]:
        """What was recorded on a day, oldest first; nothing once that day is purged."""
        with self._store.reading() as connection:
            state = self._shelves.states(connection, [day.shelf]).get(day.shelf)
            if state != "open":
                return []
            return [
                _record(paper.id, paper.org, paper.made_at, json.loads(paper.plain))
                for paper in self._papers.of_kind(connection, day.shelf, "activity")
            ]


def _record(paper_id: bytes, org: Handle, at: datetime, said: dict[str, Any]) -> ActivityRecord:
    return ActivityRecord(
        paper_id.hex(),
        said["kind"],
        bytes.fromhex(said["person"]),
        None if org == HOUSE else org,
        at,
        said["detail"],
    )
