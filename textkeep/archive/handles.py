"""People by handle: tokens, approvals and activity name nobody in the clear."""

import os

from sqlalchemy import Connection, select

from textkeep.archive.keyring import HOUSE_SHELF, Keyring
from textkeep.archive.organisations import HANDLE_BYTES, lookup_of
from textkeep.archive.sealing import Sealer
from textkeep.archive.text import HOUSE
from textkeep.errors import NotFound
from textkeep.store.once import insert_once
from textkeep.store.tables import persons


class Persons:
    """Finds and makes the handles of people; their names lie sealed under the house's secret."""

    def __init__(self, keyring: Keyring, sealer: Sealer) -> None:
        self._keyring = keyring
        self._sealer = sealer

    def handle_of(self, connection: Connection, name: str) -> bytes:
        """The handle of a person, made in the caller's transaction where the person is new.

        Where another process makes one for the same person at that time, it is that one's.
        """
        lookup = lookup_of(self._keyring, "person", name)
        known = select(persons.c.handle).where(persons.c.lookup == lookup)
        found = connection.execute(known).scalar_one_or_none()
        if found is not None:
            return bytes(found)
        handle = os.urandom(HANDLE_BYTES)
        sealed = self._sealer.seal("directory", HOUSE_SHELF, HOUSE, (b"person", handle), name.encode())
        insert_once(connection, persons, {"handle": handle, "lookup": lookup, "sealed": sealed})
        return bytes(connection.execute(known).scalar_one())  # another process may have been quicker

    def name_of(self, connection: Connection, handle: bytes) -> str:
        """The name behind a handle. Raises NotFound for one that stands for nobody."""
        sealed = connection.execute(select(persons.c.sealed).where(persons.c.handle == handle)).scalar_one_or_none()
        if sealed is None:
            raise NotFound("no person has that handle")
        return self._sealer.open("directory", HOUSE_SHELF, HOUSE, (b"person", handle), sealed).decode()
