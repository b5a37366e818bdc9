"""The fixtures that hand an engine to a test, and what a session does before and after them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol, TypeVar

import pytest

from tests.engines import databases
from tests.engines.databases import Pair
from tests.engines.indices import prefixed
from tests.engines.kafka import KafkaBroker
from tests.engines.needed import SESSION, missing, need
from tests.engines.opensearch import OpenSearchNodes
from tests.engines.postgres import PostgresServer
from tests.engines.process import EngineFailed
from tests.engines.sharing import Session
from tests.engines.starting import KINDS
from tests.engines.topics import Secured, Topics, topics


def pytest_configure(config: pytest.Config) -> None:
    """The first process of a run begins the session; the others are told of it."""
    told: dict[str, Any] | None = getattr(config, "workerinput", None)
    config.stash[SESSION] = Session.begin() if told is None else Session.of(told["engines"])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called for each process that xdist starts."""
    node.workerinput["engines"] = node.config.stash[SESSION].told()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Who began the session ends it."""
    session = config.stash.get(SESSION, None)
    if session is not None and not hasattr(config, "workerinput"):
        session.end()


def pytest_report_header() -> list[str]:
    """Which engines there are, and how they were found; none is started for that."""
    return [f"engine {kind}: {how}" for kind, how in ((name, kind.outlook()) for name, kind in KINDS.items())]


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database, for a role that may do everything in it."""
    with databases.fresh(need(request, "postgres").address) as database:
        yield database.owner


@pytest.fixture
def postgres_pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The URLs of two empty databases: one for an archive's data, one for its keyring."""
    server = need(request, "postgres").address
    with databases.fresh(server) as data, databases.fresh(server) as keyring:
        yield Pair(data.owner, keyring.owner)


@pytest.fixture
def opensearch(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an OpenSearch with a prefix of its own; whatever bears the prefix is removed afterwards."""
    with prefixed(need(request, "opensearch").address) as url:
        yield url


@pytest.fixture
def opensearch_three(request: pytest.FixtureRequest) -> Iterator[str]:
    """Like `opensearch`: a cluster of three nodes, all named in the URL."""
    with prefixed(need(request, "opensearch_three").address) as url:
        yield url


@pytest.fixture
def opensearch_secure(request: pytest.FixtureRequest) -> Iterator[str]:
    """Like `opensearch`: by TLS, with user and password, and in the query the authority to trust (`ca=/file`)."""
    with prefixed(need(request, "opensearch_secure").address) as url:
        yield url


@pytest.fixture
def kafka(request: pytest.FixtureRequest) -> Iterator[Topics]:
    """A Kafka broker's address in the clear, and a way to make topics, which are deleted afterwards."""
    with topics(need(request, "kafka").address) as mine:
        yield mine


@pytest.fixture
def kafka_secured(request: pytest.FixtureRequest) -> Secured:
    """The listeners with TLS, and with SASL besides, of the broker that `kafka` names."""
    running = need(request, "kafka")
    if not running.extra:
        missing(request, f"{running.how} tells nothing of a listener with TLS: leave it out, and a broker is started")
    return Secured(**running.extra)


@pytest.fixture
def softhsm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The `pkcs11:` URI of a SoftHSM2 token, which every test of the session shares."""
    running = need(request, "softhsm")
    for name, value in running.extra.items():
        monkeypatch.setenv(name, value)
    return running.address


@pytest.fixture
def kms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The `aws:` address of a KMS that is moto's server, which every test of the session shares."""
    running = need(request, "kms")
    for name, value in running.extra.items():
        monkeypatch.setenv(name, value)
    return running.address


@pytest.fixture
def postgres_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., PostgresServer]]:
    """Makes servers of a test's own, not started yet, to be stopped, killed and paused; ended with the test."""
    yield from _private(request, "PostgreSQL", PostgresServer)


@pytest.fixture
def opensearch_nodes(request: pytest.FixtureRequest) -> Iterator[Callable[..., OpenSearchNodes]]:
    """Like `postgres_server`, for clusters of OpenSearch."""
    yield from _private(request, "OpenSearch", OpenSearchNodes)


@pytest.fixture
def kafka_broker(request: pytest.FixtureRequest) -> Iterator[Callable[..., KafkaBroker]]:
    """Like `postgres_server`, for Kafka brokers."""
    yield from _private(request, "Kafka", KafkaBroker)


class _Ends(Protocol):
    def end(self) -> None: ...


Made = TypeVar("Made", bound=_Ends)


def _private(request: pytest.FixtureRequest, name: str, kind: Callable[..., Made]) -> Iterator[Callable[..., Made]]:
    with ExitStack() as stack:

        def make(*arguments: Any, **options: Any) -> Made:
            try:
                made = kind(*arguments, **options)
            except EngineFailed as exc:
                missing(request, f"no {name} of a test's own: {exc}")
            stack.callback(made.end)
            return made

        yield make
