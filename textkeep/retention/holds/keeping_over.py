"""Keeping over: what legal holds cover of a shelf whose time ends is carried to shelves of held texts.

Every text of an organisation with a hold in force is opened and matched, and every quarantined record; no index is
asked. The work is done in portions, each one transaction under the lock of the holds, so that memory is bounded and
nobody waits for long. Doing it again adds only what is missing. Where a slice is not the set that the ledger says was
taken, all of its rows are looked at, since a row's organisation may be what was altered.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection, func, select

from textkeep.archive.papers import Kind, Papers
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelf import is_kept
from textkeep.archive.shelves import Shelves
from textkeep.archive.text import Handle
from textkeep.clock import Clock
from textkeep.errors import Outage, Unsound
from textkeep.ledger import log
from textkeep.retention.counting import leaves
from textkeep.retention.holds import kept_leaves
from textkeep.retention.holds.carrying import Carrier
from textkeep.retention.holds.covering import Covering, Found, Tally
from textkeep.retention.holds.hold import Hold
from textkeep.retention.holds.in_force import Covered, Kept, Transaction
from textkeep.retention.holds.rows import digest_of
from textkeep.store.tables import papers_of, shelf_tables, texts_of

TEXTS_AT_ONCE: Final = 5_000
"""About how many texts of a shelf one transaction looks through; a slice is never divided."""

RECORDS_AT_ONCE: Final = 50
"""How many records are: they have no bound of 64 KiB."""

RECORDS: Final[tuple[Kind, ...]] = ("quarantine", "undecided")

CHANGED: Final = b""
"""Stands for the digest where the holds, or the shelf, were not the same all the time: no set has it."""

ATTEMPTS: Final = 5
"""How often a portion is begun again because an organisation's shelf was not there or not open any more."""


class InForce(Protocol):
    """The holds themselves. `digest` takes their lock in the caller's transaction, as `HoldsInForce` demands."""

    def digest(self, connection: Connection) -> bytes:
        """What names the set of holds in force."""

    def active(self, connection: Connection) -> Sequence[Hold]:
        """The holds in force."""


class Agreement(Protocol):
    """Whether the holds that are known are all there are."""

    def guard(self) -> object:
        """Mend what can be mended, in transactions of its own. Raises Unsound for the rest."""

    def check(self, connection: Connection) -> None:
        """Raise Unsound where ledger, database and keyring do not name the same holds."""


class _Changed(Exception):
    """The set of holds, or the shelf, is not as it was when the work began."""


Decide = Callable[[Connection], Found]


class CarryingOver:
    """The holds in force, as a purge sees them; it carries over what they cover."""

    def __init__(
        self,
        holds: InForce,
        agreement: Agreement,
        shelves: Shelves,
        sealer: Sealer,
        papers: Papers,
        clock: Clock,
    ) -> None:
        self._holds = holds
        self._agreement = agreement
        self._shelves = shelves
        self._sealer = sealer
        self._papers = papers
        self._clock = clock

    def agree(self) -> None:
        """Mend what can be mended of what is known of holds, before a run. Raises Unsound for the rest."""
        self._agreement.guard()

    def digest(self, connection: Connection) -> bytes:
        """What names the set of active holds; under their lock from here on."""
        return self._holds.digest(connection)

    def check(self, connection: Connection) -> None:
        """Raise Unsound where a hold may be missing."""
        self._agreement.check(connection)

    def there(self, connection: Connection, shelf: str) -> Covered:
        """What is kept of a shelf, read from where it is kept."""
        return kept_leaves.of_shelf(connection, shelf, self._papers)

    def keep(self, transaction: Transaction, shelf: str) -> Kept:
        """Carry over what is covered, and everything that cannot be opened or decided.

        Where the holds or the shelf change under way it names no digest, whatever they are a moment later. Raises
        Unsound where something does not read back, Outage where the database does not answer; what was carried over by
        then stays, and is found there the next time.
        """
        with transaction() as connection:
            self._holds.digest(connection)  # for their lock
            active = list(self._holds.active(connection))
        digest = digest_of(hold.id for hold in active)  # of these, at one moment
        tally = Tally()
        if active:
            carry = _Carrying(self._holds, self._shelves, self._sealer, self._papers, self._clock)
            portions = _Portions(transaction, shelf, digest, tally, carry)
            try:
                if self._carry(portions, shelf, active):
                    with portions.locked() as connection:
                        self._check(connection, shelf, active, tally)
            except _Changed:
                digest = CHANGED  # whoever asked compares, and asks again
        return tally.told(digest, active, self._clock())

    def _check(self, connection: Connection, shelf: str, active: Sequence[Hold], tally: Tally) -> None:
        """Raises Unsound unless every row was looked at, and everything that is held lies where held things are."""
        tables = set(shelf_tables(connection, shelf))
        orgs = {bytes(hold.org) for hold in active}
        texts, papers = texts_of(shelf), papers_of(shelf)
        theirs = select(func.count()).select_from(texts).where(texts.c.org.in_(orgs))
        records = select(func.count()).select_from(papers).where(papers.c.kind.in_(RECORDS))
        for table, counted, examined in (
            (texts, theirs, tally.examined),
            (papers, records, tally.records_examined),
        ):
            if table.name in tables and connection.execute(counted).scalar_one() > examined:
                raise Unsound("not everything that a hold may cover was looked at; nothing was destroyed")
        if not tally.all_covered().lies_in(self.there(connection, shelf)):
            raise Unsound(
                "something that was carried over is not there, or it is not noted where it came from; nothing was"
                " destroyed",
                remedy="Run `textkeep audit`: it names the entries. The next purge run tries again.",
            )

    def _carry(self, portions: "_Portions", shelf: str, active: Sequence[Hold]) -> bool:
        """Carry over what is covered; False where there was nothing to look at."""
        with portions.locked() as connection:
            tables = set(shelf_tables(connection, shelf))
            has_texts = texts_of(shelf).name in tables
            there = leaves.numbers(connection, shelf) if has_texts else {}
            several = _several(connection, shelf) if has_texts else set()
            records = self._papers.ids(connection, shelf, RECORDS) if papers_of(shelf).name in tables else []
            roots, versions = _taken(connection, shelf) if there else ({}, {})
            incomplete = bool(there) and _lacks_versions(connection, shelf, versions)
        covering = Covering(shelf, active, self._sealer, self._papers, several, incomplete=incomplete)
        for part in leaves.portions(there, TEXTS_AT_ONCE):
            portions.do(_of_texts(covering, shelf, part, roots))
        for start in range(0, len(records), RECORDS_AT_ONCE):
            portions.do(_of_records(covering, records[start : start + RECORDS_AT_ONCE]))
        return bool(there or records)


@dataclass(frozen=True, slots=True)
class _Carrying:
    """What carrying over stands on."""

    holds: InForce
    shelves: Shelves
    sealer: Sealer
    papers: Papers
    clock: Clock


class _Portions:
    """The transactions of one `keep`, each under the lock of the holds and of the shelf."""

    def __init__(self, transaction: Transaction, shelf: str, digest: bytes, tally: Tally, carrying: _Carrying) -> None:
        self._transaction = transaction
        self._shelf = shelf
        self._digest = digest
        self._tally = tally
        self._on = carrying

    @contextmanager
    def locked(self) -> Iterator[Connection]:
        """One transaction in which holds and shelf are as they were. Raises _Changed where they are not."""
        with self._transaction() as connection:
            if self._on.holds.digest(connection) != self._digest:
                raise _Changed
            if self._on.shelves.lock(connection, [self._shelf]).get(self._shelf) != "intent":
                raise _Changed
            yield connection

    def do(self, decide: Decide) -> None:
        """Decide about a portion, carry over what is held of it, and count it.

        A shelf that is lacking is opened outside the transaction: its secret is durable before anything uses it.
        """
        for _ in range(ATTEMPTS):
            with self.locked() as connection:
                found = decide(connection)
                targets = self._targets(connection, found.owners())
                lacking = found.owners() - targets.keys()
                if not lacking:
                    self._carry(connection, found, targets)
                    found.tally.covered.append(found.covered())
                    self._tally.add(found.tally)
                    return
            for org in sorted(lacking):
                self._on.shelves.ensure_kept(org, self._on.clock())
        raise Outage("a shelf of held texts is closed again as soon as it is opened", retry_after=1)

    def _targets(self, connection: Connection, owners: Collection[Handle]) -> dict[Handle, str]:
        """The open shelf of each owner that has one, kept open until the transaction ends."""
        named = {org: shelf for org in owners if (shelf := self._on.shelves.kept_of(connection, org)) is not None}
        states = self._on.shelves.lock(connection, named.values()) if named else {}
        return {org: shelf for org, shelf in named.items() if states.get(shelf) == "open"}

    def _carry(self, connection: Connection, found: Found, targets: Mapping[Handle, str]) -> None:
        carrier = Carrier(connection, self._shelf, targets, self._on.sealer, self._on.papers, self._on.clock())
        for org, texts in sorted(found.texts.items()):
            carrier.texts(org, texts)
        for org, records in sorted(found.records.items()):
            carrier.records(org, records)


def _of_texts(covering: Covering, shelf: str, part: Sequence[int], roots: Mapping[int, str]) -> Decide:
    def decide(connection: Connection) -> Found:
        found = dict(leaves.members(connection, shelf, part))
        altered = {each for each in part if each not in found or found[each].found().root != roots.get(each)}
        return covering.texts(connection, part, altered)

    return decide


def _of_records(covering: Covering, ids: Sequence[bytes]) -> Decide:
    return lambda connection: covering.records(connection, ids)


def _several(connection: Connection, shelf: str) -> set[bytes]:
    """The tags of texts that have more than one version."""
    table = texts_of(shelf)
    return set(connection.scalars(select(table.c.tag).where(table.c.version > 1).distinct()))


def _lacks_versions(connection: Connection, shelf: str, taken: Mapping[int, int]) -> bool:
    """Whether a later version of some text is missing: by slice there are fewer than were `taken`, or one is alone."""
    table = texts_of(shelf)
    later = select(table.c.slice, func.count()).where(table.c.version > 1).group_by(table.c.slice)
    there = {row[0]: row[1] for row in connection.execute(later)}
    if any(there.get(slice_id, 0) < number for slice_id, number in taken.items()):
        return True
    if is_kept(shelf):  # where the others may not have been held
        return False
    of_several = table.c.tag.in_(select(table.c.tag).where(table.c.version > 1))
    gaps = select(table.c.tag).where(of_several).group_by(table.c.org, table.c.tag)
    return connection.execute(gaps.having(func.count() != func.max(table.c.version)).limit(1)).first() is not None


def _taken(connection: Connection, shelf: str) -> tuple[dict[int, str], dict[int, int]]:
    """The root of each slice, and how many of its texts were versions, as the ledger has it.

    What cannot be read there is missing, and so counts as altered.
    """
    found: dict[int, str] = {}
    versions: dict[int, int] = {}
    for entry in log.entries(connection, shelf=shelf, kinds=("slice", "kept")):
        with suppress(KeyError, TypeError, ValueError):
            found[int(entry.body["slice"], 16)] = entry.body["root"]
            versions[int(entry.body["slice"], 16)] = int(entry.body["versions"])
    return found, versions
