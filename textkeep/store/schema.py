"""Which version the tables have, and how they get to the newest. There is no way back: evidence is never rewritten."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from textkeep.errors import Unsound
from textkeep.store.engine import Store

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


def migrate(store: Store) -> bool:
    """Bring the tables to the newest version, in one transaction. True where anything was done.

    Raises Unsound where the archive was written by a newer Textkeep.
    """
    before = version(store)
    if before == newest():
        return False
    if before is not None and before not in _known():
        raise Unsound(
            "this archive was written by a newer Textkeep",
            remedy="Install that version again, or a later one; nothing was changed.",
        )
    config = _config()
    with store.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return True


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config
