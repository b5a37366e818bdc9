"""A change of the log's key: a statement that the old key and the new one have both signed. Pure.

The ledger entry `key-change` carries a signed note (C2SP signed-note) as its member `note`, whose text is

```
textkeep-key-change-v1
<origin>
<old verifier key>
<new verifier key>
```
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .note import Note, NoteRefused, Signer, Verifier, opened, parse

HEADER: Final = "textkeep-key-change-v1"


@dataclass(frozen=True, slots=True)
class KeyChange:
    """From which key to which, of which log."""

    origin: str
    old: Verifier
    new: Verifier

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "KeyChange":
        """What an entry `key-change` says, where both keys have signed it. Raises NoteRefused."""
        written = body.get("note")
        if not isinstance(written, str):
            raise NoteRefused("a key change carries a note that both keys have signed")
        note = parse(written.encode("utf-8", "surrogatepass"))
        lines = note.text.split("\n")
        if len(lines) != 5 or lines[0] != HEADER or lines[4]:
            raise NoteRefused("the note of a key change is not of its format")
        change = cls(lines[1], Verifier.parse(lines[2]), Verifier.parse(lines[3]))
        if change.text() != note.text or change.old == change.new:
            raise NoteRefused("the note of a key change is not of its format")
        if len(opened(note, (change.old, change.new))) != 2:
            raise NoteRefused("a key change is signed by the old key and by the new one")
        return change

    def text(self) -> str:
        """The text that both keys sign."""
        return f"{HEADER}\n{self.origin}\n{self.old}\n{self.new}\n"


def signed_change(origin: str, old: Signer, new: Signer) -> str:
    """The note of an entry `key-change`: the statement, signed by both keys."""
    text = KeyChange(origin, old.verifier, new.verifier).text()
    return Note(text, (old.sign(text), new.sign(text))).format().decode()


def passed_on(keys: Sequence[Verifier], changes: Sequence[KeyChange], origin: str) -> list[Verifier]:
    """The keys that are trusted where these are: themselves, and those that they passed the log on to, in order."""
    trusted = list(keys)
    for change in changes:
        if change.origin == origin and change.old in trusted and change.new not in trusted:
            trusted.append(change.new)
    return trusted
