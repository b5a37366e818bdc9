"""Advisory locks: who keeps out of whose way for a moment, by a name, until the transaction ends.

On PostgreSQL they are its own (`pg_advisory_xact_lock`), which wait in line: an exclusive one that waits lets no later
shared one pass, so that it comes to its turn however busy the name is. On SQLite the writing transaction is alone
anyway, and holds every name.
"""

import hashlib
from collections.abc import Sequence

from sqlalchemy import Connection, func, select


def hold(connection: Connection, name: str) -> None:
    """Hold a name alone until the caller's transaction ends. Fails like any lock where it takes too long."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_key(name))))


def try_hold(connection: Connection, name: str) -> bool:
    """Hold a name alone until the caller's transaction ends; False at once where somebody else holds it."""
    if connection.dialect.name != "postgresql":
        return True
    return bool(connection.execute(select(func.pg_try_advisory_xact_lock(_key(name)))).scalar_one())


def try_share(connection: Connection, names: Sequence[str]) -> list[str]:
    """Hold names beside others until the caller's transaction ends; gives those nobody has, or waits for, alone."""
    if connection.dialect.name != "postgresql" or not names:
        return list(names)
    asked = [func.pg_try_advisory_xact_lock_shared(_key(name)).label(f"held{at}") for at, name in enumerate(names)]
    held = connection.execute(select(*asked)).one()
    return [name for name, mine in zip(names, held, strict=True) if mine]


def _key(name: str) -> int:
    """8 bytes of the name's SHA-256, as the server counts; two names that meet there only wait for each other."""
    return int.from_bytes(hashlib.sha256(f"textkeep {name}".encode()).digest()[:8], "big", signed=True)
