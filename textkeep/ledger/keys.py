"""The ledger's private key: made once, read by the process that keeps, changed by an entry that both keys sign.

The file holds one private key a line (C2SP signed-note): the one in use, and behind it the next one from when a change
is begun until the first checkpoint that both have signed. `key_change.py` has the format of the entry.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from textkeep.errors import Unsound
from textkeep.ledger.key_change import KeyChange, KeyLost
from textkeep.ledger.note import NoteRefused, Signer


class KeyFile(Protocol):
    """Where the private key lies: readable by this user alone, apart from the data.

    `write` MUST be durable when it returns, and MUST leave the old or the new content after a crash; `create` MUST not
    replace anything. Everything raises Outage where the file cannot be read or written.
    """

    def read(self) -> bytes | None:
        """What it holds, or None where there is none."""

    def create(self, content: bytes) -> bool:
        """Make it; False where it is there already."""

    def write(self, content: bytes) -> None:
        """Replace it, and leave nothing of what it held before."""


class Keys:
    """The private keys in a file. Nothing is read before it is asked for."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file

    def make(self, name: str) -> Signer:
        """The first key in the file; a new one where there is no file yet."""
        if not self.all():
            self._file.create(_written([Signer.generate(name)]))
        return self.all()[0]

    def all(self) -> list[Signer]:
        """The keys, oldest first. Raises Unsound where the file is none of the ledger's."""
        content = self._file.read()
        if content is None:
            return []
        try:
            return [Signer.parse(line) for line in content.decode("ascii").splitlines()]
        except (NoteRefused, UnicodeDecodeError):
            raise Unsound(
                "the file of the ledger's key cannot be read: it is damaged, or none",
                remedy="Put `ledger-key` back from the copy that you made of it; where there is none, take the file"
                " away, then `textkeep ledger key --lost` (docs/ledger.md).",
            ) from None

    def signer(self, key: str) -> Signer | None:
        """The private key of a verifier key, or None."""
        return next((each for each in self.all() if str(each.verifier) == key), None)

    def next(self, key: str) -> Signer:
        """The key behind `key`; a new one is put there where there is none, durably. Raises ValueError."""
        known = self.all()
        at = next((at for at, each in enumerate(known) if str(each.verifier) == key), None)
        if at is None:
            raise ValueError("there is no next key to a key that is not there")
        if at + 1 == len(known):
            known.append(Signer.generate(known[at].name))
            self._file.write(_written(known))
        return known[at + 1]

    def own(self) -> list[str]:
        """The verifier keys of all that are here."""
        return [str(each.verifier) for each in self.all()]

    def begin_anew(self, name: str) -> Signer:
        """A new key in the place of everything that the file holds, durably: the one in use was lost."""
        new = Signer.generate(name)
        written = _written([new])
        if not self._file.create(written):
            self._file.write(written)
        return new

    def forget_before(self, key: str) -> None:
        """Destroy the keys that came before `key`, where there are any."""
        known = self.all()
        at = next((at for at, each in enumerate(known) if str(each.verifier) == key), 0)
        if at:
            self._file.write(_written(known[at:]))


def becomes(form: type[KeyChange | KeyLost], body: Mapping[str, Any], key: str, origin: str) -> str | None:
    """The verifier key that takes the place of `key` by an entry `key-change` of that form; None where none does.

    An entry that is not signed as its form demands changes nothing, wherever it stands.
    """
    try:
        said = form.of(body)
    except NoteRefused:
        return None
    return str(said.new) if (said.origin, str(said.old)) == (origin, key) else None


def _written(keys: list[Signer]) -> bytes:
    return "".join(f"{each.secret()}\n" for each in keys).encode("ascii")
