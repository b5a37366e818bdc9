"""Holds, approvals, the integrated ledger, the leaves of every slice, what is kept."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from textkeep.store.columns import Instant, ticks

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Entries get the place at which they are integrated; the tables of evidence and of people's decisions are made."""
    op.drop_index(op.f("ix_ledger_pending_shelf"), table_name="ledger_pending")
    op.rename_table("ledger_pending", "ledger_entries")
    op.create_index(op.f("ix_ledger_entries_shelf"), "ledger_entries", ["shelf"], unique=False)
    op.add_column("ledger_entries", sa.Column("leaf_index", sa.BigInteger(), nullable=True))
    op.add_column("ledger_entries", sa.Column("batch", sa.Text(), nullable=True))
    op.add_column("ledger_entries", sa.Column("mark", sa.LargeBinary(), nullable=True))
    op.create_index(op.f("ix_ledger_entries_batch"), "ledger_entries", ["batch"], unique=False)
    op.create_index("ledger_entries_leaf", "ledger_entries", ["leaf_index"], unique=True)
    op.create_index("ledger_entries_kind", "ledger_entries", ["kind"], unique=False)
    _make_tables()
    _make_sides()
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER SEQUENCE ledger_pending_seq_seq RENAME TO ledger_entries_seq_seq")
        for table in ("leaves", "tiles"):  # hashes do not compress
            op.execute(f"ALTER TABLE {table} ALTER COLUMN hashes SET STORAGE EXTERNAL")


def _make_tables() -> None:
    op.create_table(
        "leaves",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("shelf", sa.Text(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_leaves_shelf"), "leaves", ["shelf"], unique=False)
    op.create_table(
        "tiles",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "number"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("size"),
    )
    op.create_table(
        "cosignatures",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", "witness"),
    )
    op.create_table(
        "witnesses",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "holds",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org", sa.LargeBinary(), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("placed_by", sa.LargeBinary(), nullable=False),
        sa.Column("placed_at", Instant(), nullable=False),
        sa.Column("review_at", Instant(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("review_at <= placed_at + 15552000000000", name="holds_review_within_180_days"),
        sa.CheckConstraint("review_at > placed_at", name="holds_review_later"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_holds_org"), "holds", ["org"], unique=False)
    op.create_table(
        "approvals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("org", sa.LargeBinary(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("asked_by", sa.LargeBinary(), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("decided_by", sa.LargeBinary(), nullable=True),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("used_at", Instant(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("outcome IS NULL OR outcome IN ('approved', 'refused')", name="approvals_outcome"),
        sa.CheckConstraint("used_at IS NULL OR COALESCE(outcome, '') = 'approved'", name="approvals_used_when_approved"),
        sa.CheckConstraint(
            "(outcome IS NULL) = (decided_by IS NULL) AND (outcome IS NULL) = (decided_at IS NULL)",
            name="approvals_decided",
        ),
        sa.CheckConstraint("used_at IS NULL OR used_at < until", name="approvals_used_in_time"),
        sa.CheckConstraint("decided_at IS NULL OR decided_at < until", name="approvals_in_time"),
        sa.CheckConstraint("decided_by IS NULL OR decided_by <> asked_by", name="approvals_two_persons"),
        sa.CheckConstraint("until <= asked_at + 86400000000", name="approvals_24_hours"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "releases",
        sa.Column("hold", sa.Text(), nullable=False),
        sa.Column("org", sa.LargeBinary(), nullable=False),
        sa.Column("approval", sa.Text(), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", sa.LargeBinary(), nullable=False),
        sa.Column("approved_by", sa.LargeBinary(), nullable=False),
        sa.Column("approved_at", Instant(), nullable=False),
        sa.Column("effective_at", Instant(), nullable=False),
        sa.Column("done_at", Instant(), nullable=True),
        sa.CheckConstraint("approved_by <> asked_by", name="releases_two_persons"),
        sa.CheckConstraint("effective_at >= approved_at + 86400000000", name="releases_after_24_hours"),
        sa.PrimaryKeyConstraint("hold"),
        sa.UniqueConstraint("approval"),
    )
    op.create_index(op.f("ix_releases_org"), "releases", ["org"], unique=False)
    op.create_table(
        "kept_slices",
        sa.Column("slice", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("shelf", sa.Text(), nullable=False),
        sa.Column("source_shelf", sa.Text(), nullable=False),
        sa.Column("source_slice", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("slice"),
    )
    op.create_index(op.f("ix_kept_slices_source_shelf"), "kept_slices", ["source_shelf"], unique=False)
    op.create_index(op.f("ix_kept_slices_shelf"), "kept_slices", ["shelf"], unique=False)
    op.create_table(
        "kept_papers",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("shelf", sa.Text(), nullable=False),
        sa.Column("source_shelf", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", "shelf"),
    )
    op.create_index(op.f("ix_kept_papers_source_shelf"), "kept_papers", ["source_shelf"], unique=False)


def _make_sides() -> None:
    """No person on two sides: each live token of a side's role refers to the one row that says where its person is."""
    op.create_table(
        "sides",
        sa.Column("person", sa.LargeBinary(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=True),
        sa.CheckConstraint("side IN ('asks', 'approves', 'both')", name="sides_known"),
        sa.CheckConstraint("(side = 'both') = (because IS NOT NULL)", name="sides_both_because"),
        sa.CheckConstraint("because IS NULL OR because = 'demo'", name="sides_because_demo"),
        sa.ForeignKeyConstraint(["because"], ["notes.name"], name="sides_of_a_demo"),
        sa.PrimaryKeyConstraint("person"),
        sa.UniqueConstraint("person", "side", name="sides_person_side"),
    )
    op.add_column("tokens", sa.Column("side", sa.Text(), nullable=True))
    op.add_column("tokens", sa.Column("mark", sa.LargeBinary(), nullable=True))
    _take_sides()
    with op.batch_alter_table("tokens") as tokens:
        tokens.create_foreign_key("tokens_side_of_person", "sides", ["person", "side"], ["person", "side"])
        for name, rule in TOKEN_RULES.items():
            tokens.create_check_constraint(name, sa.text(rule))
    if op.get_bind().dialect.name == "sqlite":
        for trigger in SQLITE_TRIGGERS:
            op.execute(sa.text(trigger))


def _take_sides() -> None:
    """Say of the tokens there are on which side they stand; one that has ended by itself is written down as ended."""
    now = ticks(datetime.now(UTC))
    ended = sa.text("UPDATE tokens SET revoked_at = expires_at WHERE revoked_at IS NULL AND expires_at <= :now")
    op.get_bind().execute(ended, {"now": now})
    found = op.get_bind().execute(sa.text("SELECT person, roles FROM tokens WHERE revoked_at IS NULL")).all()
    held: dict[bytes, set[str]] = {}
    for person, roles in found:
        held.setdefault(bytes(person), set()).update(SIDES[role] for role in roles.split() if role in SIDES)
    table = sa.table("sides", sa.column("person", sa.LargeBinary), sa.column("side"), sa.column("because"))
    tokens = sa.table("tokens", *map(sa.column, ("person", "roles", "side", "revoked_at")))
    for person, theirs in held.items():
        if not theirs:
            continue
        side = theirs.pop() if len(theirs) == 1 else "both"  # both: only a demo had such a person
        op.execute(sa.insert(table).values(person=person, side=side, because="demo" if side == "both" else None))
        sided = sa.or_(*(tokens.c.roles.contains(role) for role in SIDES))
        theirs_live = sa.and_(tokens.c.person == sa.bindparam("whose", person), tokens.c.revoked_at.is_(None), sided)
        op.execute(sa.update(tokens).where(theirs_live).values(side=side))


SIDES = {"approver": "approves", "officer": "asks", "counsel": "asks", "operator": "asks"}

TOKEN_RULES = {
    "tokens_approver_side": "revoked_at IS NOT NULL OR roles NOT LIKE '%approver%'"
    " OR COALESCE(side, '') IN ('approves', 'both')",
    "tokens_asking_side": "revoked_at IS NOT NULL OR (roles NOT LIKE '%officer%' AND roles NOT LIKE '%counsel%'"
    " AND roles NOT LIKE '%operator%') OR COALESCE(side, '') IN ('asks', 'both')",
}

# SQLite looks at foreign keys only where the connection asks it to; its triggers it obeys always.
SQLITE_TRIGGERS = (
    """CREATE TRIGGER tokens_side_added BEFORE INSERT ON tokens WHEN NEW.side IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM sides WHERE person = NEW.person AND side = NEW.side)
    BEGIN SELECT RAISE(ABORT, 'tokens_side_of_person'); END""",
    """CREATE TRIGGER tokens_side_changed BEFORE UPDATE ON tokens WHEN NEW.side IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM sides WHERE person = NEW.person AND side = NEW.side)
    BEGIN SELECT RAISE(ABORT, 'tokens_side_of_person'); END""",
    """CREATE TRIGGER sides_added BEFORE INSERT ON sides WHEN
    EXISTS (SELECT 1 FROM tokens WHERE person = NEW.person AND side <> NEW.side)
    OR (NEW.because IS NOT NULL AND NOT EXISTS (SELECT 1 FROM notes WHERE name = NEW.because))
    BEGIN SELECT RAISE(ABORT, 'tokens_side_of_person'); END""",
    """CREATE TRIGGER sides_changed BEFORE UPDATE ON sides WHEN
    EXISTS (SELECT 1 FROM tokens WHERE person = OLD.person AND (side <> NEW.side OR person <> NEW.person))
    OR (NEW.because IS NOT NULL AND NOT EXISTS (SELECT 1 FROM notes WHERE name = NEW.because))
    BEGIN SELECT RAISE(ABORT, 'tokens_side_of_person'); END""",
    """CREATE TRIGGER sides_removed BEFORE DELETE ON sides WHEN
    EXISTS (SELECT 1 FROM tokens WHERE person = OLD.person AND side IS NOT NULL)
    BEGIN SELECT RAISE(ABORT, 'tokens_side_of_person'); END""",
)
