"""What an audit says of the index: it compares by itself, and says what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.housing import House, event
from tests.retention.audited import auditing
from tests.search.indexes import TamperedEmbedded
from tests.search.reconciled import SHELF, reconciler
from tests.search.searching import Searching
from tests.search.wrapping import Wrapped
from textkeep.archive.text import TextId
from textkeep.errors import Outage
from textkeep.retention.audit.audit import Finding
from textkeep.search.comparing import Comparing
from textkeep.search.index import IndexDriver

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[TamperedEmbedded]:
    opened = TamperedEmbedded(tmp_path / "index")
    yield opened
    opened.close()


@pytest.fixture
def searching(house: House, index: TamperedEmbedded) -> Searching:
    return Searching.build(house, index)


def told(searching: Searching, index: IndexDriver, folder: Path) -> list[tuple[str, str]]:
    comparing = Comparing(searching.house.store, searching.house.vault, searching.tokens, index)
    found: list[Finding] = auditing(searching.house, folder, comparing).run()
    return [(each.verdict, each.said) for each in found if each.name == "index coverage"]


def test_an_index_that_has_every_text_passes_and_what_waits_is_unknown(
    searching: Searching, index: TamperedEmbedded, tmp_path: Path
) -> None:
    searching.load("tea", "coffee")
    assert told(searching, index, tmp_path) == [("pass", "the index holds exactly the 2 texts of the shelf")]
    searching.take(event(99, body="not yet findable"))
    assert told(searching, index, tmp_path) == [("unknown", "1 of 3 texts wait to be indexed: a follower does that")]
    searching.follow()
    assert told(searching, index, tmp_path)[0][0] == "pass"


def test_a_deleted_document_fails_with_what_to_do_until_the_index_is_made_right(
    searching: Searching, index: TamperedEmbedded, tmp_path: Path
) -> None:
    ids: list[TextId] = searching.load("tea", "coffee", "milk")
    index.delete(SHELF, ids[0])
    ((verdict, said),) = told(searching, index, tmp_path)
    assert verdict == "fail"
    assert said.startswith("1 of 3 texts cannot be found")
    assert f"`textkeep rebuild --shelf {SHELF}` at once" in said
    reconciler(searching).run(one_in=0)
    assert told(searching, index, tmp_path)[0][0] == "pass"


class Silent(Wrapped):
    """An index that does not answer."""

    def ids(self, shelf: str) -> Iterator[TextId]:
        raise Outage("the index does not answer")


def test_an_index_that_does_not_answer_is_unknown_and_no_pass(
    searching: Searching, index: TamperedEmbedded, tmp_path: Path
) -> None:
    searching.load("tea")
    ((verdict, said),) = told(searching, Silent(index), tmp_path)
    assert verdict == "unknown"
    assert "did not answer" in said
