"""Awaiting: a purge goes on only when the ledger is signed up to what it is about to rely on.

No transaction is open while it waits, and its turn is kept. Where it takes too long the run ends with an outage, and
the next one goes on at the same step.
"""

import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import func, or_, select

from textkeep.clock import Clock
from textkeep.errors import Outage, TextkeepError, Unsound
from textkeep.ledger.log import moment
from textkeep.retention.reports.facts import Checkpointed
from textkeep.retention.signing import (
    ASK_EVERY,
    SIGNING_PATIENCE,
    WITNESS_PATIENCE,
    NotWitnessed,
    Signature,
    Signed,
)
from textkeep.retention.turn import Turn
from textkeep.store.engine import Store
from textkeep.store.evidence import witnesses
from textkeep.store.tables import ledger_entries

AT_ONCE: Final = 5.0
"""Seconds of one question to the signer; between two of them the turn is renewed, and may be ended."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """That something is signed: in which checkpoint (None where nothing is signed in this archive)."""

    signature: Signature | None
    required: tuple[str, ...] = ()

    def document(self) -> Checkpointed | None:
        """What the facts keep of it."""
        signed = self.signature
        if signed is None:
            return None
        names = sorted(signed.witnesses)
        return Checkpointed(signed.size, signed.note.decode(), moment(signed.at), names, list(self.required))


class Awaiting:
    """Waits for signatures and cosignatures."""

    def __init__(
        self,
        store: Store,
        signed: Signed,
        clock: Clock,
        patience: float = SIGNING_PATIENCE,
        witness_patience: float = WITNESS_PATIENCE,
    ) -> None:
        self._store = store
        self._signed = signed
        self._clock = clock
        self._patience = patience
        self._witness_patience = witness_patience

    def prepare(self, *, whole: bool) -> None:
        """Sign what waits, before a run; `whole` looks at every signed entry again. Raises Unsound where one differs.

        So an archive without a service, purged by a command each day, is signed each day.
        """
        if whole:
            self._signed.check()
        else:
            self._signed.sign()

    def ahead(self) -> None:
        """Sign what waits while something else is waited for; what stands against it is told where it is relied on."""
        with suppress(TextkeepError):
            self._signed.sign()

    def entries_of(self, shelf: str, turn: Turn) -> Awaited | None:
        """Wait until every entry that speaks of a shelf is signed; None where the run is to end.

        Entries are signed in the order of their places: the last one that has a place speaks for all before it.
        """
        with self._store.reading() as connection:
            own = ledger_entries.c.shelf == shelf
            last = select(func.max(ledger_entries.c.leaf_index)).where(own).scalar_subquery()
            place = ledger_entries.c.leaf_index
            wanted = select(ledger_entries.c.seq).where(own, or_(place.is_(None), place == last))
            seqs = list(connection.scalars(wanted))
        return self.through(seqs, turn)

    def through(self, seqs: Collection[int], turn: Turn) -> Awaited | None:
        """Wait until these entries are signed; None where the run is to end. Raises Outage, Unsound and LeaseLost."""
        if not seqs:
            return Awaited(None)
        until = time.monotonic() + self._patience
        while True:
            try:
                return Awaited(self._signed.through(seqs, min(AT_ONCE, self._patience)))
            except Outage:
                if time.monotonic() >= until:
                    raise
            if turn.pause(0.0):
                return None

    def witnessed(self, seq: int, turn: Turn) -> Awaited | None:
        """Wait until an entry is signed and, where witnesses are set, one of them has cosigned a checkpoint with it.

        None where the run is to end. Raises like `through`, and NotWitnessed.
        """
        required = self._required()
        until = time.monotonic() + self._witness_patience
        while True:
            awaited = self.through([seq], turn)
            if awaited is None or awaited.signature is None:
                return awaited
            if not required or set(required) & set(awaited.signature.witnesses):
                return Awaited(awaited.signature, required)
            if time.monotonic() >= until:
                raise NotWitnessed(
                    f"witnesses are set, and none of the {len(required)} has cosigned the intent; nothing was destroyed"
                )
            if turn.pause(ASK_EVERY):
                return None

    def stamped(self, awaited: Awaited) -> Checkpointed | None:
        """What the facts keep of it, with a token of a time-stamping authority; or that one is set, and gave none."""
        document = awaited.document()
        if document is None:
            return None
        try:
            token = self._signed.time_token(document.note.encode())
        except (Outage, Unsound):
            return msgspec.structs.replace(document, time_failed=True)
        return msgspec.structs.replace(document, time_token=token)

    def _required(self) -> tuple[str, ...]:
        now: datetime = self._clock()
        with self._store.reading() as connection:
            wanted = select(witnesses.c.name).where(or_(witnesses.c.until.is_(None), witnesses.c.until > now))
            return tuple(connection.scalars(wanted.order_by(witnesses.c.name)))
