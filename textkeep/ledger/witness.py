"""An auditor's witness: it keeps its own last checkpoint, checks each new one against it, and cosigns what follows.

It signs nothing that it has not read whole: the new checkpoint begins with the old one (by the tiles), and the entries
in between are those that were signed. Beside that it says what a signature alone does not: that the log is silent, that
a day is due and not gone, that the chain of reports is broken.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

from textkeep.ledger.cosignature import Cosigner
from textkeep.ledger.edge import EMPTY, Edge
from textkeep.ledger.key_change import KeyLost, changes, losses, passed_on
from textkeep.ledger.note import Checkpoint, Note, NoteRefused, Signature, Verifier, opened, parse
from textkeep.ledger.published import Published, Source, SourceFailed, checkpoint_of
from textkeep.ledger.report_form import due, moment
from textkeep.ledger.tree import (
    MAX_SIZE,
    Hashes,
    ProofRefused,
    check_consistency,
    consistency_path,
    full_subtrees,
    leaf_hash,
)
from textkeep.ledger.witness_memory import Memory, MemoryFile, written_day, written_moment

SILENCE: Final = timedelta(hours=26)
"""How long a log may stay as it is: an archive closes a day each day, whether anybody sent anything or not."""

CLOSING: Final = timedelta(hours=25)
"""How long after it is due a day may still be open: 24 hours are promised, one more is for looking."""

NAMED: Final = 5
"""How many days one finding names."""

ACCEPTING: Final = "ask the archive; where that is so, say once --log-key with the new key, got by a way you trust"
"""What to do where a log's key was lost."""

Kind = Literal[
    "unsigned", "rolled-back", "forked", "unreadable", "broken-chain", "missing-day", "silence", "earlier-evidence"
]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that an auditor must look at."""

    kind: Kind
    what: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: the sizes before and now, what was found, and the cosignature where nothing stood against it."""

    before: int
    size: int
    findings: tuple[Finding, ...]
    cosignature: Signature | None


class Refused(Exception):
    """The checkpoint is not followed: nothing is remembered and nothing is signed."""

    def __init__(self, kind: Kind, what: str) -> None:
        super().__init__(what)
        self.finding = Finding(kind, what)


class Watch:
    """Looks at one log; remembers in one file; signs with one key."""

    def __init__(self, source: Source, file: MemoryFile, cosigner: Cosigner, silence: timedelta = SILENCE) -> None:
        self._source = source
        self._file = file
        self._cosigner = cosigner
        self._silence = silence

    def look(self, now: datetime, key: Verifier | None = None) -> Seen:
        """Look once. `key` is the log's key, needed the first time; later changes count where both keys signed them.

        Where the log says that its key was lost, the new one is followed once it is given as `key`, and not before.

        The new checkpoint is written down, durably, before it is cosigned. Raises MemoryRefused where the witness's own
        file fails, NoteRefused where no key is known, or the given one never signed the log that is followed.
        """
        memory = self._file.load()
        known = self._key(memory, key)
        before = memory.checkpoint.size if memory else 0
        try:
            note, checkpoint, keys = self._fetch(memory, known, key)
            published = Published(self._source, checkpoint.size)
            self._follow(memory, note, checkpoint, published)
            remembered = self._read(memory, note, keys, published, now)
        except Refused as refused:
            return Seen(before, before, (refused.finding, *self._standing(memory, now)), None)
        except (SourceFailed, NoteRefused) as failed:
            finding = Finding("unreadable", f"the log cannot be followed: {failed}")
            return Seen(before, before, (finding, *self._standing(memory, now)), None)
        if key is not None and str(key) not in (remembered.key, *remembered.earlier):
            raise NoteRefused("this witness has never seen that key sign the log that it follows")
        self._file.save(remembered)
        signature = self._cosigner.cosign(note.text, int(now.timestamp()))
        return Seen(before, checkpoint.size, tuple(self._standing(remembered, now)), signature)

    def _key(self, memory: Memory | None, key: Verifier | None) -> Verifier:
        if memory is None:
            if key is None:
                raise NoteRefused("the log's key is not known yet: get it from the archive by a way you trust")
            return key
        remembered = Verifier.parse(memory.key)
        if key is not None and key.name != remembered.name:
            raise NoteRefused("the witness's file is of another log than the key")
        return remembered

    def _fetch(
        self, memory: Memory | None, key: Verifier, given: Verifier | None
    ) -> tuple[Note, Checkpoint, list[Verifier]]:
        """The checkpoint, and the keys that it led to: the one that signed it, and those in between. Raises Refused."""
        content = checkpoint_of(self._source)
        note = parse(content)
        checkpoint = Checkpoint.parse(note.text)
        if checkpoint.origin != key.name:
            raise Refused("unsigned", "the checkpoint is of another log")
        try:
            opened(note, [key])
        except NoteRefused as refused:
            bodies = self._key_entries(memory, checkpoint.size)
            lost = losses(bodies)
            later = _later_keys(key, given, bodies, lost)
            for at, each in enumerate(later):
                with suppress(NoteRefused):
                    opened(note, [each])
                    return note, checkpoint, [each, *later[at + 1 :], key]
            told = [
                f"entry {at} says that the key was lost, and {each.new} took its place" for at, each in lost.items()
            ]
            why = "; ".join([str(refused), *told, *([ACCEPTING] if told else [])])
            raise Refused("unsigned", f"the checkpoint is not one of the log's: {why}") from None
        return note, checkpoint, [key]

    def _key_entries(self, memory: Memory | None, size: int) -> dict[int, dict[str, Any]]:
        """What the log says of its key since the last look, by index."""
        start = memory.checkpoint.size if memory else 0
        told = Published(self._source, min(size, MAX_SIZE)).entries(start)
        return {index: _body(entry) for index, entry in told if b'"kind":"key-change"' in entry}

    def _follow(self, memory: Memory | None, note: Note, checkpoint: Checkpoint, hashes: Hashes) -> None:
        """Refuse what does not begin with the last checkpoint, and keep both."""
        if memory is None:
            return
        last = memory.checkpoint
        if checkpoint.size < last.size:
            self._file.keep(memory.note.encode(), note.format())
            raise Refused(
                "rolled-back",
                f"the log had {last.size} entries and has {checkpoint.size} now: put back, or an old copy",
            )
        if last.size == 0:
            return
        path = consistency_path(hashes, last.size, checkpoint.size)
        try:
            check_consistency(last.size, checkpoint.size, last.root, checkpoint.root, path)
        except ProofRefused as refused:
            self._file.keep(memory.note.encode(), note.format())
            raise Refused(
                "forked",
                f"the checkpoint of {checkpoint.size} entries does not begin with that of {last.size}: {refused}."
                f" Both are signed, and both are kept in {self._file.evidence.name}",
            ) from None

    def _read(
        self, memory: Memory | None, note: Note, keys: list[Verifier], published: Published, now: datetime
    ) -> Memory:
        """Read the new entries: each is one of the signed tree. Raises Refused where they are not."""
        last = memory.checkpoint if memory else None
        start = last.size if last else 0
        edge = Edge(start, tuple(published.read(*each) for each in full_subtrees(start))) if start else EMPTY
        if last and edge.root() != last.root:
            raise Refused("unreadable", "the tiles that are served are not those of the last checkpoint")
        at = written_moment(now)
        grown = memory.grown_at if memory and published.size == start else at
        made = Memory(note.format().decode(), str(keys[0]), at, grown)
        if memory is not None:
            earlier = tuple(dict.fromkeys((*memory.earlier, *(str(each) for each in reversed(keys[1:])))))
            made = replace(memory, note=made.note, key=made.key, seen_at=at, grown_at=grown, earlier=earlier)
        noting = _Noting(made)
        if edge.grown(noting.leaves(published, start)).root() != Checkpoint.parse(note.text).root:
            raise Refused("unreadable", "the entries that are served are not those of the signed checkpoint")
        return noting.memory()

    def _standing(self, memory: Memory | None, now: datetime) -> list[Finding]:
        """What stands against the log as it is remembered, whatever was seen now."""
        findings = []
        if memory is not None:
            quiet = now - moment(memory.grown_at)
            if quiet > self._silence:
                hours = int(quiet.total_seconds() // 3600)
                findings.append(Finding("silence", f"no new checkpoint for {hours} hours, since {memory.grown_at}"))
            missing = missing_days(memory, now)
            if missing:
                named = ", ".join(written_day(each) for each in missing[:NAMED])
                more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
                findings.append(Finding("missing-day", f"due, and neither purged nor without a run: {named}{more}"))
            if memory.broken:
                broken = f"{memory.broken} entries about reports do not name the report before them"
                findings.append(Finding("broken-chain", broken))
        if self._file.kept():
            findings.append(
                Finding("earlier-evidence", f"checkpoints that contradict each other lie in {self._file.evidence.name}")
            )
        return findings


def _later_keys(
    key: Verifier, given: Verifier | None, bodies: Mapping[int, Mapping[str, Any]], lost: Mapping[int, KeyLost]
) -> list[Verifier]:
    """The keys that this one passed the log on to, as both signed, and the given one where it follows a lost one."""
    signed = list(changes(bodies).values())
    known = passed_on([key], signed, key.name)
    if given is not None and any(each.new == given and each.old in known for each in lost.values()):
        known = passed_on([*known, given], signed, key.name)
    return known[:0:-1]


def missing_days(memory: Memory, now: datetime) -> list[date]:
    """The days that are due for so long that they must be gone, and of which the log says neither that nor why.

    A day that fell due on a day without a run may go on the next day with one.
    """
    if memory.first is None:
        return []
    purged, missed = set(memory.purged), set(memory.missed)
    found = []
    day = date.fromisoformat(memory.first)
    while due(day) + CLOSING <= now:
        if written_day(day) not in purged:
            run = due(day).date()
            while written_day(run) in missed:
                run += timedelta(days=1)
            if datetime(run.year, run.month, run.day, tzinfo=UTC) + CLOSING <= now:
                found.append(day)
        day += timedelta(days=1)
    return found


class _Noting:
    """What new entries say of days and reports, taken down while their hashes are computed."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._first, self._last, self._broken = memory.first, memory.last_report, memory.broken
        self._purged, self._missed = set(memory.purged), set(memory.missed)

    def leaves(self, published: Published, start: int) -> Iterator[bytes]:
        """The leaf hashes of the entries from `start` on, each noted as it goes by."""
        for _, entry in published.entries(start):
            self._note(_body(entry))
            yield leaf_hash(entry)

    def memory(self) -> Memory:
        """All of it."""
        return replace(
            self._memory,
            first=self._first,
            purged=tuple(sorted(self._purged)),
            missed=tuple(sorted(self._missed)),
            last_report=self._last,
            broken=self._broken,
        )

    def _note(self, body: Mapping[str, Any]) -> None:
        kind, shelf = body.get("kind"), _day(body.get("shelf"))
        if kind in ("slice", "purge") and shelf is not None:
            self._first = min(self._first or shelf, shelf)
        if kind == "purge" and shelf is not None:
            self._purged.add(shelf)
        if kind == "missed-run" and (without := _day(body.get("day"))) is not None:
            self._missed.add(without)
        if kind in ("purge", "missed-run"):
            self._broken += body.get("previous") != self._last
            self._last = str(body.get("report"))


def _body(entry: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(entry)
        if isinstance(found, dict):
            return found
    return {}


def _day(written: object) -> str | None:
    with suppress(ValueError):
        if isinstance(written, str) and date.fromisoformat(written).isoformat() == written:
            return written
    return None
