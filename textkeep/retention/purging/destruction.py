"""Destruction: everything that can end a text or a quarantined record, in one list, and the one way each must go.

Whoever destroys asks for a permit in its own transaction. It is given under the lock that placing and releasing holds
take first, so that no hold comes in between, and none is given while a restored keyring waits for two persons. What
destroys (`Keyring.destroy`, `drop_tables`, `Papers.take_out`) is called from here, or demands the permit;
tests/retention/test_destruction.py walks the source of the whole package and fails where a way is added beside this
list.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal, get_args

from sqlalchemy import Connection

from textkeep.archive.keyring import Keyring, Tombstone, shelf_secret
from textkeep.archive.permit import Permit
from textkeep.archive.shelf import STATES, is_kept
from textkeep.archive.shelves import Shelves
from textkeep.errors import Conflict
from textkeep.retention.holds.in_force import HoldsInForce, Transaction

Path = Literal["day-purge", "release-purge", "found-again", "quarantine-return"]
PATHS: Final[tuple[Path, ...]] = get_args(Path)
"""Every way in which a text or a quarantined record can end.

`day-purge` a day's shelf is closed, `release-purge` a shelf of held texts is, `found-again` tables of a shelf that was
purged are there again (somebody put them back) and are dropped again, `quarantine-return` a quarantined record becomes
a text and leaves the quarantine.
"""

DECIDED: Final = frozenset(STATES[STATES.index("committed") :])
"""The states behind the point of no return."""

Covered = Callable[[Connection], bool]
"""Whether a hold in force covers what is to go, asked in the transaction that would destroy it."""

Resumed = Callable[[Connection], None]
"""Raises where a restored keyring waits for two persons, asked in the transaction that would destroy."""


def never_restored(_connection: Connection) -> None:
    """Stands for a keyring that no backup ever took the place of."""


class Destruction:
    """Gives permits, and destroys secrets."""

    def __init__(self, shelves: Shelves, keyring: Keyring, holds: HoldsInForce, resumed: Resumed) -> None:
        self._shelves = shelves
        self._keyring = keyring
        self._holds = holds
        self._resumed = resumed

    def may_commit(self, connection: Connection, used: str | None) -> bool:
        """Whether a shelf may pass its point of no return: the holds in force are those (digest, hex) it was kept for.

        They stay so until the caller's transaction ends. Raises Unsound where a hold may be missing, and what `resumed`
        does.
        """
        now = self._holds.digest(connection).hex()
        self._resumed(connection)
        self._holds.check(connection)
        return used == now

    def permit(self, connection: Connection, path: Path, shelf: str) -> Permit:
        """The permit to destroy what lies on a shelf, good for the caller's transaction.

        Raises Conflict where the shelf is not behind its point of no return, or, for what was found again, where its
        secret was not destroyed: then a hold may still keep what is there. Raises what `resumed` does.
        """
        self._holds.digest(connection)
        self._resumed(connection)
        state = self._shelves.states(connection, [shelf]).get(shelf)
        if path == "found-again":
            if state != "reported" or self._keyring.tombstone(shelf_secret(shelf)) is None:
                raise _refused("it was not purged")
        elif path == "quarantine-return":
            raise ValueError("a record is returned by `permit_return`")
        elif state not in DECIDED:
            raise _refused("its purge has not come to the point of no return")
        return Permit(path, shelf)

    def permit_return(self, connection: Connection, shelf: str, covered: Covered) -> Permit:
        """The permit to take one record out of the quarantine of an open shelf.

        Raises Conflict where a hold in force covers the record (`covered`), or the shelf is being purged, and what
        `resumed` does.
        """
        self._holds.digest(connection)
        self._resumed(connection)
        if self._shelves.lock(connection, [shelf]).get(shelf) != "open":
            raise _refused("its day is being purged")
        if covered(connection):
            raise Conflict(
                "a legal hold covers the record: it stays in quarantine",
                remedy="It can be returned once that hold is released.",
            )
        return Permit("quarantine-return", shelf)

    def shred(self, transaction: Transaction, shelf: str, *, entry: str, now: datetime) -> Tombstone:
        """Destroy the secret of a shelf, for good.

        What the permit was given for cannot be undone: a shelf never comes back from its point of no return. So the
        transaction need not last as long as the keyring takes. Raises Conflict like `permit`, and Outage.
        """
        with transaction() as connection:
            permit = self.permit(connection, path_of(shelf), shelf)
        return self._keyring.destroy(shelf_secret(permit.shelf), entry=entry, now=now)


def path_of(shelf: str) -> Path:
    """The way in which a shelf's purge destroys."""
    return "release-purge" if is_kept(shelf) else "day-purge"


def _refused(why: str) -> Conflict:
    return Conflict(f"nothing of this shelf may be destroyed: {why}", remedy="Run `textkeep audit`.")
