"""What a purge report says: facts in, a document out.

A report holds handles, counts, roots and times, and no personal data. What the facts do not show is `unknown`; nothing
is filled in. The record is the canonical JSON (RFC 8785); its digest is the SHA-256 of exactly those bytes.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import rfc8785

from textkeep.archive.shelf import STATES, Day
from textkeep.ledger.log import moment
from textkeep.retention.census import Census
from textkeep.retention.facts import SCHEDULE, Facts, Line, PurgeRow, Verdict
from textkeep.retention.policy import RETENTION, policy_digest
from textkeep.retention.provenance import build, crypto

FORMAT: Final = "textkeep-purge-report-v1"
UNKNOWN: Final = "unknown"
STEPS: Final = STATES[1:]

CLAIM: Final = (
    "A cryptographic erase of logical records. This report is not signed yet and no witness has seen it: it binds"
    " nobody who controls the keyring's host or the database. It does not show that no copy of a key exists, that the"
    " source sent everything, or that what a producer sent is true."
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

ERASED_REASON: Final = (
    "whether a copy of the keyring exists outside this archive is not known to it; a person must delete such a copy"
    " together with the root key that seals it"
)

READ_AHEAD: Final = (
    "every row was counted, slice by slice, at the decision, and once more in all when the table was dropped. What the"
    " rows of a slice were was seen when it was read: a row of a slice read ahead that somebody with the database's own"
    " rights altered afterwards, without changing how many there are, is seen only where the slice was among those"
    " sampled"
)
"""What reading ahead shows and what it does not, said in each report."""

Document = dict[str, Any]


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
    """The report of a day's purge; `previous` is the digest of the report before it, None for the first."""
    facts = purge.facts
    lines = [_step(facts, step) for step in STEPS]
    return {
        "format": FORMAT,
        "kind": "day",
        "shelf": purge.shelf,
        "number": purge.number,
        "attempt": purge.attempt,
        "verdict": verdict_of((*lines, *facts.readback)),
        "claim": CLAIM,
        "signed": "not signed yet",
        "witness": "none",
        "time": "host clock only",
        "opened_at": moment(purge.opened_at),
        "committed_at": facts.at.get("committed", UNKNOWN),
        "closed_at": UNKNOWN if purge.closed_at is None else moment(purge.closed_at),
        "erased_at": UNKNOWN,
        "erased_at_reason": ERASED_REASON,
        "reported_at": moment(reported_at),
        "steps": [_step_document(facts, line) for line in lines],
        "cutoff": _cutoff(purge.shelf, facts),
        **_census(facts.census),
        "holds": UNKNOWN if facts.holds is None else msgspec.to_builtins(facts.holds),
        "keys": _keys(facts),
        "nodes": UNKNOWN if facts.evicted is None else msgspec.to_builtins(facts.evicted),
        "rows_dropped": _or_unknown(facts.rows_dropped),
        "readback": [msgspec.to_builtins(line) for line in facts.readback] or UNKNOWN,
        "not_covered": list(NOT_COVERED),
        "responsible": {"asked_by": facts.asked_by or UNKNOWN, "confirmed_days": facts.confirmed_days},
        **_made_by(previous),
    }


def missed_run_report(day: Day, waiting: Sequence[Day], *, reported_at: datetime, previous: str | None) -> Document:
    """The report of a day on which no purge run was made; `waiting` are the days that were due and stayed."""
    return {
        "format": FORMAT,
        "kind": "missed-run",
        "day": day.shelf,
        "verdict": "fail",
        "reason": "no purge run was made on this day: the service was not running, or its schedule was not",
        "waiting": [each.shelf for each in waiting],
        "signed": "not signed yet",
        "witness": "none",
        "time": "host clock only",
        "reported_at": moment(reported_at),
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


def _step_document(facts: Facts, line: Line) -> Document:
    return {
        "step": line.name,
        "verdict": line.verdict,
        "reason": line.reason,
        "at": facts.at.get(line.name, UNKNOWN),
        "entry": facts.entries.get(line.name),
    }


def _cutoff(shelf: str, facts: Facts) -> Document:
    return {
        "due_at": moment(Day.named(shelf).due()),
        "told_by": _or_unknown(facts.cutoff),
        "clocks": facts.clocks or UNKNOWN,
        "last_seen": _or_unknown(facts.last_seen),
    }


def _census(census: Census | None) -> Document:
    if census is None:
        names = ("totals", "organisations", "received", "slices", "roots", "quarantine", "refusals", "papers")
        return dict.fromkeys(names, UNKNOWN)
    return {
        "totals": {
            "taken": census.taken,
            "versions": census.versions,
            "kept": census.kept,
            "destroyed": census.destroyed,
            "lost": census.lost,
            "found": census.found,
            "strays": census.strays,
        },
        "organisations": [msgspec.to_builtins(each) for each in census.orgs],
        "received": {"first": census.first_received, "last": census.last_received},
        "slices": {
            "counted": census.slices,
            "entries": [list(span) for span in census.entries],
            "differing": [msgspec.to_builtins(each) for each in census.differing],
            "read": UNKNOWN if census.reading is None else {**msgspec.to_builtins(census.reading), "shows": READ_AHEAD},
        },
        "roots": {
            "taken": census.taken_root,
            "found": census.found_root,
            "kept": census.kept_root,
            "destroyed": census.destroyed_root,
        },
        "quarantine": {
            "taken": census.quarantined,
            "found": census.quarantine_found,
            "reasons": census.quarantine_reasons,
            "entries": [list(span) for span in census.quarantine_entries],
        },
        "refusals": {
            "count": census.refused,
            "reasons": census.refusal_reasons,
            "producers": census.refused_by_producer,
            "entries": [list(span) for span in census.refusal_entries],
        },
        "papers": census.papers,
    }


def _keys(facts: Facts) -> Document:
    return {
        "commitment": _or_unknown(facts.secret),
        "ring_before": _or_unknown(msgspec.to_builtins(facts.ring_before)),
        "ring_after": _or_unknown(msgspec.to_builtins(facts.ring_after)),
        "copies": UNKNOWN,
        "copies_reason": "this version makes no backup of the keyring; an operator's own copies are not known to it",
    }


def _or_unknown(found: Any) -> Any:
    return UNKNOWN if found is None else found
