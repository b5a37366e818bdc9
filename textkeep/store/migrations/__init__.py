"""Alembic's scripts: how an archive's tables came to be what they are."""
