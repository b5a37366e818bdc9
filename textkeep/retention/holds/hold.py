"""The legal hold: what it is, and what it covers. Pure, exact, and never decided by the index.

A scope names an organisation and whatever narrows it: users, numbers, conversations, dates, a query. Of each the text
must fit one, and it must fit all of them. What cannot be read or decided counts as covered.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final

import msgspec

from textkeep.archive.text import HOUSE, UNDECIDED, Event, Handle, Text
from textkeep.errors import Malformed, QueryMalformed
from textkeep.ingest.eligibility import AHEAD_BY
from textkeep.ingest.wire import Parsed, Rejected, parse
from textkeep.search import match
from textkeep.search.query import All, Attribute, Either, Not, Query
from textkeep.search.query import parse as parse_query
from textkeep.search.values import as_number, as_span
from textkeep.search.words import fold

REVIEW_WITHIN: Final = timedelta(days=180)
"""How far ahead of its placing the review of a hold may be set."""

ENDS_AFTER: Final = timedelta(hours=24)
"""How long after its release was approved a hold still keeps."""

MOST_NAMED: Final = 500
"""How many users, numbers or conversations one scope may name."""

MOST_READINGS: Final = 1_000
"""How many pairs of sender and receiver of one group record are looked at; one with more counts as covered."""

_FAR: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, repr=False)
class Scope:
    """What a hold covers. `after` is the first moment, `before` the first one no longer; None is no bound.

    Numbers are E.164 or short codes, a conversation is two of them in any order, `query` is of the language of
    docs/search.md. Raises QueryMalformed for one that is not.
    """

    org_id: str
    users: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    conversations: tuple[tuple[str, str], ...] = ()
    after: datetime | None = None
    before: datetime | None = None
    query: str | None = None
    asked: Query | None = field(init=False, compare=False)
    span: match.Span = field(init=False, compare=False)
    """From, and before: outside of it no text is covered."""
    folded: frozenset[str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        asked = None if self.query is None else parse_query(self.query)
        own = (self.after, self.before)
        object.__setattr__(self, "asked", asked)
        object.__setattr__(self, "span", own if asked is None else match.common((own, match.span(asked))))
        object.__setattr__(self, "folded", frozenset(fold(user).strip() for user in self.users))

    def __repr__(self) -> str:
        return "Scope()"

    def written(self) -> dict[str, Any]:
        """The scope as JSON; `scope_of` reads it."""
        said: dict[str, Any] = {"org_id": self.org_id}
        for name in ("users", "numbers", "conversations"):
            if getattr(self, name):
                said[name] = [list(each) if isinstance(each, tuple) else each for each in getattr(self, name)]
        for name in ("after", "before"):
            at: datetime | None = getattr(self, name)
            if at is not None:
                said[name] = written(at)
        return {**said, "query": self.query} if self.query is not None else said


@dataclass(frozen=True, slots=True, repr=False)
class Hold:
    """A legal hold. It never changes; `ends_at` is set by its release alone, and until then it keeps.

    `placed_by` is a person's handle, `digest` a salted commitment to the definition, which the ledger holds, `entry`
    the `seq` of that entry. One that does not open has no matter and no reason, and covers its whole organisation.
    """

    id: str
    org: Handle
    matter: str
    reason: str
    scope: Scope
    placed_by: bytes
    placed_at: datetime
    review_at: datetime
    digest: bytes = b""
    entry: int = 0
    ends_at: datetime | None = None
    unreadable: bool = False

    def __repr__(self) -> str:
        return f"Hold({self.id})"

    def in_force(self, at: datetime) -> bool:
        """Whether it keeps what it covers at a moment."""
        return self.ends_at is None or at < self.ends_at

    def overdue(self, at: datetime) -> bool:
        """Whether it is in force and its review is due. It does not end by that."""
        return self.in_force(at) and self.review_at <= at


def scope_of(said: Mapping[str, Any]) -> Scope:
    """The scope that a request describes, every member in its one form.

    Raises Malformed or QueryMalformed, naming the member and never its value.
    """
    after, before = (_instant(said.get(name), f"scope.{name}") for name in ("after", "before"))
    if after is not None and before is not None and after >= before:
        raise Malformed("a hold from `after` on and before `before` covers no moment", field="scope.before")
    pairs = _named(said, "conversations")
    if any(isinstance(pair, str) or len(pair) != 2 for pair in pairs):
        raise Malformed("a conversation is a list of two numbers", field="scope.conversations")
    conversations = (sorted(_number(each, "conversations") for each in pair) for pair in pairs)
    query = said.get("query")
    try:
        return Scope(
            _name(said.get("org_id"), "scope.org_id"),
            tuple(_name(user, "scope.users") for user in _named(said, "users")),
            tuple(_number(number, "numbers") for number in _named(said, "numbers")),
            tuple((one, other) for one, other in conversations),
            after,
            before,
            query,
        )
    except QueryMalformed as refused:
        raise QueryMalformed(refused.detail, field="scope.query") from None


def covers(hold: Hold, event: Event, org: Handle, flags: Collection[str] | None) -> bool:
    """Whether a hold covers a text of an organisation; exact.

    `flags` are those that it has, its own and derived ones. None says that it was never judged, as a quarantined
    record was not, and the flag `undecided` that nobody can say: then it counts as having, and as not having, whatever
    flag the hold asks for.
    """
    known = None if flags is None or UNDECIDED in flags else flags
    return _is_of(hold, org, event.data.org_id) and _fits(hold.scope, event.data, known)


def covers_record(hold: Hold, raw: bytes, org: Handle | None, received_at: datetime) -> bool:
    """Whether a hold covers a record that is no text of the archive: exact where it can be read.

    Of a record with several senders or receivers each pair counts. `org` is None or HOUSE where it belongs to none.
    """
    found = parse(raw)
    if isinstance(found, Rejected):
        sent = found.sent_at
        last = sent if sent is not None else _plus(received_at, AHEAD_BY)
        return covers_unreadable(hold, org, org_id=found.org_id, first=sent, last=last)
    if not _is_of(hold, org or HOUSE, found.event.data.org_id):
        return False
    texts = _readings(found, raw)
    if texts is None:
        return _may_be_sent(hold.scope, found.sent_at, found.sent_at)
    return any(_fits(hold.scope, text, None) for text in texts)


def covers_unreadable(
    hold: Hold, org: Handle | None, *, org_id: str | None = None, first: datetime | None, last: datetime | None
) -> bool:
    """Whether a hold may cover what cannot be read: by organisation and dates alone.

    It was sent at `first` at the earliest and at `last` at the latest; None is not known. Without `org` the `org_id`
    that it names counts, and where it names none, it may be anybody's.
    """
    if org is not None and org != HOUSE:
        return org == hold.org and _may_be_sent(hold.scope, first, last)
    return org_id in (None, hold.scope.org_id) and _may_be_sent(hold.scope, first, last)


def may_match(query: Query, text: Text) -> bool:
    """Whether a text matches a query with some set of flags or other."""
    return _possible(query, text)[0]


def written(at: datetime) -> str:
    """A moment in a definition: RFC 3339, UTC, to the microsecond."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _is_of(hold: Hold, org: Handle, org_id: str) -> bool:
    return org == hold.org or (org == HOUSE and org_id == hold.scope.org_id)


def _fits(scope: Scope, text: Text, flags: Collection[str] | None) -> bool:
    if not _is_sent(scope, text.sent_at):
        return False
    if scope.users and fold(text.user_id).strip() not in scope.folded:
        return False
    if scope.numbers and text.from_ not in scope.numbers and text.to not in scope.numbers:
        return False
    if scope.conversations and _pair(text.from_, text.to) not in scope.conversations:
        return False
    if scope.asked is None:
        return True
    return may_match(scope.asked, text) if flags is None else match.matches(scope.asked, text, frozenset(flags))


def _is_sent(scope: Scope, sent_at: datetime) -> bool:
    return (scope.after is None or sent_at >= scope.after) and (scope.before is None or sent_at < scope.before)


def _may_be_sent(scope: Scope, first: datetime | None, last: datetime | None) -> bool:
    start, until = scope.span
    too_late = until is not None and first is not None and first >= until
    too_early = start is not None and last is not None and last < start
    return not too_late and not too_early


def _possible(query: Query, text: Text) -> tuple[bool, bool]:
    """Whether, as its flags may be, the text can match the query, and whether it can fail to."""
    match query:
        case Attribute("flag", _):
            return True, True
        case Not(part):
            can, cannot = _possible(part, text)
            return cannot, can
        case All(parts):
            found = [_possible(part, text) for part in parts]
            return all(can for can, _ in found), any(cannot for _, cannot in found)
        case Either(parts):
            found = [_possible(part, text) for part in parts]
            return any(can for can, _ in found), all(cannot for _, cannot in found)
        case _:
            does = match.matches(query, text, frozenset())
            return does, not does


def _readings(found: Parsed, raw: bytes) -> list[Text] | None:
    """The record as a text from each sender to each receiver; None where these are too many to look at."""
    text = found.event.data
    if not found.group:
        return [text]
    data = msgspec.json.decode(raw)["data"]
    senders, receivers = (each if isinstance(each, list) else [each] for each in (data["from"], data["to"]))
    if len(senders) * len(receivers) > MOST_READINGS:
        return None
    return [msgspec.structs.replace(text, from_=one, to=other) for one, other in product(senders, receivers)]


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one <= other else (other, one)


def _plus(moment: datetime, time: timedelta) -> datetime:
    return moment + time if _FAR - moment > time else _FAR


def _named(said: Mapping[str, Any], name: str) -> Sequence[Any]:
    found: Sequence[Any] = said.get(name) or ()
    if len(found) > MOST_NAMED:
        raise Malformed(f"a hold names at most {MOST_NAMED} {name}: place several", field=f"scope.{name}")
    return found


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or any("\ud800" <= each <= "\udfff" for each in value):
        raise Malformed("a name is a string that is not empty", field=where)
    return value


def _number(value: object, name: str) -> str:
    number = as_number(value) if isinstance(value, str) else None
    if number is None:
        raise Malformed(
            "a telephone number stands here: +12125550123, (212) 555-0123, or a short code of 5 or 6 digits",
            field=f"scope.{name}",
        )
    return number


def _instant(value: object, where: str) -> datetime | None:
    if value is None:
        return None
    span = as_span(value) if isinstance(value, str) else None
    if span is None:
        raise Malformed("a UTC day, 2026-11-22, or an instant, 2026-11-22T09:30:00Z, stands here", field=where)
    return span[0]
