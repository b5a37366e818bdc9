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
from typing import Any, ClassVar, Final, Self, TypeVar

from .note import Note, NoteRefused, Signer, Verifier, opened, parse


@dataclass(frozen=True, slots=True)
class _Statement:
    """From which key to which, of which log."""

    origin: str
    old: Verifier
    new: Verifier

    HEADER: ClassVar[str]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """What an entry `key-change` says, where everybody has signed it who must. Raises NoteRefused."""
        written = body.get("note")
        if not isinstance(written, str):
            raise NoteRefused("a key change carries a note that its keys have signed")
        note = parse(written.encode("utf-8", "surrogatepass"))
        lines = note.text.split("\n")
        if len(lines) != 5 or lines[0] != cls.HEADER:
            raise NoteRefused("the note of a key change is not of its format")
        made = cls(lines[1], Verifier.parse(lines[2]), Verifier.parse(lines[3]))
        if made.text() != note.text or made.old == made.new:
            raise NoteRefused("the note of a key change is not of its format")
        if len(opened(note, made.signers())) != len(made.signers()):
            raise NoteRefused("a key change is signed by the old key and by the new one")
        return made

    def text(self) -> str:
        """The text that is signed."""
        return f"{self.HEADER}\n{self.origin}\n{self.old}\n{self.new}\n"

    def signers(self) -> tuple[Verifier, ...]:
        """The keys whose signatures it MUST bear."""
        return (self.old, self.new)


@dataclass(frozen=True, slots=True)
class KeyChange(_Statement):
    """A change that the old key and the new one have signed."""

    HEADER = "textkeep-key-change-v1"


@dataclass(frozen=True, slots=True)
class KeyLost(_Statement):
    """Which key of which log was lost, and which one takes its place by its own word alone."""

    HEADER = "textkeep-key-lost-v1"

    def signers(self) -> tuple[Verifier, ...]:
        """The keys whose signatures it MUST bear: the lost one signs nothing any more."""
        return (self.new,)


_S = TypeVar("_S", bound=_Statement)

FORMS: Final = (KeyChange, KeyLost)
"""What an entry `key-change` may say."""


def signed_change(origin: str, old: Signer, new: Signer) -> str:
    """The note of an entry `key-change`: the statement, signed by both keys."""
    text = KeyChange(origin, old.verifier, new.verifier).text()
    return Note(text, (old.sign(text), new.sign(text))).format().decode()


def signed_loss(origin: str, old: Verifier, new: Signer) -> str:
    """The note of an entry `key-change` after the old key was lost: the statement, signed by the new one."""
    text = KeyLost(origin, old, new.verifier).text()
    return Note(text, (new.sign(text),)).format().decode()


def changes(bodies: Mapping[int, Mapping[str, Any]]) -> dict[int, KeyChange]:
    """Those of the entries, by index, in which both keys have signed a change, in the order of the log."""
    return _saying(KeyChange, bodies)


def losses(bodies: Mapping[int, Mapping[str, Any]]) -> dict[int, KeyLost]:
    """Those of the entries, by index, which say that a key was lost, in the order of the log."""
    return _saying(KeyLost, bodies)


def old_key(body: Mapping[str, Any]) -> Verifier | None:
    """The key in whose place another one came by an entry `key-change`; None where the entry is none."""
    for form in FORMS:
        with suppress(NoteRefused):
            return form.of(body).old
    return None


def before(body: Mapping[str, Any], key: Verifier) -> Verifier | None:
    """The key in whose place this one came by an entry `key-change`; None where it did not.

    For whoever knows the newest key of a log, and asks which ones signed before it.
    """
    for form in FORMS:
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


def _saying(form: type[_S], bodies: Mapping[int, Mapping[str, Any]]) -> dict[int, _S]:
    found = {}
    for index, body in sorted(bodies.items()):
        with suppress(NoteRefused):
            found[index] = form.of(body)
    return found
