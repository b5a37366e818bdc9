"""The port to the signed ledger: what a purge waits for before it goes on."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from textkeep.errors import NotFound, Outage

SIGNING_PATIENCE: Final = 30.0
"""Seconds for which a step waits until entries are signed; the signer needs 2 as a rule."""

WITNESS_PATIENCE: Final = 60.0
"""Seconds for which the intent waits for a cosignature, where witnesses are set."""

ASK_EVERY: Final = 0.5
"""Seconds between two questions for a cosignature."""


class NotWitnessed(Outage):
    """Witnesses are set and none has cosigned in time. Nothing was destroyed; the next run goes on there."""

    problem = "not-witnessed"
    title = "No witness has cosigned"
    remedy = "Let a witness run (`textkeep ledger witness`), or see why none answers; the next run goes on by itself."


@dataclass(frozen=True, slots=True)
class Signature:
    """A signed checkpoint: its size, its note, when it was signed, and the witnesses whose cosignatures it has.

    `indices` gives the place in the tree of each entry that was asked for, by its `seq`.
    """

    size: int
    note: bytes
    at: datetime
    witnesses: tuple[str, ...]
    indices: Mapping[int, int]


class Signed(Protocol):
    """The ledger as it is signed.

    `through` MUST return only once each of these entries is inside a signed checkpoint that is consistent with every
    one signed before, MUST NOT be called inside a transaction, and raises Outage where that takes longer than
    `patience` seconds, Unsound where the ledger is refused. None says that nothing is signed in this archive.
    """

    def sign(self) -> None:
        """Sign what waits, where this process may. Raises Unsound where the ledger is refused."""

    def check(self) -> None:
        """Sign what waits and look at every signed entry again. Raises Unsound where one is not as it was signed."""

    def through(self, seqs: Collection[int], patience: float) -> Signature | None:
        """The newest signed checkpoint that holds these entries."""

    def proof(self, seq: int) -> bytes:
        """The tlog-proof of an entry, of a cosigned checkpoint where there is one that holds it.

        Raises NotFound while it is not signed.
        """

    def key(self) -> str:
        """The verifier key that notes are signed by now. Raises NotFound where nothing was ever signed."""

    def time_token(self, note: bytes) -> str | None:
        """A token of a time-stamping authority (RFC 3161) over a note, or None where none is set."""


class Unsigned:
    """The ledger of an archive in which nothing signs; every report of it says so."""

    def sign(self) -> None:
        """There is nothing to sign."""

    def check(self) -> None:
        """There is nothing to look at."""

    def through(self, _seqs: Collection[int], _patience: float) -> None:
        """Nothing is signed."""

    def proof(self, _seq: int) -> bytes:
        """There is no proof."""
        raise NotFound("nothing is signed in this archive")

    def key(self) -> str:
        """There is no key."""
        raise NotFound("nothing is signed in this archive")

    def time_token(self, _note: bytes) -> str | None:
        """No authority is asked."""
        return None
