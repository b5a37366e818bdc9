"""What the signer has signed last, kept in the keyring's store: so no database that was put back makes it sign a fork.

The document `ledger` is JSON: origin, size, root and right edge of the tree, the signed checkpoint, the verifier key,
the time, why nothing is signed any more, where that is so, and the key that is about to take a lost one's place. It is
swapped by comparison: of two signers one is quicker, and the other looks again.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from textkeep.errors import Unsound
from textkeep.ledger.edge import Edge
from textkeep.ledger.note import Checkpoint, Note, NoteRefused, Signer, Verifier, opened, parse

DOCUMENT: Final = "ledger"
"""The name of the document in the keyring's store."""

FORMAT: Final = 1


class Forked(Unsound):
    """The database does not hold what the ledger's last checkpoint says: it is older, was cut short, or was changed.

    It was put back from a backup, or somebody edited it. Nothing is signed and nothing is purged until the signed
    entries are there again and two persons have agreed to go on. What comes in is accepted, and waits to be signed.
    """

    problem = "ledger-forked"
    title = "The ledger's database is not the one that was signed"
    remedy = (
        "Restore a newer backup of the database, or put the missing entries back from an export or a witness's copy"
        " (`textkeep ledger import DIR`); then `textkeep ledger resume`. See docs/ledger.md."
    )


class KeyMissing(Unsound):
    """The private key that signed the ledger is not where this process looks for it. Nothing is signed without it."""

    problem = "ledger-key-missing"
    title = "The ledger's key is not there"
    remedy = (
        "Put the file `ledger-key` back from the copy that you made of it, on the machine that keeps. Where there is"
        " none, two persons begin a new key: `textkeep ledger key --lost`. See docs/ledger.md."
    )


class StateStore(Protocol):
    """Where the state lies: MUST be apart from the data and its backups.

    `swap` MUST be durable when it returns, and MUST leave either the old or the new document after a crash. Everything
    raises Outage where the store cannot be reached.
    """

    def read(self) -> bytes | None:
        """The document, or None where there is none yet."""

    def swap(self, was: bytes | None, now: bytes) -> bool:
        """Put `now` in the place of `was`; False, and nothing is written, where it is not `was` any more."""


class Refused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why nothing is signed, since when, and the approval under which somebody has begun to end that."""

    reason: str
    at: str
    approval: str | None = None


class Anew(msgspec.Struct, frozen=True, kw_only=True):
    """The key with which somebody has begun to go on after the one in use was lost, and the approval for it."""

    key: str
    approval: str


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was signed last. `root` and `edge` are hex, `note` is the checkpoint as signed, `key` the verifier key."""

    v: int
    origin: str
    size: int
    root: str
    edge: list[str]
    note: str
    key: str
    time: str
    refused: Refused | None = None
    anew: Anew | None = None

    def tree(self) -> Edge:
        """The right edge of the signed tree."""
        return Edge(self.size, tuple(bytes.fromhex(node) for node in self.edge))

    def written(self) -> bytes:
        """The document."""
        return msgspec.json.encode(self)


def state_of(origin: str, edge: Edge, note: bytes, key: str, time: str) -> State:
    """The state after a checkpoint has been signed."""
    nodes = [node.hex() for node in edge.nodes]
    root = edge.root().hex()
    return State(v=FORMAT, origin=origin, size=edge.size, root=root, edge=nodes, note=note.decode(), key=key, time=time)


def noted(checkpoint: Checkpoint, keys: Sequence[Signer]) -> bytes:
    """A checkpoint as these keys sign it."""
    text = checkpoint.format()
    return Note(text, tuple(key.sign(text) for key in keys)).format()


def read_state(document: bytes) -> State:
    """What a document says. Raises Unsound where it is not of its form, or its parts do not belong together."""
    try:
        state = msgspec.json.decode(document, type=State)
        root = state.tree().root()
        note = parse(state.note.encode())
        opened(note, [Verifier.parse(state.key)])
        signed = Checkpoint.parse(note.text)
    except (msgspec.MsgspecError, ValueError) as exc:  # NoteRefused is one of these
        raise _damaged() from exc
    if state.v != FORMAT or signed != Checkpoint(state.origin, state.size, root) or state.root != root.hex():
        raise _damaged()
    return state


def signs(key: str, note: bytes) -> Checkpoint | None:
    """The checkpoint of a note, where that key has signed it."""
    try:
        read = parse(note)
        opened(read, [Verifier.parse(key)])
        return Checkpoint.parse(read.text)
    except NoteRefused:
        return None


def _damaged() -> Unsound:
    return Unsound(
        "what the ledger has signed last cannot be read from the keyring's store; nothing is signed",
        remedy="Restore the document `ledger` of the keyring's store from its newest backup; an older one is fine.",
    )
