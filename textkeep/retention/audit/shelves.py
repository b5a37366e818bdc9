"""Audit of the shelves as a whole: rows, tables, secrets, and what belongs to no shelf that there is."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, inspect, select

from textkeep.archive.keyring import Keyring, shelf_secret
from textkeep.archive.shelf import STATES, Day, is_kept
from textkeep.ledger import log
from textkeep.ledger.log import Entry, moment
from textkeep.retention.audit.book import AT_ONCE, Carried
from textkeep.retention.audit.findings import Finding, Line
from textkeep.store.evidence import kept_papers, kept_slices, leaves
from textkeep.store.tables import batches, ledger_entries, papers_name, purges, shelves, slices, texts_name

DROPPED: Final = STATES.index("dropped")
SHREDDED: Final = STATES.index("shredded")

OF_SHELVES: Final = (slices, kept_slices, kept_papers, leaves, ledger_entries)
"""The tables whose rows name the shelf that they speak of; rows of an open shelf without any of these are none."""

_OWN: Final = ("texts_", "papers_")


class ShelvesAudit:
    """What there is of shelves. `rows` and `used` are filled by `findings`."""

    def __init__(self, connection: Connection, keyring: Keyring, carried: Carried) -> None:
        self._connection = connection
        self._keyring = keyring
        self._carried = carried
        self._line = Line("shelves")
        self._keys = Line("keyring")
        self.rows: dict[str, Row[Any]] = {}
        self.used: set[str] = set()
        """The shelves of which anything was ever said, or of which there is anything."""

    def findings(self) -> list[Finding]:
        """What was found."""
        with self._line.reading("a shelf"):
            self.rows = {row.name: row for row in self._connection.execute(select(shelves).order_by(shelves.c.name))}
            self._check_tables()
            self._check_rows()
        with self._keys.reading("the keyring"):
            self._check_secrets()
        return [
            *self._line.findings(f"{len(self.rows)} shelves, of {len(self.used)} of which anything is on record"),
            *self._keys.findings("each shelf has the secret it was opened with, or its tombstone and entry"),
        ]

    def _check_tables(self) -> None:
        there = {name for name in inspect(self._connection).get_table_names() if name.startswith(_OWN)}
        full: dict[str, str] = {}
        for name, row in self.rows.items():
            own = (texts_name(name), papers_name(name))
            gone = row.state in STATES[DROPPED:]
            for table in own:
                if gone and table in there:
                    self._line.fail(f"{name} is {row.state}, and its table is there")
                elif not gone and table not in there:
                    self._line.fail(f"{name} is {row.state}, and its table {table} is not there")
                if table in there:
                    full[table] = name
            there -= set(own)
        for table in sorted(there):
            self._line.fail(f"table {table} is of no shelf")
        self._find_used(full)

    def _find_used(self, tables: Mapping[str, str]) -> None:
        """Which shelves hold a row: their tables are asked many at once, since most of 430 days hold none."""
        wanted = list(tables.items())
        for start in range(0, len(wanted), AT_ONCE):
            asked = " UNION ALL ".join(
                f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {table})"  # noqa: S608 - names that the house made
                for table, name in wanted[start : start + AT_ONCE]
            )
            self.used.update(self._connection.exec_driver_sql(asked).scalars())
        for table in OF_SHELVES:
            named = table.c.shelf
            self.used.update(self._connection.scalars(select(named).where(named.is_not(None)).distinct()))
        self.used.update(self._carried)
        for name in sorted(self.used - self.rows.keys()):
            self._line.fail(f"{name} is spoken of, and there is no such shelf", self._first(name))
        for table in (batches, purges):
            for name in self._connection.scalars(select(table.c.shelf).distinct()):
                self._line.demand(name in self.rows, f"{name} is named in {table.name}, and there is no such shelf")

    def _first(self, shelf: str) -> Entry | None:
        return next(iter(log.entries(self._connection, shelf=shelf)), None)

    def _check_rows(self) -> None:
        begun = set(self._connection.scalars(select(purges.c.shelf)))
        for name, row in self.rows.items():
            if row.state not in STATES:
                self._line.fail(f"{name} is in no state that there is")
                continue
            self._line.demand((row.state == "open") != (name in begun), f"{name} is {row.state}, its purge is not")
            due = None if is_kept(name) else Day.named(name).due()
            self._line.demand(row.due_at == due, f"{name} is due at another moment")
        days = sorted(Day.named(name) for name in self.rows if not is_kept(name))
        numbers = sorted(self._connection.scalars(select(purges.c.number)))
        self._line.demand(numbers == list(range(1, len(numbers) + 1)), "the numbers of purges have a gap")
        if days:
            opened = func.min(shelves.c.opened_at)
            first = self._connection.execute(select(opened)).scalar_one()
            self._line.demand(days[-1] >= Day.of(first), "no shelf is there of the day it was opened on")

    def _check_secrets(self) -> None:
        stones = self._keyring.tombstones()
        told = {str(entry.body["secret"]): entry for entry in log.entries(self._connection, kinds=("key-destroyed",))}
        for name, row in self.rows.items():
            secret = shelf_secret(name)
            entry = told.get(secret)
            with self._keys.reading(f"the secret of {name}", entry):
                same = self._keyring.commitment(secret) == bytes(row.commitment)
                self._keys.demand(same, f"{name}: its secret is not the one it was opened with", entry)
            gone = row.state in STATES[SHREDDED:]
            if gone and secret not in stones:
                self._keys.fail(f"{name} is {row.state}, and the keyring still has its secret", entry)
            if secret in stones and not gone and row.state != "committed":
                self._keys.fail(f"{name} is {row.state}, and its secret is destroyed", entry)
        for secret, stone in stones.items():
            shelf = secret.removeprefix(shelf_secret(""))
            entry = told.pop(secret, None)
            if shelf not in self.rows:
                self._keys.fail(f"{secret} was destroyed, and there is no such shelf", entry)
            elif entry is None:
                waits = self.rows[shelf].state == "committed"
                self._keys.demand(waits, f"{secret} was destroyed, and no entry says so")
            else:
                said = (entry.body["commitment"], _named(entry.body["committed"]))
                there = (stone.commitment.hex(), stone.entry)
                self._keys.demand(said == there, f"the tombstone of {secret} says otherwise", entry)
                at = entry.body["destroyed_at"] == moment(datetime.fromisoformat(stone.destroyed_at))
                self._keys.demand(at, f"the tombstone of {secret} is of another moment", entry)
        for secret, entry in told.items():
            self._keys.fail(f"{secret} is called destroyed, and the keyring has no tombstone", entry)
        prefix = shelf_secret("")
        for secret in sorted(self._keyring.names()):
            shelf = secret.removeprefix(prefix)
            if secret.startswith(prefix) and shelf not in self.rows:
                self._without_row(shelf)

    def _without_row(self, shelf: str) -> None:
        """A secret is on disk before its shelf's row: only what was made since may lack one."""
        newest = max((Day.named(name) for name in self.rows if not is_kept(name)), default=None)
        new = not is_kept(shelf) and newest is not None and Day.named(shelf) > newest
        if new or is_kept(shelf):
            self._keys.doubt(f"the keyring has a secret of {shelf}, which was not opened")
        else:
            self._keys.fail(f"the keyring has a secret of {shelf}, and there is no such shelf")


def _named(place: int | None) -> str:
    """The entry of a decision, as a tombstone names it."""
    return "unknown" if place is None else str(place)
