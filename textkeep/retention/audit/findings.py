"""What an audit says: lines with a verdict each, and the ledger entry to look at."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from textkeep.archive.keyring import SecretDestroyed, SecretMissing
from textkeep.archive.sealing import CannotOpen
from textkeep.errors import NotFound, Unsound
from textkeep.ledger.log import Entry
from textkeep.ledger.note import NoteRefused

Verdict = Literal["pass", "fail", "unknown"]
"""`unknown`: it cannot be shown now, and nothing speaks against it."""

NAMED: Final = 20
"""How many faults of one line are named one by one; the last of them counts the others."""

UNOPENED: Final = (CannotOpen, SecretMissing, SecretDestroyed, msgspec.MsgspecError, ValueError, ArithmeticError)
"""What opening a damaged row raises."""

UNREADABLE: Final = (*UNOPENED, Unsound, NotFound, NoteRefused, TypeError, LookupError, AttributeError)
"""What reading a row or an entry raises that the house did not write so."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `entry` is the place in the log of the entry to look at, `seq N` where it has none yet."""

    name: str
    verdict: Verdict
    said: str
    entry: str | None = None
    shelf: str | None = None


SOON: Final = timedelta(minutes=10)
"""How far apart two moments may be that one transaction took from the clock."""


def near(one: datetime | None, other: datetime | None) -> bool:
    """Whether two moments may be of one transaction; none is none."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SOON


def place(entry: Entry | None) -> str | None:
    """Where an entry is found."""
    if entry is None:
        return None
    return f"seq {entry.seq}" if entry.index is None else str(entry.index)


class Line:
    """A line in the making: it passes where nothing is told against it and nothing is left open."""

    def __init__(self, name: str, shelf: str | None = None) -> None:
        self.name = name
        self._shelf = shelf
        self._faults: list[Finding] = []
        self._doubts: list[Finding] = []
        self._more = 0

    @property
    def failed(self) -> bool:
        """Whether anything was told against it."""
        return bool(self._faults)

    def fail(self, said: str, entry: Entry | str | None = None) -> None:
        """Something is not as it must be."""
        if len(self._faults) >= NAMED:
            self._more += 1
            return
        self._faults.append(self._finding("fail", said, entry))

    def demand(self, held: bool, said: str, entry: Entry | str | None = None) -> None:
        """Fail unless this holds."""
        if not held:
            self.fail(said, entry)

    def doubt(self, said: str, entry: Entry | str | None = None) -> None:
        """Something cannot be shown."""
        if len(self._doubts) < NAMED:
            self._doubts.append(self._finding("unknown", said, entry))

    @contextmanager
    def reading(self, what: str, entry: Entry | str | None = None) -> Iterator[None]:
        """Work that fails the line where something cannot be read; never says what it read."""
        try:
            yield
        except UNREADABLE as error:
            self.fail(f"{what} cannot be read ({type(error).__name__})", entry)

    def findings(self, passed: str) -> list[Finding]:
        """The line's findings: each fault and doubt, or one `pass` that says what was looked at."""
        told = [*self._faults, *self._doubts]
        if self._more:
            told.append(self._finding("fail", f"and {self._more} more of this kind", None))
        return told or [self._finding("pass", passed, None)]

    def _finding(self, verdict: Verdict, said: str, entry: Entry | str | None) -> Finding:
        where = place(entry) if isinstance(entry, Entry) else entry
        return Finding(self.name, verdict, said, where, self._shelf)
