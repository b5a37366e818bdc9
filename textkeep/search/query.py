"""The query language: what a person types, read into a tree. Pure; docs/search.md describes it.

    either: all ("OR" all)*          all: part ("AND"? part)*          part: ("-" | "NOT")* term
    term:   word | word* | "phrase" | field:value | field:"value" | ( either )

AND binds tighter than OR. Whatever was typed, `parse` gives a query or raises QueryMalformed, which says where and
what to write instead and never repeats what was typed.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import LarkError, UnexpectedCharacters, UnexpectedToken

from textkeep.archive.text import Direction, Disposition
from textkeep.errors import QueryMalformed
from textkeep.search.values import as_number, as_span
from textkeep.search.words import fold, sought

MAX_LENGTH: Final = 4_000
"""Characters a query may have."""

MAX_TERMS: Final = 200
"""Words, phrases and fields a query may have."""

MAX_DEPTH: Final = 20
"""How deep groups and negations may be nested."""

NumberField = Literal["from", "to", "with"]
AttributeField = Literal["user", "direction", "disposition", "reason", "flag"]
TimeField = Literal["on", "after", "before"]
FIELDS: Final[tuple[str, ...]] = (*get_args(NumberField), *get_args(AttributeField), *get_args(TimeField))

FLAGS: Final = (
    "texting-off", "no-number", "unknown-user", "not-own-number", "foreign-location", "foreign-pstn", "old-app",
    "no-plan", "no-add-on", "not-registered", "not-enterprise", "healthcare", "late", "updated", "rewritten",
)  # fmt: skip
"""What a text can be flagged with (docs: the outcomes of ingest, rows 8 and 9)."""

_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "direction": get_args(Direction),
    "disposition": get_args(Disposition),
    "flag": FLAGS,
}


@dataclass(frozen=True, slots=True)
class Words:
    """These words, one after the other; with `prefix` the last is only the beginning of a word."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """A number (E.164 or short code) as sender, as receiver, or (`with`) as either."""

    field: NumberField
    number: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """A member of the text with this value, folded like words are; for `flag`, one of its flags."""

    field: AttributeField
    value: str


@dataclass(frozen=True, slots=True)
class Sent:
    """Sent at or after `start` and before `until`; None is no bound."""

    start: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Not:
    """What does not match `part`."""

    part: "Query"


@dataclass(frozen=True, slots=True)
class All:
    """What matches every part; two or more."""

    parts: tuple["Query", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """What matches one part at least; two or more."""

    parts: tuple["Query", ...]


Query = Words | Number | Attribute | Sent | Not | All | Either


def parse(typed: str) -> Query:
    """The query that was typed. Raises QueryMalformed for anything that is none."""
    if len(typed) > MAX_LENGTH:
        raise QueryMalformed(f"the query is longer than {MAX_LENGTH} characters", field="query")
    if not typed.strip():
        raise QueryMalformed("the query is empty: write a word, a phrase in quotes or a field", field="query")
    try:
        read = cast(_Read, _parser().parse(typed))
    except UnexpectedCharacters as exc:
        raise _unexpected_character(typed, cast(int, exc.pos_in_stream)) from None
    except UnexpectedToken as exc:
        raise _unexpected_token(typed, exc.token) from None
    except LarkError:
        raise QueryMalformed("the query cannot be read", field="query") from None
    return read.query


_QUOTES = '"“”„‟'
_DASHES = "-–—−"
_PLAIN = rf"[^\s(){_QUOTES}]"
_NUMBER = rf"(?:\+?1[-. ]?)?(?:\([0-9]{{3}}\) ?|[0-9]{{3}}[-. ]?)[0-9]{{3}}[-. ]?[0-9]{{4}}(?!{_PLAIN})"
_OPERATOR = rf"(?:OR|AND|NOT)(?!{_PLAIN})"

_GRAMMAR: Final = rf"""
start: either
either: all (_OR all)*
all: part (_AND? part)*
?part: _NOT part -> negation
     | "(" either ")"
     | PHRASE -> phrase
     | WORD -> word
     | NUMBER_FIELD (NUMBER | VALUE | PHRASE) -> number
     | FIELD (VALUE | PHRASE) -> attribute

NUMBER_FIELD.5: /(?i:from|to|with):/
FIELD.5: /(?i:user|direction|disposition|reason|flag|on|after|before):/
_OR.4: /OR(?!{_PLAIN})/
_AND.4: /AND(?!{_PLAIN})/
_NOT.4: /NOT(?!{_PLAIN})|[{_DASHES}](?=\S)/
NUMBER.3: /{_NUMBER}/
PHRASE.3: /"[^"]*"|[“”„‟][^{_QUOTES}]*[{_QUOTES}]/
VALUE: /{_PLAIN}+/
WORD: /(?![{_DASHES}])(?!{_OPERATOR}){_PLAIN}+/
%ignore /\s+/
"""


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="contextual", transformer=_Reading(), maybe_placeholders=False)


class _Read(NamedTuple):
    query: Query
    terms: int
    depth: int


@v_args(inline=True)
class _Reading(Transformer[Token, Any]):
    """Makes the tree while the parser runs, so that nothing here recurses over what was typed."""

    def start(self, read: _Read) -> _Read:
        return read

    def either(self, *parts: _Read) -> _Read:
        return _joined(Either, parts)

    def all(self, *parts: _Read) -> _Read:
        return _joined(All, parts)

    def negation(self, part: _Read) -> _Read:
        if isinstance(part.query, Not):
            return _Read(part.query.part, part.terms, part.depth)
        return _deeper(Not(part.query), part.terms, part.depth)

    def phrase(self, token: Token) -> _Read:
        return _term(_words(token, _unquoted(token)))

    def word(self, token: Token) -> _Read:
        if _UNKNOWN_FIELD.match(token):
            raise _malformed(
                token, "there is no field of that name: " + ", ".join(f"{name}:" for name in FIELDS) + " are the fields"
                "; to search for the words themselves, write them in quotes",
            )  # fmt: skip
        if "*" in token.rstrip("*"):
            raise _malformed(token, "a star stands only at the end of a word")
        return _term(_words(token, str(token)))

    def number(self, field: Token, token: Token) -> _Read:
        number = as_number(_unquoted(token))
        if number is None:
            raise _malformed(
                token, "a telephone number stands here: (212) 555-0123, 212-555-0123, +12125550123,"
                " or a short code of 5 or 6 digits",
            )  # fmt: skip
        return _term(Number(cast(NumberField, field[:-1].lower()), number))

    def attribute(self, field: Token, token: Token) -> _Read:
        name = field[:-1].lower()
        if name in get_args(TimeField):
            return _term(_sent(name, token))
        value = fold(_unquoted(token)).strip()
        if name in _CHOICES and value not in _CHOICES[name]:
            raise _malformed(token, f"after {name}: comes one of " + ", ".join(_CHOICES[name]))
        if not value or not _encodes(value):
            raise _malformed(token, f"a value is missing after {name}:")
        if token.endswith("*"):
            raise _malformed(token, "a field takes a whole value; a star stands only at the end of a word of the text")
        return _term(Attribute(cast(AttributeField, name), value))


_UNKNOWN_FIELD: Final = re.compile(r"[A-Za-z_]{2,}:(?!//).")


def _words(token: Token, typed: str) -> Words:
    found, prefix = sought(typed, prefix=typed.endswith("*"))
    if not found:
        raise _malformed(token, "there is no word in it: leave it out, or write a letter, a digit or an emoji")
    return Words(found, prefix)


def _sent(name: str, token: Token) -> Sent:
    span = as_span(_unquoted(token).strip())
    if span is None:
        raise _malformed(token, f"after {name}: comes a day, 2026-11-22, or an instant, 2026-11-22T09:30:00Z")
    start, until = span
    if name == "after":
        return Sent(start, None)
    return Sent(None, start) if name == "before" else Sent(start, until)


def _term(query: Query) -> _Read:
    return _Read(query, 1, 1)


def _joined(kind: type[All] | type[Either], parts: tuple[_Read, ...]) -> _Read:
    if len(parts) == 1:
        return parts[0]
    flat: list[Query] = []
    for part in parts:
        flat += part.query.parts if isinstance(part.query, kind) else [part.query]
    return _deeper(kind(tuple(flat)), sum(part.terms for part in parts), max(part.depth for part in parts))


def _deeper(query: Query, terms: int, depth: int) -> _Read:
    if terms > MAX_TERMS:
        raise QueryMalformed(f"the query has more than {MAX_TERMS} terms: ask in several searches", field="query")
    if depth >= MAX_DEPTH:
        raise QueryMalformed(f"the query is nested deeper than {MAX_DEPTH}: write it flatter", field="query")
    return _Read(query, terms, depth + 1)


def _unquoted(token: Token) -> str:
    return str(token[1:-1] if token.type == "PHRASE" else token)


def _encodes(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _malformed(token: Token, words: str) -> QueryMalformed:
    return _malformed_at(token.start_pos or 0, words)


def _malformed_at(position: int, words: str) -> QueryMalformed:
    return QueryMalformed(f"at character {position + 1}: {words}", field="query")


def _unexpected_character(typed: str, position: int) -> QueryMalformed:
    if typed[position] in _QUOTES:
        return _malformed_at(position, "a quotation mark is opened here and never closed")
    return _malformed_at(position, _NO_VALUE)


def _unexpected_token(typed: str, token: Token) -> QueryMalformed:
    if token.type == "$END":
        return _malformed_at(len(typed), "the query ends too early: a term or a closing parenthesis is missing")
    if token.type == "RPAR":
        return _malformed(token, "this parenthesis closes nothing, or closes over nothing")
    if token.type in ("_OR", "_AND"):
        return _malformed(token, "OR and AND stand between two terms; the word itself is written in lower case")
    if set(token) <= set(_DASHES):
        return _malformed(token, "a minus stands right before what it excludes, without a space")
    return _malformed(token, _NO_VALUE)


_NO_VALUE: Final = "a value stands here, right after the field's colon; for two write (from:A OR from:B)"
