"""What a hold would cover if it were placed now: counted before it is, day by day and by user, on record.

Every text of the organisation on every shelf that the dates allow is opened and matched, as a purge would; no index is
asked. An answer ends after the shelf with which it has opened enough, and says where the next one goes on.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Final

from sqlalchemy import Connection

from textkeep.access.principal import Principal
from textkeep.access.reasons import must_have_reason
from textkeep.archive.activity import Activity
from textkeep.archive.papers import LOOKUP, Papers
from textkeep.archive.rows import Opened, open_row, with_derived_flags
from textkeep.archive.sealing import CannotOpen, Sealer
from textkeep.archive.shelf import Day, Generation, is_kept
from textkeep.archive.shelves import ShelfRow, Shelves
from textkeep.archive.text import HOUSE, Handle
from textkeep.clock import Clock
from textkeep.errors import Malformed
from textkeep.retention.holds import undecided
from textkeep.retention.holds.hold import Hold, Scope, covers, covers_record, covers_unreadable
from textkeep.retention.holds.holding import TOO_LATE, Holding, Reach
from textkeep.store.bulk import paper_ids, texts_of_org
from textkeep.store.engine import Store, Vanished

OPENED_AT_MOST: Final = 100_000
"""Texts after which an answer ends with the shelf it is in."""

KIND: Final = "hold-preview"
"""What a preview, or a refused attempt at one, is on record as."""

ROWS_AT_ONCE: Final = 500
"""Rows that are in memory at a time."""

RECORDS: Final = ("quarantine", "undecided")
"""The kinds of papers that a hold can cover."""


@dataclass(slots=True)
class ShelfCount:
    """What a hold would cover of one shelf: texts by user, records in quarantine, and what does not open.

    Of a shelf of held texts, which come from many days, `days` gives the texts by the day they were sent. `opened`
    counts the texts of the organisation that were looked at.
    """

    shelf: str
    state: str
    opened: int = 0
    texts: int = 0
    records: int = 0
    undecided: int = 0
    users: Counter[str] = field(default_factory=Counter)
    days: Counter[str] = field(default_factory=Counter)

    @property
    def covers_anything(self) -> bool:
        """Whether there is something to show."""
        return bool(self.texts or self.records or self.undecided)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One answer: shelves of which something is covered, days first, oldest first; `cursor` leads on, None at the end.

    `reach` says what is too late already, and what is in purge.
    """

    preview_id: str
    shelves: tuple[ShelfCount, ...]
    opened: int
    looked_at: int
    cursor: str | None
    reach: Reach


class Preview:
    """Counts what a scope covers."""

    def __init__(
        self,
        store: Store,
        holding: Holding,
        shelves: Shelves,
        sealer: Sealer,
        papers: Papers,
        activity: Activity,
        clock: Clock,
    ) -> None:
        self._store = store
        self._holding = holding
        self._shelves = shelves
        self._sealer = sealer
        self._papers = papers
        self._activity = activity
        self._clock = clock

    def count(self, principal: Principal, *, reason: str, scope: Scope, cursor: str | None = None) -> Foreseen:
        """Count, put it on record with its reason, and give it.

        Raises Forbidden (on record), ReasonRequired, and Malformed for a cursor that is none.
        """
        org = self._holding.may_place(principal, KIND, scope.org_id)
        must_have_reason(reason)
        now = self._clock()
        would = Hold("preview", org, "", reason, scope, principal.person, now, now)
        with self._store.reading() as connection:
            reach = self._holding.reach(connection, org, scope)
            waiting = [row for row in self._shelves.list(connection) if _may_hold(row, org, scope)]
        if cursor is not None:
            _check_cursor(cursor)
            waiting = [row for row in waiting if row.name > cursor]
        found: list[ShelfCount] = []
        while waiting and sum(each.opened for each in found) < OPENED_AT_MOST:
            found.append(self._of_shelf(would, waiting.pop(0)))
        opened = sum(each.opened for each in found)
        covered = sum(each.texts + each.records + each.undecided for each in found)
        detail = {"reason": reason, "scope": scope.written(), "shelves": len(found), "opened": opened, "count": covered}
        preview_id = self._activity.record(principal, KIND, org, detail)
        shown = tuple(each for each in found if each.covers_anything)
        return Foreseen(preview_id, shown, opened, len(found), found[-1].shelf if waiting else None, reach)

    def _of_shelf(self, hold: Hold, row: ShelfRow) -> ShelfCount:
        count = ShelfCount(row.name, row.state)
        try:
            with self._store.reading() as connection:
                self._texts(connection, hold, count)
                self._records(connection, hold, count)
        except Vanished:  # purged since: too late, and nothing of it is covered
            return ShelfCount(row.name, row.state)
        return count

    def _texts(self, connection: Connection, hold: Hold, count: ShelfCount) -> None:
        for family, whole in self._families(connection, hold.org, count):
            for opened in family:
                if covers(hold, opened.event, opened.org, frozenset(opened.flags) if whole else None):
                    count.texts += 1
                    count.users[opened.event.data.user_id] += 1
                    if is_kept(count.shelf):
                        count.days[opened.id.day.isoformat()] += 1

    def _families(self, connection: Connection, org: Handle, count: ShelfCount) -> Iterator[tuple[list[Opened], bool]]:
        """The texts of an organisation, the versions of one together, and whether all of them open.

        What does not is counted as undecided; the flags that follow from it are not known.
        """
        rows = texts_of_org(connection, count.shelf, org, at_once=ROWS_AT_ONCE)
        for _, family in groupby(rows, key=lambda row: row.tag):
            opened = []
            damaged = 0
            for row in family:
                count.opened += 1
                try:
                    opened.append(open_row(self._sealer, count.shelf, row))
                except (CannotOpen, ValueError, ArithmeticError):
                    damaged += 1
            count.undecided += damaged
            yield with_derived_flags(opened), not damaged

    def _records(self, connection: Connection, hold: Hold, count: ShelfCount) -> None:
        ids = paper_ids(connection, count.shelf, RECORDS, [hold.org, HOUSE])
        for start in range(0, len(ids), LOOKUP):
            for row, paper in self._papers.examine(connection, count.shelf, ids[start : start + LOOKUP]):
                if paper is None or paper.kind == "undecided":
                    header = None if paper is None else undecided.read(paper.plain)[0]
                    count.undecided += _may_cover(hold, count.shelf, Handle(bytes(row.org)), header)
                else:
                    raw = paper.plain.split(b"\n", 1)[1]
                    count.records += covers_record(hold, raw, paper.org, paper.made_at)


def _may_hold(row: ShelfRow, org: Handle, scope: Scope) -> bool:
    """Whether anything that a hold could still keep may lie on a shelf.

    On a later day than the scope's may lie a record that came then and does not say when it was sent.
    """
    if row.state in TOO_LATE:
        return False
    if is_kept(row.name):
        return Generation.named(row.name).org in (org, HOUSE)
    start, _ = scope.span
    return start is None or Day.named(row.name).end() > start


def _may_cover(hold: Hold, shelf: str, org: Handle, header: "undecided.Undecided | None") -> bool:
    first: datetime | None = None
    last: datetime | None = None
    if header is not None:
        first, last = header.first, header.last
    elif not is_kept(shelf):
        last = Day.named(shelf).end()
    return covers_unreadable(hold, org, first=first, last=last)


def _check_cursor(cursor: str) -> None:
    try:
        if not is_kept(cursor):
            Day.named(cursor)
    except ValueError:
        raise Malformed("that is not a cursor of this preview", field="cursor") from None
