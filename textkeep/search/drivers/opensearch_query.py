"""What OpenSearch is told and asked: documents, plans, windows, and the places its answers are read from. Pure.

A place is the pair of fields that every answer is sorted by, so that no document is fetched:

    at     milliseconds since 1970
    text   day (8 digits), tag (32 hex digits), version (8 hex digits): in the order of text ids
"""

import struct
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Final

import msgspec

from textkeep.archive.text import TAG_BYTES, TextId
from textkeep.search.drivers.opensearch_errors import Unreachable
from textkeep.search.index import Addition, AllOf, AnyOf, Document, Everything, Hit, Plan, Term, Window

MAX_PAGE: Final = 10_000
"""Hits of one answer (`index.max_result_window`)."""

MAX_CLAUSES: Final = 1_000
"""Clauses of one query; OpenSearch takes 1,024 (`indices.query.bool.max_clause_count`)."""

_REBUILD: Final = "Run `textkeep rebuild`: the archive itself is whole."
_KEPT_PARTS: Final = (64, 16, 4, 1)
_DAY_DIGITS: Final = 8
_TAG_END: Final = _DAY_DIGITS + 2 * TAG_BYTES

_LINES: Final = b'{"index":{"_index":"%s","_id":"%s"}}\n{"text":"%s","at":%d,"slice":%d,"segments":%d,"terms":%s}\n'
_ID: Final = struct.Struct(">qII")
_encode: Final = msgspec.json.Encoder().encode

Clause = dict[str, Any]


def lines(alias: str, addition: Addition) -> Iterator[bytes]:
    """What a bulk request says of each document of a slice, for the index behind an alias.

    The id is of text and slice, so that a slice that is written again changes nothing, and what a later slice says of
    an earlier text stands beside what the earlier one said, whichever comes first.
    """
    slice_id, index = addition.slice, alias.encode("ascii")
    for each in _distinct(addition.documents):
        text = each.id
        yield _LINES % (
            index,
            document_id(slice_id, text),
            _place(text).encode("ascii"),
            each.at,
            slice_id,
            each.segments,
            _encode(list(each.terms)),
        )


def document_id(slice_id: int, text: TextId) -> bytes:
    """The id of what one slice says of one text: slice, day, version, tag, of 8, 4, 4 and 16 bytes, in base64url.

    OpenSearch keeps an id of that form as the bytes it stands for, and what the ids of a slice begin with only once.
    """
    return urlsafe_b64encode(_ID.pack(slice_id, text.day.toordinal(), text.version) + text.tag).rstrip(b"=")


def _distinct(documents: Sequence[Document]) -> Iterable[Document]:
    by_id = {each.id: each for each in documents}
    if len(by_id) == len(documents):
        return documents
    terms: dict[TextId, set[str]] = {}
    for each in documents:
        terms.setdefault(each.id, set()).update(each.terms)
    return [Document(each.id, each.at, each.segments, terms[each.id]) for each in by_id.values()]


def search(plan: Plan, window: Window, size: int) -> bytes | None:
    """The search for the first `size` documents of a plan in a window; None where there can be none."""
    wanted = clause(_bounded(plan))
    if wanted is None:
        return None
    filters = [*([wanted] if wanted else []), *_times(window.start, window.until)]
    order = "asc" if window.oldest_first else "desc"
    asked: dict[str, Any] = {
        "size": size,
        "track_total_hits": False,
        "_source": False,
        "stored_fields": "_none_",
        "query": {"bool": {"filter": filters}} if filters else {"match_all": {}},
        "sort": [{"at": order}, {"text": order}],
    }
    if window.after is not None:
        asked["search_after"] = [window.after.at, _place(window.after.id)]
    return _encode(asked)


def clause(plan: Plan) -> Clause | None:
    """A plan as a filter; an empty one for every document, None where there can be none."""
    match plan:
        case Everything():
            return {}
        case Term(term):
            return {"term": {"terms": term}}
        case AllOf(parts):
            inside = [clause(part) for part in parts]
            filters = [each for each in inside if each]
            return None if None in inside else {"bool": {"filter": filters}}
        case AnyOf(parts):
            return _any_of(parts)


def _any_of(parts: Sequence[Plan]) -> Clause | None:
    """One clause for all terms, however many they are, beside one for each other part."""
    terms = list(dict.fromkeys(part.term for part in parts if isinstance(part, Term)))
    inside = [each for part in parts if not isinstance(part, Term) and (each := clause(part)) is not None]
    if terms:
        inside.append({"terms": {"terms": terms}})
    if len(inside) <= 1:
        return inside[0] if inside else None
    return {"bool": {"should": inside, "minimum_should_match": 1}}


def _bounded(plan: Plan) -> Plan:
    """A plan of as many clauses as a query may have: itself, or one with fewer conditions, which proposes more."""
    for parts in _KEPT_PARTS:
        if _clauses(plan) <= MAX_CLAUSES:
            break
        plan = _weakened(plan, parts)
    return plan


def _clauses(plan: Plan) -> int:
    match plan:
        case AllOf(parts):
            return sum(_clauses(part) for part in parts)
        case AnyOf(parts):
            return 1 + sum(_clauses(part) for part in parts if not isinstance(part, Term))
        case _:
            return 1


def _weakened(plan: Plan, kept: int) -> Plan:
    """A plan of which every AllOf has its first parts only, those of one organisation before those that are clear."""
    match plan:
        case AllOf(parts):
            keyed_first = sorted(parts, key=lambda part: isinstance(part, Term) and not part.keyed)
            some = tuple(_weakened(part, kept) for part in keyed_first[:kept])
            return some[0] if len(some) == 1 else AllOf(some)
        case AnyOf(parts):
            inside = [_weakened(part, kept) for part in parts]
            flat = [each for part in inside for each in (part.parts if isinstance(part, AnyOf) else (part,))]
            return AnyOf(tuple(flat))
        case _:
            return plan


def _times(start: int | None, until: int | None) -> list[Clause]:
    bounds = {name: at for name, at in (("gte", start), ("lt", until)) if at is not None}
    return [{"range": {"at": bounds}}] if bounds else []


def every(after: Hit | None = None, start: int | None = None, until: int | None = None) -> Clause:
    """The search for every document, oldest first: behind `after`, from `start` on and before `until`; and for the last
    moment of these."""
    asked: Clause = {
        "size": MAX_PAGE,
        "track_total_hits": False,
        "_source": False,
        "stored_fields": "_none_",
        "query": {"bool": {"filter": _times(start, until)}},
        "sort": [{"at": "asc"}, {"text": "asc"}],
        "aggs": {"last": {"max": {"field": "at"}}},
    }
    return asked if after is None else {**asked, "search_after": [after.at, _place(after.id)]}


def slices(after: Mapping[str, Any] | None) -> Clause:
    """The search for every slice, those behind one that was found."""
    wanted: Clause = {"size": MAX_PAGE, "sources": [{"slice": {"terms": {"field": "slice"}}}]}
    if after is not None:
        wanted["after"] = dict(after)
    return {"size": 0, "track_total_hits": False, "aggs": {"slices": {"composite": wanted}}}


def slices_in(answer: Any) -> tuple[list[int], Mapping[str, Any] | None]:
    """The slices in an answer, and the one to go on behind; None at the end."""
    page = answer["aggregations"]["slices"]
    return [each["key"]["slice"] for each in page["buckets"]], page.get("after_key")


def hits_in(answer: Any) -> list[Hit]:
    """The documents in an answer, by their places. Raises Unreachable for one that is not ours."""
    try:
        return [_hit(*each["sort"]) for each in answer.get("hits", {}).get("hits", ())]
    except (TypeError, ValueError):
        raise Unreachable("the index holds a document that is not ours", _REBUILD) from None


def page_in(answer: Any) -> tuple[list[Hit], float]:
    """The documents in an answer, and the last moment of all that were asked for."""
    return hits_in(answer), answer["aggregations"]["last"]["value"] or 0.0


def _hit(at: int, written: str) -> Hit:
    tag = bytes.fromhex(written[_DAY_DIGITS:_TAG_END])
    return Hit(at, TextId(_day(written[:_DAY_DIGITS]), tag, int(written[_TAG_END:], 16)))


def _place(text: TextId) -> str:
    return f"{_digits(text.day)}{text.tag.hex()}{text.version:08x}"


@lru_cache(maxsize=1024)
def _digits(day: date) -> str:
    return day.isoformat().replace("-", "")


@lru_cache(maxsize=1024)
def _day(digits: str) -> date:
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
