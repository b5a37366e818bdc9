"""The directory: organisations, locations and users over time, sealed at rest and served from memory.

On a store that other processes write to, `refresh` brings what they have changed (`freshness.py` says how).
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, delete, insert, select, update

from textkeep.archive.keyring import HOUSE_SHELF
from textkeep.archive.organisations import Organisations
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelf import RETENTION
from textkeep.archive.text import Handle
from textkeep.clock import Clock
from textkeep.directory import freshness
from textkeep.directory.freshness import Standing
from textkeep.directory.intervals import Interval, Timeline
from textkeep.directory.records import Location, Org, Record, User, content_of, from_json, key_of, to_json
from textkeep.directory.requirements import Facts, Missing, missing
from textkeep.errors import Conflict, NotFound, Refusal
from textkeep.store.columns import ticks
from textkeep.store.engine import Store
from textkeep.store.tables import directory as rows

RECORDS_PER_TRANSACTION: Final = 1000
"""How many records of a directory feed are stored together."""

Outcome = Literal["added", "changed", "unchanged"]
Kind = Literal["org", "location", "user"]
Key = tuple[Handle, Kind, str]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNREAD: Final = Standing(version=-1)


@dataclass(frozen=True, slots=True)
class Texting:
    """Whether a user may text, and which requirements are missing."""

    may_text: bool
    missing: tuple[Missing, ...]


@dataclass(slots=True)
class _Putting:
    """One transaction of puts: what it will have changed once it has committed."""

    connection: Connection
    now: datetime
    timelines: dict[Key, Timeline[Record]] = field(default_factory=dict)
    last_row: int = 0


class Directory:
    """Puts records and answers what was known as of a moment. Reading never waits for the database; `refresh` does."""

    def __init__(self, store: Store, sealer: Sealer, organisations: Organisations, clock: Clock) -> None:
        self._store = store
        self._sealer = sealer
        self._organisations = organisations
        self._clock = clock
        self._putting = threading.Lock()
        self._changing = threading.Lock()
        """Held, for moments only, by whoever changes what is in memory."""
        self._standing = _UNREAD
        self._last_row = 0
        self._timelines: dict[Key, Timeline[Record]] = {}
        self._steady: dict[tuple[str, str], Facts] = {}
        """Facts that are the same at every moment; made anew at every change."""

    def load(self, connection: Connection) -> None:
        """Open every record, at the start. Raises CannotOpen at a damaged one."""
        with self._changing:
            self._timelines, self._last_row = {}, 0
            if self._store.shared:
                self._standing = freshness.read(connection)
            self._load_newer(connection)

    def refresh(self) -> None:
        """Know what other processes had changed when this was called: one small query where they changed nothing.

        Does nothing on a store that is this process's own. Raises Outage.
        """
        if not self._store.shared:
            return
        with self._store.reading() as connection:
            if freshness.read(connection).version == self._standing.version:
                return
            with self._changing:
                self._catch_up(connection, freshness.read(connection))

    def _catch_up(self, connection: Connection, standing: Standing) -> None:
        """Load what is newer than what is known. The caller holds `_changing`."""
        if standing.version <= self._standing.version:
            return
        self._load_newer(connection)
        if standing.dropped != self._standing.dropped:
            self._forget_ended(_EPOCH + timedelta(microseconds=standing.dropped))
        self._standing = standing

    def _load_newer(self, connection: Connection) -> None:
        newer = connection.execute(select(rows).where(rows.c.id > self._last_row).order_by(rows.c.id)).all()
        if any(not self._organisations.knows(Handle(org)) for org in {row.org for row in newer}):
            self._organisations.refresh(connection)
        timelines: dict[Key, Timeline[Record]] = {}
        for row in newer:
            key, interval = self._opened(row)
            timelines[key] = (timelines.get(key) or self._timeline(key)).put(interval)
        self._timelines.update(timelines)
        self._steady = {}
        self._last_row = newer[-1].id if newer else self._last_row

    def _opened(self, row: Row[Any]) -> tuple[Key, Interval[Record]]:
        handle = Handle(row.org)
        record = from_json(self._sealer.open("directory", HOUSE_SHELF, handle, _place(row.since), row.sealed))
        return (handle, record.kind, key_of(record)), Interval(row.since, record.since is not None, record, row.id)

    def _forget_ended(self, by: datetime) -> None:
        self._timelines = {key: timeline.without_ended(by) for key, timeline in self._timelines.items()}
        self._steady = {}

    def put(self, record: Record) -> Outcome:
        """Record what is so, from `since` on or from now; an unchanged record changes nothing.

        On disk when it returns. Raises NotFound for an organisation, Conflict for a location that is not there yet.
        """
        outcome = self.put_all([record])[0]
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    def put_all(self, records: Sequence[Record]) -> list[Outcome | Refusal]:
        """Put many records in order, in few transactions; a refused one leaves the others as they are."""
        outcomes: list[Outcome | Refusal] = []
        for start in range(0, len(records), RECORDS_PER_TRANSACTION):
            outcomes += self._put_together(records[start : start + RECORDS_PER_TRANSACTION])
        return outcomes

    def current(self, kind: Kind, org_id: str, key: str) -> Interval[Record] | None:
        """The record in force now and since when, or None where there is none."""
        handle = self._organisations.find(org_id)
        return None if handle is None else self._timeline((handle, kind, key)).begun(self._clock())

    def as_of(self, org_id: str, user_id: str, moment: datetime) -> Facts | None:
        """What was known at `moment` of an organisation and one of its users; None where it is not registered.

        An organisation counts with its first record before that record as well.
        """
        steady = self._steady
        facts = steady.get((org_id, user_id))
        if facts is not None:
            return facts
        handle = self._organisations.find(org_id)
        if handle is None:
            return None
        orgs = self._timeline((handle, "org", ""))
        org = orgs.at(moment) or orgs.earliest()
        if not isinstance(org, Org):
            return None
        users = self._timeline((handle, "user", user_id))
        user = users.at(moment)
        if not isinstance(user, User):
            return Facts(handle, org, None, None)
        locations = self._timeline((handle, "location", user.location_id))
        location = locations.at(moment)
        facts = Facts(handle, org, location if isinstance(location, Location) else None, user)
        if orgs.always() and users.always() and locations.always():
            steady[org_id, user_id] = facts
        return facts

    def handle_of(self, org_id: str) -> Handle | None:
        """The handle of an organisation that is registered here, or None."""
        handle = self._organisations.find(org_id)
        return handle if (handle, "org", "") in self._timelines else None

    def texting(self, org_id: str, user_id: str) -> Texting:
        """Whether a user may text now. Raises NotFound for an organisation or user that is not known."""
        facts = self.as_of(org_id, user_id, self._clock())
        if facts is None or facts.user is None:
            raise NotFound("the directory knows no user of that name in an organisation of that name")
        found = tuple(missing(facts))
        return Texting(not found, found)

    def drop_ended(self) -> int:
        """Drop intervals that ended 400 days ago or earlier: no text can be judged by them any more. Gives how many."""
        by = self._clock() - RETENTION
        ended = rows.c.until <= by
        with self._putting:
            with self._store.transaction() as connection:
                standing = freshness.lock(connection) if self._store.shared else _UNREAD
                gone = connection.execute(delete(rows).where(ended)).rowcount
                if gone and self._store.shared:
                    freshness.write(connection, Standing(standing.version + 1, max(standing.dropped, ticks(by))))
            if gone:
                with self._changing:
                    self._forget_ended(by)
        return gone

    def _timeline(self, key: Key) -> Timeline[Record]:
        return self._timelines.get(key) or _NOTHING

    def _put_together(self, records: Sequence[Record]) -> list[Outcome | Refusal]:
        for record in records:
            if isinstance(record, Org):
                self._organisations.register(record.org_id)
        with self._putting:
            with self._store.transaction() as connection:
                standing = self._locked(connection)
                putting = _Putting(connection, self._clock())
                outcomes = [self._put(putting, record) for record in records]
                if putting.timelines and self._store.shared:
                    standing = replace(standing, version=standing.version + 1)
                    freshness.write(connection, standing)
            with self._changing:
                self._apply(putting, standing)
        return outcomes

    def _locked(self, connection: Connection) -> Standing:
        """How the directory stands, up to which it is known here, and from which nobody else leads it on for now."""
        if not self._store.shared:
            return _UNREAD
        standing = freshness.lock(connection)
        with self._changing:
            self._catch_up(connection, standing)
        return standing

    def _apply(self, putting: _Putting, standing: Standing) -> None:
        if self._store.shared and standing.version <= self._standing.version:
            return  # another thread has loaded it from the database already, and perhaps what came after it
        self._timelines.update(putting.timelines)
        self._steady = {}
        self._last_row = max(self._last_row, putting.last_row)
        self._standing = standing

    def _put(self, putting: _Putting, record: Record) -> Outcome | Refusal:
        handle = self._organisations.find(record.org_id)
        if handle is None or not (isinstance(record, Org) or self._known(putting, (handle, "org", ""))):
            return NotFound("the organisation is not registered", field="org_id", remedy="Register it first.")
        if isinstance(record, User) and not self._known(putting, (handle, "location", record.location_id)):
            return Conflict(
                "the organisation has no location of that name", field="location_id", remedy="Put the location first."
            )
        key = (handle, record.kind, key_of(record))
        timeline = putting.timelines.get(key) or self._timeline(key)
        since = record.since or putting.now
        before = timeline.begun(since)
        if before is not None and content_of(before.record) == content_of(record):
            return "unchanged"
        row = putting.last_row = self._insert(putting.connection, handle, timeline, since, record)
        putting.timelines[key] = timeline.put(Interval(since, record.since is not None, record, row))
        return "changed" if timeline.intervals else "added"

    def _known(self, putting: _Putting, key: Key) -> bool:
        return bool((putting.timelines.get(key) or self._timeline(key)).intervals)

    def _insert(
        self, connection: Connection, handle: Handle, timeline: Timeline[Record], since: datetime, record: Record
    ) -> int:
        same, later = timeline.starting(since), timeline.after(since)
        if same is not None:  # corrected: what it said was never so
            connection.execute(delete(rows).where(rows.c.id == same.row))
        else:
            before = timeline.begun(since)
            if before is not None:
                connection.execute(update(rows).where(rows.c.id == before.row).values(until=since))
        row = {
            "org": handle,
            "since": since,
            "until": None if later is None else later.since,
            "sealed": self._sealer.seal("directory", HOUSE_SHELF, handle, _place(since), to_json(record)),
        }
        return int(connection.execute(insert(rows).returning(rows.c.id), row).scalar_one())


_NOTHING: Final[Timeline[Record]] = Timeline()


def _place(since: datetime) -> tuple[bytes, bytes]:
    return b"record", ((since - _EPOCH) // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)
