"""What is wrong with the ledger: what is not signed and why, a key that is missing, witnesses that are silent."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from textkeep.errors import Outage, TextkeepError
from textkeep.ledger.standing import Standing
from textkeep.ledger.state import Forked, KeyMissing
from textkeep.service.doctor import Finding, some

SIGNED_LATE: Final = timedelta(minutes=1)
"""How long an entry may wait; a process that keeps signs it within 2 seconds."""

SILENT: Final = timedelta(hours=26)
"""A day is closed each day, and a purge signs: after this nobody signs any more, or a witness has stopped looking."""

NAMED: Final = 3
"""How many witnesses a finding names."""


def check_ledger(found: Standing | TextkeepError, now: datetime) -> Iterator[Finding]:
    """Every check of the ledger, by how it stands; an error is why that cannot be told."""
    if isinstance(found, TextkeepError):
        remedy = found.remedy or "Start its engine, then look again."
        yield Finding("ledger", "warn" if isinstance(found, Outage) else "fail", found.detail, remedy)
        return
    yield check_key(found)
    yield check_signing(found, now)
    yield check_witnesses(found, now)


def check_key(found: Standing) -> Finding:
    """The ledger's private key is where the process that keeps looks for it."""
    if found.key_missing:
        what = "the ledger's key is not there: nothing is signed, and nothing purged"
        return Finding("ledger key", "fail", what, KeyMissing.remedy)
    if found.signed_at is None:
        return Finding("ledger key", "ok", "there is none yet: the first process that keeps makes it")
    if found.key_missing is None:
        return Finding("ledger key", "ok", "only a process that keeps can tell")
    return Finding("ledger key", "ok", "it is there; keep a copy of it elsewhere")


def check_signing(found: Standing, now: datetime) -> Finding:
    """What is committed is signed soon after."""
    if found.refused is not None:
        return Finding("ledger", "fail", f"nothing is signed any more: {found.refused}", Forked.remedy)
    remedy = "`textkeep up` or `keep` signs within 2 seconds, `textkeep purge` now: does one run? If so, see its log."
    since = found.waiting_since
    late = timedelta() if since is None else now - since
    if late > SIGNED_LATE:
        what = f"{found.waiting} entries wait to be signed, the oldest for {_for(late)}"
        return Finding("ledger", "fail" if late > SILENT else "warn", what, remedy)
    if found.signed_at is None:
        return Finding("ledger", "ok", "nothing is signed yet")
    age = now - found.signed_at
    if age > SILENT:
        return Finding("ledger", "warn", f"the last checkpoint is {_for(age)} old: no day was closed since", remedy)
    return Finding("ledger", "ok", f"signed; {found.waiting} entries of the last minute wait")


def check_witnesses(found: Standing, now: datetime) -> Finding:
    """Where witnesses are set, they cosign: without one of them no purge goes on."""
    silent = [name for name, at in found.heard.items() if now - at > SILENT]
    if not found.heard:
        return Finding("witnesses", "ok", "none is set: the ledger binds only those who lack its key")
    if not silent:
        return Finding("witnesses", "ok", f"{len(found.heard)} set, each was heard of within {_for(SILENT)}")
    what = f"silent for more than {_for(SILENT)}: {some(silent, NAMED)}"
    remedy = (
        "Ask who runs it whether `textkeep ledger witness` still does, and what it found. One that is gone for good:"
        " `textkeep ledger witnesses --remove KEY`."
    )
    if len(silent) == len(found.heard):
        return Finding("witnesses", "fail", f"{what}; a purge waits until one cosigns", remedy)
    return Finding("witnesses", "warn", what, remedy)


def _for(span: timedelta) -> str:
    if span < timedelta(minutes=2):
        return f"{span.total_seconds():.0f} s"
    if span < timedelta(hours=2):
        return f"{span / timedelta(minutes=1):.0f} minutes"
    return f"{span / timedelta(hours=1):.0f} hours"
