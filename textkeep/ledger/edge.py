"""The right edge of a growing Merkle tree: all that is needed to add leaves to it and to tell its root. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from textkeep.ledger.tree import node_hash, root

Made = Callable[[int, bytes], None]
"""Hears of each node that adding leaves completes: its level (leaves are 0) and its hash, from left to right."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A tree of `size` leaves, as the roots of the full subtrees that it consists of, the largest first.

    There is one for each bit that is set in `size`. Raises ValueError where there are more or fewer.
    """

    size: int
    nodes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.nodes) != self.size.bit_count():
            raise ValueError("an edge has a node for each bit of its size")

    def root(self) -> bytes:
        """The root of the tree (RFC 6962, section 2.1); SHA-256 of nothing where it is empty."""
        if not self.nodes:
            return root([])
        found = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            found = node_hash(node, found)
        return found

    def grown(self, leaves: Iterable[bytes], made: Made | None = None) -> "Edge":
        """The edge after these leaf hashes."""
        nodes, size = list(self.nodes), self.size
        for leaf in leaves:
            node, at, level = leaf, size, 0
            if made is not None:
                made(0, leaf)
            while at & 1:
                node, at, level = node_hash(nodes.pop(), node), at >> 1, level + 1
                if made is not None:
                    made(level, node)
            nodes.append(node)
            size += 1
        return Edge(size, tuple(nodes))


EMPTY: Final = Edge(0, ())
"""The tree without a leaf."""
