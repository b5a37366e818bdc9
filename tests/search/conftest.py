"""The index drivers there are, for tests that write to an index behind Textkeep's back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.search.indexes import Tampered, TamperedEmbedded, TamperedOpenSearch
from tests.search.strangers import Stranger


@pytest.fixture(params=["embedded", "opensearch"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tampered]:
    """An empty index, on every engine there is."""
    opened: Tampered
    if request.param == "opensearch":
        opened = TamperedOpenSearch(request.getfixturevalue("opensearch"))
    else:
        opened = TamperedEmbedded(tmp_path / "index")
    yield opened
    opened.close()


@pytest.fixture
def stranger(opensearch: str) -> Iterator[Stranger]:
    """Another program that speaks to the same OpenSearch."""
    somebody = Stranger(opensearch)
    yield somebody
    somebody.client.close()
