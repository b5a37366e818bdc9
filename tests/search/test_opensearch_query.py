"""Plans and documents as OpenSearch gets them. Pure; what the engine makes of them is tested on the engine."""

import json
from base64 import urlsafe_b64decode
from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.search.indexed import DAY, START, document, text_id, token
from textkeep.archive.text import TextId
from textkeep.search.drivers import opensearch_query as query
from textkeep.search.index import Addition, AllOf, AnyOf, Document, Everything, Hit, Plan, Term, Window

terms = st.integers(0, 30).map(lambda number: Term(token(f"w{number}"), keyed=number % 3 > 0))
plans: st.SearchStrategy[Plan] = st.recursive(
    terms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=6).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, max_size=6).map(lambda parts: AnyOf(tuple(parts))),
    ),
    max_leaves=25,
)


def fits(plan: Plan, words: frozenset[str]) -> bool:
    match plan:
        case Everything():
            return True
        case Term(term):
            return term in words
        case AllOf(parts):
            return all(fits(part, words) for part in parts)
        case AnyOf(parts):
            return any(fits(part, words) for part in parts)


def holds(clause: dict[str, Any] | None, words: frozenset[str]) -> bool:
    """What a query clause means, as OpenSearch documents it."""
    if clause is None:
        return False
    match clause:
        case {"term": {"terms": term}}:
            return term in words
        case {"terms": {"terms": some}}:
            return not words.isdisjoint(some)
        case {"bool": {"filter": filters}}:
            return all(holds(each, words) for each in filters)
        case {"bool": {"should": some, "minimum_should_match": 1}}:
            return any(holds(each, words) for each in some)
        case _:
            return clause == {}


@given(plans, st.frozensets(st.integers(0, 30).map(lambda number: token(f"w{number}")), max_size=20))
def test_a_clause_means_what_its_plan_means(plan: Plan, words: frozenset[str]) -> None:
    assert holds(query.clause(plan), words) == fits(plan, words)


@given(plans, st.frozensets(st.integers(0, 30).map(lambda number: token(f"w{number}"))), st.sampled_from([1, 2, 4]))
def test_a_plan_with_fewer_conditions_loses_nothing(plan: Plan, words: frozenset[str], kept: int) -> None:
    weakened = query._weakened(plan, kept)
    assert query._clauses(weakened) <= query._clauses(plan)
    if fits(plan, words):
        assert fits(weakened, words)


@given(plans)
def test_with_one_condition_of_each_kind_every_plan_is_small_enough(plan: Plan) -> None:
    assert query._clauses(query._weakened(plan, 1)) == 1


def test_a_place_is_sorted_like_its_text_id() -> None:
    ids = [TextId(DAY, bytes([tag]) * 16, version) for tag in (0, 9, 200) for version in (1, 2, 10, 300)]
    written = [query._place(each) for each in ids]
    assert written == sorted(written)
    assert [hit.id for hit in query.hits_in({"hits": {"hits": [{"sort": [1, each]} for each in written]}})] == ids


def test_a_search_asks_for_places_and_nothing_else() -> None:
    body = query.search(Term("t"), Window(9, start=1, until=5, after=Hit(4, text_id(1))), 9)
    assert body is not None
    asked = json.loads(body)
    assert asked["_source"] is False
    assert asked["stored_fields"] == "_none_"
    assert asked["track_total_hits"] is False
    assert asked["search_after"][0] == 4
    assert query.search(AnyOf(()), Window(9), 9) is None
    assert query.search(AllOf((Term("t"), AnyOf(()))), Window(9), 9) is None


def test_each_text_of_each_slice_has_an_id_of_its_own_that_opensearch_keeps_as_its_bytes() -> None:
    texts = [
        TextId(day, bytes(15) + bytes([tag]), version)
        for day in (date(1, 1, 1), date(2026, 11, 20), date(2026, 11, 21))
        for tag in (0, 255)
        for version in (1, 2**31 - 1)
    ]
    made = {query.document_id(slice_id, text) for slice_id in (0, 7, 2**63 - 1) for text in texts}
    assert len(made) == 3 * len(texts)
    for each in made:  # 32 bytes without padding: the last of 43 characters stands for 4 bits
        assert len(each) == 43
        assert each[-1:] in b"AEIMQUYcgkosw048"
        assert urlsafe_b64decode(each + b"=")[0] < 0xFD, "such a first byte would be escaped"
    assert urlsafe_b64decode(query.document_id(7, texts[0]) + b"=")[:8] == (7).to_bytes(8, "big")


def test_a_line_is_json_whatever_a_term_holds() -> None:
    made = Document(text_id(1), START, 3, ['a"\n\\', "direction:inbound"])
    (line,) = query.lines("alias", Addition("2026-11-20", 7, [made]))
    action, source = (json.loads(each) for each in line.splitlines())
    assert action == {"index": {"_index": "alias", "_id": query.document_id(7, text_id(1)).decode()}}
    assert source == {
        "text": query._place(text_id(1)),
        "at": START,
        "slice": 7,
        "segments": 3,
        "terms": ['a"\n\\', "direction:inbound"],
    }
    assert len(list(query.lines("alias", Addition("2026-11-20", 7, [document(1), document(1)])))) == 1
