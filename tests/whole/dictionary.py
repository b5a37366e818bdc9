"""What a life of an archive remembers of what it did: which texts came, which holds were answered, what was saved."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from textkeep.archive.shelf import Day, is_kept


@dataclass
class Text:
    """What was taken, and whether it is gone."""

    body: str
    org: str
    sent_at: datetime
    acknowledged: bool
    gone: bool = False

    def lies_on(self, shelves: Iterable[str]) -> None:
        """One that came too late, and lies with what came that day, goes with that day."""
        for shelf in shelves:
            if not is_kept(shelf):
                self.sent_at = max(self.sent_at, Day.named(shelf).start())

    def due(self) -> datetime:
        """When its day has ended, and 400 days more: told without asking the archive."""
        return datetime.combine(self.sent_at.astimezone(UTC).date(), time(), UTC) + timedelta(days=401)


@dataclass
class Held:
    """A hold that was answered; `ends` when its release was approved; `late` what it came too late for."""

    org: str
    word: str | None
    ends: datetime | None = None
    late: set[str] = field(default_factory=set)

    def in_force(self, now: datetime) -> bool:
        return self.ends is None or self.ends > now

    def covers(self, text: Text, now: datetime) -> bool:
        said = self.word is None or self.word in text.body
        return self.in_force(now) and said and self.org == text.org and text.body not in self.late


@dataclass
class Saved:
    """A backup of database and keyring, and how much the ledger had then."""

    database: sqlite3.Connection
    keyring: Path
    entries: int
