"""What a witness remembers between two looks: the last checkpoint it checked, and which days are accounted for.

The file is the witness's own, apart from the archive. It is written durably and only after the checks; what contradicts
it is kept beside it, in `FILE.evidence/`, and never taken out.
"""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from textkeep.ledger.note import Checkpoint, NoteRefused, Verifier, parse
from textkeep.ledger.report_form import day as day_of
from textkeep.ledger.report_form import moment
from textkeep.ledger.step import Failed

FORMAT: Final = "textkeep-witness-v1"
_LENGTH_OF_NAME: Final = 16


class MemoryRefused(Exception):
    """The witness's own file cannot be read, written, or is not of its format."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One log, as far as this witness has seen it.

    `note` is the last checkpoint that was consistent with all before, `key` the log's key that signed it, `earlier` the
    keys that led there, `grown_at` when it was first seen; `first` the earliest day that the log speaks of, `purged`
    the days with a report, `missed` the days without a run, `last_report` the digest in the last entry about a report,
    `broken` how many such entries did not name the one before.
    """

    note: str
    key: str
    seen_at: str
    grown_at: str
    first: str | None = None
    purged: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    last_report: str | None = None
    broken: int = 0
    earlier: tuple[str, ...] = ()
    format: str = field(default=FORMAT)

    @property
    def checkpoint(self) -> Checkpoint:
        """The last checkpoint."""
        return Checkpoint.parse(parse(self.note.encode()).text)

    @classmethod
    def parse(cls, content: bytes) -> "Memory":
        """What `written` wrote. Raises MemoryRefused."""
        try:
            told: dict[str, Any] = json.loads(content)
            lists = {name: tuple(told[name]) for name in ("purged", "missed", "earlier")}
            found = cls(**{**told, **lists})
            if found.format != FORMAT:
                raise MemoryRefused("the witness's file is of another format")
            for at in (found.seen_at, found.grown_at):
                moment(at)
            for day in (*found.purged, *found.missed, *([found.first] if found.first else [])):
                day_of(day)
            named = {Verifier.parse(each).name for each in (found.key, *found.earlier)}
            if {found.checkpoint.origin} != named or type(found.broken) is not int:
                raise MemoryRefused("the witness's file says two different things")
        except (ValueError, TypeError, KeyError, AttributeError, NoteRefused, Failed):
            raise MemoryRefused("the witness's file is damaged, or is none") from None
        return found

    def written(self) -> bytes:
        """The bytes of the file."""
        return json.dumps(dataclasses.asdict(self), indent=1).encode() + b"\n"


class MemoryFile:
    """The file of one witness for one log. Two witnesses must not share it; the caller holds a lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.evidence = path.with_name(f"{path.name}.evidence")

    def load(self) -> Memory | None:
        """What is remembered, None before the first look. Raises MemoryRefused."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            raise MemoryRefused("the witness's file cannot be read") from None
        return Memory.parse(content)

    def save(self, memory: Memory) -> None:
        """Durable when it returns; after a crash the file is the old or the new one. Raises MemoryRefused."""
        _write(self.path, memory.written())

    def keep(self, *notes: bytes) -> None:
        """Keep checkpoints that contradict each other. Raises MemoryRefused."""
        for note in notes:
            path = self.evidence / f"{hashlib.sha256(note).hexdigest()[:_LENGTH_OF_NAME]}.checkpoint"
            if not path.exists():
                _write(path, note)

    def kept(self) -> list[str]:
        """The names of what was kept as evidence."""
        return sorted(path.name for path in self.evidence.glob("*.checkpoint"))


def _write(path: Path, content: bytes) -> None:
    half = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with half.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        raise MemoryRefused(f"{path} cannot be written") from None


def written_day(day: date) -> str:
    """A day as it is remembered."""
    return day.isoformat()


def written_moment(at: datetime) -> str:
    """A moment in UTC as it is remembered."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
