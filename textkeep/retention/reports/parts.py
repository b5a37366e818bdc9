"""The members of a purge report, each from the facts it rests on; `unknown` where they do not tell."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from textkeep.archive.shelf import Day, is_kept
from textkeep.ledger.note import Checkpoint, NoteRefused, parse
from textkeep.retention.counting.census import Census
from textkeep.retention.holds.in_force import HoldKept
from textkeep.retention.reports.facts import Checkpointed, Facts, Overdue, Released
from textkeep.retention.reports.named import of_hold, of_release

UNKNOWN: Final = "unknown"

HOST_CLOCK: Final = "host clock only"
NOT_STAMPED: Final = f"{HOST_CLOCK}: a time authority is set, and gave no token over the checkpoint with the decision"
STAMPED: Final = "host clock, and a time authority's token (RFC 3161) over the checkpoint with the decision"

NOTHING_SIGNED: Final = "nothing is signed in this archive: the report binds nobody who controls the database"

NOBODY_ASKED: Final = "it is not on record what copies of the keyring there are"

READ_AHEAD: Final = (
    "every row was counted, slice by slice, at the decision, and once more, slice by slice, in the transaction that"
    " dropped the table; a slice that had another number of rows then counts as lost. What the rows of a slice were was"
    " seen when it was read: a row of a slice read ahead that somebody with the database's own rights altered"
    " afterwards, without changing how many there are, is seen only where the slice was among those sampled"
)
"""What reading ahead shows and what it does not, said in each report."""

SENT_ON: Final = "by the name of the shelf; no text was opened to tell the first and the last"
SENT_ANY: Final = "held texts of many days; when each was sent is sealed with it"

SIGNED: Final = {"entries": "intent", "intent": "witnessed", "decision": "committed", "written": "reported"}
"""The checkpoints that a report names, and the step that waited for each."""

Document = dict[str, Any]


def or_unknown(found: Any) -> Any:
    """What was found; `unknown` where nothing was."""
    return UNKNOWN if found is None else found


def place(facts: Facts, name: str) -> int | str:
    """The place in the log of an entry that the report names; `unknown` where it is not known."""
    found: int | str = or_unknown(facts.indices.get(name))
    return found


def own_entry(name: str) -> str:
    """How the report itself is proved: nothing can hold the proof of its own bytes."""
    return f"The ledger's entry about this report comes after it, and is proved by {name}.tlog-proof beside it."


def signed(shelf: str, facts: Facts) -> Document:
    """In which signed checkpoints the entries were that this report rests on, when it was written."""
    found = {name: each for name, step in SIGNED.items() if (each := facts.checkpoints.get(step)) is not None}
    written = found.get("written")
    if written is None:
        says = NOTHING_SIGNED
    else:
        says = (
            f"When this report was written the signed checkpoint of {written.size} entries held every entry that it"
            f" names. {own_entry(shelf)}"
        )
    return {"says": says, "checkpoints": [_checkpoint(name, each) for name, each in found.items()]}


def _checkpoint(name: str, found: Checkpointed) -> Document:
    try:
        root = Checkpoint.parse(parse(found.note.encode()).text).root.hex()
    except NoteRefused:
        root = UNKNOWN
    said = {"of": name, "size": found.size, "root": root, "at": found.at}
    return {**said, "witnesses": found.witnesses, "note": found.note}


def time_token(facts: Facts) -> str | None:
    """The token of a time authority over the checkpoint with the decision, in base64, where one was got."""
    decided = facts.checkpoints.get("committed")
    return None if decided is None else decided.time_token


def witnesses(facts: Facts) -> Document | str:
    """Who was to cosign the intent, and who had."""
    found = facts.checkpoints.get("witnessed")
    return UNKNOWN if found is None else {"set": found.required, "cosigned": found.witnesses}


def time(facts: Facts) -> str:
    """By what the times can be told."""
    decided = facts.checkpoints.get("committed")
    if decided is None or not (decided.time_failed or decided.time_token):
        return HOST_CLOCK
    return NOT_STAMPED if decided.time_failed else STAMPED


def erased(facts: Facts) -> tuple[str, str]:
    """When no known copy of the keyring can be opened any more, and why that is the moment."""
    if facts.erased is None:
        return UNKNOWN, NOBODY_ASKED
    return or_unknown(facts.erased.erased_at), facts.erased.reason


def keys(facts: Facts) -> Document:
    """The destroyed secret, the ring before and after, and every copy of the ring that held it."""
    return {
        "commitment": or_unknown(facts.secret),
        "ring_before": or_unknown(msgspec.to_builtins(facts.ring_before)),
        "ring_after": or_unknown(msgspec.to_builtins(facts.ring_after)),
        "copies": UNKNOWN if facts.erased is None else [_copy(each) for each in facts.erased.copies],
    }


def _copy(copy: Any) -> Document:
    return {name: or_unknown(value) for name, value in msgspec.to_builtins(copy).items()}


def holds(facts: Facts) -> Document | str:
    """What the holds in force did with the shelf, each and all together."""
    if facts.holds is None:
        return UNKNOWN
    return {**msgspec.to_builtins(facts.holds), "holds": [_hold(facts, each) for each in facts.holds.holds]}


def _hold(facts: Facts, hold: HoldKept) -> Document:
    return {**msgspec.to_builtins(hold), "entry": place(facts, of_hold(hold.id))}


def overdue(found: Sequence[Overdue]) -> list[Document]:
    """The holds whose review is due."""
    return [{**msgspec.to_builtins(each), "entry": or_unknown(each.entry)} for each in found]


def responsible(facts: Facts) -> Document:
    """Who asked for the run, what they confirmed; and of a release who asked for it and who approved."""
    return {
        "asked_by": facts.asked_by or UNKNOWN,
        "confirmed_days": facts.confirmed_days,
        "releases": [_release(facts, each) for each in facts.released],
    }


def _release(facts: Facts, release: Released) -> Document:
    said = {name: or_unknown(value) for name, value in msgspec.to_builtins(release).items()}
    return {**said, "entry": place(facts, of_release(release.approval))}


def counted(shelf: str, facts: Facts) -> Document:
    """Everything that was counted at the decision, and again at the drop."""
    census = facts.census
    if census is None:
        names = ("totals", "organisations", "received", "slices", "roots", "quarantine", "refusals", "papers")
        return {**dict.fromkeys(names, UNKNOWN), "sent": _sent(shelf)}
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
        "organisations": [_organisation(each) for each in census.orgs],
        "sent": _sent(shelf),
        "received": {"first": census.first_received, "last": census.last_received},
        "slices": {
            "counted": census.slices,
            "entries": _places(census, "slices"),
            "differing": [msgspec.to_builtins(each) for each in census.differing],
            "read": UNKNOWN if census.reading is None else {**msgspec.to_builtins(census.reading), "shows": READ_AHEAD},
        },
        "roots": {
            "taken": census.taken_root,
            "found": census.found_root,
            "kept": census.kept_root,
            "destroyed": census.destroyed_root,
        },
        "quarantine": _quarantine(census),
        "refusals": {
            "count": census.refused,
            "reasons": census.refusal_reasons,
            "producers": census.refused_by_producer,
            "entries": _places(census, "refusals"),
        },
        "papers": census.papers,
    }


def _organisation(total: Any) -> Document:
    said: Document = msgspec.to_builtins(total)
    return said | {part: or_unknown(said[part]) for part in ("kept", "destroyed", "lost")}


def _sent(shelf: str) -> Document:
    """Between which moments the texts of a shelf were sent."""
    if is_kept(shelf):
        return {"from": UNKNOWN, "before": UNKNOWN, "told": SENT_ANY}
    day = Day.named(shelf)
    return {"from": day.start().date().isoformat(), "before": day.end().date().isoformat(), "told": SENT_ON}


def _quarantine(census: Census) -> Document:
    """Nothing waits any more when a report is written: what was not returned was kept or destroyed, or is missing."""
    kept = destroyed = lost = None
    if census.records_kept is not None and census.records_left is not None:
        left = census.quarantined - census.returned
        kept = min(left, census.records_kept)
        destroyed = min(left - kept, census.records_left)
        lost = left - kept - destroyed
    return {
        "taken": census.quarantined,
        "waiting": 0,
        "returned": census.returned,
        "kept": or_unknown(kept),
        "destroyed": or_unknown(destroyed),
        "lost": or_unknown(lost),
        "found": census.quarantine_found,
        "reasons": census.quarantine_reasons,
        "entries": _places(census, "quarantine"),
        "returned_entries": _places(census, "returned"),
    }


def _places(census: Census, name: str) -> list[list[int]] | str:
    """The spans of places in the log of what was counted."""
    spans = census.places.get(name)
    return UNKNOWN if spans is None else [list(span) for span in spans]
