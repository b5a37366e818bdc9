"""Whatever is done to an index, in whatever order: one run of the reconciler makes it the vault's again."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.housing import House, event
from tests.search.indexes import Tampered, altered
from tests.search.reconciled import OTHER, SHELF, differences, in_vault, reconciler, stray
from tests.search.searching import Searching
from textkeep.archive.text import TextId
from textkeep.search.comparing import SAMPLE

BODIES = ("tea", "coffee tea", "milk", "sugar and milk", "tea and sugar")
QUERIES = ("tea", "milk", "su*", "flag:rewritten", "-tea", "direction:outbound")

tamperings = st.lists(
    st.tuples(
        st.sampled_from(["delete", "insert", "alter", "drop", "take", "follow"]),
        st.sampled_from([SHELF, OTHER]),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture
def told(house: House, index: Tampered) -> Searching:
    searching = Searching.build(house, index)
    for shelf in (SHELF, OTHER):
        for number, body in enumerate(BODIES[:3]):
            searching.take(event(number, body=body, sent_at=f"{shelf}T10:00:0{number}Z"))
    return searching


FIXTURES = [HealthCheck.function_scoped_fixture]


@pytest.mark.parametrize(("house", "index"), [("sqlite", "embedded")], indirect=True)
@settings(max_examples=30, deadline=None, suppress_health_check=FIXTURES)
@given(tamperings)
def test_whatever_was_done_to_tables_one_run_makes_them_the_vaults_again(
    told: Searching, index: Tampered, done: list[tuple[str, str, int, int]]
) -> None:
    made_right(told, index, done)


@pytest.mark.parametrize(("house", "index"), [("postgresql", "opensearch")], indirect=True)
@settings(max_examples=5, deadline=None, suppress_health_check=FIXTURES)
@given(tamperings)
def test_whatever_was_done_to_opensearch_one_run_makes_it_the_vaults_again(
    told: Searching, index: Tampered, done: list[tuple[str, str, int, int]]
) -> None:
    made_right(told, index, done)


def made_right(told: Searching, index: Tampered, done: list[tuple[str, str, int, int]]) -> None:
    told.follow()
    for what, shelf, one, other in done:
        tamper(told, index, what, shelf, one, other)
    reconciler(told).run(one_in=0)
    told.follow()
    for shelf in (SHELF, OTHER):
        assert set(index.ids(shelf)) == in_vault(told.house, shelf)
    expected = Searching.build(told.house)  # over an index of its own, made from the vault alone
    for shelf in (SHELF, OTHER):
        expected.follower.rebuild(shelf)
    for query in QUERIES:
        assert listed(told, query) == listed(expected, query), query
    assert differences(reconciler(told).run(one_in=0)) == {}


def listed(searching: Searching, query: str) -> list[TextId]:
    return [opened.id for opened in searching.every(query)]


def tamper(told: Searching, index: Tampered, what: str, shelf: str, one: int, other: int) -> None:
    there = sorted(in_vault(told.house, shelf) & set(index.ids(shelf))) if index.exists(shelf) else []
    if what == "drop":
        index.drop(shelf)
    elif what == "take" and len(in_vault(told.house, shelf)) < SAMPLE:
        told.take(event(one % 5, body=BODIES[other % 5], sent_at=f"{shelf}T10:00:0{one % 5}Z"))
    elif what == "follow":
        told.follow()
    elif what == "insert" and index.exists(shelf):
        index.insert(shelf, stray(one, shelf))
    elif what == "delete" and there:
        index.delete(shelf, there[one % len(there)])
    elif what == "alter" and there:
        altered(index, shelf, there[one % len(there)])
