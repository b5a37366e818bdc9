"""The directory: organisations, locations and users over time, sealed at rest and served from memory."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from sqlalchemy import Connection, delete, insert, select, update

from textkeep.archive.keyring import HOUSE_SHELF
from textkeep.archive.organisations import Organisations
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelf import RETENTION
from textkeep.archive.text import Handle
from textkeep.clock import Clock
from textkeep.directory.intervals import Interval, Timeline
from textkeep.directory.records import Location, Org, Record, User, content_of, from_json, key_of, to_json
from textkeep.directory.requirements import Facts, Missing, missing
from textkeep.errors import Conflict, NotFound, Refusal
from textkeep.store.engine import Store
from textkeep.store.tables import directory as rows

RECORDS_PER_TRANSACTION: Final = 1000
"""How many records of a directory feed are stored together."""

Outcome = Literal["added", "changed", "unchanged"]
Kind = Literal["org", "location", "user"]
Key = tuple[Handle, Kind, str]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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


class Directory:
    """Puts records and answers what was known as of a moment. Reading never waits for the database."""

    def __init__(self, store: Store, sealer: Sealer, organisations: Organisations, clock: Clock) -> None:
        self._store = store
        self._sealer = sealer
        self._organisations = organisations
        self._clock = clock
        self._changing = threading.Lock()
        self._timelines: dict[Key, Timeline[Record]] = {}
        self._steady: dict[tuple[str, str], Facts] = {}
        """Facts that are the same at every moment; made anew at every change."""

    def load(self, connection: Connection) -> None:
        """Open every record, at the start. Raises CannotOpen at a damaged one."""
        timelines: dict[Key, Timeline[Record]] = {}
        for row in connection.execute(select(rows).order_by(rows.c.since, rows.c.id)):
            handle = Handle(row.org)
            record = from_json(self._sealer.open("directory", HOUSE_SHELF, handle, _place(row.since), row.sealed))
            key = (handle, record.kind, key_of(record))
            known = timelines.get(key, Timeline())
            timelines[key] = known.put(Interval(row.since, record.since is not None, record, row.id))
        self._timelines = timelines
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
        with self._changing:
            with self._store.transaction() as connection:
                ended = rows.c.until <= self._clock() - RETENTION
                gone = frozenset(connection.execute(select(rows.c.id).where(ended)).scalars())
                connection.execute(delete(rows).where(ended))
            if gone:
                self._timelines = {key: timeline.without(gone) for key, timeline in self._timelines.items()}
                self._steady = {}
        return len(gone)

    def _timeline(self, key: Key) -> Timeline[Record]:
        return self._timelines.get(key) or _NOTHING

    def _put_together(self, records: Sequence[Record]) -> list[Outcome | Refusal]:
        for record in records:
            if isinstance(record, Org):
                self._organisations.register(record.org_id)
        with self._changing:
            with self._store.transaction() as connection:
                putting = _Putting(connection, self._clock())
                outcomes = [self._put(putting, record) for record in records]
            self._timelines.update(putting.timelines)
            self._steady = {}
        return outcomes

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
        row = self._insert(putting.connection, handle, timeline, since, record)
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
