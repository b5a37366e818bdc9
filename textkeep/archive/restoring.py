"""Bringing a keyring back from a backup: what the data needs, what it has destroyed, and the ring that comes of both.

What was purged stays purged: a secret that the stored ring or the data calls destroyed is not put back, and a tombstone
stands in its place. What the data needs must be there, by its commitment; what is missing is named, and then nothing is
written.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import rfc8785
from sqlalchemy import Connection, select

from textkeep.archive.backup import Backup
from textkeep.archive.confirmed import IDENTITY, RING, KeyringStore
from textkeep.archive.keyring import commitment_of, org_secret, shelf_secret
from textkeep.archive.ring import NO_RING, Ring, Root, Tombstone, opened, sealed
from textkeep.archive.shelf import STATES
from textkeep.archive.text import Handle
from textkeep.errors import Conflict, Unsound
from textkeep.ledger import log
from textkeep.store.tables import orgs, shelves

RESTORED: Final = "restored"
"""The document that says that this keyring came from a backup."""

NAMED: Final = 20
"""How many names a refusal gives; it counts all of them."""

_COMMITTED: Final = frozenset(STATES[STATES.index("committed") :])
"""From here on nothing opens a shelf any more, and what it needs is a tombstone."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the data says: the commitment of each secret that it needs, and a tombstone for each that is gone."""

    secrets: Mapping[str, bytes] = field(repr=False)
    gone: Mapping[str, Tombstone] = field(repr=False)

    @property
    def none(self) -> bool:
        """Whether there is no data."""
        return not self.secrets and not self.gone


@dataclass(frozen=True, slots=True)
class Plan:
    """The ring to be written, without a root yet, and what became of the backup's secrets, by name.

    `gone` are those that were purged since the backup was made and stay so; `missing` those that the data needs and
    nobody has, or has with other bytes; `shut` those that the stored ring destroyed and the data still uses.
    """

    ring: Ring = field(repr=False)
    gone: tuple[str, ...]
    missing: tuple[str, ...]
    shut: tuple[str, ...]


def needs_of(connection: Connection) -> Needs:
    """What a database says; its tables must be the newest."""
    told = {
        str(entry.body.get("secret")): entry for entry in log.entries(connection, kinds={"key-destroyed"}) if entry.body
    }
    needed: dict[str, bytes] = {}
    gone: dict[str, Tombstone] = {}
    for row in connection.execute(select(shelves)):
        name = shelf_secret(row.name)
        if row.state not in _COMMITTED:
            needed[name] = bytes(row.commitment)
    for row in connection.execute(select(shelves).where(shelves.c.state.in_(_COMMITTED))):
        name = shelf_secret(row.name)
        said = told.get(name)
        at = str(said.body.get("destroyed_at")) if said else row.opened_at.isoformat()
        decided = said.body.get("committed") if said else None
        gone[name] = Tombstone(name, bytes(row.commitment), at, "unknown" if decided is None else str(decided))
    for row in connection.execute(select(orgs.c.handle, orgs.c.commitment)):
        needed[org_secret(Handle(row.handle))] = bytes(row.commitment)
    return Needs(needed, gone)


def plan(backup: Backup, stored: Ring | None, needs: Needs) -> Plan:
    """What would be written. Pure."""
    there = stored or NO_RING
    stones = {**needs.gone, **backup.ring.tombstones, **there.tombstones}
    found: dict[str, bytes] = {}
    for name in backup.ring.secrets.keys() | there.secrets.keys():
        candidates = [each[name] for each in (there.secrets, backup.ring.secrets) if name in each]
        wanted = needs.secrets.get(name)
        fitting = [each for each in candidates if wanted is None or commitment_of(name, each) == wanted]
        if name not in stones and fitting:
            found[name] = fitting[0]
    missing = sorted(name for name in needs.secrets if name not in found and name not in stones)
    if "house" not in found:
        missing.append("house")
    shut = sorted(needs.secrets.keys() & stones.keys())
    gone = sorted(backup.ring.secrets.keys() & stones.keys())
    generation = max(there.generation, backup.ring.generation) + 1
    return Plan(Ring(generation, "", found, stones, frozenset()), tuple(gone), tuple(missing), tuple(shut))


def check(found: Plan, stored: Ring | None, needs: Needs) -> None:
    """Raises Conflict where nothing has to be restored, or this backup would not open what the data needs."""
    if stored is not None and not needs.none and _is_whole(stored, needs):
        raise Conflict(
            "the keyring that is there opens, and holds what the data needs; nothing was restored",
            remedy="`textkeep doctor` says what else is wrong.",
        )
    if found.shut:
        raise Conflict(
            f"the data still uses {_named(found.shut)}, which the keyring has destroyed; nothing was restored",
            remedy="The database is older than its last purge: restore a newer one, then this keyring.",
        )
    if found.missing:
        raise Conflict(
            f"with this backup these would not open: {_named(found.missing)}; nothing was restored",
            field="FILE",
            remedy="It is older than they are, or of another archive. Use the newest backup there is.",
        )


def stored_ring(store: KeyringStore, root: Root) -> Ring | None:
    """The ring that is there, or None where there is none that opens. Raises Outage."""
    document = store.read(RING)
    if document is None:
        return None
    try:
        return opened(document, root)
    except Unsound:
        return None


def check_identity(store: KeyringStore, backup: Backup) -> None:
    """Raises Unsound where there is another keyring than the one that the backup was made of."""
    known = store.read(IDENTITY)
    if known is not None and store.read(RING) is not None and known.decode() != backup.header.keyring:
        raise Unsound(
            "this is the backup of another keyring; nothing was restored",
            field="FILE",
            remedy="Use a backup of this archive's keyring, or name the archive that it is of (--data).",
        )


def put_identity(store: KeyringStore, backup: Backup) -> None:
    """Give the keyring its id back, by which its roots are found."""
    known, own = store.read(IDENTITY), backup.header.keyring.encode()
    if known != own:
        store.swap(IDENTITY, known, own)


def write(store: KeyringStore, root: Root, found: Plan, backup: Backup, *, at: datetime, data: bool) -> str | None:
    """Write the ring under a new root, and the documents that are missing; gives the id of this restore.

    Where there is data it says first that the keyring is a restored one, so that nothing is destroyed with it until two
    persons have resumed. None where there is none. Raises Changed where somebody else was quicker.
    """
    restore = _mark(store, found, backup, at) if data else None
    name = root.create()
    made = Ring(found.ring.generation, name, found.ring.secrets, found.ring.tombstones, frozenset())
    store.swap(RING, store.read(RING), sealed(made, root))
    for document, body in backup.documents.items():
        if document != IDENTITY and store.read(document) is None:
            store.swap(document, None, body)
    return restore


def restored(store: KeyringStore) -> dict[str, Any] | None:
    """What is on record of the last restore, or None. Raises Unsound where it cannot be read: then it waits too."""
    document = store.read(RESTORED)
    if document is None:
        return None
    try:
        found = json.loads(document)
        return {name: found[name] for name in ("id", "backup", "made_at", "at", "generation", "gone")}
    except (ValueError, KeyError, TypeError):
        raise Unsound("the record of the keyring's restore cannot be read", field="TEXTKEEP_KEYRING_URL") from None


def _mark(store: KeyringStore, found: Plan, backup: Backup, at: datetime) -> str:
    restore = secrets.token_hex(8)
    said: dict[str, Any] = {
        "id": restore,
        "backup": backup.header.id,
        "made_at": log.moment(backup.header.made_at),
        "at": log.moment(at),
        "generation": found.ring.generation,
        "gone": len(found.gone),
    }
    store.swap(RESTORED, store.read(RESTORED), rfc8785.dumps(said))
    return restore


def _is_whole(stored: Ring, needs: Needs) -> bool:
    there = all(
        name in stored.secrets and commitment_of(name, stored.secrets[name]) == wanted
        for name, wanted in needs.secrets.items()
    )
    return there and "house" in stored.secrets and not stored.secrets.keys() & needs.gone.keys()


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
