"""The form of a report, as far as a verifier needs it: its members by path, of the right kind or refused. Pure."""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from .canonical import NotCanonical, read
from .step import Failed, NotShown

FORMATS: Final = frozenset({"textkeep-purge-report-v1"})
KINDS: Final = frozenset({"day", "release", "missed-run"})
UNKNOWN: Final = "unknown"

RETENTION_DAYS: Final = 400
"""How long a text is readable: a constant of the archive, and of whoever checks it."""

MOST_ENTRIES: Final = 20_000_000
"""How many ledger entries one report may name."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)

Document = dict[str, Any]


def parse_report(content: bytes) -> Document:
    """A report whose format, kind, name, verdict and digests are of their form. Raises Failed."""
    try:
        document = read(content)
    except NotCanonical as refused:
        raise Failed(str(refused)) from None
    if text(document, "format") not in FORMATS:
        raise Failed("its format is not one that this verifier knows")
    if text(document, "kind") not in KINDS:
        raise Failed("its kind is not one that this verifier knows")
    if text(document, "verdict") not in ("pass", "fail", "unknown"):
        raise Failed("its verdict is neither pass nor fail nor unknown")
    name_of(document)
    if document.get("previous", "") is not None:
        digest(document, "previous")
    if document["kind"] != "missed-run" and number(document, "number") < 1:
        raise Failed("its number is not 1 or more")
    return document


def name_of(document: Mapping[str, Any]) -> str:
    """What a report is called: its shelf, or `missed-run-DAY`. Raises Failed."""
    if document["kind"] == "missed-run":
        return f"missed-run-{day(text(document, 'day'))}"
    shelf = text(document, "shelf")
    if document["kind"] == "day":
        day(shelf)
    return shelf


def day(written: str) -> date:
    """A calendar day, YYYY-MM-DD. Raises Failed."""
    try:
        found = date.fromisoformat(written)
    except ValueError:
        raise Failed("a day is not written YYYY-MM-DD") from None
    if found.isoformat() != written:
        raise Failed("a day is not written YYYY-MM-DD")
    return found


def moment(written: str) -> datetime:
    """A moment in UTC, RFC 3339 with `Z`. Raises Failed."""
    try:
        found = datetime.fromisoformat(written) if _MOMENT.fullmatch(written) else None
    except ValueError:
        found = None
    if found is None:
        raise Failed("a moment is not written as RFC 3339 in UTC")
    return found


def due(of: date) -> datetime:
    """The first moment at which every text of a day is 400 days old."""
    return datetime.fromisoformat(f"{of.isoformat()}T00:00:00Z") + timedelta(days=1 + RETENTION_DAYS)


def member(document: Mapping[str, Any], path: str) -> Any:
    """A member by its path, `a.b`. Raises NotShown where it or one above it says `unknown`, Failed where it is not."""
    found: Any = document
    for name in path.split("."):
        if found == UNKNOWN:
            raise NotShown(f"the report says that {path} is unknown")
        if not isinstance(found, Mapping) or name not in found:
            raise Failed(f"the report has no {path}")
        found = found[name]
    if found == UNKNOWN:
        raise NotShown(f"the report says that {path} is unknown")
    return found


def number(document: Mapping[str, Any], path: str) -> int:
    """A count. Raises Failed where it is none, NotShown where it is unknown."""
    found = member(document, path)
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise Failed(f"{path} is no count")
    return found


def text(document: Mapping[str, Any], path: str) -> str:
    """A string, `unknown` among them. Raises Failed."""
    found = document.get(path)
    if not isinstance(found, str):
        raise Failed(f"{path} is missing or no string")
    return found


def digest(document: Mapping[str, Any], path: str) -> str:
    """A SHA-256 in hex. Raises Failed where it is none, NotShown where it is unknown."""
    found = member(document, path)
    if not isinstance(found, str) or not _DIGEST.fullmatch(found):
        raise Failed(f"{path} is no SHA-256 in hex")
    return found


def counts(document: Mapping[str, Any], path: str) -> dict[str, int]:
    """Counts by name. Raises like `number`."""
    found = member(document, path)
    if not isinstance(found, Mapping):
        raise Failed(f"{path} is not a set of counts")
    return {name: number(found, name) for name in found}


def items(document: Mapping[str, Any], path: str) -> list[Mapping[str, Any]]:
    """A list of objects. Raises like `number`."""
    found = member(document, path)
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise Failed(f"{path} is not a list of objects")
    return found


def indices(document: Mapping[str, Any], path: str) -> list[int]:
    """Ledger indices from a list of [first, last], ascending. Raises like `number`."""
    found = member(document, path)
    last = -1
    spread: list[int] = []
    if not isinstance(found, list):
        raise Failed(f"{path} is not a list of spans")
    for span in found:
        if not isinstance(span, list) or len(span) != 2 or any(type(each) is not int for each in span):
            raise Failed(f"{path} is not a list of spans")
        first, end = span
        if not last < first <= end < first + MOST_ENTRIES - len(spread):
            raise Failed(f"{path} has spans out of order, or that overlap, or more entries than are looked at")
        spread += range(first, end + 1)
        last = end
    return spread
