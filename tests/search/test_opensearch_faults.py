"""The OpenSearch driver behind a proxy that misbehaves, in front of a real engine."""

import logging
import threading
import traceback
from collections.abc import Iterator

import pytest

from tests.search.drivers import opensearch
from tests.search.indexed import EVERYTHING, OTHER, SHELF, document, found, text_id, token, wanted
from tests.search.misbehaving import (
    BUSY,
    FLOODED,
    MISFIT,
    Behaviour,
    Exchange,
    Misbehaving,
    answering,
    babbling,
    cut_after,
    cut_before,
    failing_items,
    misbehaving,
    stalling,
)
from textkeep.errors import Fault, Outage
from textkeep.search.drivers import opensearch_http
from textkeep.search.drivers.opensearch import OpenSearchIndex
from textkeep.search.index import Addition, NoIndex, Window

CANARY = token("canary-1234567890")
TWENTY = [document(number, token("any"), CANARY) for number in range(20)]


@pytest.fixture
def proxy(opensearch: str) -> Iterator[Misbehaving]:
    with misbehaving(opensearch) as proxy:
        yield proxy


@pytest.fixture
def index(proxy: Misbehaving) -> Iterator[OpenSearchIndex]:
    with opensearch(proxy.url) as driver:
        driver.create([SHELF])
        yield driver


def add(index: OpenSearchIndex) -> None:
    index.add([Addition(SHELF, 1, TWENTY)])


def all_there(index: OpenSearchIndex) -> bool:
    return found(index, wanted("any")) == [each.id for each in reversed(TWENTY)]


@pytest.mark.parametrize(
    "behaviours",
    [
        [answering(429, BUSY)],
        [answering(503, {"type": "unavailable_shards_exception", "reason": "primary shard is not active"})],
        [failing_items(429, BUSY)],
        [failing_items(503, BUSY), failing_items(429, BUSY, one_in=3), answering(429, BUSY)],
        [failing_items(429, BUSY, one_in=1)],
        [cut_before],
        [cut_after],
    ],
    ids=["429", "503", "some items", "less and less", "every item", "lost", "answer lost"],
)
def test_what_is_turned_away_for_a_moment_is_written_after_all(
    index: OpenSearchIndex, proxy: Misbehaving, behaviours: list[Behaviour]
) -> None:
    proxy.next("_bulk", *behaviours)
    add(index)
    assert proxy.told == []
    assert all_there(index)


@pytest.mark.parametrize("behaviour", [failing_items(429, BUSY), answering(429, BUSY)], ids=["items", "whole"])
def test_what_is_turned_away_again_and_again_is_an_outage_and_can_be_completed(
    index: OpenSearchIndex, proxy: Misbehaving, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    monkeypatch.setattr(opensearch_http, "PATIENCE", 0.3)
    proxy.next("_bulk", *[behaviour] * 100)
    with pytest.raises(Outage) as outage:
        add(index)
    assert outage.value.retry_after
    assert 1 < 100 - len(proxy.told) < 20, "it waits longer and longer, and not for ever"
    proxy.told.clear()
    add(index)
    assert all_there(index)
    assert index.slices(SHELF) == {1}


@pytest.mark.parametrize("behaviour", [failing_items(429, FLOODED), answering(403, FLOODED)], ids=["items", "whole"])
def test_a_full_disk_is_an_outage_that_says_so_at_once(
    index: OpenSearchIndex, proxy: Misbehaving, behaviour: Behaviour
) -> None:
    proxy.next("_bulk", behaviour)
    with pytest.raises(Outage, match="disk") as outage:
        add(index)
    assert "disk" in outage.value.remedy
    assert outage.value.retry_after
    assert sum("_bulk" in path for path in proxy.seen) == 1


def test_a_document_that_does_not_fit_is_our_fault(index: OpenSearchIndex, proxy: Misbehaving) -> None:
    proxy.next("_bulk", failing_items(400, MISFIT))
    with pytest.raises(Fault):
        add(index)


def test_an_answer_that_leaves_items_out_is_no_success(index: OpenSearchIndex, proxy: Misbehaving) -> None:
    def shortened(exchange: Exchange) -> tuple[int, bytes]:
        exchange.forward()
        return 200, b'{"errors": false, "items": [{"index": {"status": 201}}]}'

    proxy.next("_bulk", shortened)
    with pytest.raises(Outage):
        add(index)


@pytest.mark.parametrize(
    "behaviour", [stalling, babbling, answering(502, "bad gateway")], ids=["stall", "nonsense", "502"]
)
@pytest.mark.parametrize("what", ["add", "query", "ids", "slices", "exists", "shelves", "drop", "create", "warnings"])
def test_whatever_stalls_or_answers_nonsense_ends_in_an_outage(
    opensearch: str, monkeypatch: pytest.MonkeyPatch, what: str, behaviour: Behaviour
) -> None:
    monkeypatch.setattr(opensearch_http, "READ_SECONDS", 0.2)
    monkeypatch.setattr(opensearch_http, "PATIENCE", 0.1)
    with misbehaving(opensearch) as proxy:
        proxy.next("/", *[behaviour] * 50)
        index = OpenSearchIndex.open(proxy.url)
        actions = {
            "add": lambda: add(index),
            "query": lambda: index.query([(SHELF, EVERYTHING)], Window(9)),
            "ids": lambda: list(index.ids(SHELF)),
            "slices": lambda: index.slices(SHELF),
            "exists": lambda: index.exists(SHELF),
            "shelves": index.shelves,
            "drop": lambda: index.drop(SHELF),
            "create": lambda: index.create([SHELF]),
            "warnings": index.warnings,
        }
        with pytest.raises(Outage) as outage:
            actions[what]()
        assert outage.value.retry_after
        index.close()


@pytest.mark.parametrize("word", ["-g1", "-g2", "_aliases", "_refresh", "_msearch"])
def test_a_request_whose_answer_is_lost_is_sent_again_and_changes_nothing(
    index: OpenSearchIndex, proxy: Misbehaving, word: str
) -> None:
    index.drop(SHELF)
    proxy.next(word, cut_after)
    index.create([SHELF])
    add(index)
    index.replace(SHELF, [Addition(SHELF, 2, TWENTY)])
    assert all_there(index)
    assert proxy.told == []
    assert index.slices(SHELF) == {2}
    index.drop(SHELF)
    assert not index.exists(SHELF)


@pytest.mark.parametrize(
    "answer",
    [
        (429, BUSY),
        (503, {"type": "search_phase_execution_exception", "reason": "all shards failed"}),
    ],
    ids=["busy", "a shard away"],
)
def test_a_search_waits_a_moment_for_a_part_that_is_away_and_then_refuses(
    index: OpenSearchIndex, proxy: Misbehaving, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, dict[str, str]]
) -> None:
    add(index)
    proxy.next("_msearch", answering(*answer))
    assert all_there(index)
    monkeypatch.setattr(opensearch_http, "PATIENCE", 0.1)
    proxy.next("_msearch", *[answering(*answer)] * 20)
    with pytest.raises(Outage):
        found(index, wanted("any"))


def test_a_bulk_that_comes_after_the_drop_brings_nothing_back(index: OpenSearchIndex, proxy: Misbehaving) -> None:
    index.create([OTHER])
    held, let_go = threading.Event(), threading.Event()
    refused: list[NoIndex] = []

    def late(exchange: Exchange) -> tuple[int, bytes]:
        held.set()
        assert let_go.wait(60)
        return exchange.forward()

    def write() -> None:
        try:
            add(index)
        except NoIndex as exc:
            refused.append(exc)

    proxy.next("_bulk", late)
    writer = threading.Thread(target=write)
    writer.start()
    assert held.wait(60)
    index.drop(SHELF)
    let_go.set()
    writer.join()
    assert [each.shelf for each in refused] == [SHELF]
    assert not index.exists(SHELF)
    assert index.shelves() == {OTHER}


def test_nothing_of_a_document_or_of_the_engines_words_is_told(
    index: OpenSearchIndex, proxy: Misbehaving, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy.next("_bulk", failing_items(400, MISFIT), answering(400, MISFIT))
    for _ in range(2):
        with pytest.raises(Fault) as fault:
            add(index)
        shown = "".join(traceback.format_exception(fault.value))
        assert "canary" not in shown + str(fault.value) + repr(fault.value)
        assert CANARY not in shown
    add(index)
    assert all_there(index)
    told = caplog.text + "".join(capfd.readouterr())
    assert CANARY not in told
    assert str(text_id(3)) not in told
    assert "canary" not in told


def test_an_engine_that_is_not_there_is_an_outage_and_may_come_later(opensearch: str) -> None:
    index = OpenSearchIndex.open("http://127.0.0.1:1/textkeep")
    with pytest.raises(Outage) as outage:
        index.query([(SHELF, EVERYTHING)], Window(9))
    assert outage.value.retry_after
    index.close()


def test_another_node_is_asked_where_one_does_not_answer(opensearch: str) -> None:
    here, _, prefix = opensearch.removeprefix("http://").partition("/")
    index = OpenSearchIndex.open(f"http://127.0.0.1:1,{here},127.0.0.1:2/{prefix}")
    index.create([SHELF])
    for number in range(10):
        index.add([Addition(SHELF, number, [document(number)])])
    assert len(found(index, EVERYTHING)) == 10
    index.drop(SHELF)
    index.close()
