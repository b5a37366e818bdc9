"""Which version the tables have, and how they get to the newest. There is no way back: evidence is never rewritten."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from textkeep.errors import Unsound
from textkeep.store import postgres
from textkeep.store.engine import Store

RIGHTS: Final = {
    "alembic_version": "SELECT",
    "notes": "SELECT, INSERT, UPDATE, DELETE",
    "shelves": "SELECT, INSERT, UPDATE",
    "batches": "SELECT, INSERT, DELETE",
    "slices": "SELECT, INSERT, UPDATE, DELETE",
    "ledger_entries": "SELECT, INSERT, UPDATE (leaf_index)",
    "orgs": "SELECT, INSERT",
    "directory": "SELECT, INSERT, UPDATE, DELETE",
    "persons": "SELECT, INSERT",
    "tokens": "SELECT, INSERT, UPDATE",
    "purges": "SELECT, INSERT, UPDATE",
    "runs": "SELECT, INSERT, UPDATE",
    "leases": "SELECT, INSERT, UPDATE, DELETE",
    "nodes": "SELECT, INSERT, UPDATE, DELETE",
    "offsets": "SELECT, INSERT, UPDATE",
    "surveys": "SELECT, INSERT, DELETE",
    "reports": "SELECT, INSERT, UPDATE",
    "coverage": "SELECT, INSERT, UPDATE, DELETE",
    "leaves": "SELECT, INSERT",
    "tiles": "SELECT, INSERT, UPDATE",
    "checkpoints": "SELECT, INSERT, DELETE",
    "cosignatures": "SELECT, INSERT",
    "witnesses": "SELECT, INSERT, UPDATE",
    "holds": "SELECT, INSERT, UPDATE, DELETE",
    "approvals": "SELECT, INSERT, UPDATE, DELETE",
    "releases": "SELECT, INSERT, UPDATE",
    "kept_slices": "SELECT, INSERT, DELETE",
    "kept_papers": "SELECT, INSERT, DELETE",
    "sides": "SELECT, INSERT, UPDATE, DELETE",
}
"""What the service's role may do on PostgreSQL. Ledger entries, names and sealed texts are only ever added."""

_SCRIPTS: Final = Path(__file__).parent / "migrations"


def version(store: Store) -> str | None:
    """The version of the tables in `store`, or None where there are none yet."""
    with store.reading() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest() -> str:
    """The version that this program works with."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("the package carries no migrations")
    return head


def check(store: Store) -> None:
    """Raises Unsound where the tables are not of the version that this program works with."""
    found = version(store)
    if found == newest():
        return
    if found is not None and found not in _known():
        raise _newer()
    raise Unsound(
        "the database has no tables yet" if found is None else "the tables are those of an older Textkeep",
        field="TEXTKEEP_DATABASE_URL",
        remedy="Run `textkeep migrate` as the database's owner, then start again.",
    )


def migrate(store: Store, *, service_role: str | None = None) -> bool:
    """Bring the tables to the newest version, in one transaction. True where anything was done.

    On PostgreSQL `service_role` gets what the service needs; the tables stay their owner's. Raises Unsound where the
    archive was written by a newer Textkeep, and for a role that is none or is the owner's.
    """
    if version(store) == newest() and service_role is None:
        return False
    config = _config()
    with store.transaction() as connection:
        if store.shared:
            postgres.alone(connection)
        before = MigrationContext.configure(connection).get_current_revision()
        if before is not None and before not in _known():
            raise _newer()
        if before != newest():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        if store.shared and service_role is not None:
            postgres.grant(connection, service_role, RIGHTS)
    return before != newest()


def _newer() -> Unsound:
    return Unsound(
        "this archive was written by a newer Textkeep",
        remedy="Install that version again, or a later one; nothing was changed.",
    )


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config
