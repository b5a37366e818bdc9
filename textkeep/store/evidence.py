"""The tables of evidence and of what people decide: ledger, holds, approvals, what is kept. Part of every schema.

Two persons, and 24 hours, are demanded by the database too: whoever writes past the service meets these constraints.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from textkeep.store.columns import Instant, metadata

DAY_TICKS: Final = 24 * 60 * 60 * 1_000_000
"""A day, in the microseconds that moments are stored in."""

leaves = Table(
    "leaves",
    metadata,
    Column("id", Text, primary_key=True),
    Column("shelf", Text, nullable=False, index=True),
    Column("hashes", LargeBinary, nullable=False),
)
"""The leaves of one slice, or of what one batch had quarantined on one shelf: 32 bytes each, in bytewise order.

Each is SHA-256(org handle || commitment), and the root over them is in the ledger entry that `id` is named by: a
slice's 16 hex digits, or `BATCH:SHELF`. Written with what they speak of, and kept when that is destroyed.
"""

tiles = Table(
    "tiles",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)
"""The ledger's Merkle tree as C2SP tlog-tiles: up to 256 hashes of 32 bytes a tile; only the last of a level grows."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("note", LargeBinary, nullable=False),
)
"""Signed checkpoints, by the size of the tree they name."""

cosignatures = Table(
    "cosignatures",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("witness", Text, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("line", Text, nullable=False),
)
"""What witnesses have signed: a signature line of a checkpoint's note."""

witnesses = Table(
    "witnesses",
    metadata,
    Column("name", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant),
)
"""Whose cosignatures are taken: the verifier key of each, and until when it was one."""

holds = Table(
    "holds",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", LargeBinary, nullable=False, index=True),
    Column("entry", BigInteger, nullable=False),
    Column("placed_by", LargeBinary, nullable=False),
    Column("placed_at", Instant, nullable=False),
    Column("review_at", Instant, nullable=False),
    Column("ends_at", Instant),
    Column("sealed", LargeBinary, nullable=False),
    CheckConstraint("review_at > placed_at", name="holds_review_later"),
    CheckConstraint(f"review_at <= placed_at + {180 * DAY_TICKS}", name="holds_review_within_180_days"),
)
"""Legal holds. In force until `ends_at`, which only a release sets; `entry` is the `seq` of the ledger entry."""

approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("org", LargeBinary),
    Column("subject", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("asked_by", LargeBinary, nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("decided_by", LargeBinary),
    Column("decided_at", Instant),
    Column("outcome", Text),
    Column("used_at", Instant),
    Column("sealed", LargeBinary, nullable=False),
    CheckConstraint("decided_by IS NULL OR decided_by <> asked_by", name="approvals_two_persons"),
    CheckConstraint("outcome IS NULL OR outcome IN ('approved', 'refused')", name="approvals_outcome"),
    CheckConstraint(
        "(outcome IS NULL) = (decided_by IS NULL) AND (outcome IS NULL) = (decided_at IS NULL)",
        name="approvals_decided",
    ),
    CheckConstraint("used_at IS NULL OR used_at < until", name="approvals_used_in_time"),
    CheckConstraint("used_at IS NULL OR COALESCE(outcome, '') = 'approved'", name="approvals_used_when_approved"),
    CheckConstraint("decided_at IS NULL OR decided_at < until", name="approvals_in_time"),
    CheckConstraint(f"until <= asked_at + {DAY_TICKS}", name="approvals_24_hours"),
)
"""What one person asks for and another one decides. `digest` is of the exact request, which `sealed` holds."""

releases = Table(
    "releases",
    metadata,
    Column("hold", Text, primary_key=True),
    Column("org", LargeBinary, nullable=False, index=True),
    Column("approval", Text, nullable=False, unique=True),
    Column("entry", BigInteger, nullable=False),
    Column("asked_by", LargeBinary, nullable=False),
    Column("approved_by", LargeBinary, nullable=False),
    Column("approved_at", Instant, nullable=False),
    Column("effective_at", Instant, nullable=False),
    Column("done_at", Instant),
    CheckConstraint("approved_by <> asked_by", name="releases_two_persons"),
    CheckConstraint(f"effective_at >= approved_at + {DAY_TICKS}", name="releases_after_24_hours"),
)
"""Holds that were released: what only they kept goes after `effective_at`, and was gone at `done_at`."""

kept_slices = Table(
    "kept_slices",
    metadata,
    Column("slice", BigInteger, primary_key=True, autoincrement=False),
    Column("shelf", Text, nullable=False, index=True),
    Column("source_shelf", Text, nullable=False, index=True),
    Column("source_slice", BigInteger, nullable=False),
)
"""From which slice of which shelf the texts of a slice on a `kept` shelf came."""

kept_papers = Table(
    "kept_papers",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("shelf", Text, primary_key=True),
    Column("source_shelf", Text, nullable=False, index=True),
)
"""From which shelf a quarantined or undecided record on a `kept` shelf came; its id is the one it had there."""

sides = Table(
    "sides",
    metadata,
    Column("person", LargeBinary, primary_key=True),
    Column("side", Text, nullable=False),
    Column("because", Text),
    UniqueConstraint("person", "side", name="sides_person_side"),
    ForeignKeyConstraint(["because"], ["notes.name"], name="sides_of_a_demo"),
    CheckConstraint("side IN ('asks', 'approves', 'both')", name="sides_known"),
    CheckConstraint("(side = 'both') = (because IS NOT NULL)", name="sides_both_because"),
    CheckConstraint("because IS NULL OR because = 'demo'", name="sides_because_demo"),
)
"""On which side of a two-person rule a person stands while they have a live token of that side's roles.

One row a person, and each such token refers to it: so nobody stands on two sides, whichever way a token came into the
database. `both` is for an archive of made-up texts, and refers to the note that marks one.
"""
