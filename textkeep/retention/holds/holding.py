"""Holding: placing legal holds, listing them, and telling everybody else what is held.

Placing takes the lock `holds` before anything else, as each step of a purge does: a hold that has answered is seen by
every `committed` after it, and one that comes later is told which days are gone. The copy in the keyring's store is
durable before the database commits, so that no restored database forgets a hold that was answered.
"""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, delete, insert, select

from textkeep.access import rules
from textkeep.access.principal import Action, Principal
from textkeep.access.rules import Denied
from textkeep.archive.organisations import Organisations
from textkeep.archive.rows import Opened
from textkeep.archive.shelf import RETENTION, STATES, Day, Generation, is_kept
from textkeep.archive.shelves import Shelves
from textkeep.archive.text import HOUSE, Handle
from textkeep.clock import Clock
from textkeep.errors import Forbidden, Malformed, NotFound, Outage
from textkeep.ledger import log
from textkeep.ledger.log import moment
from textkeep.retention.approvals.attempts import Attempts
from textkeep.retention.holds.copies import Held, HoldCopies
from textkeep.retention.holds.hold import ENDS_AFTER, REVIEW_WITHIN, Hold, Scope, covers, covers_record
from textkeep.retention.holds.rows import LOCK, HoldRows, Moment, earliest_of
from textkeep.store import advisory
from textkeep.store.engine import Store
from textkeep.store.evidence import checkpoints, holds
from textkeep.store.tables import ledger_entries

KIND: Final = "hold"
"""What a refused attempt at placing one is on record as."""

MATTER_CHARACTERS: Final = 200
REASON_CHARACTERS: Final = 2_000

TOO_LATE: Final = frozenset(STATES[STATES.index("committed") :])
"""The states in which no hold wins any more."""

Proof = Literal["pending", "signed"]
"""Whether the entry of a hold's start is inside a signed checkpoint yet."""

Step = Literal["prepared", "written", "copied", "committed"]
"""The steps of placing a hold, by the name under which each is told when it is done."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which shelves a hold comes too late for, and which are being purged and can still be kept from; by name."""

    too_late: tuple[str, ...]
    in_purge: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A hold that is in force, whether its start is proven yet, and what it came too late for."""

    hold: Hold
    proof: Proof
    reach: Reach


class Holding:
    """The legal holds of this archive. `told` hears of each step of placing one, before the next begins."""

    def __init__(
        self,
        store: Store,
        rows: HoldRows,
        copies: HoldCopies,
        shelves: Shelves,
        organisations: Organisations,
        attempts: Attempts,
        clock: Clock,
        *,
        told: Callable[[Step], None] = lambda _: None,
    ) -> None:
        self._attempts = attempts
        self._store = store
        self._rows = rows
        self._copies = copies
        self._shelves = shelves
        self._organisations = organisations
        self._clock = clock
        self._told = told
        self.earliest: Moment = earliest_of(store, clock)
        """The time by which holds end, told inside a transaction."""

    def place(self, principal: Principal, *, matter: str, reason: str, review_at: datetime, scope: Scope) -> Placed:
        """Place a hold. It is in force when this returns, and so it is in the keyring's store.

        Raises Forbidden (on record), Malformed (matter, reason, review date; one too far ahead on record), and Outage
        where it cannot be stored: then it is not in force, or, where the commit itself failed, is placed again by
        itself (`holds/agreement.py`).
        """
        org = self.may_place(principal, KIND, scope.org_id)
        _check_words("matter", matter, MATTER_CHARACTERS)
        _check_words("reason", reason, REASON_CHARACTERS)
        now = self._clock()
        if review_at > now + REVIEW_WITHIN:
            self._attempts.record(principal, KIND, "review", more={"org": org.hex()})
        _check_review(review_at, now)
        for owner in (org, HOUSE):
            self._shelves.ensure_kept(owner, now)
        self._told("prepared")
        with self._store.transaction() as connection:
            advisory.hold(connection, LOCK)
            now = self._clock()
            _check_review(review_at, now)
            if None in [self._shelves.kept_of(connection, owner) for owner in (org, HOUSE)]:
                raise Outage("the shelf of held texts is being changed", retry_after=1)
            wanted = Hold(
                f"h-{secrets.token_hex(8)}",
                org,
                matter.strip(),
                reason.strip(),
                scope,
                principal.person,
                now,
                review_at,
            )
            hold, sealed = self._insert(connection, wanted, principal)
            reach = self.reach(connection, org, scope)
            self._told("written")
            self._copies.write(Held(hold.id, org, hold.placed_by, hold.placed_at, hold.review_at, sealed))
            self._told("copied")
        self._told("committed")
        with self._store.reading() as connection:
            return Placed(hold, self.proof(connection, hold.entry), reach)

    def _insert(self, connection: Connection, wanted: Hold, principal: Principal) -> tuple[Hold, bytes]:
        sealed, digest = self._rows.seal(wanted)
        body = {
            "hold": wanted.id,
            "org": wanted.org.hex(),
            "digest": digest.hex(),
            "by": principal.person.hex(),
            "with": principal.token,
            "review": moment(wanted.review_at),
        }
        entry = log.append(connection, "hold", body, now=wanted.placed_at)
        columns = {
            "id": wanted.id,
            "org": wanted.org,
            "entry": entry,
            "placed_by": wanted.placed_by,
            "placed_at": wanted.placed_at,
            "review_at": wanted.review_at,
            "ends_at": None,
            "sealed": sealed,
        }
        connection.execute(insert(holds).values(columns))
        return replace(wanted, digest=digest, entry=entry), sealed

    def reach(self, connection: Connection, org: Handle, scope: Scope) -> Reach:
        """Which shelves a hold of that scope comes too late for, and which are in purge, oldest day first."""
        start, until = scope.span
        late: list[str] = []
        purging: list[str] = []
        for row in self._shelves.list(connection):
            if row.state == "open":
                continue
            if is_kept(row.name):
                if Generation.named(row.name).org not in (org, HOUSE):
                    continue
            else:
                day = Day.named(row.name)
                if (until is not None and day.start() >= until) or (start is not None and day.end() <= start):
                    continue
            (late if row.state in TOO_LATE else purging).append(str(row.name))
        return Reach(tuple(late), tuple(purging))

    def proof(self, connection: Connection, entry: int) -> Proof:
        """Whether the entry with that `seq` is inside the newest signed checkpoint."""
        index = connection.execute(
            select(ledger_entries.c.leaf_index).where(ledger_entries.c.seq == entry)
        ).scalar_one_or_none()
        newest = select(checkpoints.c.size).order_by(checkpoints.c.size.desc()).limit(1)
        size = connection.execute(newest).scalar_one_or_none()
        return "signed" if index is not None and size is not None and 0 <= index < size else "pending"

    def digest(self, connection: Connection) -> bytes:
        """What names the set of holds in force, under the lock that keeps it so until the transaction ends."""
        advisory.hold(connection, LOCK)
        return self._rows.digest(connection, self.earliest(connection))

    def active(self, connection: Connection, org: Handle | None = None, at: datetime | None = None) -> list[Hold]:
        """The holds in force at a moment, by default now by the earliest clock; of one organisation or of all."""
        return self._rows.active(connection, at or self.earliest(connection), org)

    def in_force(self, org: Handle) -> list[Hold]:
        """The holds of an organisation that are in force now."""
        with self._store.reading() as connection:
            return self.active(connection, org)

    def held_by(self, org: Handle, opened: Iterable[Opened]) -> list[list[str]]:
        """For each text of an organisation the ids of the holds that cover it."""
        now = self.in_force(org)
        return [
            [hold.id for hold in now if covers(hold, each.event, each.org, frozenset(each.flags))] for each in opened
        ]

    def covering(self, connection: Connection) -> Callable[[Handle, bytes, datetime], bool]:
        """Whether any hold in force covers a record, asked inside the caller's transaction.

        The answer takes the organisation's handle, the exact bytes, and when they came.
        """
        there = self.active(connection)
        return lambda org, raw, at: any(covers_record(hold, raw, org, at) for hold in there)

    def listed(self, principal: Principal, org_id: str | None = None) -> list[Hold]:
        """The holds that the principal may see, newest first, released ones too until they are dropped."""
        rules.require(principal, "holds.read", None)
        wanted = select(holds).order_by(holds.c.placed_at.desc(), holds.c.id)
        if org_id is not None:
            wanted = wanted.where(holds.c.org == self.organisation(principal, "holds.read", org_id))
        with self._store.reading() as connection:
            rows = [row for row in connection.execute(wanted).all() if principal.sees(bytes(row.org))]
            return [self._rows.hold_of(row) for row in rows]

    def get(self, principal: Principal, hold_id: str) -> Hold:
        """One hold. Raises Forbidden, and NotFound for one of an organisation that the principal does not see."""
        rules.require(principal, "holds.read", None)
        with self._store.reading() as connection:
            hold = self.find(connection, hold_id)
        if hold is None or not principal.sees(hold.org):
            raise unknown()
        return hold

    def find(self, connection: Connection, hold_id: str) -> Hold | None:
        """A hold by its id, or None."""
        row: Row[Any] | None = connection.execute(select(holds).where(holds.c.id == hold_id)).one_or_none()
        return None if row is None else self._rows.hold_of(row)

    def drop_ended(self) -> int:
        """Take out, and out of the keyring's store, what was released 400 days ago; the ledger keeps its handles."""
        with self._store.transaction() as connection:
            advisory.hold(connection, LOCK)
            by = self.earliest(connection) - RETENTION + ENDS_AFTER
            gone = list(connection.scalars(select(holds.c.id).where(holds.c.ends_at <= by)))
            for hold_id in gone:
                self._copies.drop(hold_id)
            if gone:
                connection.execute(delete(holds).where(holds.c.id.in_(gone)))
        return len(gone)

    def may_place(self, principal: Principal, what: str, org_id: str) -> Handle:
        """The handle of an organisation in which the principal may place holds.

        Raises Forbidden; the attempt is on record as `what`, unless it names an organisation that there is none of.
        Never inside a transaction.
        """
        self._attempts.require(principal, "holds.place", None, what)
        org = self._organisations.find(org_id)
        if org is not None and isinstance(rules.decide(principal, "holds.place", org), Denied):
            self._attempts.record(principal, what, "organisation", more={"org": org.hex()})
        return self.organisation(principal, "holds.place", org_id)

    def organisation(self, principal: Principal, action: Action, org_id: str) -> Handle:
        """The handle of an organisation in which the principal may do that. Raises Forbidden."""
        rules.require(principal, action, None)
        org = self._organisations.find(org_id)
        if org is None or isinstance(rules.decide(principal, action, org), Denied):
            raise Forbidden("the organisation is not registered, or is not among the token's", field="scope.org_id")
        return org


def unknown() -> NotFound:
    """What is said of a hold that is none, or that this caller may not know of."""
    return NotFound("there is no such hold, or it is not yours to see", remedy="`textkeep hold list` shows yours.")


def _check_words(field: str, said: str, most: int) -> None:
    if not any(character.isalnum() for character in said):
        raise Malformed(f"a hold needs a {field}", field=field, remedy="Say it in words; nothing was placed.")
    if len(said) > most:
        raise Malformed(f"the {field} has at most {most} characters", field=field)
    if any("\ud800" <= character <= "\udfff" for character in said):
        raise Malformed(f"the {field} holds half a character", field=field)


def _check_review(review_at: datetime, now: datetime) -> None:
    if not now < review_at <= now + REVIEW_WITHIN:
        raise Malformed(
            f"a hold is reviewed within {REVIEW_WITHIN.days} days of its placing",
            field="review_at",
            remedy=f"Name a day after now and until {(now + REVIEW_WITHIN).date()}; an overdue hold does not end.",
        )
