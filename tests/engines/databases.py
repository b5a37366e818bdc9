"""Databases of a PostgreSQL server that come and go with a test, and one that is put back instead of made anew."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from sqlalchemy import make_url

Link = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Pair:
    """Two databases of an archive: one for its data, one for its keyring."""

    data: str
    keyring: str


@dataclass(frozen=True)
class Database:
    """An empty database: `owner` may do everything in it, `service` is a role that owns nothing."""

    name: str
    owner: str
    service: str
    role: str


@contextmanager
def fresh(server: str) -> Iterator[Database]:
    """A database of its own on the server at the URL, with a role of its own; both are dropped afterwards."""
    name = f"textkeep_{secrets.token_hex(6)}"
    role, password = f"{name}_service", secrets.token_hex(8)
    with _administering(server) as connection:
        connection.execute(_named("CREATE DATABASE {} TEMPLATE template0", name))
        connection.execute(_named(f"CREATE ROLE {{}} LOGIN PASSWORD '{password}'", role))
    base = make_url(server).set(database=name)
    service = base.set(username=role, password=password)
    try:
        yield Database(
            name, base.render_as_string(hide_password=False), service.render_as_string(hide_password=False), role
        )
    finally:
        with _administering(server) as connection:
            connection.execute(_named("DROP DATABASE {} WITH (FORCE)", name))
            connection.execute(_named("DROP ROLE {}", role))


@contextmanager
def _administering(url: str) -> Iterator[Link]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def _named(statement: LiteralString, name: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(name))


_TABLES = """
    SELECT c.relname, pg_relation_size(c.oid) > 0 FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
"""
_SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'"


class Baseline:
    """What a database holds now, to be put back again and again: far quicker than some 860 tables made anew.

    A copy of each table with content lies in a schema `saved`. Tables of shelves may be dropped meanwhile, others not.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        with _administering(owner) as connection:
            tables = _tables(connection)
            self._tables = set(tables)
            self._full = {name for name, full in tables.items() if full}
            sequences = {str(row[0]) for row in connection.execute(_SEQUENCES)}
            self._sequences = {
                name: connection.execute(_named("SELECT last_value, is_called FROM {}", name)).fetchone() or (1, False)
                for name in sequences
            }
            connection.execute("CREATE SCHEMA saved")
            for name in self._full:
                connection.execute(_pair("CREATE TABLE saved.{} AS SELECT * FROM public.{}", name))

    def restore(self) -> None:
        """Put everything back; whoever else is connected is cut off first."""
        with _administering(self._owner) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            with connection.transaction():
                there = _tables(connection)
                for name in there.keys() - self._tables:
                    connection.execute(_named("DROP TABLE public.{} CASCADE", name))
                self._refill(connection, {name for name in there.keys() & self._tables if there[name]})
                for name in self._tables - there.keys():
                    kind, _, shelf = name.partition("_")
                    if kind not in ("texts", "papers"):
                        raise RuntimeError(f"a test has dropped the table {name}, which only a migration makes")
                    connection.execute("SELECT textkeep_open_shelf(%s)", (shelf.replace("_", "-"),))

    def _refill(self, connection: Link, used: set[str]) -> None:
        """Empty the tables that are not, and fill those that were full."""
        if used:
            tables = sql.SQL(", ").join(sql.Identifier("public", name) for name in sorted(used))
            connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(tables))
        for name in sorted(self._full, key=_order):
            connection.execute(_pair("INSERT INTO public.{} SELECT * FROM saved.{}", name))
        for name, (last, called) in self._sequences.items():
            connection.execute("SELECT setval(%s, %s, %s)", (f'public."{name}"', last, called))


def _order(name: str) -> int:
    """What other tables refer to is filled before them."""
    return {"notes": 0, "sides": 1}.get(name, 2)


def _tables(connection: Link) -> dict[str, bool]:
    """The tables that there are, and whether anything is in them."""
    return {str(row[0]): bool(row[1]) for row in connection.execute(_TABLES)}


def _pair(statement: LiteralString, name: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(name))


@dataclass(frozen=True)
class Prepared:
    """A database with all its tables and the way back to it; `keyring` is the folder of the one that belongs to it."""

    database: Database
    baseline: Baseline
    keyring: Path = Path()
