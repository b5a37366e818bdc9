"""What a purge report says: facts in, a document out.

A report holds handles, counts, roots and times, and no personal data. What the facts do not show is `unknown`; nothing
is filled in. The record is the canonical JSON (RFC 8785); its digest is the SHA-256 of exactly those bytes.
`docs/purge-report.md` explains every member to an auditor, and `ledger/report_form.py` reads what a verifier needs.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec
import rfc8785

from textkeep.archive.shelf import STATES, Day, is_kept
from textkeep.ledger.log import moment
from textkeep.retention.policy import RETENTION, policy_digest
from textkeep.retention.reports import parts
from textkeep.retention.reports.facts import SCHEDULE, Facts, Line, Overdue, PurgeRow, Verdict
from textkeep.retention.reports.named import BEFORE
from textkeep.retention.reports.parts import UNKNOWN, Document, or_unknown
from textkeep.retention.reports.provenance import build, crypto

FORMAT: Final = "textkeep-purge-report-v1"
STEPS: Final = STATES[1:]

CLAIM: Final = (
    "A cryptographic erase of logical records. Verified with its proof, this report shows: the ledger's key signed it,"
    " the ledger contains it, it has not changed since a witness (or the holder of an earlier checkpoint) saw it, and"
    " its sets and totals agree. It does not show that no copy of a key exists, that the source sent everything, or"
    " that what a producer sent is true; without a witness the ledger binds only those who lack its key."
)

NOT_COVERED: Final = (
    "the producer's topic, queues and own stores",
    "feed files that were loaded",
    "exports and pages that people have downloaded, printed or copied",
    "swap, core dumps and memory images of the hosts",
    "copies of the keyring and of its root key that an operator has made",
    "old blocks of the keyring's and root key's files on flash, copy-on-write and snapshotted storage",
)
"""What the erasure does not reach, said out loud."""

NO_RUN: Final = "no purge run was made on this day: the service was not running, or its schedule was not"


def canonical(document: Document) -> bytes:
    """The bytes of a report: RFC 8785."""
    return rfc8785.dumps(document)


def digest(content: bytes) -> str:
    """SHA-256 of a report's bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def verdict_of(lines: Iterable[Line]) -> Verdict:
    """`fail` where any line failed, else `unknown` where any is, else `pass`; what is not claimed does not count."""
    verdicts = {line.verdict for line in lines}
    worst: Sequence[Verdict] = ("fail", "unknown")
    return next((verdict for verdict in worst if verdict in verdicts), "pass")


def day_report(purge: PurgeRow, *, reported_at: datetime, previous: str | None) -> Document:
    """The report of a shelf's purge, of a day or of a release; `previous` is the digest of the report before it.

    `previous` is None for the first.
    """
    facts = purge.facts
    lines = [_step(facts, step) for step in STEPS]
    at = {**facts.at, "reported": moment(reported_at)}
    erased_at, why = parts.erased(facts)
    return {
        "format": FORMAT,
        "kind": "release" if is_kept(purge.shelf) else "day",
        "shelf": purge.shelf,
        "number": purge.number,
        "attempt": purge.attempt,
        "verdict": verdict_of((*lines, *facts.readback)),
        "claim": CLAIM,
        "signed": parts.signed(purge.shelf, facts),
        "witnesses": parts.witnesses(facts),
        "time": parts.time(facts),
        "time_token": parts.time_token(facts),
        "opened_at": moment(purge.opened_at),
        "committed_at": facts.at.get("committed", UNKNOWN),
        "closed_at": UNKNOWN if purge.closed_at is None else moment(purge.closed_at),
        "erased_at": erased_at,
        "erased_at_reason": why,
        "reported_at": moment(reported_at),
        "steps": [_step_document(facts, line, at.get(line.name, UNKNOWN)) for line in lines],
        "cutoff": _cutoff(purge.shelf, facts),
        **parts.counted(purge.shelf, facts),
        "holds": parts.holds(facts),
        "reviews_overdue": parts.overdue(facts.overdue),
        "keys": parts.keys(facts),
        "nodes": UNKNOWN if facts.evicted is None else msgspec.to_builtins(facts.evicted),
        "rows_dropped": or_unknown(facts.rows_dropped),
        "readback": [msgspec.to_builtins(line) for line in facts.readback] or UNKNOWN,
        "not_covered": list(NOT_COVERED),
        "responsible": parts.responsible(facts),
        **_made_by(previous),
    }


def missed_run_report(
    day: Day, waiting: Sequence[Day], overdue: Sequence[Overdue], *, reported_at: datetime, previous: str | None
) -> Document:
    """The report of a day on which no purge run was made; `waiting` are the days that were due and stayed."""
    return {
        "format": FORMAT,
        "kind": "missed-run",
        "day": day.shelf,
        "verdict": "fail",
        "reason": NO_RUN,
        "waiting": [each.shelf for each in waiting],
        "claim": CLAIM,
        "signed": {"says": parts.own_entry(f"missed-run-{day.shelf}")},
        "time": parts.HOST_CLOCK,
        "reported_at": moment(reported_at),
        "reviews_overdue": parts.overdue(overdue),
        "responsible": {"asked_by": SCHEDULE},
        **_made_by(previous),
    }


def _made_by(previous: str | None) -> Document:
    return {
        "build": build(),
        "crypto": crypto(),
        "policy": {"retention_days": RETENTION.days, "digest": policy_digest()},
        "previous": previous,
    }


def _step(facts: Facts, step: str) -> Line:
    if step == "reported":
        return Line(step, "pass", "written to database and folder; its digest is in the ledger entry `purge`")
    return facts.lines.get(step) or Line(step, "unknown", "nothing is on record of this step")


def _step_document(facts: Facts, line: Line, at: str) -> Document:
    return {
        "step": line.name,
        "verdict": line.verdict,
        "reason": line.reason,
        "at": at,
        "entry": parts.place(facts, line.name) if line.name in BEFORE else None,
    }


def _cutoff(shelf: str, facts: Facts) -> Document:
    return {
        "due_at": _due(shelf, facts),
        "told_by": or_unknown(facts.cutoff),
        "clocks": facts.clocks or UNKNOWN,
        "last_seen": or_unknown(facts.last_seen),
    }


def _due(shelf: str, facts: Facts) -> str:
    """When the 400 days of a day ended; for held texts, when the first of the releases took effect."""
    if not is_kept(shelf):
        return moment(Day.named(shelf).due())
    return min((each.effective_at for each in facts.released), default=UNKNOWN)
