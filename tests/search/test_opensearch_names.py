"""What an index on OpenSearch is called, and what others do with such names. On a real engine."""

import threading
from collections.abc import Iterator

import pytest
from opensearchpy.exceptions import OpenSearchException

from tests.search.drivers import opensearch as opened
from tests.search.indexed import EVERYTHING, OTHER, SHELF, document, found, text_id
from tests.search.strangers import Stranger
from textkeep.search.drivers.opensearch import OpenSearchIndex
from textkeep.search.index import Addition, NoIndex

KEPT = "kept-0011223344556677-1"


@pytest.fixture
def index(opensearch: str) -> Iterator[OpenSearchIndex]:
    with opened(opensearch) as driver:
        yield driver


def test_no_index_of_our_names_is_made_by_writing_to_it(index: OpenSearchIndex, stranger: Stranger) -> None:
    index.create([SHELF])
    for name in (stranger.alias(OTHER), f"{stranger.alias(SHELF)}-g7"):
        with pytest.raises(OpenSearchException, match="index_not_found"):
            stranger.client.index(index=name, body={"at": 1})
    elsewhere = f"x{stranger.prefix}-other"
    stranger.client.index(index=elsewhere, body={"at": 1})
    stranger.client.indices.delete(index=elsewhere)
    assert not [told for told in index.warnings() if "auto_create" in told]


def test_a_cluster_that_makes_indices_by_itself_is_told_to_the_operator(
    index: OpenSearchIndex, stranger: Stranger
) -> None:
    assert [told for told in index.warnings() if "auto_create_index" in told and f"-{stranger.prefix}-*" in told]


def test_an_index_that_somebody_brings_back_is_found_and_dropped(index: OpenSearchIndex, stranger: Stranger) -> None:
    index.create([SHELF, KEPT])
    index.drop(SHELF)
    index.drop(KEPT)
    # What a bulk without `require_alias` does in a cluster that makes indices by itself.
    for name in (stranger.alias(SHELF), f"{stranger.alias(OTHER)}-g3", f"{stranger.alias(KEPT)}-copy"):
        stranger.client.indices.create(index=name)
    assert index.shelves() == {SHELF, OTHER, KEPT}
    for shelf in (SHELF, OTHER, KEPT):
        assert index.exists(shelf)
        with pytest.raises(NoIndex):
            index.add([Addition(shelf, 1, [document(1)])])
        index.drop(shelf)
        assert not index.exists(shelf)
    assert stranger.names() == set()


def test_an_index_in_the_place_of_an_alias_is_in_nobodys_way(index: OpenSearchIndex, stranger: Stranger) -> None:
    stranger.client.indices.create(index=stranger.alias(SHELF))
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1)])])
    assert found(index, EVERYTHING) == [text_id(1)]


def test_an_alias_of_ours_on_somebody_elses_index_is_taken_away_and_the_index_stays(
    index: OpenSearchIndex, stranger: Stranger
) -> None:
    foreign = f"x{stranger.prefix}"
    stranger.client.indices.create(index=foreign, body={"aliases": {stranger.alias(SHELF): {}}})
    assert index.exists(SHELF)
    assert index.shelves() == {SHELF}
    index.drop(SHELF)
    assert not index.exists(SHELF)
    stranger.client.indices.put_alias(index=foreign, name=stranger.alias(SHELF))
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1)])])
    assert set(index.ids(SHELF)) == {text_id(1)}
    assert stranger.client.count(index=foreign)["count"] == 0
    stranger.client.indices.delete(index=foreign)


def test_names_of_other_archives_and_programs_are_left_alone(opensearch: str, index: OpenSearchIndex) -> None:
    index.create([SHELF])
    with opened(f"{opensearch}-second") as second:
        second.create([SHELF, OTHER])
        second.add([Addition(SHELF, 1, [document(2)])])
        assert index.shelves() == {SHELF}
        index.drop(SHELF)
        index.drop(OTHER)
        assert second.shelves() == {SHELF, OTHER}
        assert set(second.ids(SHELF)) == {text_id(2)}


def test_kept_shelves_whose_names_begin_alike_are_apart(index: OpenSearchIndex) -> None:
    index.create([KEPT, f"{KEPT}0", f"{KEPT}1"])
    index.drop(KEPT)
    assert index.shelves() == {f"{KEPT}0", f"{KEPT}1"}


def test_what_a_crash_left_of_a_new_index_is_dropped_with_the_shelf(index: OpenSearchIndex, stranger: Stranger) -> None:
    index.create([SHELF])
    half_made(stranger)
    assert index.exists(SHELF)
    index.drop(SHELF)
    assert not index.exists(SHELF)
    half_made(stranger)
    assert index.exists(SHELF), "half of an index is one too"
    assert index.shelves() == {SHELF}
    index.drop(SHELF)
    assert stranger.names() == set()


def test_what_a_crash_left_of_a_new_index_is_cleared_away_by_the_next(
    index: OpenSearchIndex, stranger: Stranger
) -> None:
    half_made(stranger)
    index.create([SHELF])
    assert len(stranger.names()) == 1
    index.add([Addition(SHELF, 1, [document(1)])])
    half_made(stranger, generation=9)
    index.create([SHELF])
    assert set(index.ids(SHELF)) == {text_id(1)}
    index.replace(SHELF, [Addition(SHELF, 2, [document(2)])])
    assert len(stranger.names()) == 1
    assert set(index.ids(SHELF)) == {text_id(2)}


def half_made(stranger: Stranger, generation: int = 4) -> None:
    alias = stranger.alias(SHELF)
    stranger.client.indices.create(index=f"{alias}-g{generation}", body={"aliases": {f"{alias}-beside": {}}})


def test_several_that_make_the_same_index_at_once_make_one(opensearch: str, stranger: Stranger) -> None:
    drivers = [OpenSearchIndex.open(opensearch) for _ in range(4)]
    failed: list[Exception] = []

    def make(driver: OpenSearchIndex) -> None:
        try:
            driver.create([SHELF])
            driver.add([Addition(SHELF, id(driver), [document(1)])])
        except Exception as exc:  # noqa: BLE001 - the test fails with whatever it was
            failed.append(exc)

    threads = [threading.Thread(target=make, args=(driver,)) for driver in drivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert stranger.names() == {f"{stranger.alias(SHELF)}-g1"}
    assert drivers[0].slices(SHELF) == {id(driver) for driver in drivers}
    drivers[0].drop(SHELF)
    for driver in drivers:
        driver.close()


def test_the_newest_of_two_live_indices_is_kept(index: OpenSearchIndex, stranger: Stranger) -> None:
    alias = stranger.alias(SHELF)
    index.create([SHELF])
    stranger.client.indices.create(index=f"{alias}-g2", body={"aliases": {alias: {}}})
    index.replace(SHELF, [Addition(SHELF, 1, [document(1)])])
    assert stranger.names() == {f"{alias}-g3"}
    assert set(index.ids(SHELF)) == {text_id(1)}
