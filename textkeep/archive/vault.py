"""The vault: takes batches in one transaction, and opens what is asked for.

Nothing here knows the index: slices are marked as not yet findable, and the follower comes for them.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from textkeep.archive.acceptance import Accepting, Holds, no_holds
from textkeep.archive.accepting import Overtaken, insert_batches
from textkeep.archive.batch import Batch, Receipt
from textkeep.archive.keyring import SecretDestroyed
from textkeep.archive.papers import Papers
from textkeep.archive.rows import Opened, open_row, with_derived_flags
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelf import Day, Shelf, expired
from textkeep.archive.shelves import UNSHREDDED, Shelves
from textkeep.archive.tags import TaggedBatch, Tags
from textkeep.archive.text import Handle, TextId
from textkeep.clock import Clock
from textkeep.store.bulk import TextRow, texts_of_slices, texts_with_tags, texts_with_tags_of
from textkeep.store.engine import Store, Vanished
from textkeep.store.tables import batches, shelves, slices

ATTEMPTS: Final = 5
"""How often batches are decided anew because another process has stored the same records in the meantime."""

Beside = Callable[[Connection], None]

_OLDEST_UNINDEXED: Final = (
    select(slices.c.id, slices.c.received_at)
    .join(shelves, shelves.c.name == slices.c.shelf)
    .where(slices.c.indexed.is_(False), shelves.c.state == "open")
    .order_by(slices.c.received_at)
    .limit(bindparam("count"))
)


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One (batch, shelf), as the follower claims it; `texts` counts its rows."""

    id: int
    shelf: str
    texts: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What is kept of a receipt once its ids have left."""

    batch_id: str
    received_at: datetime
    read: int
    accepted: int
    versions: int
    duplicates: int
    quarantined: int
    refused: int
    root: str | None
    producer: bytes


class Vault:
    """Accepts, reads and hands over sealed texts."""

    def __init__(
        self,
        store: Store,
        shelves: Shelves,
        sealer: Sealer,
        tags: Tags,
        papers: Papers,
        clock: Clock,
        holds: Holds = no_holds,
    ) -> None:
        self._store = store
        self._shelves = shelves
        self._sealer = sealer
        self._tags = tags
        self._papers = papers
        self._clock = clock
        self._holds = holds

    def accept(self, wanted: Sequence[Batch], beside: Beside | None = None) -> list[Receipt]:
        """Take batches, in ONE transaction: when it returns, all that the receipts call accepted is on disk.

        Whether a text is expired and whether its shelf still takes texts is decided here again, under the shelf's
        lock; what comes too late and a hold covers is set aside. `beside` writes first, in the same transaction (where
        the next batches begin, say); it may be called again. Raises Outage where the database does not take it;
        then nothing of any batch is stored.
        """
        tagged = [self._tags.of_batch(batch) for batch in wanted]
        names = {name for batch in tagged for name in batch.shelves}
        for _ in range(ATTEMPTS - 1):
            with suppress(Overtaken):
                return self._accept(tagged, names, beside)
        return self._accept(tagged, names, beside)

    def _accept(self, tagged: Sequence[TaggedBatch], names: set[Shelf], beside: Beside | None) -> list[Receipt]:
        with self._store.transaction() as connection:
            if beside is not None:
                beside(connection)
            now = self._clock()
            states = self._shelves.lock(connection, names | {Day.of(now).shelf})
            return insert_batches(
                Accepting(connection, states, self._sealer, self._papers, now, self._holds, self._shelves.lock_kept),
                tagged,
            )

    def accept_within(self, connection: Connection, batch: Batch, *, beside: Shelf | str) -> Receipt:
        """Take one batch in the caller's transaction, `beside` locked with its shelves, in date order.

        Raises Overtaken where another process stores one of its records at this moment; then the caller undoes all.
        """
        tagged = self._tags.of_batch(batch)
        now = self._clock()
        states = self._shelves.lock(connection, {*tagged.shelves, Day.of(now).shelf, Shelf(beside)})
        accepting = Accepting(connection, states, self._sealer, self._papers, now, self._holds, self._shelves.lock_kept)
        return insert_batches(accepting, [tagged])[0]

    def batch(self, batch_id: str) -> StoredBatch | None:
        """Counts and root of a batch, or None where there is none (any more)."""
        with self._store.reading() as connection:
            row = connection.execute(select(batches).where(batches.c.id == batch_id)).one_or_none()
        if row is None:
            return None
        counts = (row.read, row.accepted, row.versions, row.duplicates, row.quarantined, row.refused)
        return StoredBatch(row.id, row.received_at, *counts, None if row.root is None else row.root.hex(), row.producer)

    def read(self, wanted: Iterable[tuple[Handle, TextId]], *, held: bool = False) -> dict[TextId, Opened]:
        """Open texts; what is absent, purged or past its 400 days is simply not in the answer.

        With `held` also what is past its 400 days, on its day's shelf or on one of held texts: whoever asks so lets
        nothing out that no hold in force covers. Raises CannotOpen at a damaged one.
        """
        asked: dict[tuple[str, Handle], set[TextId]] = defaultdict(set)
        for org, text_id in wanted:
            asked[Day(text_id.day).shelf, org].add(text_id)
        try:
            return self._read(asked, held)
        except Vanished:  # a snapshot still holds the rows of a shelf whose table has been dropped since
            return self._read(asked, held)

    def _read(self, asked: Mapping[tuple[str, Handle], set[TextId]], held: bool) -> dict[TextId, Opened]:
        found: dict[TextId, Opened] = {}
        now = self._clock()
        with self._store.reading() as connection:
            if held:
                asked = self._with_kept(connection, asked)
            there = self._shelves.states(connection, {shelf for shelf, _ in asked})
            tags: dict[str, set[bytes]] = defaultdict(set)
            for (shelf, _), ids in asked.items():
                if there.get(shelf) in UNSHREDDED:
                    tags[shelf].update(text_id.tag for text_id in ids)
            rows = texts_with_tags_of(connection, {shelf: sorted(each) for shelf, each in tags.items()})
        for (shelf, org), ids in asked.items():
            for opened in self._opened(shelf, org, rows.get(shelf, ())):
                if opened.id in ids and (held or not expired(opened.event.data.sent_at, now)):
                    found[opened.id] = opened
        return found

    def _with_kept(
        self, connection: Connection, asked: Mapping[tuple[str, Handle], set[TextId]]
    ) -> dict[tuple[str, Handle], set[TextId]]:
        """The same ids, looked for on the shelves of held texts as well."""
        wanted = {place: set(ids) for place, ids in asked.items()}
        for org in {org for _, org in asked}:
            ids = {text_id for (_, other), some in asked.items() if other == org for text_id in some}
            for shelf in self._shelves.generations(connection, org):
                wanted[shelf, org] = ids
        return wanted

    def versions(self, connection: Connection, shelf: str, org: Handle, tag: bytes) -> list[Opened]:
        """Every version of one text, first to last, with the flags that follow from one another."""
        return list(self._opened(shelf, org, texts_with_tags(connection, shelf, [tag])))

    def indexed(self, connection: Connection) -> dict[str, list[SliceRow]]:
        """By open shelf, the slices that an index should hold."""
        wanted = (
            select(slices)
            .join(shelves, shelves.c.name == slices.c.shelf)
            .where(slices.c.indexed.is_(True), shelves.c.state == "open")
        )
        found: dict[str, list[SliceRow]] = defaultdict(list)
        for row in connection.execute(wanted):
            found[row.shelf].append(SliceRow(row.id, row.shelf, row.accepted + row.versions, row.received_at))
        return found

    def slices_of(self, connection: Connection, shelf: str) -> list[SliceRow]:
        """Every slice of a shelf, oldest first."""
        wanted = select(slices).where(slices.c.shelf == shelf).order_by(slices.c.received_at, slices.c.id)
        return [
            SliceRow(row.id, row.shelf, row.accepted + row.versions, row.received_at)
            for row in connection.execute(wanted)
        ]

    def slice_texts(self, connection: Connection, claimed: Sequence[SliceRow]) -> Iterator[Opened]:
        """The texts of slices, with the flags they were accepted with. Raises CannotOpen at a damaged one."""
        by_shelf: dict[str, list[int]] = defaultdict(list)
        for each in claimed:
            by_shelf[each.shelf].append(each.id)
        for shelf, ids in by_shelf.items():
            for row in texts_of_slices(connection, shelf, ids):
                yield open_row(self._sealer, shelf, row)

    def mark_indexed(self, connection: Connection, claimed: Sequence[SliceRow], *, indexed: bool = True) -> None:
        """Say that an index holds these slices, or that it has to be given them again."""
        statement = update(slices).where(slices.c.id == bindparam("slice_id")).values(indexed=indexed)
        if claimed:
            connection.execute(statement, [{"slice_id": each.id} for each in claimed])

    def oldest_unindexed(self, *, apart_from: Collection[int] = ()) -> datetime | None:
        """When the oldest record that cannot be found yet was received; None where all can.

        `apart_from` are slices that do not count.
        """
        with self._store.reading() as connection:
            return oldest_unindexed(connection, apart_from)

    def _opened(self, shelf: str, org: Handle, rows: Iterable[TextRow]) -> Iterator[Opened]:
        """Those of the rows that are an organisation's, opened; none where the shelf's secret is destroyed."""
        try:
            yield from _families(self._sealer, shelf, [row for row in rows if row.org == org])
        except SecretDestroyed:
            return


def oldest_unindexed(connection: Connection, apart_from: Collection[int] = ()) -> datetime | None:
    """What `Vault.oldest_unindexed` gives, for the caller's snapshot."""
    rows = connection.execute(_OLDEST_UNINDEXED, {"count": 1 + len(apart_from)})
    return next((row.received_at for row in rows if row.id not in apart_from), None)


def _families(sealer: Sealer, shelf: str, rows: Iterable[TextRow]) -> Iterator[Opened]:
    """Rows opened, the versions of one text together so that each knows what the later ones say."""
    families: dict[bytes, list[Opened]] = defaultdict(list)
    for row in rows:
        families[row.tag].append(open_row(sealer, shelf, row))
    for family in families.values():
        yield from with_derived_flags(family) if len(family) > 1 else family
