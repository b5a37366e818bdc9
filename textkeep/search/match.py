"""Whether a text is what a query asks for: the last word on every result. Pure and exact.

The index only proposes; a text leaves the archive when `matches` says so.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import assert_never

from textkeep.archive.text import Text
from textkeep.search.query import All, Attribute, Either, Not, Number, Query, Sent, Words
from textkeep.search.words import fold, words

Span = tuple[datetime | None, datetime | None]
"""From, and before; None is no bound."""


def matches(query: Query, text: Text, flags: frozenset[str]) -> bool:
    """Whether `text`, with these flags (its own and derived ones), is what `query` asks for."""
    return _Matching(text, flags).decide(query)


def span(query: Query) -> Span:
    """A time outside of which no text matches; as narrow as the fields on:, after: and before: say plainly."""
    match query:
        case Sent(start, until):
            return start, until
        case All(parts):
            return common(map(span, parts))
        case Either(parts):
            spans = [span(part) for part in parts]
            starts = [start for start, _ in spans if start is not None]
            ends = [until for _, until in spans if until is not None]
            every = len(spans)
            return min(starts) if len(starts) == every else None, max(ends) if len(ends) == every else None
        case _:
            return None, None


def common(spans: Iterable[Span]) -> Span:
    """The time that all of these have in common."""
    starts, ends = zip(*spans, strict=True)
    return max(filter(None, starts), default=None), min(filter(None, ends), default=None)


class _Matching:
    """One text under decision; its words are cut once, and only if a word is asked for."""

    def __init__(self, text: Text, flags: frozenset[str]) -> None:
        self._text = text
        self._flags = flags
        self._words: list[str] | None = None

    def decide(self, query: Query) -> bool:
        match query:
            case Words(phrase, prefix):
                return self._has(phrase, prefix)
            case Number(field, number):
                text = self._text
                return (field != "to" and text.from_ == number) or (field != "from" and text.to == number)
            case Attribute(field, value):
                return self._is(field, value)
            case Sent(start, until):
                sent_at = self._text.sent_at
                return (start is None or sent_at >= start) and (until is None or sent_at < until)
            case Not(part):
                return not self.decide(part)
            case All(parts):
                return all(self.decide(part) for part in parts)
            case Either(parts):
                return any(self.decide(part) for part in parts)
            case _:
                assert_never(query)

    def _is(self, field: str, value: str) -> bool:
        text = self._text
        if field == "user":
            return fold(text.user_id).strip() == value
        if field == "reason":
            return text.reason is not None and fold(text.reason).strip() == value
        if field == "flag":
            return value in self._flags
        return value == (text.direction if field == "direction" else text.disposition)

    def _has(self, phrase: Sequence[str], prefix: bool) -> bool:
        there = self._words
        if there is None:
            there = self._words = words(self._text.body)
        if len(phrase) == 1 and not prefix:
            return phrase[0] in there
        *before, last = phrase
        for at in range(len(before), len(there)):
            fits = there[at].startswith(last) if prefix else there[at] == last
            if fits and there[at - len(before) : at] == before:
                return True
        return False
