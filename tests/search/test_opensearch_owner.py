"""Two archives on one prefix: the second one is refused, and the first one's indices stay as they are."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.search.drivers import opensearch as opened
from tests.search.indexed import EVERYTHING, OTHER, SHELF, document, found, text_id
from tests.search.strangers import Stranger
from textkeep.errors import Unsound
from textkeep.search.drivers.opensearch import OpenSearchIndex
from textkeep.search.index import Addition, Window

FIRST, SECOND = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def first(opensearch: str) -> Iterator[OpenSearchIndex]:
    """The index of an archive, with one text."""
    with opened(opensearch), closing(OpenSearchIndex.open(opensearch, FIRST)) as index:
        index.create([SHELF])
        index.add([Addition(SHELF, 1, [document(1)])])
        yield index


@pytest.mark.parametrize(
    "what",
    [
        lambda index: index.create([OTHER]),
        lambda index: index.add([Addition(SHELF, 2, [document(2)])]),
        lambda index: index.replace(SHELF, []),
        lambda index: index.drop(SHELF),
        lambda index: index.exists(SHELF),
        lambda index: index.shelves(),
        lambda index: list(index.ids(SHELF)),
        lambda index: index.slices(SHELF),
        lambda index: index.query([(SHELF, EVERYTHING)], Window(9)),
        lambda index: index.warnings(),
    ],
    ids=["create", "add", "replace", "drop", "exists", "shelves", "ids", "slices", "query", "warnings"],
)
def test_the_indices_of_another_archive_are_neither_changed_nor_asked(
    opensearch: str, first: OpenSearchIndex, what: Callable[[OpenSearchIndex], object]
) -> None:
    prefix = opensearch.rpartition("/")[2]
    with closing(OpenSearchIndex.open(opensearch, SECOND)) as second:
        for _ in range(2):
            with pytest.raises(Unsound, match=f"prefix {prefix} belong to another archive") as refused:
                what(second)
        assert refused.value.field == "TEXTKEEP_INDEX_URL"
        assert "a prefix of its own" in refused.value.remedy
    assert first.shelves() == {SHELF}
    assert found(first, EVERYTHING) == [text_id(1)]


def test_a_prefix_stays_with_its_archive_while_no_index_is_there(opensearch: str, first: OpenSearchIndex) -> None:
    first.drop(SHELF)
    with closing(OpenSearchIndex.open(opensearch, SECOND)) as second, pytest.raises(Unsound):
        second.create([SHELF])
    assert not first.exists(SHELF)


def test_of_two_archives_that_begin_at_the_same_moment_one_is_refused_with_its_first_index(opensearch: str) -> None:
    with (
        opened(opensearch),
        closing(OpenSearchIndex.open(opensearch, FIRST)) as first,
        closing(OpenSearchIndex.open(opensearch, SECOND)) as second,
    ):
        assert first.shelves() == second.shelves() == set()
        first.create([SHELF])
        with pytest.raises(Unsound):
            second.create([OTHER])
        assert first.shelves() == {SHELF}


def test_an_archive_finds_its_own_index_again_and_an_index_made_anew_stays_its_own(
    opensearch: str, first: OpenSearchIndex
) -> None:
    with closing(OpenSearchIndex.open(opensearch, FIRST)) as again:
        again.replace(SHELF, [Addition(SHELF, 1, [document(1), document(2)])])
        assert set(again.ids(SHELF)) == {text_id(1), text_id(2)}
    with closing(OpenSearchIndex.open(opensearch, SECOND)) as second, pytest.raises(Unsound):
        second.drop(SHELF)


def test_indices_that_name_no_archive_are_ours(opensearch: str) -> None:
    with opened(opensearch) as before:
        before.create([SHELF])
        before.add([Addition(SHELF, 1, [document(1)])])
        with closing(OpenSearchIndex.open(opensearch, FIRST)) as index:
            assert found(index, EVERYTHING) == [text_id(1)]
            index.create([OTHER])
        with closing(OpenSearchIndex.open(opensearch, SECOND)) as second, pytest.raises(Unsound):
            second.add([Addition(SHELF, 2, [document(2)])])


def test_a_longer_prefix_may_be_another_archives(opensearch: str, first: OpenSearchIndex) -> None:
    with opened(f"{opensearch}-second"), closing(OpenSearchIndex.open(f"{opensearch}-second", SECOND)) as second:
        second.create([SHELF])
        assert second.shelves() == {SHELF}
        with closing(OpenSearchIndex.open(opensearch, FIRST)) as again:
            assert again.shelves() == {SHELF}


def test_where_there_is_no_template_the_indices_tell(opensearch: str, first: OpenSearchIndex) -> None:
    somebody = Stranger(opensearch)
    somebody.client.indices.delete_index_template(name=somebody.prefix)
    somebody.client.close()
    with closing(OpenSearchIndex.open(opensearch, SECOND)) as second, pytest.raises(Unsound):
        second.shelves()
