"""Reading the quarantine: what came and could not be archived as a text, listed and opened for a recorded reason."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from textkeep.access import rules
from textkeep.access.principal import Principal
from textkeep.access.reasons import must_have_reason
from textkeep.archive.activity import Activity
from textkeep.archive.organisations import Organisations
from textkeep.archive.papers import Paper, Papers
from textkeep.archive.shelf import Day, State, expired, is_kept
from textkeep.archive.shelves import Shelves
from textkeep.archive.text import HOUSE, Handle
from textkeep.clock import Clock
from textkeep.errors import Forbidden, Malformed, NotFound
from textkeep.ingest.wire import parse
from textkeep.store.engine import Store

MAX_PAGE: Final = 200
"""Records on one page of the quarantine."""

HELD_IN: Final = frozenset[State]({"open", "intent", "kept", "witnessed"})
"""The states of a shelf on which a hold still keeps records."""

_CURSOR: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One quarantined record: where it lies, why, and which member was amiss. `org_id` is None for the house's own.

    `origin` is its topic, partition and offset, and in a batch its element; None where it came over HTTP.
    """

    paper_id: str
    shelf: str
    org_id: str | None
    received_at: datetime
    reason: str
    field: str | None
    batch_id: str
    index: int
    size: int
    origin: Mapping[str, str | int] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Entries of the newest day first, within a day in the order they came; `cursor` leads to the next page."""

    items: Sequence[Entry]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class NamedHold:
    """A legal hold in force that somebody named, and whether it covers a record: of whom, what came, and when."""

    org: Handle
    covers: Callable[[Handle | None, bytes, datetime], bool]


class HeldRecords(Protocol):
    """Legal holds. `named` MUST give one only while it is in force, to a principal who may read it."""

    def named(self, principal: Principal, hold_id: str) -> NamedHold:
        """A hold by its id. Raises Forbidden, and NotFound for one that has ended or that is not to be known of."""


class Quarantine:
    """Lists and opens what is set aside; each time recorded, with its reason, before the answer leaves."""

    def __init__(
        self,
        store: Store,
        shelves: Shelves,
        papers: Papers,
        organisations: Organisations,
        activity: Activity,
        clock: Clock,
        holds: HeldRecords | None = None,
    ) -> None:
        self._holds = holds
        self._store = store
        self._shelves = shelves
        self._papers = papers
        self._organisations = organisations
        self._activity = activity
        self._clock = clock

    def page(
        self, principal: Principal, why: str, *, org_id: str | None = None, cursor: str | None = None, limit: int
    ) -> Page:
        """A page of what the principal may see: its own organisations' or, for one of every organisation, all.

        Raises Forbidden, ReasonRequired, or Malformed for a cursor that is none.
        """
        reason = _reason(why)
        wanted = self._wanted(principal, org_id)
        after = _read_cursor(cursor)
        with self._store.reading() as connection:
            found: list[tuple[str, Paper]] = []
            for shelf, paper in self._visible(connection, wanted, after):
                found.append((shelf, paper))
                if len(found) > limit:
                    break
        more = len(found) > limit
        entries = [self._entry(shelf, paper) for shelf, paper in found[:limit]]
        only = wanted[0] if wanted is not None and len(wanted) == 1 else None
        detail = {"reason": reason, "shown": [f"{entry.shelf}/{entry.paper_id}" for entry in entries]}
        self._activity.record(principal, "quarantine-listed", only, detail)
        return Page(entries, f"{entries[-1].shelf}/{entries[-1].paper_id}" if more else None)

    def read(
        self, principal: Principal, why: str, shelf: str, paper_id: str, hold: str | None = None
    ) -> tuple[Entry, bytes]:
        """One quarantined record and exactly what came; with the id of a `hold` one that it covers, however old.

        A record that a hold has kept is found by the shelf of its day or by that of held texts. Raises Forbidden,
        ReasonRequired or NotFound.
        """
        reason = _reason(why)
        rules.require(principal, "quarantine.read", None)
        named = None if hold is None else self._named(principal, hold)
        with self._store.reading() as connection:
            there, paper = self._find(connection, shelf, paper_id, named)
        if paper is None or not sees(principal, paper.org) or not self._is_visible(there, paper, named):
            raise NotFound("there is no such record in quarantine, or it belongs to another organisation")
        said = {"reason": reason, "read": f"{there}/{paper_id}", **({} if hold is None else {"hold": hold})}
        self._activity.record(principal, "quarantine-read", paper.org, said)
        return self._entry(there, paper), split(paper)[1]

    def _named(self, principal: Principal, hold: str) -> NamedHold:
        rules.require(principal, "holds.read", None)
        if self._holds is None:
            raise NotFound("there is no such hold")
        return self._holds.named(principal, hold)

    def _is_visible(self, shelf: str, paper: Paper, named: NamedHold | None) -> bool:
        if named is None:
            return not self._is_expired(shelf, paper)
        return named.covers(None if paper.org == HOUSE else paper.org, split(paper)[1], paper.made_at)

    def _find(
        self, connection: Connection, shelf: str, paper_id: str, named: NamedHold | None
    ) -> tuple[str, Paper | None]:
        """A record, and where it lies; on a shelf of held texts only for a hold that was named."""
        places, good = ([] if is_kept(shelf) else [shelf]), frozenset[State]({"open"})
        if named is not None:
            kept = (self._shelves.generations(connection, org) for org in (named.org, HOUSE))
            places, good = [shelf, *(name for names in kept for name in names)], HELD_IN
        states = self._shelves.states(connection, places)
        for place in places:
            paper = None
            if states.get(place) in good:
                paper = self._papers.get(connection, place, bytes.fromhex(paper_id))
            if paper is not None and paper.kind == "quarantine":
                return place, paper
        return shelf, None

    def _wanted(self, principal: Principal, org_id: str | None) -> list[Handle] | None:
        """The organisations to show; None for all and the house's own."""
        rules.require(principal, "quarantine.read", None)
        if org_id is None:
            return None if principal.orgs is None else sorted(Handle(org) for org in principal.orgs)
        handle = self._organisations.find(org_id)
        if handle is None or not principal.sees(handle):
            raise Forbidden("the organisation is not registered, or is not among the token's", field="org_id")
        return [handle]

    def _visible(
        self, connection: Connection, wanted: Sequence[Handle] | None, after: tuple[str, str] | None
    ) -> Iterator[tuple[str, Paper]]:
        """Every entry that comes after a place, newest day first."""
        only = wanted[0] if wanted is not None and len(wanted) == 1 else None
        for row in reversed(self._shelves.list(connection)):
            if row.state != "open" or row.due_at is None or (after is not None and row.name > after[0]):
                continue
            passed = after is None or row.name != after[0]
            for paper in self._papers.of_kind(connection, row.name, "quarantine", only):
                if passed and (wanted is None or paper.org in wanted) and not self._is_expired(row.name, paper):
                    yield row.name, paper
                passed = passed or (row.name, paper.id.hex()) == after

    def _is_expired(self, shelf: str, paper: Paper) -> bool:
        """On the shelf of the day it was sent, by that moment; else by the moment it came."""
        sent_at = parse(split(paper)[1]).sent_at
        on_its_day = sent_at is not None and Day.of(sent_at).shelf == shelf
        return expired(sent_at if sent_at is not None and on_its_day else paper.made_at, self._clock())

    def _entry(self, shelf: str, paper: Paper) -> Entry:
        said, raw = split(paper)
        org_id = None if paper.org == HOUSE else self._organisations.name(paper.org)
        return Entry(
            paper.id.hex(),
            shelf,
            org_id,
            paper.made_at,
            str(said["reason"]),
            said.get("field"),
            said["batch"],
            said["index"],
            len(raw),
            said.get("origin"),
        )


def split(paper: Paper) -> tuple[dict[str, Any], bytes]:
    """What the vault says of a quarantined record, and exactly what came."""
    said, raw = paper.plain.split(b"\n", 1)
    return json.loads(said), raw


def sees(principal: Principal, org: Handle) -> bool:
    """What belongs to no organisation is seen by a principal of every organisation only."""
    return principal.orgs is None if org == HOUSE else principal.sees(org)


def _reason(why: str) -> str:
    said = why.strip()
    must_have_reason(said)
    return said


def _read_cursor(cursor: str | None) -> tuple[str, str] | None:
    if cursor is None:
        return None
    if not _CURSOR.fullmatch(cursor):
        raise Malformed("that is not a cursor of this list", field="cursor")
    shelf, paper_id = cursor.split("/")
    return shelf, paper_id
