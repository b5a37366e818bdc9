"""Merkle trees as RFC 6962, section 2.1, defines them. Pure."""

import hashlib
from collections.abc import Sequence


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
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        pairs = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def root_of_set(members: Sequence[bytes]) -> bytes:
    """The root over the leaf hashes of `members` in bytewise order: one root for one set, however it was gathered."""
    return root([leaf_hash(member) for member in sorted(members)])
