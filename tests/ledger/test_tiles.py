"""Tiles: the same tree however it grew, only the right edge touched, and proofs that others accept."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select, update

from textkeep.ledger import tiles, tree
from textkeep.ledger.bundles import packed, unpacked
from textkeep.ledger.edge import EMPTY, Edge
from textkeep.ledger.paths import bundle_path, leaves_path, number_path, parse_tile, tile_path, widths
from textkeep.store.engine import Store
from textkeep.store.evidence import tiles as table
from textkeep.store.schema import migrate


@pytest.fixture
def one_store() -> Iterator[Store]:
    """A store on one engine: what is tested is no engine's own."""
    opened = Store.open("sqlite://")
    migrate(opened)
    yield opened
    opened.close()


def leaves(number: int, start: int = 0) -> list[bytes]:
    return [tree.leaf_hash(str(each).encode()) for each in range(start, start + number)]


@given(st.lists(st.integers(0, 300), max_size=6))
def test_an_edge_has_the_root_of_the_tree_however_it_grew(portions: list[int]) -> None:
    edge, done = EMPTY, 0
    for portion in portions:
        edge = edge.grown(leaves(portion, done))
        done += portion
    assert (edge.size, edge.root()) == (done, tree.root(leaves(done)))


def test_an_edge_with_a_node_too_many_is_none() -> None:
    with pytest.raises(ValueError, match="a node for each bit"):
        Edge(2, (bytes(32), bytes(32)))


@pytest.mark.parametrize("portions", [[1, 1, 1], [255, 1, 1], [256, 256], [300, 700, 5], [65_537, 300]])
def test_tiles_hold_every_level_whatever_the_portions_were(store: Store, portions: list[int]) -> None:
    edge = EMPTY
    for portion in portions:
        with store.transaction() as connection:
            edge = tiles.append(connection, edge, leaves(portion, edge.size))
    level = leaves(sum(portions))
    with store.reading() as connection:
        held = {(row.level, row.number): bytes(row.hashes) for row in connection.execute(select(table))}
        assert tiles.edge_of(tiles.TileHashes(tiles.Stored(connection), edge.size), edge.size) == edge
    at = 0
    while level:
        parts = [b"".join(level[first : first + 256]) for first in range(0, len(level), 256)]
        assert [held.pop((at, number)) for number in range(len(parts))] == parts
        full = len(level) // 256 * 256
        level = [tree.root(level[first : first + 256]) for first in range(0, full, 256)]
        at += 1
    assert held == {}


def test_adding_an_entry_writes_one_tile_of_each_level_that_grows(one_store: Store) -> None:
    with one_store.transaction() as connection:
        edge = tiles.append(connection, EMPTY, leaves(70_000))
    written: list[Any] = []

    with one_store.transaction() as connection:

        def told(_c: object, _cursor: object, statement: str, given: Any, _x: object, many: bool) -> None:
            if statement.startswith("INSERT"):
                written.extend(given if many else [given])

        event.listen(connection, "before_cursor_execute", told)
        tiles.append(connection, edge, leaves(1, 70_000))
    assert len(written) == 1


def test_what_a_tile_holds_beyond_the_tree_counts_for_nothing(one_store: Store) -> None:
    with one_store.transaction() as connection:
        edge = tiles.append(connection, EMPTY, leaves(10))
        tiles.append(connection, edge, leaves(5, start=900))
        grown = tiles.append(connection, edge, leaves(3, start=10))
        assert tiles.edge_of(tiles.TileHashes(tiles.Stored(connection), 13), 13) == grown
    assert grown.root() == tree.root(leaves(13))


def test_a_tile_that_is_too_short_is_told_and_made_anew(one_store: Store) -> None:
    with one_store.transaction() as connection:
        edge = tiles.append(connection, EMPTY, leaves(300))
        connection.execute(update(table).where(table.c.level == 0, table.c.number == 0).values(hashes=bytes(32)))
        with pytest.raises(tiles.TileDamaged):
            tiles.TileHashes(tiles.Stored(connection), 300).read(0, 100)
        assert tiles.rewrite(connection, [leaves(128), leaves(172, 128)]) == edge
        assert tiles.TileHashes(tiles.Stored(connection), 300).read(0, 100) == leaves(1, 100)[0]


def test_proofs_made_from_tiles_are_those_of_the_tree(one_store: Store) -> None:
    everything = leaves(1000)
    with one_store.transaction() as connection:
        tiles.append(connection, EMPTY, everything)
        for size, index in ((1000, 0), (1000, 999), (700, 300), (256, 255), (513, 512), (1, 0)):
            path = tree.inclusion_path(tiles.TileHashes(tiles.Stored(connection), size), index, size)
            tree.check_inclusion(everything[index], index, size, path, tree.root(everything[:size]))
        for old, new in ((1, 1000), (256, 512), (300, 999)):
            steps = tree.consistency_path(tiles.TileHashes(tiles.Stored(connection), new), old, new)
            tree.check_consistency(old, new, tree.root(everything[:old]), tree.root(everything[:new]), steps)


@pytest.mark.parametrize(
    ("number", "path"), [(0, "000"), (7, "007"), (999, "999"), (1000, "x001/000"), (1_234_067, "x001/x234/067")]
)
def test_a_number_is_written_as_tlog_tiles_has_it(number: int, path: str) -> None:
    assert number_path(number) == path
    assert parse_tile(path) == (number, 256)
    assert parse_tile(f"{path}.p/12") == (number, 12)


@pytest.mark.parametrize(
    "path", ["", "7", "0007", "x000/007", "007.p/", "007.p/0", "007.p/256", "007.p/012", "../007", "x001/7", "007/"]
)
def test_what_is_not_written_like_that_is_no_tile(path: str) -> None:
    assert parse_tile(path) is None


def test_where_the_parts_of_a_log_lie() -> None:
    assert tile_path(1, 3, 17) == "tile/1/003.p/17"
    assert bundle_path(1003) == "tile/entries/x001/003"
    assert leaves_path("2026-11-20") == "leaves/2026-11-20"
    assert widths(1, 70_000) == (1, 17)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    assert unpacked(packed(entries)) == entries


def test_a_bundle_that_ends_within_an_entry_is_none() -> None:
    whole = packed([b"one", b"two"])
    for end in (1, 4, 6, 9):
        with pytest.raises(ValueError, match="within an entry"):
            unpacked(whole[:end])


def test_an_entry_over_65535_bytes_has_no_bundle() -> None:
    with pytest.raises(OverflowError):
        packed([bytes(65_536)])
    assert packed([bytes(65_535)])[:2] == b"\xff\xff"
