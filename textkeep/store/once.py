"""Rows that several processes may want to add at the same time, and only one of them does."""

from collections.abc import Mapping

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_once(connection: Connection, table: Table, values: Mapping[str, object]) -> bool:
    """Add a row; False where a unique key of it is there already, and nothing was added.

    On PostgreSQL it waits for a transaction that is adding the same: what a SELECT then finds is the other one's row.
    """
    made = postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
    return connection.execute(made.values(values).on_conflict_do_nothing()).rowcount == 1
