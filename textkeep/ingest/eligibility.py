"""What becomes of a record: the rules of the texting service, in the order of the outcomes table. Pure.

The table is in docs/outcomes.md. Row 1 is the door's; rows 7 and 8 (duplicate, version) are the vault's, which alone
knows what is stored, and which decides row 4 again under the shelf's lock: what a legal hold covers is set aside there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from textkeep.archive.shelf import expired
from textkeep.archive.text import Text
from textkeep.directory.requirements import Facts, missing
from textkeep.ingest.wire import Parsed, Rejected

AHEAD_BY: Final = timedelta(minutes=10)
"""How far in the future a text may say that it was sent: what clocks differ by."""

LATE_BY: Final = timedelta(days=7)
"""How long after it was sent a text may come before that is flagged."""

SMS: Final = "sms"
MMS: Final = "mms"

Reason = Literal[
    "unreadable",
    "malformed",
    "too-long",
    "unknown-organisation",
    "expired",
    "future",
    "mms",
    "group",
    "international",
    "channel",
]

FLAGS: Final = (
    "texting-off",
    "no-number",
    "unknown-user",
    "not-own-number",
    "foreign-location",
    "foreign-pstn",
    "old-app",
    "no-plan",
    "no-add-on",
    "not-registered",
    "not-enterprise",
    "healthcare",
    "late",
)
"""What may be amiss with a text that is accepted all the same, in the order in which it is told."""

_ORDER: Final = {flag: at for at, flag in enumerate(FLAGS)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with a record, and why; `field` is the member that is amiss, where it is one."""

    kind: Literal["accept", "quarantine", "refuse"]
    reason: Reason | None = None
    field: str | None = None
    flags: tuple[str, ...] = ()


ACCEPT: Final = Verdict("accept")
_EXPIRED: Final = Verdict("refuse", "expired", "data.sent_at")
_UNKNOWN: Final = Verdict("quarantine", "unknown-organisation", "data.org_id")
_FUTURE: Final = Verdict("quarantine", "future", "data.sent_at")
_MMS: Final = Verdict("quarantine", "mms", "data.channel")
_GROUP: Final = Verdict("quarantine", "group")
_INTERNATIONAL: Final = Verdict("quarantine", "international")
_CHANNEL: Final = Verdict("quarantine", "channel", "data.channel")


def decide(record: Parsed | Rejected, facts: Facts | None, now: datetime) -> Verdict:
    """The verdict on a record received at `now`: the first row that applies wins.

    `facts` are those as of the moment it was sent; None where its organisation is not registered or not the caller's.
    """
    if isinstance(record, Rejected):
        return Verdict("quarantine", record.reason, record.field)
    if facts is None:
        return _UNKNOWN
    if expired(record.sent_at, now):
        return _EXPIRED
    if record.sent_at - now > AHEAD_BY:
        return _FUTURE
    text = record.event.data
    if record.group or record.international or text.channel != SMS:
        return _not_domestic_sms(record)
    flags = flags_of(text, facts, record.sent_at, now)
    return Verdict("accept", flags=flags) if flags else ACCEPT


def flags_of(text: Text, facts: Facts, sent_at: datetime, now: datetime) -> tuple[str, ...]:
    """What is amiss with a business text, as of the moment it was sent."""
    found: list[str] = list(missing(facts, outbound=text.direction == "outbound", app_version=text.app_version))
    user = facts.user
    if user is not None and user.number is not None and user.number != text.own_number:
        found.append("not-own-number")
    if facts.org.healthcare:
        found.append("healthcare")
    if now - sent_at > LATE_BY:
        found.append("late")
    return tuple(sorted(found, key=_ORDER.__getitem__)) if len(found) > 1 else tuple(found)


def _not_domestic_sms(record: Parsed) -> Verdict:
    if record.event.data.channel.casefold() == MMS:
        return _MMS
    if record.group:
        return _GROUP
    return _INTERNATIONAL if record.international else _CHANNEL
