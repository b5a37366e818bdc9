"""Every index driver there is, opened for a test; a further one joins by one more line in `DRIVERS`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.search.drivers.opensearch import OpenSearchIndex
from textkeep.search.index import IndexDriver

EMBEDDED: Final = ("embedded file", "embedded memory")
OPENSEARCH: Final = ("opensearch", "opensearch_three")
DRIVERS: Final = (*EMBEDDED, *OPENSEARCH)
"""OpenSearch is one node, or three; each is the name of the fixture with its URL."""


@contextmanager
def opened(request: pytest.FixtureRequest, driver: str, folder: Path) -> Iterator[IndexDriver]:
    """An empty index on a driver, emptied again and closed afterwards."""
    if driver in OPENSEARCH:
        with opensearch(request.getfixturevalue(driver)) as index:
            yield index
        return
    embedded = EmbeddedIndex.open(folder if driver == "embedded file" else None)
    yield embedded
    embedded.close()


@contextmanager
def opensearch(url: str) -> Iterator[OpenSearchIndex]:
    """The index at a URL, of which nothing is left afterwards."""
    index = OpenSearchIndex.open(url)
    try:
        yield index
    finally:
        for shelf in index.shelves():
            index.drop(shelf)
        index.close()
