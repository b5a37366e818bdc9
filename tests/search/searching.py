"""Search over a house, as the service builds it, and texts that go straight into the vault."""

import json
from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.housing import House, event
from textkeep.access.principal import Principal
from textkeep.archive.batch import Batch, Incoming, Receipt
from textkeep.archive.rows import Opened
from textkeep.archive.text import Handle, TextId, read_event
from textkeep.search.cursor import Cursors
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.search.finder import Finder, Page
from textkeep.search.follower import Follower
from textkeep.search.held import HeldBy
from textkeep.search.held_scan import HeldScans
from textkeep.search.index import IndexDriver
from textkeep.search.reader import Reader
from textkeep.search.scan import Scans
from textkeep.search.tokens import Tokens
from textkeep.search.vocabulary import Vocabulary

PRODUCER = bytes(range(8))
PERSON = b"\x07" * 8
WHY = "matter 4711"


class Together(EmbeddedIndex):
    """An index in memory that is asked for so many days at once."""

    def __init__(self, together: int) -> None:
        super().__init__(":memory:")
        self.together = together


@dataclass
class Searching:
    """Vault, index, follower, finder and reader."""

    house: House
    tokens: Tokens
    vocabulary: Vocabulary
    index: IndexDriver
    follower: Follower
    finder: Finder
    reader: Reader
    numbers: "count[int]"

    @classmethod
    def build(cls, house: House, index: IndexDriver | None = None, holds: HeldBy | None = None) -> "Searching":
        """Over a house; with an index in memory unless one is given, and without a hold."""
        index = index or EmbeddedIndex.open(None)
        tokens, vocabulary = Tokens(house.keyring), Vocabulary(house.papers)
        scans = Scans(house.store, tokens, vocabulary, index)
        held = HeldScans(house.store, scans)
        return cls(
            house,
            tokens,
            vocabulary,
            index,
            Follower(house.store, house.shelves, house.vault, vocabulary, tokens, index, house.clock),
            Finder(house.vault, scans, Cursors(house.keyring), house.activity, house.clock, held, holds),
            Reader(house.vault, scans, house.organisations, house.activity, house.clock, held, holds),
            count(1),
        )

    def take(self, *records: dict[str, Any], flags: tuple[str, ...] = ()) -> Receipt:
        """Give the vault a batch of accepted records."""
        return self.take_raw(*(json.dumps(record).encode() for record in records), flags=flags)

    def take_raw(self, *lines: bytes, flags: tuple[str, ...] = ()) -> Receipt:
        """Give the vault a batch of accepted records, byte for byte."""
        incoming = []
        for index, raw in enumerate(lines):
            parsed = read_event(raw)
            org = self.org(parsed.data.org_id)
            incoming.append(
                Incoming(raw, index, parsed.id, parsed.data.sent_at, org, parsed.source, "accept", None, flags=flags)
            )
        batch = Batch(f"batch-{next(self.numbers)}", self.house.clock(), PRODUCER, incoming)
        return self.house.vault.accept([batch])[0]

    def follow(self) -> int:
        """Make everything findable, and give how many texts that was."""
        followed = 0
        while step := self.follower.step():
            followed += step
        return followed

    def load(self, *bodies: str, **data: Any) -> list[TextId]:
        """Texts with these bodies, findable; each a second after the one before."""
        records = []
        for body in bodies:
            number = next(self.numbers)
            sent_at = f"2026-11-20T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z"
            records.append(event(number, **{"body": body, "sent_at": sent_at, **data}))
        receipt = self.take(*records)
        self.follow()
        return [TextId.parse(item.text_id) for item in receipt.items if item.text_id]

    def org(self, name: str = "org-001") -> Handle:
        """The handle of an organisation."""
        return self.house.organisations.register(name)

    def officer(self, *orgs: str) -> Principal:
        """An officer of these organisations, of org-001 where none is named."""
        handles = frozenset(bytes(self.org(name)) for name in orgs or ("org-001",))
        return Principal(PERSON, "token-1", frozenset({"officer"}), handles)

    def find(self, query: str, *, org: str = "org-001", limit: int = 200, cursor: str | None = None) -> Page:
        """One page of what matches in an organisation."""
        return self.finder.find(self.officer(org), query, reason=WHY, org=self.org(org), limit=limit, cursor=cursor)

    def bodies(self, query: str, **how: Any) -> list[str]:
        """The bodies of everything that matches, across pages."""
        return [opened.event.data.body for opened in self.every(query, **how)]

    def every(self, query: str, **how: Any) -> list[Opened]:
        """Everything that matches, across pages."""
        page = self.find(query, **how)
        found = list(page.results)
        while page.cursor:
            page = self.find(query, cursor=page.cursor, **how)
            found += page.results
        return found
