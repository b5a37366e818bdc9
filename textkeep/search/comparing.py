"""Comparing: what the vault has of a shelf against what its index has, id by id, and some documents term by term.

The vault is read first, in one snapshot, the index after it. So what was marked then must be in the index now; and what
the index has beyond the snapshot may have been taken since, which is looked up before it counts as a stray.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import Connection, select

from textkeep.archive.rows import Opened
from textkeep.archive.sealing import CannotOpen
from textkeep.archive.shelf import Day
from textkeep.archive.text import TAG_BYTES, Handle, TextId
from textkeep.archive.vault import SliceRow, Vault
from textkeep.errors import NotFound
from textkeep.search.documents import milliseconds, true_terms, words_of
from textkeep.search.idsets import IdSet, buckets, unpacked
from textkeep.search.index import AllOf, IndexDriver, NoIndex, Window
from textkeep.search.tokens import Tokens
from textkeep.store.engine import Store
from textkeep.store.tables import shelves, slices, texts_of

SAMPLE: Final = 8
"""Texts of a shelf whose documents are asked for by their true terms."""

SAMPLE_WORDS: Final = 100
"""Words of one text that are asked for."""

SAME_MOMENT: Final = 1_000
"""Documents of one millisecond that are asked for at once."""

STREAMED: Final = 10_000
"""Rows that are held at once while a table is read through."""

LOOKUP: Final = 500
"""How many tags or slices one statement asks for."""

_T = TypeVar("_T")

_chance: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Comparison:
    """How an index differs from the vault.

    `expected` counts the texts of slices that are marked as indexed, `missing` those of them that it does not have,
    `strays` what it has and the vault does not, `altered` the sampled texts that it does not find by their own terms.
    `lost` are the slices of which it has nothing; `explained`, whether adding these again brings back all that is
    missing.
    """

    expected: int
    missing: int = 0
    strays: int = 0
    altered: int = 0
    lost: Sequence[SliceRow] = ()
    explained: bool = True

    @property
    def clean(self) -> bool:
        """Whether no difference was found."""
        return not (self.missing or self.strays or self.altered)


class Comparing:
    """Compares the index of an open shelf with the vault."""

    def __init__(self, store: Store, vault: Vault, tokens: Tokens, index: IndexDriver) -> None:
        self._store = store
        self._vault = vault
        self._tokens = tokens
        self._index = index

    def compare(self, shelf: str) -> Comparison:
        """How the shelf's index differs from the vault now.

        Raises NotFound where the shelf is not open (any more), Outage where vault or index does not answer.
        """
        known, unmarked = self._in_vault(shelf)
        found, foreign, absent = self._in_index(shelf)
        expected, missing, unknown = 0, IdSet(), IdSet()
        rewritten = False
        for number in buckets():
            in_vault, in_index = known.bucket(number), found.bucket(number)
            wanted = in_vault - unmarked.bucket(number)
            expected += len(wanted)
            gone = wanted - in_index
            missing.update(map(unpacked, gone))
            unknown.update(map(unpacked, in_index - in_vault))
            if gone:
                further = {unpacked(each)[0] for each in in_vault if unpacked(each)[1] > 1}
                rewritten = rewritten or any(unpacked(each)[0] in further for each in gone)
        strays = foreign + self._not_in_vault(shelf, unknown)
        if len(missing):
            lost = self._lost(shelf, absent=absent)
            # What a later version says of an earlier one lies in the later one's slice, which is perhaps not lost.
            explained = absent or (not rewritten and self._explained(shelf, missing, lost))
            return Comparison(expected, len(missing), strays, 0, lost, explained)
        altered = 0 if strays or not expected else self._altered(shelf, _picked(known, unmarked))
        return Comparison(expected, 0, strays, altered)

    @contextmanager
    def _reading(self, shelf: str) -> Iterator[Connection]:
        """A snapshot in which the shelf is open, so that its table is there. Raises NotFound."""
        with self._store.reading() as connection:
            state = connection.execute(select(shelves.c.state).where(shelves.c.name == shelf)).scalar_one_or_none()
            if state != "open":
                raise NotFound("no shelf of that name is open")
            yield connection

    def _in_vault(self, shelf: str) -> tuple[IdSet, IdSet]:
        """Every id of a shelf, and those of slices that are not marked as indexed."""
        with self._reading(shelf) as connection:
            waiting = select(slices.c.id).where(slices.c.shelf == shelf, slices.c.indexed.is_(False))
            unmarked = IdSet(_ids_of(connection, shelf, list(connection.scalars(waiting))))
            table = texts_of(shelf)
            wanted = select(table.c.tag, table.c.version)
            rows = connection.execute(wanted, execution_options={"yield_per": STREAMED})
            return IdSet((row[0], row[1]) for row in rows), unmarked

    def _in_index(self, shelf: str) -> tuple[IdSet, int, bool]:
        """The ids of a shelf's index, how many others it has that can be no ids of it, and whether there is none."""
        found = IdSet()
        foreign = 0
        try:
            for each in self._index.ids(shelf):
                if _belongs(shelf, each):
                    found.add(each.tag, each.version)
                else:
                    foreign += 1
        except NoIndex:
            return IdSet(), 0, True
        return found, foreign, False

    def _not_in_vault(self, shelf: str, candidates: IdSet) -> int:
        """How many of these are not in the vault even now."""
        strays = 0
        table = texts_of(shelf)
        with self._reading(shelf) as connection:
            for number in buckets():
                for chunk in _chunks(sorted(candidates.bucket(number))):
                    ids = [unpacked(each) for each in chunk]
                    wanted = select(table.c.tag, table.c.version).where(table.c.tag.in_({tag for tag, _ in ids}))
                    there = {(row[0], row[1]) for row in connection.execute(wanted)}
                    strays += sum(each not in there for each in ids)
        return strays

    def _lost(self, shelf: str, *, absent: bool) -> list[SliceRow]:
        """The marked slices of which the index has nothing."""
        with self._reading(shelf) as connection:
            wanted = select(slices.c.id, slices.c.accepted + slices.c.versions, slices.c.received_at).where(
                slices.c.shelf == shelf, slices.c.indexed.is_(True)
            )
            marked = [SliceRow(row[0], shelf, row[1], row[2]) for row in connection.execute(wanted)]
        held: set[int] = set()
        if not absent:
            with suppress(NoIndex):
                held = self._index.slices(shelf)
        return [each for each in marked if each.id not in held]

    def _explained(self, shelf: str, missing: IdSet, lost: Sequence[SliceRow]) -> bool:
        with self._reading(shelf) as connection:
            of_lost = IdSet(_ids_of(connection, shelf, [each.id for each in lost]))
        return all(missing.bucket(number) <= of_lost.bucket(number) for number in buckets())

    def _altered(self, shelf: str, picked: Iterable[tuple[bytes, int]]) -> int:
        """How many of these texts the index does not find, each by its own terms and moment."""
        altered = 0
        for tag, version in picked:
            opened = self._opened(shelf, tag, version)
            altered += opened is not None and not self._finds(shelf, opened)
        return altered

    def _opened(self, shelf: str, tag: bytes, version: int) -> Opened | None:
        """A text with all its flags, or None where it does not open, or a version of it is still to be indexed."""
        table = texts_of(shelf)
        with self._reading(shelf) as connection:
            family = connection.execute(select(table.c.org, table.c.version, table.c.slice).where(table.c.tag == tag))
            rows = family.all()
            orgs = {row[0] for row in rows if row[1] == version}
            waiting = select(slices.c.id).where(slices.c.id.in_({row[2] for row in rows}), slices.c.indexed.is_(False))
            if len(orgs) != 1 or connection.execute(waiting).first() is not None:
                return None
            try:
                versions = self._vault.versions(connection, shelf, Handle(bytes(orgs.pop())), tag)
            except CannotOpen:
                return None
        return next((each for each in versions if each.id.version == version), None)

    def _finds(self, shelf: str, opened: Opened) -> bool:
        found = list(words_of(opened))
        if len(found) > SAMPLE_WORDS:
            found = _chance.sample(found, SAMPLE_WORDS)
        plan = AllOf(tuple(true_terms(opened, self._tokens.of(shelf, opened.org), found)))
        at = milliseconds(opened.event.data.sent_at)
        window = Window(SAME_MOMENT, start=at, until=at + 1)
        while True:
            hits = self._index.query([(shelf, plan)], window)
            if any(hit.id == opened.id for hit in hits):
                return True
            if len(hits) < window.limit:
                return False
            window = Window(SAME_MOMENT, start=at, until=at + 1, after=hits[-1])


def _ids_of(connection: Connection, shelf: str, wanted: Sequence[int]) -> Iterator[tuple[bytes, int]]:
    """The ids of the texts of slices."""
    table = texts_of(shelf)
    for chunk in _chunks(wanted):
        rows = connection.execute(select(table.c.tag, table.c.version).where(table.c.slice.in_(chunk)))
        for row in rows:
            yield row[0], row[1]


def _chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), LOOKUP):
        yield items[start : start + LOOKUP]


def _belongs(shelf: str, text_id: TextId) -> bool:
    """Whether an id can be one of the shelf at all."""
    try:
        right_day = Day.named(shelf).date == text_id.day
    except ValueError:
        right_day = True
    return right_day and len(text_id.tag) == TAG_BYTES and 0 < text_id.version < 1 << 31


def _picked(known: IdSet, unmarked: IdSet) -> set[tuple[bytes, int]]:
    """Some ids by chance, none of them of a slice that is not marked."""
    if len(known) <= SAMPLE:
        places: Iterable[int] = range(len(known))
    else:
        places = _chance.sample(range(len(known)), SAMPLE)
    picked = {known.nth(place) for place in places}
    return {unpacked(each) for each in picked if each not in unmarked.bucket(each[0])}
