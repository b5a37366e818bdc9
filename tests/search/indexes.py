"""The index drivers, each with what somebody does to its engine behind Textkeep's back."""

from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from opensearchpy import OpenSearch

from tests.search.wrapping import Wrapped
from textkeep.archive.text import TextId
from textkeep.search.drivers import fts
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.search.drivers.opensearch import OpenSearchIndex
from textkeep.search.index import Document, IndexDriver

FOREIGN = "0" * 16
"""A term that no text has."""

_numbers = count()


class Tampered(IndexDriver, Protocol):
    """An index that somebody else can write to, and with steps of a size that a test may set."""

    step_texts: int
    where: str

    def delete(self, shelf: str, text_id: TextId) -> None:
        """Take every document of a text out."""

    def insert(self, shelf: str, document: Document) -> None:
        """Put a document in, of a slice that nobody knows."""

    def insert_nonsense(self, shelf: str) -> None:
        """Put in what the engine takes and what is no document of Textkeep's."""


def altered(index: Tampered, shelf: str, text_id: TextId) -> None:
    """The document of a text has another moment and other terms."""
    index.delete(shelf, text_id)
    index.insert(shelf, document(text_id))


def document(text_id: TextId) -> Document:
    """A document that nothing finds, late on its day; each of a millisecond of its own."""
    midnight = datetime(text_id.day.year, text_id.day.month, text_id.day.day, tzinfo=UTC)
    return Document(text_id, round(midnight.timestamp() * 1000) + 86_399_999 - next(_numbers), 1, [FOREIGN])


def _written(text_id: TextId) -> str:
    return f"{text_id.day.isoformat().replace('-', '')}{text_id.tag.hex()}{text_id.version:08x}"


class TamperedEmbedded(Wrapped):
    """The embedded index, and a statement of its own now and then."""

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self._own = EmbeddedIndex.open(folder)
        super().__init__(self._own)

    def delete(self, shelf: str, text_id: TextId) -> None:
        with self._own._writing() as connection:
            table = fts.Tables.of(shelf).docs
            connection.execute(f"DELETE FROM {table} WHERE tag = ? AND version = ?", (text_id.tag, text_id.version))  # noqa: S608

    def insert(self, shelf: str, document: Document) -> None:
        with self._own._writing() as connection:
            fts.insert(connection, fts.Tables.of(shelf), [document])

    def insert_nonsense(self, shelf: str) -> None:
        with self._own._writing() as connection:
            for place, day in enumerate((0, 738_844)):
                table = fts.Tables.of(shelf).docs
                connection.execute(f"INSERT INTO {table} VALUES (?, ?, X'', 0, 1)", (place, day))  # noqa: S608


class TamperedOpenSearch(Wrapped):
    """An index on OpenSearch, and a client that knows nothing of Textkeep."""

    def __init__(self, url: str) -> None:
        self.where = url
        address, self._prefix = url.rsplit("/", 1)
        self._client = OpenSearch(address)
        super().__init__(OpenSearchIndex.open(self.where))

    def delete(self, shelf: str, text_id: TextId) -> None:
        body: dict[str, Any] = {"size": 10_000, "query": {"match_all": {}}, "docvalue_fields": ["text"]}
        answer = self._client.search(index=self._alias(shelf), body=body)
        for each in answer["hits"]["hits"]:
            if each.get("fields", {}).get("text") == [_written(text_id)]:
                self._client.delete(index=self._alias(shelf), id=each["_id"])
        self._client.indices.refresh(index=self._alias(shelf))

    def insert(self, shelf: str, document: Document) -> None:
        body = {
            "text": _written(document.id),
            "at": document.at,
            "slice": 1,
            "segments": 1,
            "terms": list(document.terms),
        }
        self._client.index(index=self._alias(shelf), body=body, refresh="true")

    def insert_nonsense(self, shelf: str) -> None:
        for body in ({}, {"text": "who knows", "at": 1}, {"at": 1, "slice": 1, "terms": ["tea"]}):
            self._client.index(index=self._alias(shelf), body=body, refresh="true")

    def close(self) -> None:
        self._client.close()
        super().close()

    def _alias(self, shelf: str) -> str:
        return f"{self._prefix}-{shelf}"
