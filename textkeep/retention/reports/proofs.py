"""The proofs of reports: `SHELF.tlog-proof` beside `SHELF.json`, each of the ledger's entry about that report.

A proof is made of the log's tiles by whoever is asked, so that a process without the folder has it too. The file in the
folder stays once it is there. It gives way to one with cosignatures, if that is of the same entry and verifies.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from textkeep.errors import NotFound, Outage, Unsound
from textkeep.ledger import checkpoints, log
from textkeep.ledger.key_change import before
from textkeep.ledger.note import Checkpoint, NoteRefused, Verifier, opened, parse
from textkeep.ledger.proof import Proof
from textkeep.ledger.tree import ProofRefused
from textkeep.retention.reports.folder import PROOF, ReportFolder
from textkeep.retention.signing import Signed
from textkeep.store.engine import Store


@dataclass(frozen=True)
class _Held:
    """A proof whose path leads from an entry to the root of its own checkpoint. Raises what `REFUSED` names."""

    content: bytes

    @cached_property
    def proof(self) -> Proof:
        return Proof.parse(self.content)

    def check(self, entry: bytes) -> None:
        """Return where it is a proof of these bytes."""
        if self.proof.extra != entry:
            raise ProofRefused("the proof is of another entry")
        checkpoint = Checkpoint.parse(parse(self.proof.note).text)
        self.proof.check(entry, checkpoint.size, checkpoint.root)

    @property
    def cosigned(self) -> bool:
        """Whether anybody but the log has signed its checkpoint."""
        note = parse(self.proof.note)
        origin = Checkpoint.parse(note.text).origin
        return any(each.name != origin for each in note.signatures)


REFUSED: Final = (ProofRefused, NoteRefused)


class Proofs:
    """Makes, keeps and reads the proofs of reports, which are named with the `seq` of their entry."""

    def __init__(self, store: Store, folder: ReportFolder, signed: Signed) -> None:
        self._store = store
        self._folder = folder
        self._signed = signed

    def read(self, name: str, seq: int) -> bytes:
        """The proof of a report. Raises NotFound while its entry is not signed, Outage, Unsound."""
        held = self._held(name, self._entry(seq))
        if held is not None and held.cosigned:
            return held.content
        try:
            made = self._made(seq)
        except (NotFound, Outage, Unsound):
            if held is None:
                raise
            return held.content
        return held.content if held is not None and not made.cosigned else made.content

    def keep(self, reports: Mapping[str, int]) -> list[str]:
        """Write the proofs that are missing, and those that have cosignatures now; gives the names of what was written.

        What is not signed yet is left for the next time. Raises Outage, and Unsound where the log is refused.
        """
        there = self._folder.names(PROOF)
        with self._store.reading() as connection:
            witnessed = bool(checkpoints.active(connection))
        written = []
        for name, seq in reports.items():
            if name in there and not (witnessed and self._may_gain(name, seq)):
                continue
            with suppress(NotFound):
                made = self._made(seq)
                if name not in there or made.cosigned:
                    self._folder.write(name, made.content, PROOF)
                    written.append(name)
        return written

    def _may_gain(self, name: str, seq: int) -> bool:
        """Whether the file is a true proof that nobody has cosigned. One that is none stays as evidence."""
        held = self._held(name, self._entry(seq))
        return held is not None and not held.cosigned

    def _made(self, seq: int) -> _Held:
        """A proof from the log, checked: path, root, and the signature of a key that the log has or had."""
        made = _Held(self._signed.proof(seq))
        try:
            made.check(self._entry(seq))
            opened(parse(made.proof.note), self._keys())
        except REFUSED as refused:
            raise Unsound(
                f"the proof that the log gives of a report does not verify: {refused}",
                remedy="`textkeep ledger status` says how the log stands; `textkeep audit` names the entry.",
            ) from None
        return made

    def _keys(self) -> list[Verifier]:
        """The key of now, and those that led up to it: a witness may have signed nothing newer since a change."""
        trusted = [Verifier.parse(self._signed.key())]
        with self._store.reading() as connection:
            changes = log.entries(connection, kinds=("key-change",))
        for entry in reversed(changes):
            earlier = before(entry.body, trusted[-1])
            if earlier is not None:
                trusted.append(earlier)
        return trusted

    def _held(self, name: str, entry: bytes) -> _Held | None:
        """The file of the folder, where it is there and a proof of that entry."""
        try:
            held = _Held(self._folder.read(name, PROOF))
            held.check(entry)
        except (NotFound, Outage, *REFUSED):
            return None
        return held

    def _entry(self, seq: int) -> bytes:
        with self._store.reading() as connection:
            found = log.canonical(connection, seq)
        if found is None:
            raise Unsound("the ledger's entry about a report is not there any more", remedy="Run `textkeep audit`.")
        return found
