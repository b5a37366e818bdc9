"""What waits to be signed has an index of its own; on PostgreSQL a shelf's texts can be kept as they are for a while."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both; the function is for those who may make and drop shelves already."""
    waiting = sa.text("leaf_index IS NULL")
    op.create_index(
        "ledger_entries_waiting", "ledger_entries", ["seq"], postgresql_where=waiting, sqlite_where=waiting
    )
    if op.get_bind().dialect.name == "postgresql":
        schema = op.get_bind().execute(sa.select(sa.func.quote_ident(sa.func.current_schema()))).scalar_one()
        op.execute(sa.text(CLOSE_SHELF.replace("@SCHEMA@", schema).replace(":", "\\:")))
        op.execute("REVOKE ALL ON FUNCTION textkeep_close_shelf(TEXT) FROM PUBLIC")
        op.execute(sa.text(GRANTS.replace(":", "\\:")))


CLOSE_SHELF = """
CREATE FUNCTION textkeep_close_shelf(shelf TEXT) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = @SCHEMA@, pg_temp AS $$
DECLARE
    texts TEXT := 'texts_' || replace(shelf, '-', '_');
BEGIN
    IF shelf !~ '^[0-9a-z-]{1,50}$' THEN
        RAISE EXCEPTION 'not a shelf''s name' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (SELECT 1 FROM shelves WHERE name = shelf AND state = 'open') THEN
        RAISE EXCEPTION 'the shelf takes texts still' USING ERRCODE = 'check_violation';
    END IF;
    IF to_regclass(format('%I', texts)) IS NOT NULL THEN
        -- Until the caller's transaction ends everybody reads, and nobody writes.
        EXECUTE format('LOCK TABLE %I IN SHARE MODE', texts);
    END IF;
END $$
"""

GRANTS = """
DO $$
DECLARE
    grantee TEXT;
BEGIN
    FOR grantee IN SELECT role FROM grantees LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION textkeep_close_shelf(TEXT) TO %I', grantee);
    END LOOP;
END $$
"""
