"""A change of the log's key: a statement that the old key and the new one have both signed. Pure.

The ledger entry `key-change` carries a signed note (C2SP signed-note) as its member `note`, whose text is

```
textkeep-key-change-v1
<origin>
<old verifier key>
<new verifier key>
```

Where the old private key was lost, the first line is `textkeep-key-lost-v1`, and the new key alone has signed. Whoever
trusts the old key trusts the new one by the first statement, and never by the second: they have to be told of it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from .note import Note, NoteRefused, Signer, Verifier, opened, parse

HEADER: Final = "textkeep-key-change-v1"
LOST: Final = "textkeep-key-lost-v1"


@dataclass(frozen=True, slots=True)
class KeyChange:
    """From which key to which, of which log."""

    origin: str
    old: Verifier
    new: Verifier

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "KeyChange":
        """What an entry `key-change` says, where both keys have signed it. Raises NoteRefused."""
        note, lines = _lines(body, HEADER)
        change = cls(lines[1], Verifier.parse(lines[2]), Verifier.parse(lines[3]))
        if change.text() != note.text or change.old == change.new:
            raise NoteRefused("the note of a key change is not of its format")
        if len(opened(note, (change.old, change.new))) != 2:
            raise NoteRefused("a key change is signed by the old key and by the new one")
        return change

    def text(self) -> str:
        """The text that both keys sign."""
        return f"{HEADER}\n{self.origin}\n{self.old}\n{self.new}\n"


@dataclass(frozen=True, slots=True)
class KeyLost:
    """Which key of which log was lost, and which one takes its place by its own word alone."""

    origin: str
    old: Verifier
    new: Verifier

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "KeyLost":
        """What an entry `key-change` says of a lost key, signed by the new one. Raises NoteRefused."""
        note, lines = _lines(body, LOST)
        lost = cls(lines[1], Verifier.parse(lines[2]), Verifier.parse(lines[3]))
        if lost.text() != note.text or lost.old == lost.new:
            raise NoteRefused("the note about a lost key is not of its format")
        opened(note, (lost.new,))
        return lost

    def text(self) -> str:
        """The text that the new key signs."""
        return f"{LOST}\n{self.origin}\n{self.old}\n{self.new}\n"


def _lines(body: Mapping[str, Any], header: str) -> tuple[Note, list[str]]:
    written = body.get("note")
    if not isinstance(written, str):
        raise NoteRefused("a key change carries a note that its keys have signed")
    note = parse(written.encode("utf-8", "surrogatepass"))
    lines = note.text.split("\n")
    if len(lines) != 5 or lines[0] != header or lines[4]:
        raise NoteRefused("the note of a key change is not of its format")
    return note, lines


def signed_change(origin: str, old: Signer, new: Signer) -> str:
    """The note of an entry `key-change`: the statement, signed by both keys."""
    text = KeyChange(origin, old.verifier, new.verifier).text()
    return Note(text, (old.sign(text), new.sign(text))).format().decode()


def signed_loss(origin: str, old: Verifier, new: Signer) -> str:
    """The note of an entry `key-change` after the old key was lost: the statement, signed by the new one."""
    text = KeyLost(origin, old, new.verifier).text()
    return Note(text, (new.sign(text),)).format().decode()


def losses(bodies: Mapping[int, Mapping[str, Any]]) -> dict[int, KeyLost]:
    """Those of the entries, by index, which say that a key was lost, in the order of the log."""
    found = {}
    for index, body in sorted(bodies.items()):
        with suppress(NoteRefused):
            found[index] = KeyLost.of(body)
    return found


def before(body: Mapping[str, Any], key: Verifier) -> Verifier | None:
    """The key in whose place this one came by an entry `key-change`; None where it did not.

    For whoever knows the newest key of a log, and asks which ones signed before it.
    """
    for form in (KeyChange, KeyLost):
        with suppress(NoteRefused):
            change = form.of(body)
            return change.old if change.new == key else None
    return None


def passed_on(keys: Sequence[Verifier], changes: Sequence[KeyChange], origin: str) -> list[Verifier]:
    """The keys that are trusted where these are: themselves, and those that they passed the log on to, in order."""
    trusted = list(keys)
    for change in changes:
        if change.origin == origin and change.old in trusted and change.new not in trusted:
            trusted.append(change.new)
    return trusted
