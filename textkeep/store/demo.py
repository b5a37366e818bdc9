"""The note that marks an archive of made-up texts, the only one where a person may be on both sides."""

from typing import Final

from sqlalchemy import Connection, select

from textkeep.store.tables import notes

DEMO: Final = "demo"
"""Its name."""


def is_demo(connection: Connection) -> bool:
    """Whether the archive is one of made-up texts."""
    return connection.execute(select(notes.c.name).where(notes.c.name == DEMO)).first() is not None
