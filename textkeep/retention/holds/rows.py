"""Legal holds as rows: the definition sealed under its organisation, what is in force, and the digest of that set.

Sealed is salt (32) || definition, which is canonical JSON (RFC 8785), under purpose `hold`, bound to the hold's id. The
ledger holds the commitment over both (`archive.text.commitment`): it names the definition and tells nothing of it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import rfc8785
from sqlalchemy import BindParameter, ColumnElement, Connection, Row, bindparam, or_, select

from textkeep.archive.keyring import HOUSE_SHELF, Keyring, SecretDestroyed, SecretMissing
from textkeep.archive.organisations import Organisations
from textkeep.archive.sealing import CannotOpen, Sealer
from textkeep.archive.text import SALT_BYTES, Handle, commitment
from textkeep.clock import Clock, system_clock
from textkeep.errors import NotFound
from textkeep.retention.holds.hold import Hold, Scope, scope_of, written
from textkeep.store import postgres
from textkeep.store.engine import Store
from textkeep.store.evidence import holds

LOCK: Final = "holds"
"""The advisory lock that placing, releasing and each step of a purge take before any other."""


def in_force(at: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """The condition on a row of holds that it is in force at a moment."""
    return or_(holds.c.ends_at.is_(None), holds.c.ends_at > at)


_IN_FORCE: Final = select(holds.c.id).where(in_force(bindparam("at"))).order_by(holds.c.id)

Moment = Callable[[Connection], datetime]
"""The time, told inside a transaction."""


def earliest_of(store: Store, clock: Clock) -> Moment:
    """The earliest of the clocks there are: by it a hold ends. A clock that was handed in is the only one there is."""
    if store.shared and clock is system_clock:
        return lambda connection: min(clock(), postgres.now(connection))
    return lambda _connection: clock()


class HoldRows:
    """Seals, opens and lists holds. What was opened is kept until a secret goes or the keyring's lease runs out."""

    def __init__(self, keyring: Keyring, sealer: Sealer, organisations: Organisations) -> None:
        self._keyring = keyring
        self._sealer = sealer
        self._organisations = organisations
        self._opened: dict[str, tuple[bytes, bytes, Hold]] = {}
        keyring.subscribe(lambda _name: self._opened.clear())

    def seal(self, hold: Hold) -> tuple[bytes, bytes]:
        """The sealed definition, and the commitment to it."""
        salt, plain = os.urandom(SALT_BYTES), _definition(hold)
        sealed = self._sealer.seal("hold", HOUSE_SHELF, hold.org, _bound(hold.id), salt + plain)
        return sealed, commitment(salt, plain)

    def open(self, hold_id: str, org: Handle, sealed: bytes) -> Hold:
        """The hold of a definition, as it was placed. Raises CannotOpen, SecretMissing or SecretDestroyed."""
        self._keyring.live()
        known = self._opened.get(hold_id)
        if known is not None and known[:2] == (org, sealed):
            return known[2]
        opened = self._sealer.open("hold", HOUSE_SHELF, org, _bound(hold_id), sealed)
        hold = _read(hold_id, org, opened[:SALT_BYTES], opened[SALT_BYTES:])
        self._opened[hold_id] = (org, sealed, hold)
        return hold

    def hold_of(self, row: Row[Any]) -> Hold:
        """The hold of a row. One that does not open covers its whole organisation (`unreadable`)."""
        org = Handle(bytes(row.org))
        try:
            opened = self.open(row.id, org, bytes(row.sealed))
        except (CannotOpen, SecretMissing, SecretDestroyed):
            opened = self._whole(row, org)
        return replace(opened, entry=row.entry, ends_at=row.ends_at)

    def active(self, connection: Connection, at: datetime, org: Handle | None = None) -> list[Hold]:
        """The holds in force at a moment, of one organisation or of all, in the order of their ids."""
        wanted = select(holds).where(in_force(at)).order_by(holds.c.id)
        if org is not None:
            wanted = wanted.where(holds.c.org == org)
        return [self.hold_of(row) for row in connection.execute(wanted).all()]

    def digest(self, connection: Connection, at: datetime) -> bytes:
        """What names the set of holds in force at a moment: SHA-256 of the canonical JSON list of their ids."""
        return digest_of(connection.scalars(_IN_FORCE, {"at": at}))

    def _whole(self, row: Row[Any], org: Handle) -> Hold:
        try:
            name = self._organisations.name(org)
        except NotFound:
            name = ""
        return Hold(
            row.id, org, "", "", Scope(name), bytes(row.placed_by), row.placed_at, row.review_at, unreadable=True
        )


def digest_of(ids: Iterable[str]) -> bytes:
    """SHA-256 of the canonical JSON list of these ids, sorted."""
    return hashlib.sha256(rfc8785.dumps(sorted(ids))).digest()


def _bound(hold_id: str) -> list[bytes]:
    return [b"definition", hold_id.encode()]


def _definition(hold: Hold) -> bytes:
    return rfc8785.dumps(
        {
            "v": 1,
            "matter": hold.matter,
            "reason": hold.reason,
            "scope": hold.scope.written(),
            "placed_by": hold.placed_by.hex(),
            "placed_at": written(hold.placed_at),
            "review_at": written(hold.review_at),
        }
    )


def _read(hold_id: str, org: Handle, salt: bytes, plain: bytes) -> Hold:
    said = json.loads(plain)
    return Hold(
        hold_id,
        org,
        said["matter"],
        said["reason"],
        scope_of(said["scope"]),
        bytes.fromhex(said["placed_by"]),
        datetime.fromisoformat(said["placed_at"]),
        datetime.fromisoformat(said["review_at"]),
        commitment(salt, plain),
    )
