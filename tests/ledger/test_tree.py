"""Roots as RFC 6962 has them."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkeep.ledger import tree

DATA = [b"", b"textkeep", b"\x00", b"\x01" * 64, b"a slice", b"a hold", b"a purge", b"\xff"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "d4348ba482ef0756e072bcb42996f7f4b60232683a3132002ac8bb0b5b930704",
    "0555a4c06cf32eb6f95c3888230e997ae10f38c8a372b413a0ae856c83c2719a",
    "ff813d234deedcef3b136eb8c1e9f0762d2c3701cbbde89a855d7ad74ba3c060",
    "9f7658f46ff28b656e188eb6a18e9db59d832026489501325b0d983e1573ba02",
    "46a2b636679eb4ad384c68e783d1bac81d7a7ec811ace262b8ed9c2a8478baeb",
    "46059d0861e85dca2ff4435ff0996fc7ce9c44984967083103cc7dcd7741cde9",
    "0d6ca5ed05c9106b72f076c52c649c126aacc5f48f53932391957cfa867de4e0",
]
"""Roots over the first 0, 1, ... 8 of DATA, by another program (`sha256sum` over printf, level by level)."""

LEAVES = st.lists(st.binary(min_size=32, max_size=32), max_size=70)


def rfc6962(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word by word, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + rfc6962(leaves[:k]) + rfc6962(leaves[k:])).digest()


@given(LEAVES)
def test_a_root_is_the_one_that_the_rfc_defines(leaves: list[bytes]) -> None:
    before = list(leaves)
    assert tree.root(leaves) == tree.root(tuple(leaves)) == rfc6962(leaves)
    assert leaves == before


def test_every_size_up_to_three_hundred_gives_the_root_of_the_rfc() -> None:
    leaves = [tree.leaf_hash(str(number).encode()) for number in range(300)]
    for size in range(301):
        assert tree.root(leaves[:size]) == rfc6962(leaves[:size]), size


def test_known_roots_come_out() -> None:
    leaves = [tree.leaf_hash(each) for each in DATA]
    assert [tree.root(leaves[:size]).hex() for size in range(len(DATA) + 1)] == ROOTS


def test_the_vectors_of_others_come_out(shared: Path) -> None:
    known = json.loads((shared / "data/tlog/merkle/rfc6962_vectors.json").read_text())
    leaves = [tree.leaf_hash(bytes.fromhex(each)) for each in known["leaf_inputs_hex"]]
    roots = known["root_by_size_hex"]
    assert len(roots) == len(leaves) + 1 == 9
    assert [tree.root(leaves[:size]).hex() for size in range(len(roots))] == roots


def test_a_leaf_is_never_taken_for_a_node() -> None:
    left, right = tree.leaf_hash(b"left"), tree.leaf_hash(b"right")
    assert tree.leaf_hash(left + right) != tree.node_hash(left, right)
    assert tree.root([left, right]) == tree.node_hash(left, right) != tree.node_hash(right, left)


@given(LEAVES.filter(lambda leaves: len(leaves) > 1), st.data())
def test_leaves_in_another_order_or_one_fewer_have_another_root(leaves: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(leaves) - 1))
    fewer = leaves[:at] + leaves[at + 1 :]
    assert tree.root(fewer) != tree.root(leaves)
    if leaves[::-1] != leaves:
        assert tree.root(leaves[::-1]) != tree.root(leaves)


@given(st.lists(st.binary(max_size=40), max_size=20), st.data())
def test_a_set_has_one_root_however_it_was_gathered(members: list[bytes], data: st.DataObject) -> None:
    assert tree.root_of_set(members) == tree.root_of_set(data.draw(st.permutations(members)))
    assert tree.root_of_set(members) == rfc6962([tree.leaf_hash(each) for each in sorted(members)])


@pytest.mark.parametrize("other", [[], [b"a"], [b"a", b"b", b"b"], [b"ab"], [b"a", b"c"]])
def test_another_set_has_another_root(other: list[bytes]) -> None:
    assert tree.root_of_set([b"a", b"b"]) != tree.root_of_set(other)
