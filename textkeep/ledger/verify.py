"""The verification of a report, in numbered steps, offline: no network, no database, no clock. Pure.

The steps are made in the order of the protocol, each rests on those before it, and each says what it shows and what it
does not. A step that was not asked for, or could not be made, says `unknown`; nothing is taken for granted.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar, cast

from . import canonical, recount, releasing, succession, totals
from .canonical import NotCanonical
from .cosignature import Witness, times
from .key_change import KeyChange, KeyLost, changes, losses, passed_on
from .note import Checkpoint, Note, NoteRefused, Verifier, opened, parse
from .proof import Proof
from .published import PartMissing, Published, Source, SourceFailed, checkpoint_of
from .recount import Entries
from .report_form import Document, name_of, parse_report
from .step import MEANING, Failed, Name, NotShown, Step, Verdict, verified
from .tree import ProofRefused, check_consistency, consistency_path, root

ENTRY_OF: Final = {"day": "purge", "release": "purge", "missed-run": "missed-run"}
"""Of which kind the ledger entry of a report is, by the report's kind."""


REFUSALS: Final = (Failed, NotShown, NoteRefused, ProofRefused, NotCanonical, SourceFailed)
"""What evidence that shows nothing, or the contrary, raises."""

_T = TypeVar("_T")


class PolicyRefused(ValueError):
    """Nothing was said that a report could be measured by: without a key every signature would do."""


def verify(
    report: bytes,
    proof: bytes,
    keys: Sequence[Verifier],
    *,
    old_checkpoint: bytes | None = None,
    witnesses: Sequence[Witness] = (),
    chain: Mapping[str, bytes] | None = None,
    ledger: Source | None = None,
) -> list[Step]:
    """Verify a report by its proof; `step.verified` tells whether all that was asked for was shown.

    `keys` are the log's keys that are trusted; every one of `witnesses` must have cosigned; `old_checkpoint` is a
    checkpoint seen earlier or later; `chain` are reports by name; `ledger` is the published log. Raises PolicyRefused
    where no key is given, and nothing for bad evidence: that is what the steps are for.
    """
    if not keys:
        raise PolicyRefused("no key was given: without one nothing can be verified")
    case = _Case(report, proof, tuple(keys), old_checkpoint, tuple(witnesses), chain, ledger)
    return [_made(number, name, case) for number, name in enumerate(MEANING, 1)]


class _once(Generic[_T]):  # noqa: N801  a decorator
    """A property that is worked out once, also where that fails: every step hears of the same refusal."""

    def __init__(self, work: "Callable[[_Case], _T]") -> None:
        self._work = work

    def __get__(self, case: "_Case", owner: "type[_Case]") -> _T:
        if self._work not in case.made:
            try:
                case.made[self._work] = self._work(case)
            except REFUSALS as refused:
                case.made[self._work] = refused
        found = case.made[self._work]
        if isinstance(found, REFUSALS):
            raise found
        return cast(_T, found)


@dataclass
class _Case:
    """What is verified, and what its parts have turned out to be; a part that failed raises Failed each time."""

    report: bytes
    proof: bytes
    keys: tuple[Verifier, ...]
    old: bytes | None
    witnesses: tuple[Witness, ...]
    chain: Mapping[str, bytes] | None
    ledger: Source | None
    passed: set[Name] = field(default_factory=set)
    made: dict[object, object] = field(default_factory=dict)

    @_once
    def document(self) -> Document:
        try:
            return parse_report(self.report)
        except NotShown as missing:
            raise Failed(str(missing)) from None

    @_once
    def parsed(self) -> Proof:
        return Proof.parse(self.proof)

    @_once
    def entry(self) -> Mapping[str, Any]:
        if self.parsed.extra is None:
            raise Failed("the proof does not carry the entry that it is of")
        return canonical.read(self.parsed.extra)

    @_once
    def note(self) -> Note:
        return parse(self.parsed.note)

    @_once
    def checkpoint(self) -> Checkpoint:
        return Checkpoint.parse(self.note.text)

    @_once
    def published(self) -> Published:
        """The folder's log as far as its own signed checkpoint goes."""
        if self.ledger is None:
            raise NotShown("no folder with the ledger was given")
        note = parse(checkpoint_of(self.ledger))
        checkpoint = Checkpoint.parse(note.text)
        self.signed(note, checkpoint)
        return Published(self.ledger, checkpoint.size)

    @_once
    def entries(self) -> Entries:
        shelf = self.document.get("shelf")
        return recount.gather(self.published, shelf if isinstance(shelf, str) else None)

    @_once
    def key_entries(self) -> Mapping[int, Mapping[str, Any]]:
        """What the ledger's folder says of keys, by index; nothing of it is believed but the signatures in it."""
        if self.ledger is None:
            return {}
        size = Checkpoint.parse(parse(checkpoint_of(self.ledger)).text).size
        found = {}
        for index, entry in Published(self.ledger, size).entries():
            if b'"kind":"key-change"' in entry:
                with suppress(NotCanonical):
                    found[index] = canonical.read(entry)
        return found

    @_once
    def changes(self) -> list[KeyChange]:
        """The changes that both keys have signed."""
        return list(changes(self.key_entries).values())

    @_once
    def successors(self) -> list[Verifier]:
        """The given keys and those that they passed the log on to, as the ledger's folder tells.

        A change counts for the signatures of both keys on it; a key that took a lost one's place by its own word alone
        is none of them.
        """
        return passed_on(self.keys, self.changes, self.keys[0].name)

    def signed(self, note: Note, checkpoint: Checkpoint) -> Verifier:
        """The trusted key that signed a checkpoint, for the log that bears its name. Raises NoteRefused, Failed."""
        mine = [key for key in self.keys if key.name == checkpoint.origin]
        if not mine:
            raise Failed("the checkpoint is of another log than the key: its origin is not the key's name")
        try:
            signed = opened(note, mine)
        except NoteRefused:
            later = [key for key in self.successors if key.name == checkpoint.origin]
            try:
                signed = opened(note, later)
            except NoteRefused as refused:
                raise self._stranger(refused) from None
        return next(key for key in (*mine, *self.successors) if key in signed)

    def _stranger(self, refused: NoteRefused) -> Exception:
        """What is said of a checkpoint that no trusted key has signed."""
        for index, lost in losses(self.key_entries).items():
            if lost.old in self.successors:
                return Failed(f"{refused}; {_said_lost(index, lost)}, and you did not give that key")
        return refused

    def demand(self, *names: Name) -> None:
        """Raises NotShown where a step that this one rests on did not pass."""
        missing = [name for name in names if name not in self.passed]
        if missing:
            raise NotShown(f"step `{missing[0]}` did not pass, and this one rests on it")


def _report(case: _Case) -> str:
    return f"{len(case.report)} bytes, {case.document['format']}, {name_of(case.document)}"


def _proof(case: _Case) -> str:
    kind = case.entry.get("kind")
    if kind not in ENTRY_OF.values():
        raise Failed("the entry that the proof carries is not one about a report")
    return f"the entry `{kind}` with index {case.parsed.index}"


def _entry(case: _Case) -> str:
    document, entry = case.document, case.entry
    digest = hashlib.sha256(case.report).hexdigest()
    if entry.get("report") != digest:
        raise Failed("the entry is of a report with another SHA-256: the report was changed, or the proof is another's")
    if entry.get("kind") != ENTRY_OF[document["kind"]]:
        raise Failed("the entry is of a report of another kind")
    wanted = {"name": name_of(document), "previous": document.get("previous"), "verdict": document["verdict"]}
    wanted |= {part: document[part] for part in ("shelf", "day", "attempt") if part in document and part in entry}
    for part, said in wanted.items():
        if entry.get(part) != said:
            raise Failed(f"entry and report name another {part}")
    return f"SHA-256 {digest}"


def _checkpoint(case: _Case) -> str:
    key = case.signed(case.note, case.checkpoint)
    size = f"{case.checkpoint.origin}, {case.checkpoint.size} entries"
    if key not in case.keys:
        return f"{size}, signed by {key}, which the given key passed the log on to (step `key changes`)"
    return f"{size}, signed by {key}"


def _inclusion(case: _Case) -> str:
    case.demand("proof", "checkpoint")
    if case.parsed.extra is None:
        raise Failed("the proof does not carry the entry that it is of")
    case.parsed.check(case.parsed.extra, case.checkpoint.size, case.checkpoint.root)
    return f"entry {case.parsed.index} of {case.checkpoint.size}, by {len(case.parsed.path)} hashes"


def _witnesses(case: _Case) -> str:
    if not case.witnesses:
        raise NotShown("no witness's key was given: the ledger binds only those who do not hold its key")
    case.demand("checkpoint")
    opened(case.note, case.witnesses)  # a false signature of a known key is worse than none
    told = []
    for witness in case.witnesses:
        found = times(case.note, witness)
        if not found:
            raise Failed(f"{witness.name} has not cosigned this checkpoint")
        told.append(f"{witness.name} at {datetime.fromtimestamp(min(found[0], 253402300799), UTC):%Y-%m-%dT%H:%M:%SZ}")
    return ", ".join(told)


def _older(case: _Case) -> str:
    if case.old is None:
        raise NotShown("no older checkpoint was given")
    case.demand("checkpoint")
    note = parse(case.old)
    other = Checkpoint.parse(note.text)
    case.signed(note, other)
    mine = case.checkpoint
    if other.origin != mine.origin:
        raise Failed("the two checkpoints are of different logs")
    first, second = sorted((other, mine), key=lambda each: each.size)
    if first.size == second.size or first.size == 0:
        if first.size == second.size and first.root != second.root:
            raise Failed("two checkpoints of one size with different roots are both signed: THE LOG HAS FORKED")
        return f"sizes {first.size} and {second.size}: nothing stood in the way"
    if case.ledger is None:
        raise NotShown("between checkpoints of different sizes the proof is in the tiles: give the ledger's folder")
    if case.published.size < second.size:
        raise NotShown("the folder's ledger is older than these checkpoints")
    path = consistency_path(case.published, first.size, second.size)
    try:
        check_consistency(first.size, second.size, first.root, second.root, path)
    except ProofRefused as refused:
        raise Failed(f"the later log does not begin with the earlier one ({refused}): keep both checkpoints") from None
    return f"the log grew from {first.size} to {second.size} entries, by {len(path)} hashes"


def _ledger(case: _Case) -> str:
    if case.ledger is None:
        raise NotShown("no folder with the ledger was given")
    case.demand("checkpoint", "inclusion")
    leaves, mine = case.entries.leaves, case.checkpoint
    if len(leaves) < mine.size:
        raise Failed(f"the folder has {len(leaves)} entries, the proof's checkpoint {mine.size}: export it anew")
    if root(leaves[: mine.size]) != mine.root:
        raise Failed("the folder's entries have another root than the proof's checkpoint")
    own = Checkpoint.parse(parse(checkpoint_of(case.ledger)).text)
    if root(leaves) != own.root:
        raise Failed("the folder's entries have another root than its own checkpoint")
    return f"{len(leaves)} entries, of which the proof's checkpoint covers {mine.size}"


def _key_changes(case: _Case) -> str:
    if case.ledger is None:
        raise NotShown("no folder with the ledger was given")
    case.demand("ledger")
    lost = losses(case.entries.key_changes)
    for index, body in sorted(case.entries.key_changes.items()):
        try:
            change = lost.get(index) or KeyChange.of(body)
        except NoteRefused as refused:
            raise Failed(f"entry {index}: {refused}") from None
        if change.origin != case.checkpoint.origin:
            raise Failed(f"entry {index}: the key of another log is changed")
    told = [f"{len(case.entries.key_changes)} changes of the key"]
    for index, each in lost.items():
        if not set(case.keys) & set(passed_on([each.new], case.changes, each.origin)):
            raise Failed(
                f"{_said_lost(index, each)}, and you gave neither that key nor one that it passed the log on to"
            )
        told.append(
            f"{_said_lost(index, each)}: you trust that key yourself, and no proof connects it with the lost one"
        )
    return "; ".join(told)


def _said_lost(index: int, lost: KeyLost) -> str:
    return f"entry {index} says that the key {lost.old} was lost, and {lost.new} took its place by its own word alone"


def _totals(case: _Case) -> str:
    case.demand("report")
    return totals.check_totals(case.document)


def _times(case: _Case) -> str:
    case.demand("report")
    told = totals.check_times(case.document)
    if case.document["kind"] != "release":
        return told
    told = f"{told}; {releasing.check_agreed(case.document)}"
    if case.ledger is None:
        return told
    case.demand("ledger")
    return f"{told}, {releasing.check_told(case.document, case.entries)}"


def _recount(case: _Case) -> str:
    if case.ledger is None:
        raise NotShown("no folder with the ledger was given")
    case.demand("report", "ledger")
    return recount.check_recount(case.document, case.entries, case.published, case.parsed.index)


def _chain(case: _Case) -> str:
    if case.chain is None:
        raise NotShown("no folder of reports was given")
    case.demand("report")
    ledger = case.entries.reports if case.ledger is not None and "ledger" in case.passed else None
    return succession.check_chain(case.chain, case.report, ledger)


def _own_verdict(case: _Case) -> str:
    case.demand("report")
    return totals.check_verdict(case.document)


_MAKE: Final[dict[Name, Callable[[_Case], str]]] = {
    "report": _report,
    "proof": _proof,
    "entry": _entry,
    "checkpoint": _checkpoint,
    "inclusion": _inclusion,
    "witnesses": _witnesses,
    "older checkpoint": _older,
    "ledger": _ledger,
    "key changes": _key_changes,
    "totals": _totals,
    "times": _times,
    "recount": _recount,
    "chain": _chain,
    "own verdict": _own_verdict,
}


def _made(number: int, name: Name, case: _Case) -> Step:
    verdict: Verdict = "fail"
    try:
        reason = _MAKE[name](case)
        verdict = "pass"
        case.passed.add(name)
    except (NotShown, PartMissing) as missing:
        verdict, reason = "unknown", str(missing)
    except REFUSALS as failed:
        reason = str(failed)
    shows, does_not_show = MEANING[name]
    return Step(number, name, verdict, reason, shows, does_not_show, asked=_asked(name, case))


def _asked(name: Name, case: _Case) -> bool:
    if name == "witnesses":
        return bool(case.witnesses)
    if name == "older checkpoint":
        return case.old is not None
    if name == "chain":
        return case.chain is not None
    return case.ledger is not None or name not in ("ledger", "key changes", "recount")


__all__ = ["PolicyRefused", "Step", "verified", "verify"]
