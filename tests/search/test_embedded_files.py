"""What the files of the embedded index hold, and what becomes of them when they are lost."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.housing import House, event
from tests.search.searching import Searching
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.store.tables import papers_of, slices

SHELF = "2026-11-20"


def test_no_word_and_no_number_is_readable_in_index_or_database(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    searching = Searching.build(house, EmbeddedIndex.open(folder))
    canary = "zebracrossingcanary"
    searching.load(f"{canary} tea", user_id="canary-user-000001", reason="canaryreasonwords", disposition="blocked")
    assert searching.bodies(canary)
    with house.store.reading() as connection:
        kept = [bytes(row.sealed) for row in connection.execute(select(papers_of(SHELF)))]
        assert len(list(connection.execute(select(slices)))) == 1
    searching.index.close()
    written = b"".join(file.read_bytes() for file in folder.iterdir()) + b"".join(kept)
    for secret in (canary, "+12125550101", "2125550101", "canary-user-000001", "canaryreasonwords"):
        for form in (secret.encode(), secret.encode("utf-16-le"), secret.encode().hex().encode()):
            assert form not in written


@pytest.mark.parametrize("lost", ["all of it", "what came since"])
def test_an_index_that_was_lost_or_put_back_from_an_older_copy_heals(house: House, tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "index"
    searching = Searching.build(house, EmbeddedIndex.open(folder))
    searching.take(event(1, body="tea"))
    searching.follow()
    searching.index.close()
    older = shutil.copytree(folder, tmp_path / "older")
    numbers = searching.numbers
    searching = replace(Searching.build(house, EmbeddedIndex.open(folder)), numbers=numbers)
    searching.take(event(2, body="more tea"))
    searching.take(event(3, body="no tea", sent_at="2026-11-19T10:00:00Z"))
    searching.follow()
    searching.index.close()
    shutil.rmtree(folder)
    if lost == "what came since":
        shutil.copytree(older, folder)
    searching = Searching.build(house, EmbeddedIndex.open(folder))
    missing = {"all of it": 3, "what came since": 2}[lost]
    assert searching.follower.missing() == searching.follower.reconcile() == missing
    assert house.vault.oldest_unindexed() == house.clock()
    searching.follow()
    assert sorted(searching.bodies("tea")) == ["more tea", "no tea", "tea"]
    assert sorted(searching.bodies("te*")) == ["more tea", "no tea", "tea"]
    assert searching.follower.missing() == searching.follower.reconcile() == 0
