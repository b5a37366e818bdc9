"""Engines that stop, die, fill up and stall under real processes: nothing acknowledged is lost, and index equals vault.

A source pushes all the while and counts its receipts; sets of ids are compared, over every shelf.
"""

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import make_url

from tests.engines.opensearch import OpenSearchNodes
from tests.engines.postgres import PostgresServer
from tests.service.many import Many, Process, Shared
from tests.whole.living import ORG
from tests.whole.many_archives import (
    PATIENCE,
    begun,
    in_vault,
    migrated,
    private,
    showing_last_words,
    until,
    until_equal,
)
from tests.whole.many_disks import Filled, small_disk
from tests.whole.many_proxy import proxy
from tests.whole.many_pushing import WORD, Source

NOW: Final = datetime.now(UTC)
DAYS: Final = tuple(NOW - timedelta(days=number, minutes=1) for number in range(5))

QUICK: Final = 8.0
"""Seconds for which an engine is away, or it storms."""

LONG: Final = 60.0
"""The same in the long runs."""

RECOVERED_WITHIN: Final = 60.0
"""Seconds, on a machine that does nothing else."""


@dataclass
class World:
    """One archive on engines of its own, with `api`, `follow` and `keep` as processes."""

    server: PostgresServer
    nodes: OpenSearchNodes
    many: Many
    token: str
    processes: list[Process]
    sources: list[Source]

    @property
    def shared(self) -> Shared:
        return self.many.shared

    @contextmanager
    def pushing(self, name: str, through: Process | None = None, days: Sequence[datetime] = DAYS) -> Iterator[Source]:
        """A source that pushes until the block ends; its texts are among those that must be there for ever."""
        url = (through or self.processes[0]).told["url"]
        source = Source(url, self.token, name, days)
        self.sources.append(source)
        with showing_last_words(self.processes if through is None else [*self.processes, through]), source:
            source.more(100)
            yield source
            source.more(100)

    def search(self, through: Process | None = None) -> httpx.Response:
        """What a search for the newest texts answers."""
        with (through or self.processes[0]).client(self.token) as client:
            asked = {"query": WORD, "reason": "a test of faults", "org_id": ORG, "limit": 20}
            return client.post("/v1/searches", json=asked)

    def found(self) -> int:
        """How many texts such a search finds."""
        return len(self.search().raise_for_status().json()["results"])

    def hold_against_receipts(self) -> None:
        """Everything that any receipt acknowledged is there, once, and nothing else; and no process has ended."""
        acknowledged = [text_id for source in self.sources for text_id in source.acknowledged.values()]
        assert len(set(acknowledged)) == len(acknowledged) > 0
        there = {text_id for ids in in_vault(self.shared.owner.database).values() for text_id in ids}
        assert there == set(acknowledged)
        assert [each.process.poll() for each in self.processes] == [None] * len(self.processes)
        assert [source.without_delay for source in self.sources if source.without_delay] == []


@contextmanager
def world(
    request: pytest.FixtureRequest, folder: Path, server: PostgresServer, nodes: int, *parts: str
) -> Iterator[World]:
    """An archive on this server and so many nodes; the processes end with it."""
    with private(request, OpenSearchNodes, nodes) as cluster, ExitStack() as opened:
        shared = migrated(server, server, folder / "archive", f"{cluster.address}/faults")
        token = begun(shared)
        many = Many(shared, opened)
        begun_now = [many.start(*([part, "--port", "0"] if part == "api" else [part])) for part in parts]
        yield World(server, cluster, many, token, [each.greeted() for each in begun_now], [])


@pytest.fixture(scope="module")
def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One PostgreSQL that keeps what it acknowledges, one node of OpenSearch."""
    with (
        private(request, PostgresServer, fsync=True) as server,
        world(request, tmp_path_factory.mktemp("faults"), server, 1, "api", "follow", "keep") as made,
    ):
        yield made


def stop_the_index(world: World, seconds: float) -> float:
    """Seconds until the index had everything, after it was away for so long."""
    with world.pushing(f"stopped-{seconds}") as source:
        until(lambda: world.found() > 0, "nothing becomes findable")
        world.nodes.stop()
        before = source.told.copy()
        threading.Event().wait(seconds)
        source.more(100)
        assert source.told[200] > before[200]
        assert source.turned_away() == 0, "ingest does not need the index"
        answer = world.search()
        assert (answer.status_code, answer.headers.get("Retry-After") is not None) == (503, True)
        world.nodes.start()
    took = until_equal(world.shared)
    world.hold_against_receipts()
    until(lambda: world.search().status_code == 200, "no search is answered any more")
    return took


def test_an_index_that_was_away_has_everything_soon_after(one: World) -> None:
    stop_the_index(one, QUICK)


@pytest.mark.soak
def test_an_index_that_was_away_for_a_minute_has_everything_within_another(one: World) -> None:
    assert stop_the_index(one, LONG) < RECOVERED_WITHIN


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_database_that_goes_in_the_middle_of_pushing_loses_nothing(one: World, how: str) -> None:
    for number in range(2):
        with one.pushing(f"{how}-{number}") as source:
            getattr(one.server, how)()
            until(lambda source=source: source.turned_away() > 0, "nobody was told to come again")  # type: ignore[misc]
            one.server.start()
        assert source.told.keys() == {200, 503}
    until_equal(one.shared)
    one.hold_against_receipts()


def storm(world: World, seconds: float, least: int) -> float:
    """Seconds until the index had everything, after so many of bad weather between processes and engines."""
    seed = int(os.environ.get("TEXTKEEP_TEST_SEED") or random.randrange(2**32))
    print(f"TEXTKEEP_TEST_SEED={seed}")
    settings = world.shared.service
    with proxy(world.server.port, seed, 0.005) as database, proxy(world.nodes.ports[0], seed + 1, 0.03) as index:
        led = {
            "database_url": _led(settings.database, database.port),
            "keyring_url": _led(str(settings.keyring_url), database.port),
            "index_url": str(settings.index_url).replace(str(world.nodes.ports[0]), str(index.port)),
        }
        with ExitStack() as opened:
            many = Many(replace(world.shared, service=settings.model_copy(update=led)), opened)
            started = [many.start(*words) for words in (("api", "--port", "0"), ("follow",), ("keep",))]
            beyond = [each.greeted() for each in started]
            with world.pushing(f"storm-{seconds}", beyond[0]) as source:
                for weather in (database, index):
                    weather.rage()
                end = time.monotonic() + seconds
                while time.monotonic() < end or database.cut < least or index.cut < least:
                    assert time.monotonic() < end + PATIENCE, (database.cut, index.cut)
                    answer = world.search(beyond[0])
                    assert answer.status_code == 200 or "Retry-After" in answer.headers, answer.text
                for weather in (database, index):
                    weather.rest()
            assert source.told.keys() <= {200, 503}
            print(f"cut {database.cut} and {index.cut}, stalled {database.stalled} and {index.stalled}; {source.told}")
            took = until_equal(world.shared)
            world.hold_against_receipts()
            assert [each.process.poll() for each in beyond] == [None] * 3
            until(lambda: world.search(beyond[0]).status_code == 200, "no search is answered any more")
            for each in beyond:
                each.stop()
    return took


def _led(url: str, port: int) -> str:
    return make_url(url).set(port=port).render_as_string(hide_password=False)


def test_connections_that_are_cut_and_stalled_lose_nothing(one: World) -> None:
    storm(one, QUICK, 5)


@pytest.mark.soak
def test_a_minute_of_cut_and_stalled_connections_loses_nothing(one: World) -> None:
    assert storm(one, LONG, 10) < RECOVERED_WITHIN


def test_an_index_whose_disk_is_full_stops_nothing_and_catches_up(one: World) -> None:
    with one.pushing("flooded") as source:
        flood(one.nodes, True)
        until(lambda: blocked(one.nodes) > 0, "no index was closed to writing")
        with one.pushing("of-another-day", days=[NOW - timedelta(days=7)]):
            source.more(200)
        assert source.turned_away() == 0
        assert one.search().status_code == 200
        flood(one.nodes, False)
        until(lambda: blocked(one.nodes) == 0, "an index is still closed to writing")
    until_equal(one.shared)
    one.hold_against_receipts()


def flood(nodes: OpenSearchNodes, full: bool) -> None:
    """Let every disk count as too full (it would need that much room), or as roomy again."""
    names = ("low", "high", "flood_stage")
    rooms = dict(zip(names, ("902tb", "901tb", "900tb"), strict=True)) if full else dict.fromkeys(names)
    settings: dict[str, Any] = {f"cluster.routing.allocation.disk.watermark.{name}": rooms[name] for name in names}
    settings["cluster.routing.allocation.disk.threshold_enabled"] = True
    settings["cluster.info.update.interval"] = "10s"
    if not full:  # a machine that is nearly full itself must not count
        settings |= {f"cluster.routing.allocation.disk.watermark.{name}": "1mb" for name in names}
    assert nodes.ask(0, "/_cluster/settings", "PUT", {"persistent": settings}) is not None


def blocked(nodes: OpenSearchNodes) -> int:
    """How many indices take no writes because a disk is full."""
    told = nodes.ask(0, "/faults-*/_settings/index.blocks.*")
    return sum("blocks" in each["settings"].get("index", {}) for each in (told or {}).values())


def test_a_database_whose_disk_is_full_refuses_and_goes_on_when_there_is_room(
    request: pytest.FixtureRequest, one: World, tmp_path: Path
) -> None:
    with small_disk(420) as disk, ExitStack() as ended:
        server = PostgresServer(
            fsync=True,
            settings={"max_wal_size": "64MB", "min_wal_size": "32MB", "shared_buffers": "64MB"},
            parent=disk,
            bin_folder=one.server.bin,
        )
        ended.callback(server.end)
        server.start()
        with world(request, tmp_path, server, 1, "api", "follow") as full:
            with full.pushing("full") as source, Filled(disk) as filled:
                until(lambda: source.turned_away() > 0 and source.told[503] > 0, "the disk did not fill up")
                filled.end()
                until(lambda: goes_on(server, source), "nothing is taken though there is room")
            assert source.told.keys() <= {200, 429, 503}
            until_equal(full.shared)
            full.hold_against_receipts()


def goes_on(server: PostgresServer, source: Source) -> bool:
    """Whether the newest answer is a receipt; a server that ended, because it could write no more, is started again."""
    if not server.process.running():
        server.start()
    return source.newest == 200


@pytest.fixture(scope="module")
def three(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One PostgreSQL, and three nodes of OpenSearch."""
    with (
        private(request, PostgresServer) as server,
        world(request, tmp_path_factory.mktemp("three"), server, 3, "api", "follow", "keep") as made,
    ):
        yield made


def test_a_node_that_is_lost_for_good_takes_nothing_with_it(three: World) -> None:
    with three.pushing("node") as source:
        until(lambda: green(three.nodes), "not every index has its copy")
        lost = manager(three.nodes)
        three.nodes.kill(lost)
        told = set()
        for _ in range(20):
            source.more(20)
            answer = three.search()
            assert answer.status_code == 200 or "Retry-After" in answer.headers, answer.text
            told.add(answer.status_code)
        assert told <= {200, 503}
        assert source.turned_away() == 0
    until_equal(three.shared)
    three.hold_against_receipts()
    until(lambda: three.search().status_code == 200, "no search is answered any more")
    three.nodes.wait_for_nodes(2)


def green(nodes: OpenSearchNodes) -> bool:
    """Whether there are indices of all days, each with its copy on another node."""
    told = nodes.ask(0, "/_cluster/health/faults-*")
    return told is not None and told["status"] == "green" and told["active_primary_shards"] >= len(DAYS)


def manager(nodes: OpenSearchNodes) -> int:
    """The number of the node that leads the others: its loss is the hardest."""
    (told,) = nodes.ask(0, "/_cat/cluster_manager?format=json")
    return int(str(told["node"]).removeprefix("node-"))
