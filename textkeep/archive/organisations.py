"""Organisations by handle: eight random bytes stand for a name everywhere outside sealed data.

Where several processes register one name at the same time, one of them adds the row and all of them give its handle. A
secret that another one had made for it by then stays in the keyring: nothing was ever sealed under it, and to destroy
it would take a new root and a tombstone that no entry in the ledger explains.
"""

import hmac
import os
import threading
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from textkeep.archive.keyring import HOUSE_SHELF, Keyring, org_secret, prefixed
from textkeep.archive.sealing import Sealer
from textkeep.archive.text import HOUSE, Handle
from textkeep.clock import Clock
from textkeep.errors import NotFound, Unsound
from textkeep.store.engine import Store
from textkeep.store.once import insert_once
from textkeep.store.tables import orgs

HANDLE_BYTES: Final = 8

LOOKUP: Final = 500
"""How many handles one statement asks for."""


def lookup_of(keyring: Keyring, kind: str, name: str) -> bytes:
    """A keyed token of a name, to find its row by: HMAC-SHA256 under the house's `tag` key of kind and name."""
    key = keyring.derive("tag", HOUSE_SHELF, HOUSE)
    return hmac.digest(key, prefixed(kind.encode(), name.encode("utf-8", "surrogatepass")), "sha256")


class Organisations:
    """The registered organisations, in memory after the start."""

    def __init__(self, store: Store, keyring: Keyring, sealer: Sealer, clock: Clock) -> None:
        self._store = store
        self._keyring = keyring
        self._sealer = sealer
        self._clock = clock
        self._registering = threading.Lock()
        self._handles: dict[str, Handle] = {}
        self._names: dict[Handle, str] = {}

    def load(self, connection: Connection) -> None:
        """Open every organisation's name, and check that the keyring holds the secret it was registered with.

        Raises Unsound where it does not: what was sealed for that organisation could not be opened.
        """
        for row in connection.execute(select(orgs)):
            self._open(row)

    def refresh(self, connection: Connection) -> None:
        """Open the names that other processes have registered since. Raises like `load`."""
        handles = [Handle(handle) for handle in connection.scalars(select(orgs.c.handle))]
        new = [handle for handle in handles if handle not in self._names]
        for start in range(0, len(new), LOOKUP):
            wanted = select(orgs).where(orgs.c.handle.in_(new[start : start + LOOKUP]))
            for row in connection.execute(wanted):
                self._open(row)

    def _open(self, row: Row[Any]) -> Handle:
        handle = Handle(row.handle)
        if self._keyring.commitment(org_secret(handle)) != row.commitment:
            raise Unsound(
                "the secret of an organisation is not the one it was registered with",
                remedy="Restore the keyring that belongs to this data.",
            )
        plain = self._sealer.open("directory", HOUSE_SHELF, HOUSE, (b"org", handle), row.sealed)
        self._remember(plain.decode(), handle)
        return handle

    def find(self, org_id: str) -> Handle | None:
        """The handle of an organisation, or None where none of that name is in memory."""
        return self._handles.get(org_id)

    def name(self, handle: Handle) -> str:
        """The name behind a handle. Raises NotFound for one that nobody registered."""
        try:
            return self._names[handle]
        except KeyError:
            raise NotFound("no organisation has that handle") from None

    def knows(self, handle: Handle) -> bool:
        """Whether an organisation of that handle is in memory."""
        return handle in self._names

    def all(self) -> dict[str, Handle]:
        """Every registered organisation."""
        return dict(self._handles)

    def register(self, org_id: str) -> Handle:
        """The handle of an organisation, registering it where it is new, here or in another process.

        Its secret is in the keyring before its row is there.
        """
        with self._registering:
            known = self._handles.get(org_id)
            if known is not None:
                return known
            named = select(orgs).where(orgs.c.lookup == lookup_of(self._keyring, "org", org_id))
            if self._store.shared:
                with self._store.reading() as connection:
                    row = connection.execute(named).one_or_none()
                if row is not None:
                    return self._open(row)
            handle = Handle(os.urandom(HANDLE_BYTES))
            self._keyring.make([org_secret(handle)])
            with self._store.transaction() as connection:
                insert_once(connection, orgs, self._row(org_id, handle))
                row = connection.execute(named).one()
            return self._open(row)

    def put_back(self, connection: Connection, org_id: str, handle: Handle) -> None:
        """Put the row of an organisation back that a restored database lacks, under its handle; then `refresh`.

        Raises SecretMissing or SecretDestroyed where the keyring does not hold its secret.
        """
        insert_once(connection, orgs, self._row(org_id, handle))

    def _row(self, org_id: str, handle: Handle) -> dict[str, object]:
        return {
            "handle": handle,
            "lookup": lookup_of(self._keyring, "org", org_id),
            "commitment": self._keyring.commitment(org_secret(handle)),
            "registered_at": self._clock(),
            "sealed": self._sealer.seal("directory", HOUSE_SHELF, HOUSE, (b"org", handle), org_id.encode()),
        }

    def _remember(self, org_id: str, handle: Handle) -> None:
        self._names[handle] = org_id  # first: whoever finds a handle may ask for its name
        self._handles[org_id] = handle
