"""Runs the scripts over the connection that `schema.migrate` hands in."""

from alembic import context

from textkeep.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
