"""What is kept of a shelf, as leaves, read from where it is kept: SHA-256(org handle || commitment) of each text."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import Connection, select

from textkeep.archive.papers import Papers
from textkeep.errors import Unsound
from textkeep.retention.counting import leaves
from textkeep.retention.holds import undecided
from textkeep.store.evidence import kept_papers, kept_slices
from textkeep.store.tables import papers_of

AT_ONCE: Final = 200
"""How many slices or papers one statement asks for."""


def of_shelf(connection: Connection, shelf: str, papers: Papers) -> Mapping[int, frozenset[bytes]]:
    """The leaves that are kept of a shelf, by its own slices.

    Raises Unsound where a text that was carried over undecided cannot be told any more.
    """
    found: dict[int, set[bytes]] = defaultdict(set)
    for source_slice, members in _texts(connection, shelf):
        found[source_slice].update(members)
    for header in _undecided(connection, shelf, papers):
        if header.what == "text" and header.shelf == shelf and header.slice is not None:
            found[int(header.slice, 16)].add(bytes.fromhex(header.leaf))
    return {slice_id: frozenset(members) for slice_id, members in found.items()}


def records_of(connection: Connection, shelf: str) -> int:
    """How many quarantined and undecided records are kept of a shelf, those included that stand for texts."""
    kept = 0
    for target, ids in _papers_by_shelf(connection, shelf).items():
        table = papers_of(target)
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            kept += len(connection.execute(select(table.c.id).where(table.c.id.in_(some))).all())
    return kept


def _texts(connection: Connection, shelf: str) -> Iterator[tuple[int, list[bytes]]]:
    wanted = select(kept_slices).where(kept_slices.c.source_shelf == shelf)
    sources: dict[str, dict[int, int]] = defaultdict(dict)
    for row in connection.execute(wanted):
        sources[row.shelf][row.slice] = row.source_slice
    for target, by_slice in sources.items():
        ids = sorted(by_slice)
        for start in range(0, len(ids), AT_ONCE):
            for slice_id, members in leaves.members(connection, target, ids[start : start + AT_ONCE]):
                yield by_slice[slice_id], members.leaves


def _undecided(connection: Connection, shelf: str, papers: Papers) -> Iterator[undecided.Undecided]:
    for target, ids in _papers_by_shelf(connection, shelf).items():
        table = papers_of(target)
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            wanted = select(table.c.id).where(table.c.id.in_(some), table.c.kind == "undecided")
            for _, paper in papers.examine(connection, target, list(connection.scalars(wanted))):
                if paper is None:
                    raise Unsound("an undecided text on a shelf of held texts does not open any more")
                yield undecided.read(paper.plain)[0]


def _papers_by_shelf(connection: Connection, shelf: str) -> dict[str, list[bytes]]:
    wanted = select(kept_papers.c.shelf, kept_papers.c.id).where(kept_papers.c.source_shelf == shelf)
    found: dict[str, list[bytes]] = defaultdict(list)
    for target, paper_id in connection.execute(wanted):
        found[target].append(paper_id)
    return found
