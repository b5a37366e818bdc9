"""What each member of a purge report is called in plain words, and the order in which people read them. Pure.

A path names a member: `a.b` is a member of an object, `a[].b` one of each object of a list, `a.*` each of a set of
counts or times by name. `docs/purge-report.md` explains each of these paths under these words, and a test holds the two
together; HTML and PDF show them under these words.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

SECTIONS: Final[tuple[tuple[str, Mapping[str, str]], ...]] = (
    (
        "What this is",
        {
            "format": "Format",
            "kind": "Kind of report",
            "shelf": "Shelf",
            "day": "Day without a run",
            "number": "Number of the purge",
            "attempt": "Attempts",
            "verdict": "Verdict",
            "reason": "Reason",
            "waiting[]": "Days that were due and stayed",
            "claim": "What is claimed",
            "previous": "Digest of the report before",
        },
    ),
    (
        "When",
        {
            "opened_at": "Opened",
            "committed_at": "Point of no return",
            "closed_at": "Closed",
            "erased_at": "Erased",
            "erased_at_reason": "Why erased then",
            "reported_at": "Reported",
            "time": "Time told by",
            "time_token": "Time token",
            "cutoff.due_at": "Due from",
            "cutoff.told_by": "Earliest clock",
            "cutoff.clocks.*": "Clock",
            "cutoff.last_seen": "Last time seen before",
        },
    ),
    (
        "Steps",
        {
            "steps[].step": "Step",
            "steps[].verdict": "Verdict",
            "steps[].reason": "Reason",
            "steps[].at": "Done at",
            "steps[].entry": "Ledger entry",
        },
    ),
    (
        "Texts",
        {
            "totals.taken": "Taken",
            "totals.versions": "Of these, versions",
            "totals.kept": "Kept",
            "totals.destroyed": "Destroyed",
            "totals.lost": "Lost",
            "totals.found": "Found",
            "totals.strays": "Strays",
            "organisations[].org": "Organisation",
            "organisations[].taken_texts": "Texts taken",
            "organisations[].taken_versions": "Versions taken",
            "organisations[].kept": "Kept",
            "organisations[].destroyed": "Destroyed",
            "organisations[].lost": "Lost",
            "organisations[].found": "Found",
            "organisations[].first_received": "First received",
            "organisations[].last_received": "Last received",
            "sent.from": "Sent from",
            "sent.before": "Sent before",
            "sent.told": "How that is known",
            "received.first": "First received",
            "received.last": "Last received",
            "roots.taken": "Root of what was taken",
            "roots.found": "Root of what was found",
            "roots.kept": "Root of what was kept",
            "roots.destroyed": "Root of what was destroyed",
            "rows_dropped.*": "Rows dropped",
        },
    ),
    (
        "Slices",
        {
            "slices.counted": "Slices counted",
            "slices.entries[]": "Ledger entries of slices",
            "slices.differing[].slice": "Slice that differs",
            "slices.differing[].taken": "Taken",
            "slices.differing[].found": "Found",
            "slices.differing[].taken_root": "Root taken",
            "slices.differing[].found_root": "Root found",
            "slices.read.ahead": "Read ahead",
            "slices.read.first": "First read ahead",
            "slices.read.last": "Last read ahead",
            "slices.read.sampled": "Read again by chance",
            "slices.read.altered": "Altered since",
            "slices.read.at_decision": "Read at the decision",
            "slices.read.shows": "What that shows",
        },
    ),
    (
        "Quarantine, refusals and other papers",
        {
            "quarantine.taken": "Quarantined",
            "quarantine.waiting": "Still waiting",
            "quarantine.returned": "Returned",
            "quarantine.kept": "Quarantined and kept",
            "quarantine.destroyed": "Quarantined and destroyed",
            "quarantine.lost": "Quarantined and lost",
            "quarantine.found": "Quarantined and found",
            "quarantine.reasons.*": "Quarantined for",
            "quarantine.entries[]": "Ledger entries of quarantine",
            "quarantine.returned_entries[]": "Ledger entries of returns",
            "refusals.count": "Late arrivals refused",
            "refusals.reasons.*": "Refused for",
            "refusals.producers.*": "Refused from producer",
            "refusals.entries[]": "Ledger entries of refusals",
            "papers.*": "Papers on the shelf",
        },
    ),
    (
        "Legal holds",
        {
            "holds.digest": "Digest of the holds in force",
            "holds.examined": "Texts looked at",
            "holds.kept": "Texts held",
            "holds.undecided": "Texts undecided",
            "holds.slices[]": "Slices with undecided texts",
            "holds.records_examined": "Records looked at",
            "holds.records_kept": "Records held",
            "holds.records_undecided": "Records undecided",
            "holds.holds[].id": "Hold",
            "holds.holds[].entry": "Ledger entry",
            "holds.holds[].examined": "Texts looked at",
            "holds.holds[].kept": "Texts held",
            "holds.holds[].undecided": "Undecided",
            "holds.holds[].records": "Records held",
            "holds.holds[].review_overdue": "Review overdue",
            "reviews_overdue[].hold": "Hold to be reviewed",
            "reviews_overdue[].org": "Organisation",
            "reviews_overdue[].entry": "Ledger entry",
            "reviews_overdue[].review_at": "Review was due",
        },
    ),
    (
        "Keys",
        {
            "keys.commitment": "Commitment of the secret",
            "keys.ring_before.generation": "Ring before, generation",
            "keys.ring_before.root": "Ring before, root",
            "keys.ring_before.root_kind": "Ring before, kind of root",
            "keys.ring_after.generation": "Ring after, generation",
            "keys.ring_after.root": "Ring after, root",
            "keys.ring_after.root_kind": "Ring after, kind of root",
            "keys.copies[].id": "Backup of the keyring",
            "keys.copies[].made_at": "Made",
            "keys.copies[].expires_at": "Expires",
            "keys.copies[].root_kind": "Kind of root",
            "keys.copies[].ends_at": "Opens for nobody from",
            "nodes.generation": "Generation that processes confirm",
            "nodes.confirmed[]": "Processes that confirmed",
            "nodes.expired[]": "Processes whose lease ran out",
            "nodes.waiting[]": "Processes that did not confirm",
        },
    ),
    (
        "Read back",
        {
            "readback[].name": "What was looked at",
            "readback[].verdict": "Verdict",
            "readback[].reason": "Reason",
        },
    ),
    (
        "Ledger and witnesses",
        {
            "signed.says": "How it is signed",
            "signed.checkpoints[].of": "Checkpoint with",
            "signed.checkpoints[].size": "Entries",
            "signed.checkpoints[].root": "Root",
            "signed.checkpoints[].at": "Signed at",
            "signed.checkpoints[].witnesses": "Cosigned by",
            "signed.checkpoints[].note": "Note",
            "witnesses.set[]": "Witnesses that are set",
            "witnesses.cosigned[]": "Witnesses that cosigned the intent",
        },
    ),
    (
        "Responsible",
        {
            "responsible.asked_by": "Run asked for by",
            "responsible.confirmed_days": "Days that a person confirmed",
            "responsible.releases[].hold": "Hold released",
            "responsible.releases[].approval": "Approval",
            "responsible.releases[].entry": "Ledger entry",
            "responsible.releases[].asked_by": "Asked for by",
            "responsible.releases[].approved_by": "Approved by",
            "responsible.releases[].approved_at": "Approved at",
            "responsible.releases[].effective_at": "Effective from",
        },
    ),
    (
        "Program and rule",
        {
            "build.version": "Version",
            "build.digest": "Digest of the program",
            "crypto.module": "Cryptographic module",
            "crypto.version": "Its version",
            "crypto.library": "Library",
            "crypto.validated": "Validation",
            "policy.retention_days": "Retention, days",
            "policy.digest": "Digest of the rule",
        },
    ),
    ("Not covered", {"not_covered[]": "The erasure does not reach"}),
)
"""The sections of a report, and in each the members by path, with what each is called."""

FIELDS: Final[Mapping[str, str]] = {path: words for _, fields in SECTIONS for path, words in fields.items()}

_NAMED: Final = frozenset(path.removesuffix(".*") for path in FIELDS if path.endswith(".*"))
_SPANS: Final = frozenset(path.removesuffix("[]") for path in FIELDS if path.endswith("entries[]"))


def paths(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value of a report with the path of its member.

    Of an empty list, and of an object that is `unknown`, there is one value: it stands under the path of all of it.
    """
    return _paths(document, "")


def _paths(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and (value or path not in _NAMED):
        for name, each in value.items():
            yield from _paths(each, f"{path}.*" if path in _NAMED else f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list) and value and path not in _SPANS and path not in FIELDS:
        for each in value:
            yield from _paths(each, f"{path}[]")
    else:
        yield next((each for each in (path, f"{path}[]", f"{path}.*") if each in FIELDS), path), value
