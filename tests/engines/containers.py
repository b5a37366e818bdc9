"""Engines as containers, by testcontainers, where a Docker engine answers.

A process of its own starts each and keeps it, so that a container belongs to the whole session and not to the process
that asked first; testcontainers' own reaper takes what is left where even that process is killed.
"""

import http.client
import json
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.engines import kafka
from tests.engines.certificates import certify
from tests.engines.opensearch import ROOMY, USER
from tests.engines.postgres import FAST
from tests.engines.process import EngineFailed, Guarded, free_ports, own_folder
from tests.engines.sharing import Running, Session

POSTGRES_IMAGE: Final = "postgres:18-alpine"
OPENSEARCH_IMAGE: Final = "opensearchproject/opensearch:3.8.0"
KAFKA_IMAGE: Final = "apache/kafka:4.1.1"

SECONDS: Final = 2
"""How long a Docker engine may take to say that it is there."""

PULLING: Final = 600
"""Seconds in which an image must be there and its engine up."""

_SOCKETS: Final = ("/var/run/docker.sock", "~/.docker/run/docker.sock", "$XDG_RUNTIME_DIR/docker.sock")

_OPEN: Final = {"DISABLE_SECURITY_PLUGIN": "true", "DISABLE_INSTALL_DEMO_CONFIG": "true"}

Told = dict[str, str]
"""What a container's starter tells: `address`, and what else the kind has."""


def answering() -> str | None:
    """The address of the Docker engine that answers, or None; TEXTKEEP_TEST_DOCKER=off leaves Docker out."""
    if os.environ.get("TEXTKEEP_TEST_DOCKER") == "off":
        return None
    named = os.environ.get("DOCKER_HOST")
    candidates = [named] if named else [f"unix://{os.path.expandvars(Path(each).expanduser())}" for each in _SOCKETS]
    return next((each for each in candidates if _answers(each)), None)


class _Local(http.client.HTTPConnection):
    """HTTP over a socket of the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)


def _answers(address: str) -> bool:
    parts = urlsplit(address)
    if parts.scheme == "unix":
        connection: http.client.HTTPConnection = _Local(parts.path)
    elif parts.scheme in ("tcp", "http") and parts.hostname:
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 2375, timeout=SECONDS)
    else:  # over SSH or TLS nothing is asked here: testcontainers will see
        return parts.scheme in ("ssh", "https")
    try:
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return answer.status == http.HTTPStatus.OK


def start(kind: str, session: Session) -> Running:
    """The engine of this kind in a container. Raises EngineFailed where it does not come up."""
    docker = answering()
    if docker is None:
        raise EngineFailed("no Docker engine answers")
    folder = own_folder(f"docker-{kind}", session.folder)
    root = str(Path(__file__).parents[2])
    program = f"import sys; sys.path.insert(0, {root!r}); from tests.engines import containers; containers.keep()"
    process = Guarded(
        f"the container of {kind}",
        ["env", f"DOCKER_HOST={docker}", sys.executable, "-c", program, kind, str(folder)],
        log=folder / "log",
        watch=session.watch,
        remove=folder,
        grace=60,
    )
    process.start()
    told = folder / "told.json"
    try:
        process.wait_until(told.exists, PULLING)
    except EngineFailed:
        process.end()
        raise
    extra = json.loads(told.read_text())
    return Running(extra.pop("address"), "a container, by Docker", [process.guard_pid], extra)


def keep() -> None:
    """Start the kind that `sys.argv` names, tell its address in the folder beside it, and wait to be ended."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    asked_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())
    with STARTERS[kind](folder) as told:
        written = folder / "told.part"
        written.write_text(json.dumps(told))
        written.rename(folder / "told.json")
        asked_to_end.wait()


@contextmanager
def _postgres(_folder: Path) -> Iterator[Told]:
    from testcontainers.community.postgres import PostgresContainer

    password = secrets.token_hex(8)
    container = PostgresContainer(
        POSTGRES_IMAGE, username="postgres", password=password, dbname="postgres", driver=None
    )
    container.with_command(["postgres", *(part for name, value in FAST.items() for part in ("-c", f"{name}={value}"))])
    with container:
        yield {"address": container.get_connection_url()}


@contextmanager
def _opensearch(_folder: Path) -> Iterator[Told]:
    from testcontainers.community.opensearch import OpenSearchContainer

    container = OpenSearchContainer(OPENSEARCH_IMAGE)
    _fit(container, {**ROOMY, **_OPEN, "path.repo": "/tmp/snapshots"})  # noqa: S108 - inside the container
    with container:
        yield {"address": f"http://{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}"}


@contextmanager
def _opensearch_secure(folder: Path) -> Iterator[Told]:
    from testcontainers.community.opensearch import OpenSearchContainer

    password = f"Throw-Away-{secrets.token_hex(8)}"
    container = OpenSearchContainer(OPENSEARCH_IMAGE, security_enabled=True, initial_admin_password=password)
    _fit(container, ROOMY)
    with container:
        ca = folder / "ca.pem"
        container.copy_from_container("/usr/share/opensearch/config/root-ca.pem", ca)
        host = f"{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}"
        yield {"address": f"https://{USER}:{password}@{host}?ca={ca}"}


@contextmanager
def _opensearch_three(_folder: Path) -> Iterator[Told]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    names = ["node-0", "node-1", "node-2"]
    together = {
        **ROOMY,
        "cluster.name": "textkeep",
        "discovery.seed_hosts": ",".join(names),
        "cluster.initial_cluster_manager_nodes": ",".join(names),
        **_OPEN,
    }
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        nodes = []
        for name in names:
            node = DockerContainer(OPENSEARCH_IMAGE).with_network(network).with_network_aliases(name)
            _fit(node.with_exposed_ports(9200), {**together, "node.name": name})
            nodes.append(stack.enter_context(node))
        joined = HttpWaitStrategy(9200, "/_cluster/health?wait_for_nodes=3&timeout=5s").for_status_code(200)
        for node in nodes:
            joined.with_startup_timeout(PULLING).wait_until_ready(node)
        hosts = ",".join(f"{node.get_container_host_ip()}:{node.get_exposed_port(9200)}" for node in nodes)
        yield {"address": f"http://{hosts}"}


def _fit(container: "object", settings: Mapping[str, str]) -> None:
    """Give a node of OpenSearch its settings, and a heap that leaves room for others."""
    for name, value in {**settings, "OPENSEARCH_JAVA_OPTS": "-Xms512m -Xmx512m"}.items():
        container.with_env(name, value)  # type: ignore[attr-defined]


@contextmanager
def _kafka(folder: Path) -> Iterator[Told]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.docker_client import DockerClient
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    host, password, certified = DockerClient().host(), secrets.token_hex(8), certify(folder)
    ports = free_ports(3)
    clear, tls, sasl = (f"{host}:{port}" for port in ports)
    layout = kafka.Layout(clear, tls, sasl, "localhost:9099")
    config, keystore = "/tmp/server.properties", Path("/tmp/server.p12")  # noqa: S108 - inside the container
    given = kafka.properties(layout, keystore, "/tmp/data", password, bound="0.0.0.0")  # noqa: S104, S108
    tool = " ".join(f"'{part}'" for part in kafka.formatting(config, password))
    command = f"/opt/kafka/bin/kafka-storage.sh {tool} && exec /opt/kafka/bin/kafka-server-start.sh {config}"
    container = DockerContainer(KAFKA_IMAGE).with_command(["sh", "-c", command])
    container.with_copy_into_container(given.encode(), config)
    container.with_copy_into_container(certified.keystore.read_bytes(), str(keystore))
    for port in ports:
        container.with_bind_ports(port, port)
    container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(PULLING))
    with container:
        secured = {"ssl": layout.tls, "sasl": layout.sasl, "ca": str(certified.ca)}
        yield {"address": layout.clear, **secured, "user": kafka.USER, "password": password}


STARTERS: Final[Mapping[str, Callable[[Path], AbstractContextManager[Told]]]] = {
    "postgres": _postgres,
    "opensearch": _opensearch,
    "opensearch_three": _opensearch_three,
    "opensearch_secure": _opensearch_secure,
    "kafka": _kafka,
}
