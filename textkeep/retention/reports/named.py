"""The ledger entries that a purge writes and a report names one by one, found in the ledger by what they say.

No fact names the number that the database gave an entry: one that was put back after a loss has another number, and the
same place in the log.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection

from textkeep.ledger import log
from textkeep.ledger.log import Entry
from textkeep.retention.holds.entries import of_holds
from textkeep.retention.reports.facts import PurgeRow

KINDS: Final[Mapping[str, str]] = {
    "intent": "intent",
    "committed": "committed",
    "shredded": "key-destroyed",
    "reported": "purge",
}
"""The kinds of the entries that steps write, by step."""

BEFORE: Final = ("intent", "committed", "shredded")
"""The steps whose entries a report names: the last one's speaks of the report itself."""


def entry_of(connection: Connection, shelf: str, step: str) -> Entry | None:
    """The entry that a step of a shelf's purge has written, or None. A shelf is purged once, and so is each step."""
    return next(iter(log.entries(connection, shelf=shelf, kinds=(KINDS[step],))), None)


def named(connection: Connection, purge: PurgeRow) -> dict[str, Entry]:
    """The entries that the report names, by what they are of; without those that are not there."""
    written = log.entries(connection, shelf=purge.shelf, kinds=[KINDS[step] for step in BEFORE])
    first = {entry.kind: entry for entry in reversed(written)}
    found: dict[str, Entry | None] = {step: first.get(KINDS[step]) for step in BEFORE}
    facts = purge.facts
    kept = [] if facts.holds is None else facts.holds.holds
    if kept or facts.released:
        said = of_holds(connection)
        found |= {of_hold(each.id): said.started.get(each.id) for each in kept}
        found |= {of_release(each.approval): said.released.get(each.approval) for each in facts.released}
    return {name: entry for name, entry in found.items() if entry is not None}


def indices(entries: dict[str, Entry]) -> dict[str, int]:
    """The places in the log of those that have one."""
    return {name: entry.index for name, entry in entries.items() if entry.index is not None}


def of_hold(hold: str) -> str:
    """What the entry of a hold's start is called here."""
    return f"hold:{hold}"


def of_release(approval: str) -> str:
    """What the entry of a release is called here."""
    return f"release:{approval}"
