"""Inclusion and consistency: what is made is accepted, and nothing else is."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.sample_log import InMemory
from textkeep.ledger import tree
from textkeep.ledger.tree import ProofRefused

LEAVES = [tree.leaf_hash(str(number).encode()) for number in range(70)]
HASHES = InMemory(LEAVES)


def accepts_inclusion(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    try:
        tree.check_inclusion(leaf, index, size, path, root)
    except ProofRefused:
        return False
    return True


def accepts_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> bool:
    try:
        tree.check_consistency(old, new, old_root, new_root, path)
    except ProofRefused:
        return False
    return True


def test_every_leaf_of_every_tree_up_to_seventy_is_shown_to_be_in_it() -> None:
    for size in range(1, 71):
        root = tree.root(LEAVES[:size])
        assert tree.root_through(HASHES, size) == root
        for index in range(size):
            path = tree.inclusion_path(HASHES, index, size)
            assert accepts_inclusion(LEAVES[index], index, size, path, root)
            assert not accepts_inclusion(LEAVES[index], index + 1, size, path, root)
            assert not accepts_inclusion(LEAVES[index - 1], index, size, path, root)
            assert not accepts_inclusion(LEAVES[index], index, size, [*path, root], root)


def test_every_tree_up_to_seventy_is_shown_to_begin_every_later_one() -> None:
    roots = [tree.root(LEAVES[:size]) for size in range(71)]
    for new in range(1, 71):
        for old in range(1, new + 1):
            path = tree.consistency_path(HASHES, old, new)
            assert accepts_consistency(old, new, roots[old], roots[new], path)
            assert not accepts_consistency(old, new, roots[old], roots[new], [*path, roots[1]])
            assert not accepts_consistency(old, new, roots[old - 1], roots[new], path)
            assert not accepts_consistency(old, new, roots[old], roots[new - 1], path)


@given(st.data())
def test_no_other_proof_is_accepted(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 70))
    index = data.draw(st.integers(0, size - 1))
    path = tree.inclusion_path(HASHES, index, size)
    at = data.draw(st.integers(0, len(path) - 1))
    changed = data.draw(
        st.sampled_from(
            [
                path[:at] + path[at + 1 :],
                [*path[:at], data.draw(st.binary(min_size=32, max_size=32)), *path[at:]],
                [*path[:at], data.draw(st.binary(min_size=32, max_size=32)), *path[at + 1 :]],
                [*path[:at], path[at][:31], *path[at + 1 :]],
                [*path[:at], path[at] + b"\0", *path[at + 1 :]],
            ]
        )
    )
    assert changed == path or not accepts_inclusion(LEAVES[index], index, size, changed, tree.root(LEAVES[:size]))


@pytest.mark.parametrize(
    ("index", "size"), [(0, 0), (1, 1), (5, 5), (-1, 5), (0, -1), (0, 2**62 + 1), (2**63, 2**63 + 1)]
)
def test_a_leaf_that_a_tree_does_not_have_is_refused(index: int, size: int) -> None:
    with pytest.raises(ProofRefused):
        tree.check_inclusion(LEAVES[0], index, size, [], LEAVES[0])
    with pytest.raises(ProofRefused):
        tree.inclusion_path(HASHES, index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5), (-1, 5), (6, 5), (5, 2**62 + 1), (2**63, 2**63)])
def test_sizes_out_of_order_or_empty_are_refused(old: int, new: int) -> None:
    with pytest.raises(ProofRefused):
        tree.check_consistency(old, new, LEAVES[0], LEAVES[0], [])
    with pytest.raises(ProofRefused):
        tree.consistency_path(HASHES, old, new)


def test_two_roots_of_one_size_are_never_consistent() -> None:
    assert accepts_consistency(5, 5, LEAVES[0], LEAVES[0], [])
    assert not accepts_consistency(5, 5, LEAVES[0], LEAVES[1], [])
    assert not accepts_consistency(5, 5, LEAVES[0], LEAVES[0], [LEAVES[2]])


def test_a_leaf_is_not_shown_by_a_path_of_hashes_that_are_no_hashes() -> None:
    with pytest.raises(ProofRefused, match="32 bytes"):
        tree.check_inclusion(b"short", 0, 1, [], b"short")


def test_all_196_vectors_of_others_behave_as_they_say(shared: Path) -> None:
    vectors: list[dict[str, Any]] = json.loads((shared / "data/tlog/merkle/proof_vectors.json").read_text())
    refused = 0
    for vector in vectors:
        path = [base64.b64decode(each) for each in vector["proof"] or []]
        if vector["kind"] == "inclusion":
            leaf, root = base64.b64decode(vector["leafHash"]), base64.b64decode(vector["root"])
            accepted = accepts_inclusion(leaf, vector["leafIdx"], vector["treeSize"], path, root)
        else:
            roots = base64.b64decode(vector["root1"]), base64.b64decode(vector["root2"])
            accepted = accepts_consistency(vector["size1"], vector["size2"], *roots, path)
        assert accepted is not vector["wantErr"], vector["name"]
        refused += not accepted
    assert (len(vectors), refused) == (196, 184)
