"""Saying that a destroyed secret is gone for good: one ledger entry a shelf, once that was seen."""

from typing import Final, Protocol

from textkeep.archive.erasure import Erasure
from textkeep.archive.keyring import shelf_secret
from textkeep.archive.shelves import Shelves
from textkeep.clock import Clock
from textkeep.errors import Outage, Unsound
from textkeep.ledger import log
from textkeep.ledger.log import moment
from textkeep.retention.reports.facts import Erased, KeyCopy
from textkeep.store.engine import Store

ERASED: Final = "erased"

NAMED: Final = 40
"""How many copies an entry names; it counts all of them."""


class Erasures(Protocol):
    """When a secret is gone for good (`archive/erasure.py`)."""

    def of(self, name: str) -> Erasure:
        """Of a secret, by its name."""


class NotAsked:
    """An archive of which nobody can tell what copies of the keyring there are."""

    def of(self, _name: str) -> Erasure:
        """Nothing is known."""
        raise Outage("nobody was asked about copies of the keyring")


def known(erasures: Erasures, shelf: str) -> Erased:
    """What a report says of a shelf's secret; where nobody answers the moment is not known, and the reason says so."""
    try:
        found = erasures.of(shelf_secret(shelf))
    except (Outage, Unsound) as exc:
        return Erased(None, f"the copies of the keyring could not be asked for: {exc.detail}", [])
    copies = [
        KeyCopy(
            each.id,
            moment(each.made_at),
            moment(each.expires_at),
            each.root_kind,
            None if each.ends_at is None else moment(each.ends_at),
        )
        for each in found.known
    ]
    return Erased(None if found.erased_at is None else moment(found.erased_at), found.reason, copies)


class Erasing:
    """A chore of the keeper's."""

    def __init__(self, store: Store, shelves: Shelves, erasures: Erasures, clock: Clock) -> None:
        self._store = store
        self._shelves = shelves
        self._erasures = erasures
        self._clock = clock

    def run(self) -> list[str]:
        """Write an entry for each shelf whose report is written, and whose secret nobody can have any more.

        Gives the shelves. Each gets one entry, whoever does this at the same time. Raises Outage where keyring, copies
        or roots cannot be asked; the next run goes on.
        """
        with self._store.reading() as connection:
            said = {entry.shelf for entry in log.entries(connection, kinds={ERASED})}
            waiting = [row for row in self._shelves.list(connection) if row.state == "reported"]
        done: list[str] = []
        for row in waiting:
            if row.name in said:
                continue
            found = self._erasures.of(shelf_secret(row.name))
            if found.done and self._write(row.name, row.commitment, found):
                done.append(row.name)
        return done

    def _write(self, shelf: str, commitment: bytes, found: Erasure) -> bool:
        with self._store.transaction() as connection:
            self._shelves.lock(connection, {shelf}, exclusive=True)
            if log.entries(connection, shelf=shelf, kinds={ERASED}):
                return False
            body = {
                "secret": shelf_secret(shelf),
                "commitment": commitment.hex(),
                "erased_at": moment(found.erased_at) if found.erased_at else None,
                "copies": len(found.known),
                "named": [copy.id for copy in found.known[:NAMED]],
            }
            log.append(connection, ERASED, body, now=self._clock(), shelf=shelf)
        return True
