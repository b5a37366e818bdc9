"""OpenSearch asked directly, by its own client: what is left when Textkeep is taken away."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from bench.archives import Ours
from textkeep.search.drivers import opensearch_query as query
from textkeep.search.drivers.opensearch_names import MAPPINGS, SETTINGS
from textkeep.search.preparing import Made, Preparing
from textkeep.search.tokens import Tokens

CHUNK_BYTES = 4 * 1024 * 1024
READABLE = {
    "properties": {
        "body": {"type": "text"},
        **{name: {"type": "keyword"} for name in ("org", "user", "from", "to", "direction", "disposition", "day")},
        "sent_at": {"type": "date"},
    }
}
"""What one would map to search readable texts, source and all."""


def client(address: str) -> OpenSearch:
    """A client as its documentation makes one."""
    return OpenSearch(hosts=[address], timeout=600, http_compress=False)


def documents(ours: Ours, shelves: Sequence[str], prefix: str) -> list[bytes]:
    """The very lines that Textkeep sends for some days, for indices of another name."""
    archive = ours.archive
    preparing = Preparing(archive.vault, Tokens(archive.keyring))
    made = Made()
    with archive.store.reading() as connection:
        for shelf in shelves:
            preparing.read(connection, archive.vault.slices_of(connection, shelf), made)
    return [line for each in made.additions for line in query.lines(f"{prefix}{each.shelf}", each)]


def readable(lines: Iterable[bytes], prefix: str) -> Iterator[bytes]:
    """The readable texts of a feed as bulk lines, an index a day."""
    for line in lines:
        event = json.loads(line)
        data = event["data"]
        day = data["sent_at"][:10]
        document = {
            "body": data["body"],
            "org": data["org_id"],
            "user": data["user_id"],
            "from": data["from"],
            "to": data["to"],
            "direction": data["direction"],
            "disposition": data["disposition"],
            "day": day,
            "sent_at": data["sent_at"],
        }
        head = {"index": {"_index": f"{prefix}{day}", "_id": event["id"]}}
        yield (json.dumps(head) + "\n" + json.dumps(document) + "\n").encode()


def bulk(
    there: OpenSearch, names: Iterable[str], lines: Sequence[bytes], mappings: dict[str, Any] | None = None
) -> float:
    """Seconds until all lines are written and findable; the indices are made before."""
    wanted = sorted(names)
    for name in wanted:
        there.indices.create(index=name, body={"settings": SETTINGS, "mappings": mappings or MAPPINGS})
    begun = time.perf_counter()
    for chunk in _chunks(lines):
        while not _written(there, chunk):
            time.sleep(0.5)
    for start in range(0, len(wanted), 50):
        there.indices.refresh(index=",".join(wanted[start : start + 50]))
    return time.perf_counter() - begun


def _written(there: OpenSearch, chunk: bytes) -> bool:
    """Whether a chunk was taken; False where the node has no memory for it right now."""
    try:
        if there.bulk(body=chunk)["errors"]:
            raise RuntimeError("the bare bulk failed")
    except TransportError as exc:
        if exc.status_code != 429:
            raise
        return False
    return True


def _chunks(lines: Sequence[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            yield b"".join(chunk)
            chunk, size = [], 0
    if chunk:
        yield b"".join(chunk)
