"""From a query to the terms that every text it matches must have: what narrows the search, and never loses a match.

Negations do not narrow, and times are a window, not a term. Pure, given the tokens and the vocabulary of a shelf.
"""

from collections.abc import Callable, Collection
from typing import Final, assert_never

from textkeep.search.documents import (
    clear_term,
    number_term,
    organisation_term,
    reason_term,
    user_term,
    word_term,
)
from textkeep.search.index import AllOf, AnyOf, Everything, Plan, Term
from textkeep.search.query import All, Attribute, Either, Not, Number, Query, Sent, Words
from textkeep.search.tokens import ShelfTokens

MAX_PHRASE_TERMS: Final = 32
"""Words of a phrase that narrow: its longest ones, which are its rarest."""

Expand = Callable[[str], Collection[str] | None]
"""The words of a shelf that begin with a prefix; None where they are too many to ask for."""

_EVERYTHING: Final = Everything()


def narrow(query: Query, made: ShelfTokens, expand: Expand) -> Plan:
    """The plan for the organisation and shelf that `made` makes tokens for."""
    plan = _narrow(query, made, expand)
    if _is_keyed(plan):
        return plan
    own = organisation_term(made)
    return own if isinstance(plan, Everything) else AllOf((own, plan))


def prefixes(query: Query) -> set[str]:
    """The prefixes that a vocabulary has to be asked for before `query` can be narrowed."""
    match query:
        case Words(words, True):
            return {words[-1]}
        case All(parts) | Either(parts):
            return set[str]().union(*(prefixes(part) for part in parts))
        case _:
            return set()


def _narrow(query: Query, made: ShelfTokens, expand: Expand) -> Plan:
    match query:
        case Words(words, prefix):
            return _of_words(words, prefix, made, expand)
        case Number(field, number):
            if field == "with":
                return AnyOf((number_term(made, "from", number), number_term(made, "to", number)))
            return number_term(made, field, number)
        case Attribute(field, value):
            return _of_attribute(field, value, made)
        case Sent() | Not():
            return _EVERYTHING
        case All(parts):
            return _all_of([_narrow(part, made, expand) for part in parts])
        case Either(parts):
            return _any_of([_narrow(part, made, expand) for part in parts])
        case _:
            assert_never(query)


def _of_words(words: tuple[str, ...], prefix: bool, made: ShelfTokens, expand: Expand) -> Plan:
    if len(words) == 1 and not prefix:
        return word_term(made, words[0])
    whole = words[:-1] if prefix else words
    if len(whole) > MAX_PHRASE_TERMS:
        whole = tuple(sorted(set(whole), key=len)[-MAX_PHRASE_TERMS:])
    parts: list[Plan] = [word_term(made, word) for word in dict.fromkeys(whole)]
    if prefix:
        expanded = expand(words[-1])
        if expanded is not None:
            parts.append(_any_of([word_term(made, word) for word in expanded]))
    return _all_of(parts)


def _of_attribute(field: str, value: str, made: ShelfTokens) -> Plan:
    if field == "user":
        return user_term(made, value)
    if field == "reason":
        return reason_term(made, value)
    return clear_term(field, value)


def _all_of(parts: list[Plan]) -> Plan:
    parts = [part for part in parts if not isinstance(part, Everything)]
    if not parts:
        return _EVERYTHING
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _any_of(parts: list[Plan]) -> Plan:
    if any(isinstance(part, Everything) for part in parts):
        return _EVERYTHING
    return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))


def _is_keyed(plan: Plan) -> bool:
    """Whether only documents of the organisation can fit: each of them must have one of its tokens."""
    match plan:
        case Term(_, keyed):
            return keyed
        case AllOf(parts):
            return any(_is_keyed(part) for part in parts)
        case AnyOf(parts):
            return all(_is_keyed(part) for part in parts)
        case Everything():
            return False
        case _:
            assert_never(plan)
