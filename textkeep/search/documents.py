"""What the index is told of a text: its terms, and nothing that can be read. Pure but for the padding's chance."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

from textkeep.archive.rows import Opened
from textkeep.search.index import Document, Term
from textkeep.search.segments import segments
from textkeep.search.tokens import ShelfTokens, padded
from textkeep.search.words import fold, words

KNOWN_REASONS: Final = frozenset({"fraud", "volume", "burst", "spam", "unauthorized", "content"})
"""Reasons that stand in the index in clear; any other may hold what somebody wrote, and becomes a token."""

FOLDED_USERS: Final = 16_384
"""Folded user ids that are kept, in memory only."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


def document_of(opened: Opened, made: ShelfTokens, found: Collection[str]) -> Document:
    """The document of a text whose words are `found`; with the flags that `opened` carries."""
    text = opened.event.data
    terms = padded(made.keep("word", found))
    terms += _attributes(opened, made)
    return Document(opened.id, milliseconds(text.sent_at), segments(text.body), terms)


def true_terms(opened: Opened, made: ShelfTokens, found: Collection[str]) -> list[Term]:
    """What the document of a text must have, whatever it was padded with: these words and all that is known of it."""
    words = [word_term(made, word) for word in found]
    return words + [Term(term, keyed=":" not in term) for term in _attributes(opened, made)]


def _attributes(opened: Opened, made: ShelfTokens) -> list[str]:
    text = opened.event.data
    terms = [made.organisation]
    terms += made.keep("user", (folded_user(text.user_id),))
    terms += made.keep("from", (text.from_,))
    terms += made.keep("to", (text.to,))
    terms += made.keep("pair", (_pair(text.from_, text.to),))
    terms += (f"direction:{text.direction}", f"disposition:{text.disposition}")
    if text.reason is not None:
        terms.append(reason_term(made, fold(text.reason).strip()).term)
    terms += [f"flag:{flag}" for flag in opened.flags]
    return terms


def words_of(opened: Opened) -> set[str]:
    """The distinct words of a text that can be searched for."""
    return set(words(opened.event.data.body))


@lru_cache(maxsize=FOLDED_USERS)
def folded_user(user_id: str) -> str:
    """A user's id as it is compared: folded like words are."""
    return fold(user_id).strip()


def word_term(made: ShelfTokens, word: str) -> Term:
    """What stands for a word."""
    return Term(made.of("word", word))


def organisation_term(made: ShelfTokens) -> Term:
    """What stands for the organisation itself."""
    return Term(made.organisation)


def user_term(made: ShelfTokens, user_id: str) -> Term:
    """What stands for a user."""
    return Term(made.of("user", folded_user(user_id)))


def number_term(made: ShelfTokens, field: Literal["from", "to"], number: str) -> Term:
    """What stands for a number as sender or as receiver."""
    return Term(made.of(field, number))


def pair_term(made: ShelfTokens, one: str, other: str) -> Term:
    """What stands for two numbers, whichever of them sent."""
    return Term(made.of("pair", _pair(one, other)))


def reason_term(made: ShelfTokens, reason: str) -> Term:
    """What stands for a folded reason: itself where it is known, else a token."""
    return clear_term("reason", reason) if reason in KNOWN_REASONS else Term(made.of("reason", reason))


def clear_term(name: str, value: str) -> Term:
    """What stands in clear: direction, disposition, known reasons, flags."""
    return Term(f"{name}:{value}", keyed=False)


def _pair(one: str, other: str) -> str:
    return f"{one}\n{other}" if one < other else f"{other}\n{one}"
