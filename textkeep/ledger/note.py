"""Signed notes and checkpoints: C2SP signed-note v1.0.0 and tlog-checkpoint v1.0.0, Ed25519 only. Pure.

```
<text, lines that each end in a newline>
<empty line>
— <key name> <base64 of key id (4) || signature>
```

A note is read strictly: one encoding for each, no control characters, and a known key signs once. Until `opened` has
checked it, nothing of a note's text may be believed.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .tree import EMPTY, HASH_BYTES, MAX_SIZE

ED25519: Final = 0x01
"""The signature type of a log's key."""

MAX_SIGNATURES: Final = 100
"""How many signatures a note may carry; the format asks for 16 at least."""

MAX_BYTES: Final = 1_000_000
"""The largest note that is read."""

KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NO_NAME: Final = re.compile(r"[\x00-\x1f+\s]")
_DASH: Final = "— "
_PRIVATE: Final = "PRIVATE+KEY+"


class NoteRefused(ValueError):
    """A note, a key or a checkpoint is not of its format, or not signed as it must be."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who signed, by name and key id, and the bytes after the key id."""

    name: str
    key_id: bytes
    raw: bytes

    @property
    def line(self) -> str:
        """The line as it stands in a note, with its newline."""
        return f"{_DASH}{self.name} {encode64(self.key_id + self.raw)}\n"

    @classmethod
    def parse(cls, line: str) -> "Signature":
        """A signature line without its newline. Raises NoteRefused."""
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not space:
            raise NoteRefused("a signature line is a dash, a key name and a signature")
        demand_name(name)
        raw = decode64(encoded)
        if len(raw) <= _ID_BYTES:
            raise NoteRefused("a signature is too short")
        return cls(name, raw[:_ID_BYTES], raw[_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, none of which has been checked."""

    text: str
    signatures: tuple[Signature, ...]

    def format(self) -> bytes:
        """The bytes of the note."""
        return (self.text + "\n" + "".join(each.line for each in self.signatures)).encode()

    def signed_also(self, *more: Signature) -> "Note":
        """The same text with further signatures."""
        return Note(self.text, (*self.signatures, *more))


class Verifies(Protocol):
    """A key that is known: a log's, or a witness's."""

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> bytes: ...

    def verify(self, text: str, raw: bytes) -> bool:
        """Whether `raw` is a signature of this key on the text of a note."""
        ...


def parse(content: bytes) -> Note:
    """A note, none of whose signatures is checked. Raises NoteRefused."""
    if len(content) > MAX_BYTES:
        raise NoteRefused(f"a note has at most {MAX_BYTES} bytes")
    try:
        whole = content.decode("utf-8")
    except UnicodeDecodeError:
        raise NoteRefused("a note is UTF-8") from None
    if _CONTROL.search(whole):
        raise NoteRefused("a note has no control characters but newlines")
    text, separator, signed = whole.rpartition("\n\n")
    if not separator or not text or not signed.endswith("\n"):
        raise NoteRefused("a note is a text, an empty line and signature lines that end in a newline")
    lines = signed[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteRefused(f"a note has at most {MAX_SIGNATURES} signatures")
    return Note(text + "\n", tuple(Signature.parse(line) for line in lines))


def opened(note: Note, known: Sequence[Verifies]) -> list[Verifies]:
    """The known keys that have signed a note, in the order of `known`. What unknown keys signed is passed over.

    Raises NoteRefused where none has, where the signature of a known key is false (whatever others say), where one
    key signed twice, and where no key is known at all: a policy that asks for nothing is no policy.
    """
    if not known:
        raise NoteRefused("no key was given: without one nothing can be verified")
    keys = {(each.name, each.key_id): each for each in known}
    signed: set[tuple[str, bytes]] = set()
    for signature in note.signatures:
        which = (signature.name, signature.key_id)
        key = keys.get(which)
        if key is None:
            continue
        if which in signed:
            raise NoteRefused("one key has signed the note twice")
        if not key.verify(note.text, signature.raw):
            raise NoteRefused("a signature in the name of a known key is false")
        signed.add(which)
    if not signed:
        raise NoteRefused("no known key has signed the note")
    return [each for which, each in keys.items() if which in signed]


class Verifier:
    """A log's public key by name: `NAME+KEYID+BASE64(0x01 || 32 bytes)`."""

    def __init__(self, name: str, key: bytes) -> None:
        demand_name(name)
        self.name = name
        self.key = key
        self.key_id = key_id(name, ED25519, key)
        self._public = public_key(key)

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """A verifier key as it is written. Raises NoteRefused."""
        return cls(*parse_key(text, ED25519))

    def verify(self, text: str, raw: bytes) -> bool:
        """Whether `raw` is this key's signature of the text: Ed25519, RFC 8032."""
        return verifies(self._public, raw, text.encode())

    def __str__(self) -> str:
        return format_key(self.name, ED25519, self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verifier) and (self.name, self.key) == (other.name, other.key)

    def __hash__(self) -> int:
        return hash((self.name, self.key))


class Signer:
    """A log's private key by name: `PRIVATE+KEY+NAME+KEYID+BASE64(0x01 || 32 bytes)`. Its `repr` shows no key."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self.verifier = Verifier(name, private.public_key().public_bytes_raw())
        self._private = private

    @classmethod
    def generate(cls, name: str) -> "Signer":
        """A new key."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """A private key as `secret` writes it. Raises NoteRefused, never with the key in its message."""
        return cls(*parse_private(text, ED25519))

    @property
    def name(self) -> str:
        return self.verifier.name

    def secret(self) -> str:
        """The private key as it is kept in a file."""
        return format_private(self.name, ED25519, self._private)

    def sign(self, text: str) -> Signature:
        """This key's signature of the text of a note."""
        return Signature(self.name, self.verifier.key_id, self._private.sign(text.encode()))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its origin, how many leaves it has, and their root."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The text of a note. Raises NoteRefused where it is no checkpoint."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise NoteRefused("a checkpoint is three lines or more, none of them empty")
        origin, size, root, *extensions = lines
        hashed = decode64(root)
        if len(hashed) != HASH_BYTES:
            raise NoteRefused(f"the root of a checkpoint has {HASH_BYTES} bytes")
        count = parse_size(size)
        if count == 0 and hashed != EMPTY:
            raise NoteRefused("an empty tree has another root")
        return cls(origin, count, hashed, tuple(extensions))

    def format(self) -> str:
        """The text of the note."""
        return "".join(f"{each}\n" for each in (self.origin, str(self.size), encode64(self.root), *self.extensions))


def parse_size(text: str) -> int:
    """A number of leaves: ASCII decimal without leading zeroes, at most 2^62. Raises NoteRefused."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19) or (text[0] == "0" and text != "0"):
        raise NoteRefused("a size or index is a decimal number without leading zeroes")
    number = int(text)
    if number > MAX_SIZE:
        raise NoteRefused("a size or index is at most 2^62")
    return number


def encode64(raw: bytes) -> str:
    """Standard base64, RFC 4648 section 4."""
    return base64.b64encode(raw).decode("ascii")


def decode64(text: str) -> bytes:
    """What standard base64 says, in the one encoding it has. Raises NoteRefused."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise NoteRefused("something that must be base64 is not") from None
    if encode64(raw) != text:
        raise NoteRefused("base64 has one encoding for each; this is another one")
    return raw


def demand_name(name: str) -> None:
    """Raises NoteRefused where a key could not be called so: no name, a space, a plus, a control character."""
    if not name or _NO_NAME.search(name):
        raise NoteRefused("a key name is not empty and has no space and no plus")


def key_id(name: str, kind: int, key: bytes) -> bytes:
    """SHA-256(key name || newline || signature type || public key), first 4 bytes."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:_ID_BYTES]


def public_key(key: bytes) -> Ed25519PublicKey:
    """An Ed25519 public key of 32 bytes. Raises NoteRefused."""
    if len(key) != KEY_BYTES:
        raise NoteRefused(f"an Ed25519 key has {KEY_BYTES} bytes")
    try:
        return Ed25519PublicKey.from_public_bytes(key)
    except ValueError:
        raise NoteRefused("that is no Ed25519 key") from None


def verifies(public: Ed25519PublicKey, raw: bytes, message: bytes) -> bool:
    """Whether `raw` is that key's signature of the message."""
    try:
        public.verify(raw, message)
    except InvalidSignature:
        return False
    return True


def parse_key(text: str, kind: int) -> tuple[str, bytes]:
    """Name and public key of a verifier key of this signature type. Raises NoteRefused."""
    name, hashed, encoded = _parts(text.strip())
    raw = decode64(encoded)
    demand_name(name)
    if len(raw) != 1 + KEY_BYTES or raw[0] != kind:
        raise NoteRefused("the key is not of the kind that is wanted here: 32 bytes of Ed25519, and for what it signs")
    if hashed != key_id(name, kind, raw[1:]).hex():
        raise NoteRefused("the key's id is not that of its name and bytes: part of it was changed or left out")
    return name, raw[1:]


def format_key(name: str, kind: int, key: bytes) -> str:
    """A verifier key in one line."""
    return f"{name}+{key_id(name, kind, key).hex()}+{encode64(bytes([kind]) + key)}"


def parse_private(text: str, kind: int) -> tuple[str, Ed25519PrivateKey]:
    """Name and private key, as `format_private` writes them. Raises NoteRefused."""
    text = text.strip()
    if not text.startswith(_PRIVATE):
        raise NoteRefused("a private key begins with PRIVATE+KEY+")
    name, hashed, encoded = _parts(text.removeprefix(_PRIVATE))
    raw = decode64(encoded)
    demand_name(name)
    if len(raw) != 1 + KEY_BYTES or raw[0] != kind:
        raise NoteRefused("the private key is not of the kind that is wanted here")
    private = Ed25519PrivateKey.from_private_bytes(raw[1:])
    if hashed != key_id(name, kind, private.public_key().public_bytes_raw()).hex():
        raise NoteRefused("the private key's id is not that of its name and bytes")
    return name, private


def format_private(name: str, kind: int, private: Ed25519PrivateKey) -> str:
    """A private key in one line, to be kept in a file of mode 0600."""
    identity = key_id(name, kind, private.public_key().public_bytes_raw()).hex()
    return f"{_PRIVATE}{name}+{identity}+{encode64(bytes([kind]) + private.private_bytes_raw())}"


def _parts(text: str) -> tuple[str, str, str]:
    parts = text.split("+", 2)  # base64 may hold a plus, a name and an id may not
    if len(parts) != 3:
        raise NoteRefused("a key is written NAME+ID+BASE64")
    return parts[0], parts[1], parts[2]
