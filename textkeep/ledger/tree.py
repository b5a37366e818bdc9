"""Merkle trees and their proofs as RFC 6962, section 2.1, and RFC 9162, section 2.1, define them. Pure.

Proofs are made through a reader of hashes (`Hashes`) and checked by functions that know nothing but their arguments.
A check answers nothing: it returns, or raises ProofRefused with the reason. Only SHA-256, only this shape of tree.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

HASH_BYTES: Final = 32
"""The length of every hash, SHA-256."""

MAX_SIZE: Final = 2**62
"""The largest tree that is spoken of: asked about a larger one, golang.org/x/mod/sumdb/tlog runs for ever."""

EMPTY: Final = hashlib.sha256(b"").digest()
"""The root of the tree without leaves, RFC 6962 section 2.1."""


class ProofRefused(ValueError):
    """A proof does not show what it is said to show; the message says why, without quoting it."""


class Hashes(Protocol):
    """Where the hashes of a log come from."""

    def read(self, level: int, index: int) -> bytes:
        """The root over the leaves `index << level` up to, and without, `(index + 1) << level`.

        MUST be asked only for subtrees that are full; level 0 are the leaf hashes. MUST raise where there is none.
        """
        ...


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data), RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes in order; SHA-256 of nothing where there are none.

    Joining neighbours level by level and carrying an odd last one up gives the same tree as the RFC's split at the
    largest power of two.
    """
    if not leaves:
        return EMPTY
    sha256 = hashlib.sha256  # `node_hash`, without a call for each of thousands of nodes
    level = list(leaves)
    while len(level) > 1:
        neighbours = zip(level[::2], level[1::2], strict=False)
        pairs = [sha256(b"\x01" + left + right).digest() for left, right in neighbours]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def root_of_set(members: Sequence[bytes]) -> bytes:
    """The root over the leaf hashes of `members` in bytewise order: one root for one set, however it was gathered."""
    sha256 = hashlib.sha256
    return root([sha256(b"\x00" + member).digest() for member in sorted(members)])


def full_subtrees(size: int) -> Iterator[tuple[int, int]]:
    """Level and index of the full subtrees that make up the first `size` leaves, largest first."""
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            yield level, start >> level
            start += 1 << level


def root_through(hashes: Hashes, size: int) -> bytes:
    """The root over the first `size` leaves."""
    _demand_size(size)
    return _subtree(hashes, 0, size) if size else EMPTY


def inclusion_path(hashes: Hashes, index: int, size: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree of the first `size` leaves: RFC 6962 section 2.1.1, leaf first.

    Raises ProofRefused where there is no such leaf.
    """
    _demand_leaf(index, size)
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree(hashes, middle, end))
            end = middle
        else:
            path.append(_subtree(hashes, start, middle))
            start = middle
    return path[::-1]


def consistency_path(hashes: Hashes, old_size: int, new_size: int) -> list[bytes]:
    """The proof that the first `old_size` leaves begin the first `new_size`: RFC 6962 section 2.1.2.

    Raises ProofRefused for an empty old tree, of which there is nothing to prove, and for one larger than the new.
    """
    _demand_order(old_size, new_size)
    path = []
    start, end = 0, new_size
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(_subtree(hashes, middle, end))
            end = middle
        else:
            path.append(_subtree(hashes, start, middle))
            start = middle
    if start:
        path.append(_subtree(hashes, start, end))
    return path[::-1]


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Return where `path` shows that the leaf hash `leaf` is number `index` of the tree: RFC 9162 section 2.1.3.2.

    Raises ProofRefused for anything else, also for a path with hashes to spare.
    """
    _demand_leaf(index, size)
    _demand_hashes((leaf, root, *path))
    node, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofRefused("the proof has more hashes than a leaf of this tree needs")
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise ProofRefused("the proof has fewer hashes than a leaf of this tree needs")
    if found != root:
        raise ProofRefused("the proof leads to another root")


def check_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Return where `path` shows that the old tree begins the new one: RFC 9162 section 2.1.4.2.

    Raises ProofRefused for anything else: an empty old tree (it would show nothing), an old tree larger than the new,
    a path too long or too short, a path at all where both sizes are one.
    """
    _demand_order(old_size, new_size)
    if old_size == new_size:
        if path:
            raise ProofRefused("between trees of one size there is nothing to prove, and the proof has hashes")
        if old_root != new_root:
            raise ProofRefused("two trees of one size have different roots")
        return
    _demand_hashes((old_root, new_root, *path))
    whole = old_size & (old_size - 1) == 0  # a full subtree: its root is the first hash, which the proof leaves out
    if not whole and not path:
        raise ProofRefused("the proof has fewer hashes than these sizes need")
    rest = path if whole else path[1:]
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = old_root if whole else path[0]
    for sibling in rest:
        if last == 0:
            raise ProofRefused("the proof has more hashes than these sizes need")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise ProofRefused("the proof has fewer hashes than these sizes need")
    if old != old_root:
        raise ProofRefused("the proof leads to another root of the old tree")
    if new != new_root:
        raise ProofRefused("the proof leads to another root of the new tree")


def _subtree(hashes: Hashes, start: int, end: int) -> bytes:
    """The root over the leaves from `start`, which no larger subtree cuts, up to and without `end`."""
    found = [hashes.read(level, (start >> level) + index) for level, index in full_subtrees(end - start)]
    above = found.pop()
    while found:
        above = node_hash(found.pop(), above)
    return above


def _split(size: int) -> int:
    """The largest power of two below `size`, which is 2 or more."""
    return 1 << (size - 1).bit_length() - 1


def _demand_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise ProofRefused("a tree has between 0 and 2^62 leaves")


def _demand_leaf(index: int, size: int) -> None:
    _demand_size(size)
    if not 0 <= index < size:
        raise ProofRefused("the tree has no leaf of that number")


def _demand_order(old_size: int, new_size: int) -> None:
    _demand_size(new_size)
    if old_size < 1:
        raise ProofRefused("every tree is consistent with an empty one: there is nothing to prove")
    if old_size > new_size:
        raise ProofRefused("the old tree is larger than the new one")


def _demand_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofRefused(f"a hash has {HASH_BYTES} bytes")
