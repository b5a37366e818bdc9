"""What only OpenSearch promises: layout, durability, long answers, a full disk, who may do what. On a real engine."""

import json
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from tests.engines.opensearch import OpenSearchNodes
from tests.search.drivers import opensearch as opened
from tests.search.indexed import DAY, EVERYTHING, OTHER, SHELF, document, found, text_id, token, wanted
from tests.search.misbehaving import answering, misbehaving
from tests.search.strangers import Stranger
from textkeep.archive.text import TextId
from textkeep.errors import Outage, Unsound
from textkeep.search.drivers import opensearch_query
from textkeep.search.drivers.opensearch import OpenSearchIndex
from textkeep.search.index import Addition, AllOf, AnyOf, Document, NoIndex, Term, Window


@pytest.fixture
def index(opensearch: str) -> Iterator[OpenSearchIndex]:
    with opened(opensearch) as driver:
        yield driver


def test_nothing_of_a_document_is_stored_as_it_came(index: OpenSearchIndex, stranger: Stranger) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(1, token("tea"), "direction:inbound")])])
    answer = stranger.client.search(index=stranger.alias(SHELF), body={"query": {"match_all": {}}})
    (hit,) = answer["hits"]["hits"]
    assert set(hit) == {"_index", "_id", "_score"}
    assert hit["_id"] == opensearch_query.document_id(1, text_id(1)).decode()
    (layout,) = stranger.client.indices.get(index=stranger.alias(SHELF)).values()
    assert layout["mappings"]["_source"] == {"enabled": False}
    assert layout["mappings"]["dynamic"] == "strict"
    assert layout["mappings"]["properties"]["terms"]["doc_values"] is False
    assert layout["settings"]["index"]["translog"]["durability"] == "request"
    assert layout["aliases"] == {stranger.alias(SHELF): {}}
    with pytest.raises(OpenSearchException, match="strict"):
        stranger.client.index(index=stranger.alias(SHELF), body={"body": "readable"})


def test_what_is_written_is_on_disk_when_add_returns(index: OpenSearchIndex, stranger: Stranger) -> None:
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(number) for number in range(50)])])
    (stats,) = stranger.client.indices.stats(index=stranger.alias(SHELF), metric="translog")["indices"].values()
    (shard,) = stranger.client.indices.stats(index=stranger.alias(SHELF), level="shards")["indices"].values()
    sequence = shard["shards"]["0"][0]["seq_no"]
    assert stats["total"]["translog"]["uncommitted_operations"] == 50
    assert sequence["global_checkpoint"] == sequence["max_seq_no"] == 49, "a checkpoint counts what is synced"


def test_a_day_that_is_dropped_while_it_is_asked_and_written_has_no_index_and_nothing_else(
    index: OpenSearchIndex,
) -> None:
    other: list[BaseException] = []
    done = threading.Event()

    def going_on(what: Callable[[], object]) -> None:
        while not done.is_set():
            try:
                what()
            except NoIndex as missing:
                if missing.shelf != SHELF:
                    other.append(missing)
            except BaseException as exc:  # noqa: BLE001 - the test fails with whatever it was
                other.append(exc)

    index.create([OTHER])
    index.add([Addition(OTHER, 1, [document(1)])])
    work: list[Callable[[], object]] = [
        lambda: index.query([(OTHER, EVERYTHING), (SHELF, EVERYTHING)], Window(99)),
        lambda: list(index.ids(SHELF)),
        lambda: index.add([Addition(SHELF, 1, [document(2)])]),
    ]
    threads = [threading.Thread(target=going_on, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for _ in range(8):
        index.create([SHELF])
        index.add([Addition(SHELF, 1, [document(2)])])
        index.drop(SHELF)
        assert not index.exists(SHELF)
    done.set()
    for thread in threads:
        thread.join()
    assert other == []


def test_a_closed_index_is_found_too_and_answers_nothing(index: OpenSearchIndex, stranger: Stranger) -> None:
    index.create([SHELF])
    stranger.client.indices.close(index=stranger.alias(SHELF))
    with pytest.raises(Outage, match="closed"):
        found(index, EVERYTHING)
    assert index.exists(SHELF)
    assert index.shelves() == {SHELF}
    index.drop(SHELF)
    assert stranger.names() == set()


def test_ids_slices_and_answers_longer_than_one_page_are_whole(index: OpenSearchIndex) -> None:
    many = opensearch_query.MAX_PAGE + 2_000
    index.create([SHELF])
    for start in range(0, many, 4_000):
        numbers = range(start, min(start + 4_000, many))
        index.add([Addition(SHELF, number, [document(number, token("any"))]) for number in numbers])
    assert set(index.ids(SHELF)) == {text_id(number) for number in range(many)}
    assert index.slices(SHELF) == set(range(many))
    assert found(index, wanted("any"), Window(many + 1)) == [text_id(number) for number in reversed(range(many))]


def test_a_bulk_larger_than_one_request_takes_is_sent_in_parts(
    index: OpenSearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkeep.search.drivers.opensearch_http.BULK_BYTES", 10_000)
    index.create([SHELF])
    index.add([Addition(SHELF, 1, [document(number) for number in range(500)])])
    assert len(set(index.ids(SHELF))) == 500


@pytest.mark.parametrize("body", [{"at": 5, "terms": [token("tea")]}, {"text": "no place", "at": 5, "terms": []}])
def test_a_document_that_somebody_put_in_is_never_taken_for_a_text(
    index: OpenSearchIndex, stranger: Stranger, body: dict[str, Any]
) -> None:
    index.create([SHELF])
    stranger.client.index(index=stranger.alias(SHELF), body=body, refresh="true")
    with pytest.raises(Outage, match="not ours") as outage:
        list(index.ids(SHELF))
    assert "rebuild" in outage.value.remedy
    with pytest.raises(Outage):
        found(index, EVERYTHING)
    index.replace(SHELF, [Addition(SHELF, 1, [document(1)])])
    assert found(index, EVERYTHING) == [text_id(1)]


def test_an_index_that_takes_no_writes_as_on_a_full_disk_is_an_outage_with_its_reason(
    index: OpenSearchIndex, stranger: Stranger
) -> None:
    index.create([SHELF])
    block = {"index.blocks.read_only_allow_delete": True}
    stranger.client.indices.put_settings(index=stranger.alias(SHELF), body=block)
    with pytest.raises(Outage, match="disk") as outage:
        index.add([Addition(SHELF, 1, [document(1)])])
    assert outage.value.retry_after
    assert found(index, EVERYTHING) == []
    index.drop(SHELF)
    assert not index.exists(SHELF), "a day's time ends on a full disk too"


def test_a_query_of_very_many_conditions_proposes_more_rather_than_none(index: OpenSearchIndex) -> None:
    words = [f"w{number}" for number in range(3_000)]
    index.create([SHELF])
    index.add(
        [Addition(SHELF, 1, [document(1, *map(token, words)), document(2, token("w0")), document(3, token("x"))])]
    )
    terms = tuple(map(wanted, words))
    pairs = tuple(AllOf((wanted("w0"), each)) for each in terms[1:])
    for plan in (AllOf(terms), AnyOf((*pairs, wanted("none")))):
        proposed = found(index, plan)
        assert text_id(1) in proposed
        assert text_id(3) not in proposed


def test_a_user_who_may_not_change_the_cluster_is_enough(opensearch: str, stranger: Stranger) -> None:
    denied = answering(403, {"type": "security_exception", "reason": "no permissions for [cluster:admin/settings]"})
    with misbehaving(opensearch) as proxy:
        proxy.next("_cluster/settings", *[denied] * 9)
        proxy.next("_index_template", *[denied] * 9)
        index = OpenSearchIndex.open(proxy.url)
        index.create([SHELF])
        index.add([Addition(SHELF, 1, [document(1)])])
        (layout,) = stranger.client.indices.get(index=stranger.alias(SHELF)).values()
        assert layout["mappings"]["_source"] == {"enabled": False}
        assert [told for told in index.warnings() if "may not read" in told]
        index.drop(SHELF)
        index.close()


def test_another_engine_or_version_is_refused(opensearch: str) -> None:
    for version in ({"number": "8.15.0"}, {"distribution": "opensearch", "number": "2.17.1"}):
        with misbehaving(opensearch) as proxy:
            answer = json.dumps({"version": version}).encode()
            proxy.next("/", lambda _, answer=answer: (200, answer))  # type: ignore[misc]
            index = OpenSearchIndex.open(proxy.url)
            with pytest.raises(Unsound) as refused:
                index.warnings()
            assert refused.value.field == "INDEX_URL"
            index.close()


@pytest.mark.soak
def test_the_disk_flood_stage_itself_is_told_and_over_when_there_is_room_again(
    opensearch_nodes: Callable[..., OpenSearchNodes],
) -> None:
    nodes = opensearch_nodes(settings={"cluster.info.update.interval": "10s"})
    nodes.start()
    client = OpenSearch(nodes.address)
    index = OpenSearchIndex.open(nodes.address)
    index.create([SHELF])

    def marks(size: str) -> None:
        disk = "cluster.routing.allocation.disk"
        names = ("low", "high", "flood_stage")
        settings = {f"{disk}.watermark.{name}": size for name in names} | {f"{disk}.threshold_enabled": True}
        client.cluster.put_settings(body={"transient": settings})

    def add(number: int) -> str:
        try:
            index.add([Addition(SHELF, number, [document(number)])])
        except Outage as outage:
            return outage.detail
        return ""

    marks("900tb")  # so much must be free
    numbers = iter(range(100_000))
    while "disk" not in add(next(numbers)):
        threading.Event().wait(0.5)
    marks("1b")
    while add(next(numbers)):
        threading.Event().wait(0.5)
    index.close()
    client.close()


def test_a_version_of_a_text_keeps_its_place(index: OpenSearchIndex) -> None:
    index.create([SHELF])
    ids = [TextId(DAY, bytes(16), version) for version in (1, 9, 10, 99, 255, 256, 999_999_999)]
    index.add([Addition(SHELF, 1, [Document(each, 5, 1, [token("any")]) for each in ids])])
    assert found(index, Term(token("any"))) == ids[::-1]


def test_everything_goes_by_tls_and_with_a_password(opensearch_secure: str) -> None:
    with opened(opensearch_secure) as index:
        index.create([SHELF, OTHER])
        index.add([Addition(SHELF, 1, [document(1)]), Addition(OTHER, 2, [document(2)])])
        index.replace(SHELF, [Addition(SHELF, 3, [document(3)])])
        assert found(index, EVERYTHING) == [text_id(3)]
        assert set(index.ids(OTHER)) == {text_id(2)}
        assert index.slices(SHELF) == {3}
        index.drop(SHELF)
        assert index.shelves() == {OTHER}


def test_who_is_not_known_or_not_trusted_is_told_so(opensearch_secure: str) -> None:
    address, _, rest = opensearch_secure.rpartition("@")
    for url, remedy in (
        (f"https://admin:canary-1234567890@{rest}", "user and password"),
        (f"https://{rest}", "user and password"),
        (f"{address}@{rest.partition('?')[0]}", "?ca=FILE"),
    ):
        index = OpenSearchIndex.open(url)
        with pytest.raises(Outage) as outage:
            index.exists(SHELF)
        assert remedy in outage.value.remedy
        assert "canary" not in "".join(traceback.format_exception(outage.value))
        index.close()


@pytest.mark.soak
def test_one_of_three_nodes_that_is_lost_for_good_takes_nothing_with_it(
    opensearch_nodes: Callable[..., OpenSearchNodes],
) -> None:
    nodes = opensearch_nodes(3)
    nodes.start()
    index = OpenSearchIndex.open(nodes.address)
    days = [(DAY + timedelta(days=each)).isoformat() for each in range(6)]
    index.create(days)
    added = 0

    def add() -> bool:
        try:
            index.add([Addition(day, added, [document(added)]) for day in days])
        except Outage:
            return False
        return True

    def whole() -> bool:
        try:
            return all(set(index.ids(day)) == {text_id(number) for number in range(added)} for day in days)
        except Outage:
            return False

    for lost in (None, 0):
        if lost is not None:
            while index.warnings():  # every shard has its copy, and nothing else is amiss
                threading.Event().wait(0.2)
            nodes.kill(lost)
        for _ in range(20):
            while not add():
                threading.Event().wait(0.2)
            added += 1
        while not whole():
            threading.Event().wait(0.2)
    for day in days:
        index.drop(day)
    assert index.shelves() == set()
    index.close()
