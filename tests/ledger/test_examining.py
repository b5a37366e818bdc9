"""Looking at the whole log again: what was done to an entry, a column or a tile is found, and where."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, delete, update

from textkeep.ledger import examining, log
from textkeep.ledger.edge import EMPTY, Edge
from textkeep.ledger.examining import Examined, examine
from textkeep.ledger.integrating import integrate, not_signed
from textkeep.ledger.paths import HASH_BYTES
from textkeep.ledger.tiles import Stored, hashes_of
from textkeep.store.engine import Store
from textkeep.store.evidence import tiles
from textkeep.store.tables import ledger_entries

NOW = datetime(2026, 11, 22, 12, 0, 0, 123_456, UTC)
SIZE = 700
"""Two full tiles and a part of one."""


@pytest.fixture(autouse=True)
def in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "PORTION", 512)


def written(connection: Connection, size: int) -> Edge:
    """A log of so many entries, three of each moment."""
    for first in range(0, size, 3):
        wanted = [("hold", {"id": f"{at:04x}"}, None) for at in range(first, min(first + 3, size))]
        log.append_all(connection, wanted, NOW + timedelta(milliseconds=first))
    return integrate(connection, EMPTY, not_signed(connection, 0), Stored(connection)).edge


def alter(connection: Connection, place: int, **columns: Any) -> None:
    connection.execute(update(ledger_entries).where(ledger_entries.c.leaf_index == place).values(columns))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, SIZE])
def test_a_log_as_it_was_signed_has_the_signed_root_and_its_tiles(store: Store, size: int) -> None:
    with store.transaction() as connection:
        signed = written(connection, size)
    with store.reading() as connection:
        assert examine(connection, signed) == Examined(size, found=size, root=signed.root().hex())


@pytest.mark.parametrize("place", [0, 2, 255, 256, 511, 512, SIZE - 1])
def test_an_entry_that_was_altered_is_named_and_so_is_one_whose_columns_were(store: Store, place: int) -> None:
    with store.transaction() as connection:
        signed = written(connection, SIZE)
        alter(connection, place, kind="release")
        assert examine(connection, signed) == Examined(SIZE, SIZE, signed.root().hex(), untrue=[place])
        alter(connection, place, entry='{"v":1}')
        seen = examine(connection, signed)
    assert (seen.found, seen.differing, seen.untrue, seen.tiles_differ) == (SIZE, [place], [place], True)
    assert seen.root != signed.root().hex()


def test_a_column_s_moment_may_differ_by_what_the_entry_does_not_say_and_by_no_more(store: Store) -> None:
    with store.transaction() as connection:
        signed = written(connection, SIZE)
        for place, by in ((30, 543), (301, -456), (302, 544), (303, -457), (304, 86_400_000_000)):
            at = NOW + timedelta(milliseconds=place // 3 * 3, microseconds=by)
            alter(connection, place, made_at=at)
        assert examine(connection, signed).untrue == [302, 303, 304]


@pytest.mark.parametrize(("first", "end"), [(0, 1), (1, 40), (256, 512), (300, 600), (SIZE - 1, SIZE), (0, SIZE)])
def test_entries_that_are_not_there_are_counted_and_the_first_places_named(store: Store, first: int, end: int) -> None:
    with store.transaction() as connection:
        signed = written(connection, SIZE)
        within = ledger_entries.c.leaf_index.between(first, end - 1)
        connection.execute(delete(ledger_entries).where(within))
        seen = examine(connection, signed)
    assert seen.found == SIZE - (end - first)
    assert seen.absent[: examining.NAMED] == list(range(first, end))[: examining.NAMED]
    assert (seen.differing, seen.untrue) == ([], [])
    assert seen.root != signed.root().hex()


@pytest.mark.parametrize(("level", "number", "within"), [(0, 0, 3), (0, 1, 255), (0, 2, 0), (1, 0, 1)])
def test_a_tile_that_is_not_of_the_entries_is_told(store: Store, level: int, number: int, within: int) -> None:
    with store.transaction() as connection:
        signed = written(connection, SIZE)
        held = bytearray(hashes_of(connection, level, number, within + 1))
        held[within * HASH_BYTES] ^= 1
        rest = hashes_of(connection, level, number, (256, 256, 188)[number] if level == 0 else 2)
        named = (tiles.c.level == level, tiles.c.number == number)
        connection.execute(update(tiles).where(*named).values(hashes=bytes(held) + rest[len(held) :]))
        seen = examine(connection, signed)
        place = [number * 256 + within] if level == 0 else []
        assert (seen.differing, seen.tiles_differ, seen.root) == (place, True, signed.root().hex())
        connection.execute(delete(tiles).where(*named))
        seen = examine(connection, signed)
    of_tile = list(range(number * 256, min(number * 256 + 256, SIZE))) if level == 0 else []
    assert (seen.differing, seen.tiles_differ, seen.untrue) == (of_tile, True, [])
