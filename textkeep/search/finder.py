"""The finder: answers a query exactly, newest first, on record, and only with what the caller may see.

The index proposes, the vault opens, `match` decides; a text past its 400 days is not there, purged or not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from textkeep.access.principal import Principal
from textkeep.access.reasons import must_have_reason
from textkeep.access.rules import require
from textkeep.archive.activity import Activity
from textkeep.archive.rows import Opened
from textkeep.archive.shelf import expired
from textkeep.archive.text import Handle
from textkeep.archive.vault import Vault
from textkeep.clock import Clock
from textkeep.errors import Malformed, NotFound, Unanswerable
from textkeep.search.cursor import Cursors
from textkeep.search.documents import milliseconds
from textkeep.search.held import HeldBy, NamedHold, NothingHeld
from textkeep.search.held_scan import HeldScan, HeldScans
from textkeep.search.index import Hit
from textkeep.search.match import common, matches, span
from textkeep.search.query import Query, parse
from textkeep.search.scan import Scan, Scans

MAX_LIMIT: Final = 200
"""Texts on a page."""

MAX_OPENED: Final = 20_000
"""Texts that one request opens before it is refused as unanswerable."""

OPENED_AT_ONCE: Final = 1_000
"""Texts opened in one go, at most."""


@dataclass(frozen=True, slots=True)
class Page:
    """Results, newest first; `cursor` leads to the next page, None where there is none.

    `held` gives for each result the holds that cover it; `indexed_up_to` is when the oldest record not yet findable was
    received, else now.
    """

    search_id: str
    results: tuple[Opened, ...]
    cursor: str | None
    shelves_searched: int
    indexed_up_to: datetime
    held: tuple[list[str], ...] = ()


class Finder:
    """Searches the texts of one organisation at a time."""

    def __init__(
        self,
        vault: Vault,
        scans: Scans,
        cursors: Cursors,
        activity: Activity,
        clock: Clock,
        held_scans: HeldScans,
        holds: HeldBy | None = None,
    ) -> None:
        self._vault = vault
        self._scans = scans
        self._held_scans = held_scans
        self._holds = holds or NothingHeld()
        self._cursors = cursors
        self._activity = activity
        self._clock = clock

    def find(
        self,
        principal: Principal,
        asked: str,
        *,
        reason: str,
        org: Handle,
        limit: int = 50,
        cursor: str | None = None,
        hold: str | None = None,
    ) -> Page:
        """One page of what matches, put on record before it is given.

        With the id of a `hold` it is what that hold covers, however long ago it was sent. Raises Forbidden,
        ReasonRequired, QueryMalformed, Malformed (limit, cursor), NotFound for a hold that has ended or is not the
        organisation's, and Unanswerable where more texts would have to be opened than `MAX_OPENED`.
        """
        require(principal, "texts.search", org)
        must_have_reason(reason)
        named = named_hold(self._holds, principal, org, hold)
        if not 1 <= limit <= MAX_LIMIT:
            raise Malformed(f"a page has 1 to {MAX_LIMIT} texts", field="limit")
        query = parse(asked)
        after = None if cursor is None else self._cursors.read(cursor, org, _asked(asked, hold))
        now = self._clock()
        start, until = span(query) if named is None else common((span(query), named.span))
        scans = self._scans if named is None else self._held_scans
        scan = scans.of_query(query, org, first=limit + 1, now=now, start=start, until=until, after=after)
        said: dict[str, object] = {"query": asked, "reason": reason, **({} if hold is None else {"hold": hold})}
        try:
            found = list(islice(self._matching(query, scan, limit + 1, now, named), limit + 1))
        except Unanswerable as refused:
            said |= {"shelves": scan.shelves_searched, "refused": refused.problem}
            self._activity.record(principal, "search", org, said)
            raise
        results = found[:limit]
        held = self._holds.held_by(org, results)
        said |= {"shelves": scan.shelves_searched, "count": len(results)}
        search_id = self._activity.record(principal, "search", org, said)
        more = self._cursors.write(place_of(results[-1]), org, _asked(asked, hold)) if len(found) > limit else None
        return Page(search_id, tuple(results), more, scan.shelves_searched, scan.unindexed_since or now, tuple(held))

    def _matching(
        self, query: Query, scan: Scan | HeldScan, first: int, now: datetime, named: NamedHold | None
    ) -> Iterator[Opened]:
        """What matches, in order. Opens as many as may be needed, then twice as many, and so on."""
        opened_so_far = 0
        size = first
        hits = scan.hits()
        while batch := list(islice(hits, size)):
            opened_so_far += len(batch)
            if opened_so_far > MAX_OPENED:
                raise Unanswerable(
                    f"more than {MAX_OPENED} texts would have to be opened for one answer", field="query"
                )
            opened = self._vault.read(((scan.org, hit.id) for hit in batch), held=named is not None)
            for hit in batch:
                text = opened.get(hit.id)
                if text is None or not visible(text, now, named):
                    continue
                if matches(query, text.event.data, frozenset(text.flags)):
                    yield text
            size = min(2 * size, OPENED_AT_ONCE)


def named_hold(holds: HeldBy, principal: Principal, org: Handle, hold: str | None) -> NamedHold | None:
    """The hold that was named, None where none was. Raises Forbidden, and NotFound for one of no use here."""
    if hold is None:
        return None
    require(principal, "holds.read", org)
    named = holds.named(principal, hold)
    if named.org != org:
        raise NotFound("there is no such hold in that organisation")
    return named


def visible(text: Opened, now: datetime, named: NamedHold | None) -> bool:
    """Whether a text may be seen: until it is 400 days old, or where the hold that was named covers it."""
    if named is not None:
        return named.covers(text)
    return not expired(text.event.data.sent_at, now)


def _asked(query: str, hold: str | None) -> str:
    """What a cursor is bound to: a query has no line that begins so."""
    return query if hold is None else f"{query}\nhold {hold}"


def place_of(opened: Opened) -> Hit:
    """Where a text stands among all of its organisation."""
    return Hit(milliseconds(opened.event.data.sent_at), opened.id)
