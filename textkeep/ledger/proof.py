"""The proof that an entry is in the log, as a file: C2SP tlog-proof v1. Pure.

```
c2sp.org/tlog-proof@v1
extra <base64 of the entry's canonical bytes>
index <number of the leaf>
<base64 of a hash, the leaf's sibling first>
...
<empty line>
<the checkpoint, a signed note, as it is>
```

The `extra` line carries the entry itself, whose leaf hash the path leads from: the file is checked without the log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .note import NoteRefused, decode64, encode64, parse_size
from .tree import HASH_BYTES, ProofRefused, check_inclusion, leaf_hash

HEADER: Final = "c2sp.org/tlog-proof@v1"

MAX_PATH: Final = 62
"""The longest path of a tree of at most 2^62 leaves."""

MAX_BYTES: Final = 2_000_000
"""The largest proof that is read."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Where an entry stands in the log, the path from it to the root, and the signed note with that root."""

    index: int
    path: tuple[bytes, ...]
    note: bytes
    extra: bytes | None = None

    @classmethod
    def parse(cls, content: bytes) -> "Proof":
        """A proof of which nothing is checked but its form. Raises ProofRefused."""
        if len(content) > MAX_BYTES:
            raise ProofRefused(f"a proof has at most {MAX_BYTES} bytes")
        head, separator, note = content.partition(b"\n\n")
        if not separator or not note:
            raise ProofRefused("a proof is its lines, an empty line and a checkpoint")
        try:
            return cls._parsed(head.decode("ascii").split("\n"), note)
        except UnicodeDecodeError:
            raise ProofRefused("the lines of a proof are ASCII") from None
        except NoteRefused as refused:
            raise ProofRefused(str(refused)) from None

    @classmethod
    def _parsed(cls, lines: list[str], note: bytes) -> "Proof":
        if lines.pop(0) != HEADER:
            raise ProofRefused(f"a proof begins with the line {HEADER}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = decode64(lines.pop(0).removeprefix("extra "))
            if not extra:
                raise ProofRefused("a proof without extra data has no line for it")
        if not lines or not lines[0].startswith("index "):
            raise ProofRefused("a proof names the index of its entry")
        index = parse_size(lines.pop(0).removeprefix("index "))
        path = tuple(decode64(line) for line in lines)
        if len(path) > MAX_PATH or any(len(each) != HASH_BYTES for each in path):
            raise ProofRefused(f"a path has at most {MAX_PATH} hashes of {HASH_BYTES} bytes")
        return cls(index, path, note, extra)

    def format(self) -> bytes:
        """The bytes of the file."""
        extra = [] if self.extra is None else [f"extra {encode64(self.extra)}"]
        lines = [HEADER, *extra, f"index {self.index}", *(encode64(each) for each in self.path)]
        return "".join(f"{line}\n" for line in lines).encode("ascii") + b"\n" + self.note

    def check(self, entry: bytes, size: int, root: bytes) -> None:
        """Return where the path shows that `entry` is in the tree of that size and root. Raises ProofRefused."""
        check_inclusion(leaf_hash(entry), self.index, size, self.path, root)


def proof_of(entry: bytes, index: int, path: Sequence[bytes], note: bytes) -> Proof:
    """The proof of an entry of this house: the entry's own bytes travel with it."""
    return Proof(index, tuple(path), note, entry)
