"""A directory feed: records one a line, each with an outcome of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from textkeep.access import rules
from textkeep.access.principal import Action, Principal
from textkeep.archive.organisations import Organisations
from textkeep.directory.directory import Directory, Outcome
from textkeep.directory.records import Record, read_line
from textkeep.errors import Forbidden, Malformed, Refusal, TooLarge

MAX_FEED_BYTES: Final = 16 * 1024 * 1024
"""Bytes of one request that carries a directory feed."""

MAX_LINES: Final = 50_000
"""Records of one request that carries a directory feed."""


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one line; `index` counts records from 0, blank lines left out."""

    index: int
    outcome: Outcome | Literal["refused"]
    detail: str | None = None
    field: str | None = None


def may(organisations: Organisations, principal: Principal, action: Action, org_id: str) -> None:
    """Raise Forbidden unless the principal may; for an organisation nobody registered, only one of every organisation.

    So a principal of some organisations cannot find out which others there are.
    """
    handle = organisations.find(org_id)
    rules.require(principal, action, handle)
    if handle is None and principal.orgs is not None:
        raise Forbidden("the organisation is not among the token's")


def take(directory: Directory, organisations: Organisations, principal: Principal, feed: bytes) -> list[Line]:
    """Put every record of a feed, in order; a bad line is refused by itself and leaves the others as they are.

    Raises Forbidden where the principal may write no directory at all, and TooLarge over a limit.
    """
    rules.require(principal, "directory.write", None)
    lines = _lines(feed)
    records: list[Record | Refusal] = [_read(organisations, principal, line) for line in lines]
    outcomes = iter(directory.put_all([record for record in records if not isinstance(record, Refusal)]))
    return [
        _line(index, record if isinstance(record, Refusal) else next(outcomes)) for index, record in enumerate(records)
    ]


def _lines(feed: bytes) -> Sequence[bytes]:
    if len(feed) > MAX_FEED_BYTES:
        raise TooLarge(f"a directory feed has at most {MAX_FEED_BYTES} bytes a request")
    lines = [line for line in feed.split(b"\n") if line.strip()]
    if len(lines) > MAX_LINES:
        raise TooLarge(f"a directory feed has at most {MAX_LINES} records a request")
    return lines


def _read(organisations: Organisations, principal: Principal, line: bytes) -> Record | Refusal:
    try:
        record = read_line(line)
        may(organisations, principal, "directory.write", record.org_id)
    except (Malformed, Forbidden) as refusal:
        return refusal
    return record


def _line(index: int, outcome: Outcome | Refusal) -> Line:
    if isinstance(outcome, Refusal):
        return Line(index, "refused", outcome.detail, outcome.field)
    return Line(index, outcome)
