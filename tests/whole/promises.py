"""What a source was told: each batch before it is sent, each receipt once it has come, in a file a kill spares."""

import json
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tests.whole.living import text
from textkeep.archive.shelf import RETENTION, expired

WORD: Final = "pelican"
"""A word of every text."""

BATCH: Final = 12
"""Records of a batch."""

DAYS: Final = 4
"""How many of the newest and of the oldest days get texts."""

TAKEN: Final = frozenset({"accepted", "duplicate"})
"""Outcomes after which the text must be there."""


@dataclass(frozen=True)
class Sent:
    """One record that a source has sent, perhaps several times; a picture message is set aside."""

    id: str
    org: str
    sent_at: datetime
    batch: int
    picture: bool

    @property
    def shelf(self) -> str:
        """The shelf of its day."""
        return self.sent_at.date().isoformat()

    def record(self) -> dict[str, Any]:
        """It, as it goes over the wire: the same bytes each time."""
        channel = "mms" if self.picture else "sms"
        body = f"{WORD} batch{self.batch} {self.id}"
        return text(self.id, self.sent_at, org_id=self.org, body=body, channel=channel)


def batch_of(number: int, orgs: Sequence[str], now: datetime, chance: random.Random) -> list[Sent]:
    """A batch of the newest and the oldest days, from some organisations; the first record is a picture message."""
    batch = []
    for place in range(BATCH):
        past = timedelta(minutes=1 + chance.randrange(DAYS * 1440))
        sent_at = now - past if place == 0 or chance.random() < 0.5 else now - RETENTION + past
        batch.append(Sent(f"{number}-{place}", chance.choice(orgs), sent_at, number, place == 0))
    return batch


def check_answers(batch: Sequence[Sent], answers: Iterable[tuple[str, str | None]], now: datetime) -> list[str]:
    """The outcomes of a batch, by the outcomes and reasons of its receipt, each of which must be one of its own."""
    outcomes = []
    for sent, (outcome, reason) in zip(batch, answers, strict=True):
        wanted = ("quarantined",) if sent.picture else ("accepted", "duplicate")
        assert outcome in wanted or (reason == "expired" and expired(sent.sent_at, now)), (sent, outcome, reason)
        outcomes.append(outcome)
    return outcomes


@dataclass
class Promises:
    """What was sent, and what the receipts said; `waiting` are batches without a receipt."""

    clock: datetime
    sent: dict[str, Sent] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    waiting: dict[int, list[Sent]] = field(default_factory=dict)
    orgs: list[str] = field(default_factory=list)
    batches: int = 0

    @classmethod
    def read(cls, journal: Path, clock: datetime) -> "Promises":
        """What a journal says; a line that was cut off was not heard by anybody, and goes."""
        promises = cls(clock)
        whole = journal.read_bytes() if journal.exists() else b""
        lines, _, cut = whole.rpartition(b"\n")
        if cut:
            os.truncate(journal, len(whole) - len(cut))
        for line in lines.splitlines():
            promises._hear(json.loads(line))
        return promises

    def _hear(self, said: dict[str, Any]) -> None:
        if "batch" in said:
            number = said["batch"]
            records = [
                Sent(id_, org, datetime.fromisoformat(sent_at), number, picture)
                for id_, org, sent_at, picture in said["records"]
            ]
            self.sent |= {record.id: record for record in records}
            self.waiting[number] = records
            self.batches = max(self.batches, number + 1)
        elif "receipt" in said:
            records = self.waiting.pop(said["receipt"])
            self.told |= {record.id: outcome for record, outcome in zip(records, said["outcomes"], strict=True)}
        elif "org" in said:
            self.orgs.append(said["org"])
        else:
            self.clock = datetime.fromisoformat(said["clock"])

    def taken(self) -> Iterator[Sent]:
        """The texts that must be there as long as their days are."""
        return (self.sent[id_] for id_, outcome in self.told.items() if outcome in TAKEN)

    def set_aside(self) -> Iterator[Sent]:
        """The records that must be in quarantine as long as their days are there."""
        return (self.sent[id_] for id_, outcome in self.told.items() if outcome == "quarantined")


class Journal:
    """Writes what a source does. Each line is one write, so that a kill leaves it whole, cut at its end, or out."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def sends(self, number: int, records: Sequence[Sent]) -> None:
        """Before a batch is sent for the first time."""
        told = [[record.id, record.org, record.sent_at.isoformat(), record.picture] for record in records]
        self._say({"batch": number, "records": told})

    def receives(self, number: int, outcomes: Sequence[str]) -> None:
        """After its receipt has come."""
        self._say({"receipt": number, "outcomes": list(outcomes)})

    def registers(self, org: str) -> None:
        """After an organisation was registered."""
        self._say({"org": org})

    def sets_clock(self, now: datetime) -> None:
        """Before the clock is moved on."""
        self._say({"clock": now.isoformat()})

    def _say(self, said: dict[str, Any]) -> None:
        line = json.dumps(said).encode() + b"\n"
        assert os.write(self._file, line) == len(line)
