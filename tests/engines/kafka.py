"""Kafka as a process of this machine: one broker that is its own controller, in the clear, with TLS, and with SASL."""

import os
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.engines import jars
from tests.engines.certificates import PASSWORD, certify
from tests.engines.process import EngineFailed, Guarded, OneProcess, free_ports, own_folder
from tests.engines.topics import Secured, answers

USER: Final = "textkeep"

SMALL: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.enable": "false",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
}
"""One broker alone, quick to start and to rebalance; a topic is made on purpose or not at all."""


@dataclass(frozen=True)
class Layout:
    """Where one broker listens, in its own words (`host:port`): in the clear, with TLS, with SASL over TLS."""

    clear: str
    tls: str
    sasl: str
    controller: str

    def listeners(self, host: str | None = None) -> str:
        """The clients' listeners as Kafka writes them; bound to `host` where that is another than clients call."""
        named = (("PLAINTEXT", self.clear), ("SSL", self.tls), ("SASL_SSL", self.sasl))
        return ",".join(f"{name}://{_at(host, address)}" for name, address in named)


def _at(host: str | None, address: str) -> str:
    return address if host is None else f"{host}:{address.rpartition(':')[2]}"


def properties(
    layout: Layout, keystore: Path, data: str, password: str, *, bound: str | None = None, **more: str
) -> str:
    """The server.properties of a broker: `password` is USER's, by PLAIN or SCRAM-SHA-256."""
    login = "org.apache.kafka.common.security"
    given = {
        **SMALL,
        "listeners": f"{layout.listeners(bound)},CONTROLLER://{layout.controller}",
        "advertised.listeners": layout.listeners(),
        "controller.quorum.voters": f"1@{layout.controller}",
        "log.dirs": data,
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(keystore),
        "ssl.keystore.password": PASSWORD,
        "ssl.key.password": PASSWORD,
        "listener.name.sasl_ssl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{login}.plain.PlainLoginModule required"
        f' user_{USER}="{password}";',
        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
        **more,
    }
    return "".join(f"{key}={value}\n" for key, value in given.items())


def formatting(config: str, password: str) -> list[str]:
    """What the storage tool is told before a broker's first start."""
    scram = f"SCRAM-SHA-256=[name={USER},password={password}]"
    return ["format", "--cluster-id", "dGV4dGtlZXAtdGVzdHMtMQ", "--config", config, "--add-scram", scram]


class KafkaBroker(OneProcess):
    """A broker on free ports of 127.0.0.1, ended with the process `watch`. `settings` are Kafka's own.

    `address` is the listener in the clear; `secured` are those with TLS, and with SASL besides.
    """

    def __init__(
        self, *, settings: Mapping[str, str] | None = None, watch: int | None = None, parent: Path | None = None
    ) -> None:
        jars.check("kafka")
        self.folder = own_folder("kafka", parent)
        password, certified = secrets.token_hex(8), certify(self.folder)
        layout = Layout(*(f"127.0.0.1:{port}" for port in free_ports(4)))
        self.address = layout.clear
        self.secured = Secured(layout.tls, layout.sasl, str(certified.ca), USER, password)
        self._given = self.folder / "server.properties"
        data = str(self.folder / "data")
        self._given.write_text(properties(layout, certified.keystore, data, password, **(settings or {})))
        self.process = Guarded(
            "Kafka",
            jars.command("kafka.Kafka", "kafka", str(self._given)),
            log=self.folder / "log",
            watch=watch or os.getpid(),
            remove=self.folder,
        )

    def start(self) -> None:
        """Format the data folder where there is none, start, and wait until it answers. Raises EngineFailed."""
        if not (self.folder / "data").exists():
            self._format()
        self.process.start()
        self.process.wait_until(self.answers)

    def stop(self) -> None:
        """A shutdown in order."""
        self.process.stop()

    def answers(self) -> bool:
        """Whether it serves clients now."""
        return answers(self.address)

    def _format(self) -> None:
        done = subprocess.run(
            jars.command("kafka.tools.StorageTool", "kafka", *formatting(str(self._given), self.secured.password)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise EngineFailed(f"Kafka's storage could not be formatted: {done.stderr.strip()[-1000:]}")
