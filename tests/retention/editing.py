"""What a superuser of the database may do to a row: alter a column, delete it, copy it, move it; seeded."""

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

Row = dict[str, Any]

HOUR: Final = 3_600_000_000

EXEMPT_TABLES: Final = {
    "alembic_version": "the version of the tables: a wrong one is refused at the start",
    "coverage": "what the last comparison of the index found, for metrics; an audit compares by itself",
    "directory": "what is registered of users and locations; it decides about flags when a text comes, and never after",
    "grantees": "which roles of the PostgreSQL server the service may have: a right, and no evidence",
    "leases": "who is at work now",
    "nodes": "which processes there are now",
    "notes": "times to go on from; the end of the chain of reports is told by the ledger too",
    "offsets": "where to read on in a topic: what is read twice is a duplicate",
    "runs": "a day may have many runs; one that is the only one of its day is missed (a test of its own)",
    "sqlite_sequence": "the next number; one that leaves a gap between entries is found",
    "surveys": "what was read ahead: it counts only where it agrees with the ledger",
}
"""Tables whose edit changes nothing that evidence rests on, and why."""

EXEMPT_COLUMNS: Final = {
    ("checkpoints", "at"): "when it was published; what it says is signed, and only its order is told",
    ("orgs", "registered_at"): "nothing reads it, and no entry says when",
    ("shelves", "opened_at"): "no entry says when; nothing that is held goes by it",
    ("slices", "indexed"): "whether the index has it: the comparison of index and texts tells",
}
"""Columns of audited tables of which the same holds; docs/audit.md says it of each."""

STORED: Final = ("accepted", "versions", "quarantined", "refused")
"""Of a batch in which nothing of these came, only duplicates, no entry speaks: its receipt is its own."""

EXEMPT_DELETIONS: Final = {
    "checkpoints": "those that no witness signed go after 7 days by design; larger ones hold all that they held",
    "cosignatures": "the witness has its own, and reports carry those that they rest on",
}
"""Tables whose rows may go; the newest checkpoint may not."""


@dataclass
class Edit:
    """What was done, and the tables it touched."""

    said: str
    tables: list[str] = field(default_factory=list)


def audited_tables(connection: Connection) -> dict[str, list[str]]:
    """The tables that may be edited, and the columns of the primary key of each."""
    found = inspect(connection)
    return {
        name: found.get_pk_constraint(name)["constrained_columns"]
        for name in sorted(found.get_table_names())
        if name not in EXEMPT_TABLES
    }


class Editor:
    """Does one random edit at a time of `tables`, drawn by `seed`."""

    def __init__(self, connection: Connection, tables: Mapping[str, list[str]], seed: int) -> None:
        self.connection = connection
        self.tables = tables
        self.random = random.Random(seed)

    def rows(self, table: str) -> list[Row]:
        order = ", ".join(self.tables[table])
        found = self.connection.execute(text(f"SELECT * FROM {table} ORDER BY {order}"))  # noqa: S608
        told = [{name: _plain(value) for name, value in row._mapping.items()} for row in found]
        return [row for row in told if table != "batches" or any(row[name] for name in STORED)]

    def edit(self) -> Edit:
        """Do one that the database takes, and that says something else than before."""
        acts: list[Callable[[str, Row, list[Row]], Edit | None]] = [self.alter] * 4
        acts += [self.take, self.empty, self.delete, self.copy, self.move]
        while True:
            table = self.random.choice(list(self.tables))
            rows = self.rows(table)
            if not rows:
                continue
            point = self.connection.begin_nested()
            try:
                done = self.random.choice(acts)(table, self.random.choice(rows), rows)
            except SQLAlchemyError:
                done = None
            if done is not None:
                point.commit()
                return done
            point.rollback()

    def alter(self, table: str, row: Row, _rows: list[Row]) -> Edit | None:
        """Another value of the same kind: a bit, a digit, a few hours."""
        column = self.column(table, row)
        return self.put(table, row, column, self.other(column, row[column]))

    def take(self, table: str, row: Row, rows: list[Row]) -> Edit | None:
        """The value that another row has there."""
        column = self.column(table, row)
        return self.put(table, row, column, self.random.choice(rows)[column])

    def empty(self, table: str, row: Row, _rows: list[Row]) -> Edit | None:
        """Nothing at all, or what is left of it when it is cut."""
        column = self.column(table, row)
        value = row[column]
        cut = value[: self.random.randrange(len(value))] if isinstance(value, bytes | str) and value else None
        return self.put(table, row, column, self.random.choice((cut, None)))

    def column(self, table: str, row: Row) -> str:
        return self.random.choice([name for name in row if (table, name) not in EXEMPT_COLUMNS])

    def put(self, table: str, row: Row, column: str, value: Any) -> Edit | None:
        if value == row[column] or not _matters(table, column, self.dialect):
            return None
        self.update(table, row, {column: value})
        return Edit(f"{table}.{column} of {self.name(table, row)}: {_short(row[column])} -> {_short(value)}", [table])

    def delete(self, table: str, row: Row, rows: list[Row]) -> Edit | None:
        if table in EXEMPT_DELETIONS and not (table == "checkpoints" and row["size"] == rows[-1]["size"]):
            return None
        where, values = self.where(table, row)
        self.connection.execute(text(f"DELETE FROM {table} WHERE {where}"), values)  # noqa: S608
        return Edit(f"{table}: {self.name(table, row)} deleted", [table])

    def copy(self, table: str, row: Row, _rows: list[Row]) -> Edit | None:
        changed = self.random.choice(self.tables[table])
        new = {**row, changed: self.other(changed, row[changed])}
        for column in ("leaf_index", "lookup", "hash", "approval", "side"):
            if column in new:  # would be there twice
                new[column] = None if column in ("leaf_index", "side") else self.other(column, new[column])
        if table == "purges":
            new["number"] += 100
        self.insert(table, new)
        return Edit(f"{table}: {self.name(table, row)} copied as {self.name(table, new)}", [table])

    def move(self, table: str, row: Row, rows: list[Row]) -> Edit | None:
        """To another shelf, or what is sealed in one row to another."""
        kind = table.partition("_")[0]
        if kind in ("texts", "papers"):
            other = self.random.choice([each for each in self.tables if each.startswith(f"{kind}_") and each != table])
            where, values = self.where(table, row)
            self.connection.execute(text(f"DELETE FROM {table} WHERE {where}"), values)  # noqa: S608
            self.insert(other, row)
            return Edit(f"{table}: {self.name(table, row)} moved to {other}", [table, other])
        if "shelf" in row and "shelf" not in self.tables[table]:
            shelf = self.random.choice([each["name"] for each in self.rows("shelves") if each["name"] != row["shelf"]])
            self.update(table, row, {"shelf": shelf})
            return Edit(f"{table}: {self.name(table, row)} moved from {row['shelf']} to {shelf}", [table])
        other_row = self.random.choice(rows)
        columns = [name for name in ("sealed", "hashes", "note", "document", "entry") if name in row]
        if not columns or other_row[columns[0]] == row[columns[0]]:
            return None
        self.update(table, row, {columns[0]: other_row[columns[0]]})
        return Edit(f"{table}: {columns[0]} of {self.name(table, other_row)} put on {self.name(table, row)}", [table])

    def other(self, column: str, value: Any) -> Any:
        """Another value of the same kind."""
        if isinstance(value, bytes) and value:
            at = self.random.randrange(len(value) * 8)
            flipped = bytearray(value)
            flipped[at // 8] ^= 1 << at % 8
            return bytes(flipped)
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            if column.endswith("_at") or column in ("at", "since", "until"):
                return value + self.random.choice((-1, 1)) * HOUR * self.random.randint(1, 400)
            return value + self.random.choice((-1, 1, 2, 7))
        if isinstance(value, str) and value:
            return self.other_words(value)
        if value is None and (column.endswith("_at") or column == "until"):
            return 1_800_000_000_000_000 + HOUR * self.random.randint(1, 400)
        return value

    def other_words(self, value: str) -> str:
        """Another digit or letter, so that a JSON document stays one."""
        at = self.random.choice([found.start() for found in re.finditer(r"[0-9a-z]", value)] or [0])
        was = value[at]
        pool = "123456789" if was.isdigit() else "bcdefghijk"
        return value[:at] + self.random.choice([each for each in pool if each != was]) + value[at + 1 :]

    def update(self, table: str, row: Row, values: Mapping[str, Any]) -> None:
        where, keys = self.where(table, row)
        sets = ", ".join(f"{name} = :new_{name}" for name in values)
        bound = {f"new_{name}": value for name, value in values.items()}
        self.connection.execute(text(f"UPDATE {table} SET {sets} WHERE {where}"), {**keys, **bound})  # noqa: S608

    def insert(self, table: str, row: Row) -> None:
        names = ", ".join(row)
        marks = ", ".join(f":{name}" for name in row)
        self.connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), row)  # noqa: S608

    def where(self, table: str, row: Row) -> tuple[str, Row]:
        key = self.tables[table]
        return " AND ".join(f"{name} = :key_{name}" for name in key), {f"key_{name}": row[name] for name in key}

    def name(self, table: str, row: Row) -> str:
        return json.dumps([_short(row[name]) for name in self.tables[table]])

    @property
    def dialect(self) -> str:
        return self.connection.dialect.name


def _matters(table: str, column: str, dialect: str) -> bool:
    """Whether this column is bound by anything; on PostgreSQL the numbers of entries have gaps."""
    return not ((table, column) == ("ledger_entries", "seq") and dialect != "sqlite")


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def _short(value: Any) -> str:
    return value.hex()[:16] if isinstance(value, bytes) else str(value)[:40]
