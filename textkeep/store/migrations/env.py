"""Runs the scripts over the connection that `schema.migrate` hands in."""

from alembic import context

from textkeep.store import evidence, tables
from textkeep.store.columns import metadata

__all__ = ["evidence", "tables"]

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
