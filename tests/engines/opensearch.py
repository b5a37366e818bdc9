"""OpenSearch as processes of this machine: one node, several that make a cluster, or one with TLS and a password."""

import base64
import http.client
import json
import os
import secrets
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.engines import jars
from tests.engines.certificates import PASSWORD, Certified, certify
from tests.engines.process import PATIENCE, EngineFailed, Guarded, free_ports, own_folder

USER: Final = "admin"

ROOMY: Final = {"cluster.max_shards_per_node": "20000", "cluster.routing.allocation.disk.threshold_enabled": "false"}
"""Many tests make some 430 indices each; and a machine whose disk is nearly full can still run them."""

_LOG: Final = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class OpenSearchNodes:
    """A cluster of `count` nodes, each a process of its own on free ports of 127.0.0.1, ended with the process `watch`.

    `secure` makes them answer by TLS only, and only to `user` with `password`. `settings` are OpenSearch's own, for
    every node; `heap` is how much memory each may use, as Java writes it. Snapshots can be taken to the folder
    `snapshots`.
    """

    def __init__(
        self,
        count: int = 1,
        *,
        secure: bool = False,
        settings: Mapping[str, str] | None = None,
        heap: str | None = None,
        watch: int | None = None,
        parent: Path | None = None,
    ) -> None:
        jars.check("opensearch")
        self._heap = heap
        self.folder = own_folder("opensearch", parent)
        self.snapshots = self.folder / "snapshots"
        self.user, self.password = USER, secrets.token_hex(8)
        self.certified: Certified | None = certify(self.folder) if secure else None
        ports = free_ports(2 * count)
        self.ports = ports[:count]
        names = [f"node-{number}" for number in range(count)]
        common = {
            "cluster.name": self.folder.name,
            "network.host": "127.0.0.1",
            "path.repo": str(self.snapshots),
            "discovery.seed_hosts": ",".join(f"127.0.0.1:{port}" for port in ports[count:]),
            **({"cluster.initial_cluster_manager_nodes": ",".join(names)} if count > 1 else {}),
            **({} if count > 1 else {"discovery.type": "single-node"}),
            **ROOMY,
            **(settings or {}),
            **self._door(),
        }
        self.nodes = [
            self._node(name, {**common, "http.port": str(port), "transport.port": str(inner)}, watch or os.getpid())
            for name, port, inner in zip(names, self.ports, ports[count:], strict=True)
        ]

    @property
    def address(self) -> str:
        """The URL of all nodes, without a prefix; with user and password where it is secure."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"http://{hosts}" if self.certified is None else f"https://{self.user}:{self.password}@{hosts}"

    @property
    def query(self) -> str:
        """What an index's URL must say besides: whom to trust."""
        return "" if self.certified is None else f"?ca={self.certified.ca}"

    def start(self, number: int | None = None) -> None:
        """Start all nodes, or one again, and wait until the cluster has all that run. Raises EngineFailed."""
        chosen = self._chosen(number)
        for node in chosen:
            node.start()
        for node in chosen:
            node.wait_until(lambda node=node: self._answers(node), PATIENCE)  # type: ignore[misc]
        self.wait_for_nodes(sum(node.running() for node in self.nodes))

    def stop(self, number: int | None = None) -> None:
        """Stop all nodes in order, or one."""
        for node in self._chosen(number):
            node.stop()

    def kill(self, number: int | None = None) -> None:
        """`kill -9`; a node that is not started again is lost for good."""
        for node in self._chosen(number):
            node.kill()

    def pause(self, number: int | None = None) -> None:
        """Nothing answers, no connection breaks."""
        for node in self._chosen(number):
            node.pause()

    def resume(self, number: int | None = None) -> None:
        """Go on after a pause."""
        for node in self._chosen(number):
            node.resume()

    def end(self) -> None:
        """Kill every node and remove their folder."""
        for node in self.nodes:
            node.end()

    def wait_for_nodes(self, count: int) -> None:
        """Wait until the cluster has so many nodes and knows it. Raises EngineFailed where it does not come to that."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for number, node in enumerate(self.nodes):
                if not node.running():
                    continue
                told = self.ask(number, f"/_cluster/health?wait_for_nodes={count}&timeout=1s")
                if told is not None and not told["timed_out"] and told["number_of_nodes"] == count:
                    return
            time.sleep(0.1)
        raise EngineFailed(f"OpenSearch did not become a cluster of {count} nodes")

    def ask(self, number: int, path: str, method: str = "GET", body: object = None) -> Any:
        """What a node answers to a request, read as JSON; None where it does not answer with success."""
        context = None if self.certified is None else ssl.create_default_context(cafile=str(self.certified.ca))
        port = self.ports[number]
        link = (
            http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            if context is None
            else http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
        )
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {self._basic()}"}
        try:
            link.request(method, path, None if body is None else json.dumps(body), headers)
            answer = link.getresponse()
            said = answer.read()
            return json.loads(said) if answer.status < 300 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            link.close()

    def _basic(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def _answers(self, node: Guarded) -> bool:
        return self.ask(self.nodes.index(node), "/_cluster/health") is not None

    def _chosen(self, number: int | None) -> list[Guarded]:
        return self.nodes if number is None else [self.nodes[number]]

    def _door(self) -> dict[str, str]:
        if self.certified is None:
            return {}
        return {
            "tls.keystore": str(self.certified.keystore),
            "tls.password": PASSWORD,
            "auth.user": self.user,
            "auth.password": self.password,
        }

    def _node(self, name: str, settings: Mapping[str, str], watch: int) -> Guarded:
        home = self.folder / name
        (home / "config").mkdir(parents=True)
        (home / "config" / "log4j2.properties").write_text(_LOG)
        given = home / "node.properties"
        given.write_text("".join(f"{key}={value}\n" for key, value in {**settings, "node.name": name}.items()))
        options = ["--enable-native-access=ALL-UNNAMED", f"-Djava.io.tmpdir={home}"]
        options += [f"-Xmx{self._heap}"] if self._heap else []
        return Guarded(
            f"OpenSearch {name}",
            jars.command("node", "opensearch", str(given), str(home), options=options),
            log=home / "log",
            watch=watch,
            remove=self.folder,
        )
