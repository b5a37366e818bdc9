"""Copies of an archive's data, taken as an operator takes them, and what can be made of them afterwards."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import sql
from sqlalchemy import select

from tests.engines.opensearch import OpenSearchNodes
from tests.engines.postgres import PostgresServer
from tests.service.many import Shared
from tests.whole.many_archives import until
from textkeep.archive.drivers.keyring_sql import TABLE
from textkeep.archive.drivers.root_local import LocalRoot, shared_folder
from textkeep.archive.keyring import IDENTITY, Keyring, prefixed
from textkeep.archive.ring import NONCE_BYTES
from textkeep.archive.sealing import FORMAT
from textkeep.archive.text import Handle, TextId
from textkeep.store.bulk import TextRow
from textkeep.store.engine import Store
from textkeep.store.tables import papers_of, texts_of

REPOSITORY: Final = "copies"

RESTORING: Final = "cp ../shipped/%f %p"
"""How the second server gets the write-ahead log; it works in its data folder."""


@dataclass
class Kept:
    """A keyring's documents in memory, as they were at one moment; a KeyringStore."""

    documents: dict[str, bytes]
    shared: bool = False

    def read(self, name: str) -> bytes | None:
        return self.documents.get(name)

    def holds(self, name: str, body: bytes | None) -> bool:
        return self.documents.get(name) == body

    def swap(self, name: str, was: bytes | None, now: bytes) -> None:
        assert self.documents.get(name) == was
        self.documents[name] = now

    def all(self, prefix: str) -> dict[str, bytes]:
        return {name: body for name, body in sorted(self.documents.items()) if name.startswith(prefix)}


@dataclass(frozen=True)
class KeyringCopy:
    """What opens a keyring: its documents, and the folder of its roots."""

    documents: Mapping[str, bytes]
    roots: Path

    @classmethod
    def of(cls, shared: Shared, to: Path) -> "KeyringCopy":
        """As it is now."""
        with psycopg.connect(str(shared.owner.keyring_url)) as connection:
            rows = connection.execute(sql.SQL("SELECT name, body FROM {}").format(sql.Identifier(TABLE))).fetchall()
        documents = {str(name): bytes(body) for name, body in rows}
        shutil.copytree(shared_folder(shared.service.roots_folder, documents[IDENTITY].decode()), to)
        return cls(documents, to)

    def open(self) -> Keyring:
        """The keyring; whoever holds it destroys nothing."""
        return Keyring.open(Kept(dict(self.documents)), LocalRoot(self.roots), create=False, keeps=False)


@dataclass
class Copies:
    """Everything that is copied of a running archive's data; nothing of its keyring is among it."""

    folder: Path
    server: PostgresServer
    restored: PostgresServer
    nodes: OpenSearchNodes
    shared: Shared
    files: dict[str, Path] = field(default_factory=dict)

    def base_backup(self) -> None:
        """What the second server will begin with."""
        self.restored.data.mkdir(mode=0o700)
        self._give(self.restored.data)
        at = ("-h", "127.0.0.1", "-p", str(self.server.port), "-U", "postgres")
        self.server.run("pg_basebackup", *at, "-D", str(self.restored.data), "-X", "none", "-c", "fast")
        self.files["base backup"] = self.restored.data

    def log(self) -> None:
        """The write-ahead log up to this moment, from the archive that the server writes."""
        with psycopg.connect(self.server.address, autocommit=True) as connection:
            row = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn()), pg_switch_wal()").fetchone()
        assert row is not None
        until(lambda: (self.server.archive / str(row[0])).exists(), "the write-ahead log is not archived")
        to = self.restored.folder / "shipped"
        shutil.copytree(self.server.archive, to)
        for each in to.iterdir():
            self._give(each)
        self.files["write-ahead log"] = to

    def dump(self) -> Path:
        """By pg_dump, as statements."""
        to = self.folder / "dump" / "archive.sql"
        to.parent.mkdir()
        done = [str(self.server.bin / "pg_dump"), "-d", self.shared.owner.database, "-f", str(to)]
        subprocess.run(done, check=True, capture_output=True)
        self.files["pg_dump"] = to.parent
        return to

    def snapshot(self) -> None:
        """By OpenSearch, into its repository."""
        told = {"type": "fs", "settings": {"location": str(self.nodes.snapshots)}}
        assert self.nodes.ask(0, f"/_snapshot/{REPOSITORY}", "PUT", told) is not None
        made = self.nodes.ask(0, f"/_snapshot/{REPOSITORY}/before?wait_for_completion=true", "PUT")
        assert made["snapshot"]["state"] == "SUCCESS"
        self.files["snapshot"] = self.nodes.snapshots

    def everything_else(self) -> None:
        """The archive's folder with its reports, and that of the index."""
        to = self.folder / "files"
        shutil.copytree(self.shared.service.folder, to / "archive")
        shutil.copytree(self.nodes.folder / "node-0", to / "index", ignore_dangling_symlinks=True)
        self.files["files"] = to

    def restore(self, dump: Path) -> str:
        """Start the second server from base backup and log, and put the dump into a database of it; its URL."""
        (self.restored.data / "recovery.signal").touch()
        self._give(self.restored.data / "recovery.signal")
        self.restored.start()
        until(self._recovered, "the second server does not recover")
        base = self.restored.address.rpartition("/")[0]
        with psycopg.connect(self.restored.address, autocommit=True) as connection:
            connection.execute("CREATE DATABASE dumped TEMPLATE template0")
        wanted = ("-q", "-v", "ON_ERROR_STOP=1", "-d", f"{base}/dumped", "-f", str(dump))
        subprocess.run([str(self.restored.bin / "psql"), *wanted], check=True, capture_output=True)
        return base

    def _recovered(self) -> bool:
        with psycopg.connect(self.restored.address) as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)

    def _give(self, path: Path) -> None:
        if self.server.user is not None:
            shutil.chown(path, self.server.user)


@contextmanager
def rows_of(database: str, shelf: str) -> Iterator[tuple[list[TextRow], list[Any]]]:
    """The sealed texts and papers of a shelf in some database."""
    with closing(Store.open(database)) as store, store.reading() as connection:
        texts, papers = texts_of(shelf), papers_of(shelf)
        columns = [texts.c[name] for name in TextRow._fields]
        yield (
            [TextRow(*row) for row in connection.execute(select(*columns).order_by(texts.c.tag))],
            list(connection.execute(select(papers))),
        )


def opens(key: bytes, shelf: str, row: TextRow, text_id: TextId) -> bool:
    """Whether a key opens a sealed text in its place."""
    bound = prefixed(FORMAT, shelf.encode(), row.org) + prefixed(str(text_id).encode(), row.commitment)
    start = 1 + NONCE_BYTES
    try:
        AESGCM(key).decrypt(row.sealed[1:start], row.sealed[start:], bound)
    except InvalidTag:
        return False
    return True


def every_key(keyring: Keyring, org: Handle, purposes: tuple[Any, ...]) -> Iterator[bytes]:
    """Every key that a keyring can make for an organisation."""
    for name in sorted(keyring.names()):
        if name.startswith("shelf:"):
            for purpose in purposes:
                yield keyring.derive(purpose, name.removeprefix("shelf:"), org)
