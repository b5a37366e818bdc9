"""What people write for a telephone number, a day or an instant, read into one form. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

HOME: Final = "US"
"""The region whose usual spellings need no country code; Canada writes them alike."""

INSTANT: Final = timedelta(seconds=1)
"""How long an instant lasts: people write them to the second."""

DAY: Final = timedelta(days=1)

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SHORT_CODE = re.compile(r"[0-9]{5,6}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?[0-9]*(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def as_number(written: str) -> str | None:
    """A telephone number in any usual spelling as E.164, a short code as its digits; None for what is neither."""
    written = written.strip()
    if _E164.fullmatch(written) or _SHORT_CODE.fullmatch(written):
        return written
    try:
        parsed = phonenumbers.parse(written, HOME)
    except NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed) or parsed.extension:
        return None
    return str(phonenumbers.format_number(parsed, PhoneNumberFormat.E164))


def as_span(written: str) -> tuple[datetime, datetime] | None:
    """A UTC day (`2026-11-22`) or an instant (RFC 3339) as the time from its start to its end; None for neither."""
    lasts = DAY if _DAY.fullmatch(written) else INSTANT if _INSTANT.fullmatch(written) else None
    if lasts is None:
        return None
    try:
        moment = datetime.fromisoformat(written.upper())
        start = moment.replace(tzinfo=UTC) if lasts is DAY else moment.astimezone(UTC)
        return start, start + lasts
    except (ValueError, OverflowError):
        return None
