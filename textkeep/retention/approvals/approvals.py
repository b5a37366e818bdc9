"""Approvals: what one person asks for and another one decides, within 24 hours, bound to the exact request, once.

The request lies sealed under purpose `hold`, bound to every clear column of its row: a row that somebody edits past the
service (who asked, who decided, how, which digest, whether it was used) does not open, and nothing is done with it. One
that is put back as it was before its use is told by the ledger, which names the approval in what was done with it.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NoReturn, cast

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, or_, select, update

from textkeep.access import rules
from textkeep.access.principal import Principal
from textkeep.archive.keyring import HOUSE_SHELF, SecretMissing
from textkeep.archive.sealing import CannotOpen, Sealer
from textkeep.archive.shelf import RETENTION
from textkeep.archive.text import HOUSE, Handle
from textkeep.clock import Clock
from textkeep.errors import Conflict, Forbidden, Malformed, Refusal
from textkeep.ledger import log
from textkeep.retention import notes
from textkeep.retention.approvals import approval as words
from textkeep.retention.approvals.approval import ASKING, VALID_FOR, Approval, Kind, Outcome
from textkeep.retention.approvals.attempts import Attempts
from textkeep.store.columns import ticks
from textkeep.store.engine import Store
from textkeep.store.evidence import approvals, releases

LISTED: Final = 200
"""How many requests of one sort a list holds, newest first."""

REASON_CHARACTERS: Final = 1_000

USES: Final = ("release", "returned", "restore", "key-change", "witness-change")
"""The kinds of entries of what is done with an approval."""

Act = Callable[[Connection, Approval], Mapping[str, Any] | None]
"""What an approval sets going, in its own transaction; gives what the approver is told. What it raises undoes all."""

After = Callable[[Approval], None]


@dataclass(frozen=True, slots=True)
class Decided:
    """A request as it was decided, and what that set going."""

    approval: Approval
    effect: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """What waits for a principal to decide, what it asked for, and what it decided; newest first."""

    waiting: list[Approval]
    asked: list[Approval]
    decided: list[Approval]


class _Refused(Exception):
    """Carries a refusal out of the transaction that it undoes."""

    def __init__(self, error: Refusal, why: str, known: Approval) -> None:
        super().__init__(why)
        self.error = error
        self.why = why
        self.known = known


class Approvals:
    """Asks, decides and uses. `attempts` records who tried what they may not."""

    def __init__(self, store: Store, sealer: Sealer, clock: Clock) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._acts: dict[Kind, tuple[Act, After | None]] = {}
        self.attempts = Attempts(store, clock)

    def on_approved(self, kind: Kind, act: Act, after: After | None = None) -> None:
        """Have `act` done in the transaction that approves a request of that kind, and `after` once it is committed.

        `act` calls `use` itself. Raises ValueError for a second one.
        """
        if kind in self._acts:
            raise ValueError(f"something is done already when a request of kind {kind} is approved")
        self._acts[kind] = (act, after)

    def now(self, connection: Connection) -> datetime:
        """The time that approvals go by: the clock's, or the last time seen where the clock is behind that."""
        seen = notes.read_moment(connection, notes.LAST_SEEN)
        now = self._clock()
        return now if seen is None else max(now, seen)

    def ask(
        self,
        connection: Connection,
        principal: Principal,
        kind: Kind,
        subject: str,
        request: Mapping[str, Any],
        org: bytes | None,
    ) -> Approval:
        """Put a request, in the caller's transaction, and give it; it can be approved for 24 hours.

        `subject` says in clear what it is about and holds no personal data; `request` holds everything that will be
        done, reason included. `org` is None for what concerns the whole house. Raises Forbidden (call
        `attempts.require` before the transaction, so that it is on record), Malformed, and Conflict where the very
        same request waits already.
        """
        rules.require(principal, ASKING[kind], org)
        if org is None and principal.orgs is not None:
            raise Forbidden("what concerns the whole house is asked for by a token of every organisation")
        digest = words.digest_of(kind, subject, request)
        now = self.now(connection)
        same = (approvals.c.kind == kind, approvals.c.subject == subject, approvals.c.digest == digest)
        open_ones = select(approvals.c.id).where(*same, approvals.c.outcome.is_(None), approvals.c.until > now)
        waiting = connection.execute(open_ones.limit(1)).scalar_one_or_none()
        if waiting is not None:
            raise Conflict(
                "the very same request waits to be decided",
                remedy=f"Have it decided: `textkeep approvals show {waiting}`.",
            )
        made = Approval(
            id=f"a-{secrets.token_hex(8)}",
            kind=kind,
            org=org,
            subject=subject,
            digest=digest,
            asked_by=principal.person,
            asked_at=now,
            until=now + VALID_FOR,
            request=json.loads(json.dumps(dict(request))),
        )
        connection.execute(insert(approvals).values(**_columns(made), sealed=self._seal(made)))
        self._tell(connection, "asked", made, principal, {"until": log.moment(made.until)})
        return made

    def put(
        self, principal: Principal, kind: Kind, subject: str, request: Mapping[str, Any], org: bytes | None
    ) -> Approval:
        """`ask` in a transaction of its own. Raises like it; being forbidden is on record."""
        self.attempts.require(principal, ASKING[kind], org, kind)
        with self._store.transaction() as connection:
            return self.ask(connection, principal, kind, subject, request, org)

    def decide(
        self, principal: Principal, approval_id: str, outcome: Outcome, digest: bytes, reason: str = ""
    ) -> Decided:
        """Approve or refuse a request, having seen the digest that is sent; gives what it set going.

        Raises NotFound, Forbidden (TwoPersons for the own request) or NotApproved, each attempt at a known request on
        record; whatever stands against what was asked for (`Act`); then nothing is changed. Raises CannotOpen for a
        row that was edited past the service.
        """
        if len(reason) > REASON_CHARACTERS:
            raise Malformed(f"a reason has at most {REASON_CHARACTERS} characters", field="reason")
        try:
            with self._store.transaction() as connection:
                decided = self._decide(connection, principal, approval_id, outcome, digest, reason)
        except _Refused as refused:
            self._refuse(principal, refused)
        after = self._acts.get(decided.approval.kind, (None, None))[1]
        if after is not None and outcome == "approved":
            after(decided.approval)
        return decided

    def _decide(
        self,
        connection: Connection,
        principal: Principal,
        approval_id: str,
        outcome: Outcome,
        digest: bytes,
        reason: str,
    ) -> Decided:
        known = self._find(connection, approval_id, lock=True)
        if known is None:
            rules.require(principal, "approvals.decide", None)
            raise words.unknown()
        now = self.now(connection)
        against = words.objection(known, principal, digest, now)
        if against is not None:
            raise _Refused(against.error, against.why, known)
        asked = self._open(connection, known)
        decided = replace(
            asked,
            outcome=outcome,
            decided_by=principal.person,
            decided_at=max(now, known.asked_at),
            reason=reason.strip() or None,
        )
        connection.execute(
            update(approvals)
            .where(approvals.c.id == known.id)
            .values(
                outcome=outcome,
                decided_by=decided.decided_by,
                decided_at=decided.decided_at,
                sealed=self._seal(decided),
            )
        )
        self._tell(connection, outcome, decided, principal)
        act = self._acts.get(known.kind, (None, None))[0]
        if act is None or outcome == "refused":
            return Decided(decided, {})
        try:
            effect = act(connection, decided) or {}
        except Refusal as error:
            raise _Refused(error, error.problem, known) from error
        return Decided(self._found(connection, known.id), effect)

    def _refuse(self, principal: Principal, refused: _Refused) -> NoReturn:
        known = refused.known
        more = {"id": known.id, "digest": known.digest.hex(), **({"org": known.org.hex()} if known.org else {})}
        self.attempts.record(principal, known.kind, refused.why, subject=known.subject, more=more)
        raise refused.error

    def use(self, connection: Connection, approval_id: str, kind: Kind, digest: bytes) -> Approval:
        """Mark an approved request as used, in the transaction of what it allows, and give it, opened.

        Raises NotApproved unless that very request was approved by another person, is in time and was not used yet;
        CannotOpen for a row that was edited past the service.
        """
        known = self._find(connection, approval_id, lock=True)
        if known is None:
            raise words.unknown()
        now = self.now(connection)
        words.must_be_usable(known, kind, digest, now)
        used = replace(self._open(connection, known), used_at=now)
        done_already = words.NotApproved("it was done already")
        if log.names_approval(connection, USES, known.id):
            raise done_already
        unused = (approvals.c.id == known.id, approvals.c.used_at.is_(None))
        changed = connection.execute(update(approvals).where(*unused).values(used_at=now, sealed=self._seal(used)))
        if changed.rowcount != 1:
            raise done_already
        return used

    def get(self, principal: Principal, approval_id: str) -> Approval:
        """A request in its exact words, for who asked and who may decide it. Raises Forbidden or NotFound."""
        rules.require(principal, "approvals.read", None)
        with self._store.reading() as connection:
            known = self._find(connection, approval_id)
            mine = known is not None and known.asked_by == principal.person
            if known is None or not (mine or words.may_decide(principal, known)):
                raise words.unknown()
            return self._open(connection, known)

    def list(self, principal: Principal) -> Listed:
        """What waits for the principal, what it asked for, what it decided; not opened. Raises Forbidden."""
        rules.require(principal, "approvals.read", None)
        with self._store.reading() as connection:
            now = self.now(connection)
            waits = (approvals.c.outcome.is_(None), approvals.c.until > now, approvals.c.asked_by != principal.person)
            waiting = [each for each in _rows(connection, *waits) if words.may_decide(principal, each)]
            return Listed(
                waiting[:LISTED],
                _rows(connection, approvals.c.asked_by == principal.person)[:LISTED],
                _rows(connection, approvals.c.decided_by == principal.person)[:LISTED],
            )

    def every(self, connection: Connection) -> Iterator[tuple[Approval, bool]]:
        """Every request there is, for an audit, and whether it opens to what its columns say."""
        for known in _rows(connection):
            try:
                yield self._open(connection, known), True
            except (CannotOpen, SecretMissing, ValueError, ArithmeticError):
                yield known, False

    def forget(self) -> int:
        """Take out what ended 400 days ago (a release's with its hold), and give how many. The ledger keeps its own."""
        with self._store.transaction() as connection:
            ended = self.now(connection) - RETENTION
            young = select(releases.c.approval).where(
                or_(releases.c.done_at.is_(None), releases.c.done_at > ended, releases.c.effective_at > ended)
            )
            old = (approvals.c.until <= ended, approvals.c.id.not_in(young))
            return connection.execute(delete(approvals).where(*old)).rowcount

    def _find(self, connection: Connection, approval_id: str, *, lock: bool = False) -> Approval | None:
        wanted = select(approvals).where(approvals.c.id == approval_id)
        row = connection.execute(wanted.with_for_update() if lock else wanted).one_or_none()
        return None if row is None else _approval(row)

    def _found(self, connection: Connection, approval_id: str) -> Approval:
        found = self._find(connection, approval_id)
        if found is None:
            raise words.unknown()
        return self._open(connection, found)

    def _seal(self, made: Approval) -> bytes:
        plain = json.dumps({"request": made.request, "reason": made.reason}).encode()
        return self._sealer.seal("hold", HOUSE_SHELF, _owner(made), _bound(made), plain)

    def _open(self, connection: Connection, known: Approval) -> Approval:
        sealed = connection.execute(select(approvals.c.sealed).where(approvals.c.id == known.id)).scalar_one()
        plain = json.loads(self._sealer.open("hold", HOUSE_SHELF, _owner(known), _bound(known), sealed))
        opened = replace(known, request=plain["request"], reason=plain["reason"])
        if words.digest_of(opened.kind, opened.subject, plain["request"]) != opened.digest:
            raise CannotOpen("a request is not the one its digest names")
        return opened

    def _tell(
        self,
        connection: Connection,
        did: str,
        made: Approval,
        principal: Principal,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        body = {
            "did": did,
            "what": made.kind,
            "id": made.id,
            "subject": made.subject,
            "digest": made.digest.hex(),
            "by": principal.person.hex(),
            "with": principal.token,
            **({"org": made.org.hex()} if made.org else {}),
            **(more or {}),
        }
        log.append(connection, "approval", body, now=self._clock())


def _rows(connection: Connection, *where: ColumnElement[bool]) -> list[Approval]:
    """Requests, newest first, unopened."""
    found = connection.execute(select(approvals).where(*where).order_by(approvals.c.asked_at.desc(), approvals.c.id))
    return [_approval(row) for row in found]


def _owner(made: Approval) -> Handle:
    return HOUSE if made.org is None else Handle(made.org)


def _bound(made: Approval) -> list[bytes]:
    """What binds a request to its row: every clear column. Moments are 8 bytes, none is no bytes."""
    return [
        b"approval",
        made.id.encode(),
        made.kind.encode(),
        made.subject.encode(),
        made.digest,
        made.asked_by,
        _at(made.asked_at),
        _at(made.until),
        made.decided_by or b"",
        _at(made.decided_at),
        (made.outcome or "").encode(),
        _at(made.used_at),
    ]


def _at(moment: datetime | None) -> bytes:
    return b"" if moment is None else ticks(moment).to_bytes(8, "big", signed=True)


def _columns(made: Approval) -> dict[str, object]:
    return {
        "id": made.id,
        "kind": made.kind,
        "org": made.org,
        "subject": made.subject,
        "digest": made.digest,
        "asked_by": made.asked_by,
        "asked_at": made.asked_at,
        "until": made.until,
    }


def _approval(row: Row[Any]) -> Approval:
    return Approval(
        id=row.id,
        kind=cast(Kind, row.kind),
        org=None if row.org is None else bytes(row.org),
        subject=row.subject,
        digest=bytes(row.digest),
        asked_by=bytes(row.asked_by),
        asked_at=row.asked_at,
        until=row.until,
        decided_by=None if row.decided_by is None else bytes(row.decided_by),
        decided_at=row.decided_at,
        outcome=cast("Outcome | None", row.outcome),
        used_at=row.used_at,
    )
