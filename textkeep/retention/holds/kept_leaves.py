"""What is kept of a shelf, read from where it is kept: of each text SHA-256(org handle || commitment), ids of records.

What is noted as carried over counts only where its row is there.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, select

from textkeep.archive.papers import Papers
from textkeep.errors import Unsound
from textkeep.ledger import log, tree
from textkeep.ledger.tiles import split
from textkeep.retention.counting import leaves
from textkeep.retention.holds import undecided
from textkeep.retention.holds.in_force import Covered
from textkeep.store.evidence import kept_papers, kept_slices
from textkeep.store.evidence import leaves as stored_leaves
from textkeep.store.tables import papers_of

AT_ONCE: Final = 200
"""How many slices or papers one statement asks for."""


def of_shelf(connection: Connection, shelf: str, papers: Papers) -> Covered:
    """What is kept of a shelf: leaves of texts by its own slices, and ids of what was a record there.

    Raises Unsound where something that was carried over undecided cannot be told any more.
    """
    found: dict[int, set[bytes]] = defaultdict(set)
    for source_slice, members in _texts(connection, shelf):
        found[source_slice].update(members)
    records: set[bytes] = set()
    for paper_id, header in _records(connection, shelf, papers):
        if header is not None and header.what == "text" and header.shelf == shelf and header.slice is not None:
            found[int(header.slice, 16)].add(bytes.fromhex(header.leaf))
        else:
            records.add(paper_id)
    return Covered({slice_id: frozenset(members) for slice_id, members in found.items()}, frozenset(records))


def told(connection: Connection, shelf: str) -> frozenset[bytes]:
    """The leaves of everything that was ever carried over from a shelf, as the ledger has it.

    An entry whose leaves are not those of its root tells nothing.
    """
    found: set[bytes] = set()
    for entry in log.entries(connection, kinds=("kept",)):
        if entry.body.get("from") == shelf:
            of = entry.body.get("slice") or f"{entry.body.get('part')}:{entry.shelf}"
            stored = connection.execute(select(stored_leaves.c.hashes).where(stored_leaves.c.id == of))
            members = split(bytes(stored.scalar_one_or_none() or b""))
            if tree.root_of_set(members).hex() == entry.body.get("root"):
                found.update(members)
    return frozenset(found)


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


def _records(connection: Connection, shelf: str, papers: Papers) -> Iterator[tuple[bytes, undecided.Undecided | None]]:
    """The ids of papers that are there, each with its header where it is of kind `undecided`."""
    for target, ids in _papers_by_shelf(connection, shelf).items():
        table = papers_of(target)
        for start in range(0, len(ids), AT_ONCE):
            wanted = select(table.c.id, table.c.kind).where(table.c.id.in_(ids[start : start + AT_ONCE]))
            kinds = {bytes(row.id): row.kind for row in connection.execute(wanted)}
            yield from ((paper_id, None) for paper_id, kind in kinds.items() if kind != "undecided")
            unsure = [paper_id for paper_id, kind in kinds.items() if kind == "undecided"]
            for row, paper in papers.examine(connection, target, unsure):
                if paper is None:
                    raise Unsound("an undecided text on a shelf of held texts does not open any more")
                yield bytes(row.id), undecided.read(paper.plain)[0]


def _papers_by_shelf(connection: Connection, shelf: str) -> dict[str, list[bytes]]:
    wanted = select(kept_papers.c.shelf, kept_papers.c.id).where(kept_papers.c.source_shelf == shelf)
    found: dict[str, list[bytes]] = defaultdict(list)
    for target, paper_id in connection.execute(wanted):
        found[target].append(bytes(paper_id))
    return found
