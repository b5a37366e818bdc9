"""What many processes need to share, and what PostgreSQL needs so that the service's role owns nothing."""

import sqlalchemy as sa
from alembic import op

from textkeep.store.columns import Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the shared tables; on PostgreSQL also the two functions that make and drop a shelf's tables."""
    _make_tables()
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE ledger_pending ALTER COLUMN seq TYPE BIGINT")
        op.execute("ALTER SEQUENCE ledger_pending_seq_seq AS BIGINT")
        op.execute("CREATE TABLE grantees (role TEXT PRIMARY KEY)")
        schema = op.get_bind().execute(sa.select(sa.func.quote_ident(sa.func.current_schema()))).scalar_one()
        for statement in (OPEN_SHELF, DROP_SHELF):
            op.execute(sa.text(statement.replace("@SCHEMA@", schema).replace(":", "\\:")))
        op.execute("REVOKE ALL ON FUNCTION textkeep_open_shelf(TEXT), textkeep_drop_shelf(TEXT) FROM PUBLIC")


def _make_tables() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "offsets",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition"),
    )
    op.create_table(
        "surveys",
        sa.Column("slice", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("shelf", sa.Text(), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("orgs", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("slice"),
    )
    op.create_index(op.f("ix_surveys_shelf"), "surveys", ["shelf"], unique=False)
    op.create_table(
        "reports",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "coverage",
        sa.Column("shelf", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("expected", sa.BigInteger(), nullable=False),
        sa.Column("found", sa.BigInteger(), nullable=False),
        sa.Column("missing", sa.BigInteger(), nullable=False),
        sa.Column("strays", sa.BigInteger(), nullable=False),
        sa.Column("altered", sa.BigInteger(), nullable=False),
        sa.Column("rebuilt_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("shelf"),
    )


OPEN_SHELF = """
CREATE FUNCTION textkeep_open_shelf(shelf TEXT) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = @SCHEMA@, pg_temp AS $$
DECLARE
    suffix TEXT := replace(shelf, '-', '_');
    grantee TEXT;
BEGIN
    IF shelf !~ '^[0-9a-z-]{1,50}$' THEN
        RAISE EXCEPTION 'not a shelf''s name' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- CREATE TABLE IF NOT EXISTS races with itself: one at a time, until the caller's transaction ends.
    PERFORM pg_advisory_xact_lock(hashtextextended('textkeep_open_shelf', 0));
    IF to_regclass(format('%I', 'texts_' || suffix)) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (
            org BYTEA NOT NULL, tag BYTEA NOT NULL, version INTEGER NOT NULL, slice BIGINT NOT NULL,
            commitment BYTEA NOT NULL, size INTEGER NOT NULL, sealed BYTEA NOT NULL,
            PRIMARY KEY (tag, version, org))', 'texts_' || suffix);
        -- What is sealed does not compress.
        EXECUTE format('ALTER TABLE %I ALTER COLUMN sealed SET STORAGE EXTERNAL', 'texts_' || suffix);
        EXECUTE format('CREATE INDEX %I ON %I (slice)', 'texts_' || suffix || '_slice', 'texts_' || suffix);
    END IF;
    IF to_regclass(format('%I', 'papers_' || suffix)) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (
            id BYTEA PRIMARY KEY, kind TEXT NOT NULL, org BYTEA NOT NULL, slice BIGINT,
            commitment BYTEA NOT NULL, size INTEGER NOT NULL, made_at BIGINT NOT NULL, sealed BYTEA NOT NULL)',
            'papers_' || suffix);
        EXECUTE format('ALTER TABLE %I ALTER COLUMN sealed SET STORAGE EXTERNAL', 'papers_' || suffix);
        EXECUTE format('CREATE INDEX %I ON %I (kind, org)', 'papers_' || suffix || '_kind', 'papers_' || suffix);
    END IF;
    FOR grantee IN SELECT role FROM grantees LOOP
        -- A sealed text is never changed and never deleted but with its table.
        EXECUTE format('GRANT SELECT, INSERT ON %I TO %I', 'texts_' || suffix, grantee);
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON %I TO %I', 'papers_' || suffix, grantee);
    END LOOP;
END $$
"""

DROP_SHELF = """
CREATE FUNCTION textkeep_drop_shelf(shelf TEXT) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = @SCHEMA@, pg_temp AS $$
DECLARE
    suffix TEXT := replace(shelf, '-', '_');
BEGIN
    IF shelf !~ '^[0-9a-z-]{1,50}$' THEN
        RAISE EXCEPTION 'not a shelf''s name' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (SELECT 1 FROM shelves WHERE name = shelf
               AND state NOT IN ('shredded', 'dropped', 'verified', 'reported')) THEN
        RAISE EXCEPTION 'the secret of the shelf is not destroyed: its tables stay' USING ERRCODE = 'check_violation';
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS %I, %I', 'texts_' || suffix, 'papers_' || suffix);
END $$
"""
