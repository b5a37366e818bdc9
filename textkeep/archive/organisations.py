"""Organisations by handle: eight random bytes stand for a name everywhere outside sealed data."""

import hmac
import os
import threading
from typing import Final

from sqlalchemy import Connection, insert, select

from textkeep.archive.keyring import HOUSE_SHELF, Keyring, org_secret, prefixed
from textkeep.archive.sealing import Sealer
from textkeep.archive.text import HOUSE, Handle
from textkeep.clock import Clock
from textkeep.errors import NotFound, Unsound
from textkeep.store.engine import Store
from textkeep.store.tables import orgs

HANDLE_BYTES: Final = 8


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
            handle = Handle(row.handle)
            if self._keyring.commitment(org_secret(handle)) != row.commitment:
                raise Unsound(
                    "the secret of an organisation is not the one it was registered with",
                    remedy="Restore the keyring that belongs to this data.",
                )
            plain = self._sealer.open("directory", HOUSE_SHELF, HOUSE, (b"org", handle), row.sealed)
            self._remember(plain.decode(), handle)

    def find(self, org_id: str) -> Handle | None:
        """The handle of a registered organisation, or None."""
        return self._handles.get(org_id)

    def name(self, handle: Handle) -> str:
        """The name behind a handle. Raises NotFound for one that nobody registered."""
        try:
            return self._names[handle]
        except KeyError:
            raise NotFound("no organisation has that handle") from None

    def all(self) -> dict[str, Handle]:
        """Every registered organisation."""
        return dict(self._handles)

    def register(self, org_id: str) -> Handle:
        """The handle of an organisation, registering it where it is new.

        Its secret is on disk before its row is.
        """
        with self._registering:
            known = self._handles.get(org_id)
            if known is not None:
                return known
            handle, written = Handle(os.urandom(HANDLE_BYTES)), org_id.encode()
            self._keyring.make([org_secret(handle)])
            with self._store.transaction() as connection:
                connection.execute(
                    insert(orgs).values(
                        handle=handle,
                        lookup=lookup_of(self._keyring, "org", org_id),
                        commitment=self._keyring.commitment(org_secret(handle)),
                        registered_at=self._clock(),
                        sealed=self._sealer.seal("directory", HOUSE_SHELF, HOUSE, (b"org", handle), written),
                    )
                )
            self._remember(org_id, handle)
            return handle

    def _remember(self, org_id: str, handle: Handle) -> None:
        self._names[handle] = org_id  # first: whoever finds a handle may ask for its name
        self._handles[org_id] = handle
