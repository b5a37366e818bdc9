"""A signer over a store, with the keyring's side of it in memory or in a folder."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.housing import SetClock
from textkeep.ledger import log
from textkeep.ledger.keys import Keys
from textkeep.ledger.log import Entry
from textkeep.ledger.signer import Signer
from textkeep.store.engine import Store
from textkeep.store.leases import Leases

ORIGIN = "textkeep/0011223344556677"

Before = Callable[[str], object]


def _nothing(_call: str) -> None:
    return


@dataclass
class Document:
    """The state in memory. `before` hears of each call and may let it fail; `after` of each that was done."""

    content: bytes | None = None
    before: Before = _nothing
    after: Before = _nothing

    def read(self) -> bytes | None:
        self.before("read")
        return self.content

    def swap(self, was: bytes | None, now: bytes) -> bool:
        self.before("swap")
        if self.content != was:
            return False
        self.content = now
        self.after("swap")
        return True


@dataclass
class Secret:
    """A file of keys in memory."""

    content: bytes | None = None
    written: list[bytes] = field(default_factory=list)

    def read(self) -> bytes | None:
        return self.content

    def create(self, content: bytes) -> bool:
        if self.content is not None:
            return False
        self.write(content)
        return True

    def write(self, content: bytes) -> None:
        self.content = content
        self.written.append(content)


@dataclass
class Signing:
    """A store, what lies on the keyring's side, and signers over both."""

    store: Store
    clock: SetClock
    document: Document = field(default_factory=Document)
    secret: Secret = field(default_factory=Secret)

    def signer(self, **how: Any) -> Signer:
        """A signer as a process has it that starts now."""
        return Signer(self.store, self.document, Keys(self.secret), self.clock, origin=lambda: ORIGIN, **how)

    def restarted(self, **how: Any) -> Signer:
        """The signer of a process that starts after the one before was killed, once that one's lease is over."""
        Leases(self.store, self.clock).clear()
        self.document.before = self.document.after = _nothing
        return self.signer(**how)

    def append(self, number: int = 1, kind: str = "token", **body: Any) -> list[int]:
        """Commit entries, each of which says its own number."""
        with self.store.transaction() as connection:
            return [
                log.append(connection, kind, {"number": at, **body}, now=self.clock(), shelf="2026-11-20")
                for at in range(number)
            ]

    def entries(self) -> list[Entry]:
        with self.store.reading() as connection:
            return log.entries(connection)

    def in_order(self) -> list[bytes]:
        """The entries as the log has them."""
        with self.store.reading() as connection:
            placed = sorted((each.index, each.seq) for each in log.entries(connection) if each.index is not None)
            return [log.canonical(connection, seq) or b"" for _, seq in placed]
