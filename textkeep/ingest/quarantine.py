"""Reading the quarantine: what came and could not be archived as a text, listed and opened for a recorded reason."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from textkeep.access import rules
from textkeep.access.principal import Principal
from textkeep.access.reasons import must_have_reason
from textkeep.archive.activity import Activity
from textkeep.archive.organisations import Organisations
from textkeep.archive.papers import Kind, Paper, Papers
from textkeep.archive.setting_aside import UNDER_HOLD
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

OPEN: Final = frozenset[State]({"open"})

RECORD: Final[Kind] = "quarantine"
UNDECIDED: Final[Kind] = "undecided"
"""What a hold keeps whole because it does not open: shown to whoever names that hold, and nothing vouches for it."""

SHELF: Final = r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|kept-[0-9a-f]{16}-[1-9][0-9]{0,8})"
"""The names of shelves on which records lie."""

_CURSOR: Final = re.compile(SHELF + r"/[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One quarantined record: where it lies, why, and which member was amiss. `org_id` is None for the house's own.

    `origin` is its topic, partition and offset, and in a batch its element; None where it came over HTTP. Of what does
    not open, `reason` is `undecided`, and batch and index are None.
    """

    paper_id: str
    shelf: str
    org_id: str | None
    received_at: datetime
    reason: str
    field: str | None
    batch_id: str | None
    index: int | None
    size: int
    origin: Mapping[str, str | int] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Entries of the newest day first, within a day in the order they came; `cursor` leads to the next page."""

    items: Sequence[Entry]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class NamedHold:
    """A legal hold in force that somebody named.

    `covers` says whether it covers a record: of whom, what came, and when. `undecided` gives what there is of a paper
    of that kind, for which nothing vouches, where the hold may cover it; else None.
    """

    org: Handle
    covers: Callable[[Handle | None, bytes, datetime], bool]
    undecided: Callable[[bytes], bytes | None]


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
        self,
        principal: Principal,
        why: str,
        *,
        org_id: str | None = None,
        hold: str | None = None,
        cursor: str | None = None,
        limit: int,
    ) -> Page:
        """A page of what the principal may see: its own organisations' or, for one of every organisation, all.

        With the id of a `hold` what that covers, however old, and nothing else. Raises Forbidden, ReasonRequired,
        NotFound for a hold that is not in force, or Malformed for a cursor that is none.
        """
        reason = _reason(why)
        wanted = self._wanted(principal, org_id)
        named = None if hold is None else self._named(principal, hold)
        after = _read_cursor(cursor)
        now = self._clock()
        only = wanted[0] if wanted is not None and len(wanted) == 1 else None
        with self._store.reading() as connection:
            visible = self._visible(connection, only, after, named)
            seen = (each for each in visible if wanted is None or each[1].org in wanted)
            found = list(islice((each for each in seen if _is_visible(*each, named, now)), limit + 1))
        entries = [self._entry(shelf, paper) for shelf, paper in found[:limit]]
        shown = [f"{entry.shelf}/{entry.paper_id}" for entry in entries]
        self._activity.record(principal, "quarantine-listed", only, {"reason": reason, "shown": shown, **_of(hold)})
        return Page(entries, shown[-1] if len(found) > limit else None)

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
        now = self._clock()
        with self._store.reading() as connection:
            there, paper = self._find(connection, shelf, paper_id, named)
        if paper is None or not sees(principal, paper.org) or not _is_visible(there, paper, named, now):
            raise NotFound("there is no such record in quarantine, or it belongs to another organisation")
        said = {"reason": reason, "read": f"{there}/{paper_id}", **_of(hold)}
        self._activity.record(principal, "quarantine-read", paper.org, said)
        raw = split(paper)[1] if paper.kind == RECORD or named is None else named.undecided(paper.plain)
        return self._entry(there, paper), raw or b""

    def _named(self, principal: Principal, hold: str) -> NamedHold:
        rules.require(principal, "holds.read", None)
        if self._holds is None:
            raise NotFound("there is no such hold")
        return self._holds.named(principal, hold)

    def _find(
        self, connection: Connection, shelf: str, paper_id: str, named: NamedHold | None
    ) -> tuple[str, Paper | None]:
        """A record, and where it lies; on a shelf of held texts only for a hold that was named."""
        places = [] if is_kept(shelf) and named is None else [shelf]
        if named is not None:
            places += [name for name in self._kept(connection, named) if name != shelf]
        states = self._shelves.states(connection, places)
        for place in places:
            paper = None
            if states.get(place) in _states(named):
                paper = self._papers.get(connection, place, bytes.fromhex(paper_id))
            if paper is not None and paper.kind in _kinds(named):
                return place, paper
        return shelf, None

    def _kept(self, connection: Connection, named: NamedHold) -> list[str]:
        """The shelves on which a hold's records may lie once their day is gone: the organisation's, and nobody's."""
        return [name for org in (named.org, HOUSE) for name in self._shelves.generations(connection, org)]

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
        self, connection: Connection, only: Handle | None, after: tuple[str, str] | None, named: NamedHold | None
    ) -> Iterator[tuple[str, Paper]]:
        """What comes after a place: on shelves of held texts, for a hold that was named; then the newest day first."""
        rows = self._shelves.list(connection)
        kept = [] if named is None else self._kept(connection, named)
        good = _states(named)
        places = [row.name for row in rows if row.state in good and (row.due_at is not None or row.name in kept)]
        for place in sorted(places, reverse=True):
            if after is not None and place > after[0]:
                continue
            passed = after is None or place != after[0]
            for kind in _kinds(named):
                for paper in self._papers.of_kind(connection, place, kind, only):
                    if passed:
                        yield place, paper
                    passed = passed or (place, paper.id.hex()) == after

    def _entry(self, shelf: str, paper: Paper) -> Entry:
        org_id = None if paper.org == HOUSE else self._organisations.name(paper.org)
        if paper.kind == UNDECIDED:
            size = len(paper.plain)
            return Entry(paper.id.hex(), shelf, org_id, paper.made_at, UNDECIDED, None, None, None, size)
        said, raw = split(paper)
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


def _kinds(named: NamedHold | None) -> tuple[Kind, ...]:
    return (RECORD,) if named is None else (RECORD, UNDECIDED)


def _states(named: NamedHold | None) -> frozenset[State]:
    return OPEN if named is None else HELD_IN


def _is_visible(shelf: str, paper: Paper, named: NamedHold | None, now: datetime) -> bool:
    """Whether a record may be shown: for a hold what that covers, else what has not expired.

    What has a day of its own and lies on it expires by the moment it was sent; else by the moment it came. What came
    expired, and was set aside for a hold only, is nobody's to see who does not name one.
    """
    if named is not None and paper.kind == UNDECIDED:
        return named.undecided(paper.plain) is not None
    said, raw = split(paper)
    if named is not None:
        return named.covers(None if paper.org == HOUSE else paper.org, raw, paper.made_at)
    if said["reason"] == UNDER_HOLD:
        return False
    sent_at = parse(raw).sent_at
    on_its_day = sent_at is not None and Day.of(sent_at).shelf == shelf
    return not expired(sent_at if sent_at is not None and on_its_day else paper.made_at, now)


def _of(hold: str | None) -> dict[str, str]:
    return {} if hold is None else {"hold": hold}


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
