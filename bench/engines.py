"""Engines of a run's own, durable as in production, and what an archive on them is told."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.engines.opensearch import OpenSearchNodes
from tests.engines.postgres import PostgresServer
from textkeep.service import wiring
from textkeep.service.settings import Settings

SERVER = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min"}
"""The same for every PostgreSQL of a run, ours and the rival's."""

HEAP = "3g"
"""The memory of every OpenSearch of a run, ours and the rival's: what tests give theirs is little for a million."""


@dataclass(frozen=True)
class Engines:
    """A PostgreSQL with fsync and an OpenSearch of one node; each archive gets databases and a prefix of its own."""

    postgres: PostgresServer
    opensearch: OpenSearchNodes

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        with psycopg.connect(self.postgres.address, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.postgres.address.rsplit("/", 1)[0] + f"/{name}"

    def archive(self, folder: Path, name: str) -> dict[str, Any]:
        """The settings of a new archive, migrated."""
        told: dict[str, Any] = {
            "data": str(folder / name),
            "database_url": self.database(name),
            "keyring_url": self.database(f"{name}_keyring"),
            "index_url": f"{self.opensearch.address}/{name}",
            "root_key": f"file://{folder / name}-roots",
        }
        wiring.migrate(Settings(**told), None)
        return told


@contextmanager
def engines(folder: Path) -> Iterator[Engines]:
    """Both engines, started, and ended afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as ended:
        server = PostgresServer(fsync=True, settings=SERVER)
        ended.callback(server.end)
        server.start()
        nodes = OpenSearchNodes(1, heap=HEAP)
        ended.callback(nodes.end)
        nodes.start()
        yield Engines(server, nodes)


def with_pgcrypto() -> Path | None:
    """The programs of a PostgreSQL that has pgcrypto, or None: ours comes without it."""
    named = os.environ.get("BENCH_PGCRYPTO_BIN")
    found = [Path(named)] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for programs in found:
        extension = Path("/usr/share/postgresql") / programs.parent.name / "extension" / "pgcrypto.control"
        if (programs / "postgres").exists() and (named or extension.exists()):
            return programs
    return None
