"""What the ledger says of one shelf, sorted for its audit; and the leaves behind the roots of its entries."""

from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from textkeep.ledger import log, tree
from textkeep.ledger.log import Entry
from textkeep.ledger.tiles import split
from textkeep.retention.audit.findings import Line
from textkeep.retention.counting.census import count_of, is_slice
from textkeep.store.evidence import leaves
from textkeep.store.tables import ledger_entries

AT_ONCE: Final = 200
"""How many sets of leaves, or entries, one statement asks for."""

PORTION: Final = 1_000
"""How many entries are in memory at once."""

STEPS: Final = ("intent", "committed", "key-destroyed", "purge", "erased")
"""The kinds of entries that a shelf has once, as it goes; `intent` first."""

_KINDS: Final = ("slice", "kept", "quarantine", "returned", *STEPS)

Members = tuple[bytes, ...]


@dataclass(slots=True)
class Book:
    """The entries of a shelf.

    `slices` by slice; `parts` of records by the id of their leaves; `carried` what was carried over from here to
    shelves of held texts, by the slice it came from; `carried_parts` the same of records.
    """

    shelf: str
    slices: dict[int, Entry] = field(default_factory=dict)
    parts: dict[str, Entry] = field(default_factory=dict)
    returned: list[Entry] = field(default_factory=list)
    steps: dict[str, Entry] = field(default_factory=dict)
    carried: dict[int, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    carried_parts: list[Entry] = field(default_factory=list)

    @property
    def last(self) -> Entry | None:
        """The entry of the last step that was taken."""
        return next((self.steps[kind] for kind in reversed(STEPS) if kind in self.steps), None)

    @property
    def quarantined(self) -> int:
        """How many records were set aside here, or carried here like them."""
        return sum(records_of(entry) for entry in self.parts.values())


class _Source(msgspec.Struct):
    """Of an entry `kept`, where what it speaks of came from."""

    source: str = msgspec.field(name="from")


Carried = Mapping[str, "array[int]"]
"""By shelf, the `seq` of each entry of what was carried over from it."""


def carried_from(connection: Connection) -> Carried:
    """Look through the entries `kept` once, so that each shelf finds its own."""
    found: dict[str, array[int]] = defaultdict(lambda: array("q"))
    wanted = log.standing().where(ledger_entries.c.kind == "kept").order_by(*log.IN_ORDER)
    for row in connection.execute(wanted.execution_options(yield_per=PORTION)):
        with suppress(msgspec.MsgspecError):  # the ledger's own line names what cannot be read
            found[msgspec.json.decode(row.entry, type=_Source).source].append(row.seq)
    return found


def read(connection: Connection, shelf: str, carried: Sequence[int], line: Line) -> Book:
    """The book of a shelf; what is not as the house writes it fails `line`."""
    book = Book(shelf)
    for entry in log.entries(connection, shelf=shelf, kinds=_KINDS):
        with line.reading("an entry", entry):
            _sort(book, entry, line)
    for seq in carried:
        each = log.entry_at(connection, seq)
        if each is None:
            continue
        with line.reading("an entry", each):
            if is_slice(each):
                book.carried[int(each.body["from_slice"], 16)].append(each)
            else:
                book.carried_parts.append(each)
    return book


def _sort(book: Book, entry: Entry, line: Line) -> None:
    twice = "the ledger speaks twice of the same"
    if entry.kind in STEPS:
        line.demand(entry.kind not in book.steps, f"{twice}: {entry.kind}", entry)
        book.steps[entry.kind] = entry
    elif entry.kind == "returned":
        book.returned.append(entry)
    elif is_slice(entry):
        number = int(entry.body["slice"], 16)
        line.demand(number not in book.slices, f"{twice} slice", entry)
        book.slices[number] = entry
    else:
        named = leaves_id(entry)
        line.demand(named not in book.parts, f"{twice} records", entry)
        book.parts[named] = entry


def leaves_id(entry: Entry) -> str:
    """The id of the leaves behind an entry's root."""
    if is_slice(entry):
        return str(entry.body["slice"])
    return f"{entry.body['batch' if entry.kind == 'quarantine' else 'part']}:{entry.shelf}"


def records_of(entry: Entry) -> int:
    """How many records an entry speaks of."""
    return int(entry.body["count" if entry.kind == "quarantine" else "papers"])


def number_of(entry: Entry) -> int:
    """How many leaves are behind an entry's root."""
    return count_of(entry) if is_slice(entry) else records_of(entry)


def sets(connection: Connection, entries: Collection[Entry], line: Line) -> Iterator[tuple[Entry, Members]]:
    """The set of leaves behind each entry, where it is there and has the entry's root; else `line` fails."""
    whole = list(entries)
    for start in range(0, len(whole), AT_ONCE):
        some = {leaves_id(entry): entry for entry in whole[start : start + AT_ONCE]}
        rows = connection.execute(select(leaves).where(leaves.c.id.in_(list(some))))
        there = {row.id: row for row in rows}
        for named, entry in some.items():
            row = there.get(named)
            if row is None or row.shelf != entry.shelf:
                line.fail("the leaves behind its root are not there", entry)
                continue
            held = bytes(row.hashes)
            members = tuple(split(held))
            if (
                len(held) % tree.HASH_BYTES
                or list(members) != sorted(set(members))
                or len(members) != number_of(entry)
                or tree.root_of_set(members).hex() != entry.body["root"]
            ):
                line.fail("the leaves are not those of its root", entry)
                continue
            yield entry, members


def check_leaves(connection: Connection, book: Book, line: Line) -> None:
    """Whether there are leaves of this shelf that no entry speaks of."""
    known = {f"{number:016x}" for number in book.slices} | book.parts.keys()
    for named in connection.scalars(select(leaves.c.id).where(leaves.c.shelf == book.shelf)):
        line.demand(named in known, f"leaves are there that no entry speaks of: {named}")
