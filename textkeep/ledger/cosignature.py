"""What a witness signs: C2SP tlog-cosignature v1, timestamped Ed25519 (signature type 0x04). Pure.

```
signature = timestamp (8, seconds since 1970) || Ed25519 signature (64)
signed    = "cosignature/v1\\n" "time <timestamp>\\n" and the text of the checkpoint
```

It says: as of that time this is the largest tree of this log that the witness has seen, and what it saw before
begins it.
"""

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .note import (
    Note,
    NoteRefused,
    Signature,
    demand_name,
    format_key,
    format_private,
    key_id,
    parse_key,
    parse_private,
    public_key,
    verifies,
)

COSIGNATURE: Final = 0x04
"""The signature type of a witness's key."""

_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64
_LAST_TIME: Final = 2**63 - 1


class Witness:
    """A witness's public key by name: `NAME+KEYID+BASE64(0x04 || 32 bytes)`."""

    def __init__(self, name: str, key: bytes) -> None:
        demand_name(name)
        self.name = name
        self.key = key
        self.key_id = key_id(name, COSIGNATURE, key)
        self._public = public_key(key)

    @classmethod
    def parse(cls, text: str) -> "Witness":
        """A verifier key as it is written. Raises NoteRefused."""
        return cls(*parse_key(text, COSIGNATURE))

    def verify(self, text: str, raw: bytes) -> bool:
        """Whether `raw` is this witness's cosignature of the text of a checkpoint, at whatever time."""
        return self.time_of(text, raw) is not None

    def time_of(self, text: str, raw: bytes) -> int | None:
        """When it cosigned, in seconds since 1970; None where `raw` is no cosignature of this text by this witness."""
        if len(raw) != _TIME_BYTES + _SIGNATURE_BYTES:
            return None
        timestamp = int.from_bytes(raw[:_TIME_BYTES], "big")
        if not 0 < timestamp <= _LAST_TIME:
            return None
        return timestamp if verifies(self._public, raw[_TIME_BYTES:], _signed(text, timestamp)) else None

    def __str__(self) -> str:
        return format_key(self.name, COSIGNATURE, self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Witness) and (self.name, self.key) == (other.name, other.key)

    def __hash__(self) -> int:
        return hash((self.name, self.key))


class Cosigner:
    """A witness's private key by name. Its `repr` shows no key."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self.witness = Witness(name, private.public_key().public_bytes_raw())
        self._private = private

    @classmethod
    def generate(cls, name: str) -> "Cosigner":
        """A new key."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> "Cosigner":
        """A private key as `secret` writes it. Raises NoteRefused, never with the key in its message."""
        return cls(*parse_private(text, COSIGNATURE))

    @property
    def name(self) -> str:
        return self.witness.name

    def secret(self) -> str:
        """The private key as it is kept in a file."""
        return format_private(self.name, COSIGNATURE, self._private)

    def cosign(self, text: str, timestamp: int) -> Signature:
        """This witness's cosignature of the text of a checkpoint. Its consistency was checked and written down before.

        Raises NoteRefused for a time that no cosignature can name.
        """
        if not 0 < timestamp <= _LAST_TIME:
            raise NoteRefused("a cosignature's time is in seconds since 1970, and not 0")
        raw = timestamp.to_bytes(_TIME_BYTES, "big") + self._private.sign(_signed(text, timestamp))
        return Signature(self.name, self.witness.key_id, raw)


def times(note: Note, witness: Witness) -> list[int]:
    """When this witness cosigned a note: every time its key stands there with a true cosignature."""
    found = [
        witness.time_of(note.text, each.raw)
        for each in note.signatures
        if (each.name, each.key_id) == (witness.name, witness.key_id)
    ]
    return [each for each in found if each is not None]


def _signed(text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()
