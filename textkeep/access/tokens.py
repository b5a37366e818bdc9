"""Bearer tokens: made once, shown once, kept only as a hash.

A token is `tk_` and 32 random bytes in URL-safe Base64; the database holds its SHA-256. 256 random bits need no salt
and no slow hash: there is nothing to guess. What the row says besides is believed only where its mark is right
(`marks.py`): whoever can write to the database gives nobody a role by that.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Row, delete, insert, select, update

from textkeep.access.marks import Mac, genuine, marked
from textkeep.access.principal import ROLES, Principal, Role, Side
from textkeep.access.rules import clash, side_of
from textkeep.clock import Clock
from textkeep.errors import Conflict, Malformed, NotFound, Unauthenticated
from textkeep.store.demo import DEMO
from textkeep.store.engine import Store
from textkeep.store.evidence import sides
from textkeep.store.once import insert_once
from textkeep.store.tables import tokens

PREFIX: Final = "tk_"
SECRET_BYTES: Final = 32
DAYS: Final = 90
"""How long a token is valid, unless said otherwise."""
MOST_DAYS: Final = 400
MOST_ORGS: Final = 100
"""How many organisations one token can name; one for every organisation names none."""
NAME_CHARACTERS: Final = 200
EVERY: Final = "*"

_FORM: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")

Evidence = Callable[[Connection, Mapping[str, Any]], object]
"""Writes a `token` entry into the ledger, in the transaction it speaks of."""


class Names(Protocol):
    """Port: the names of people, kept sealed by another room; this one holds handles only.

    An implementation MUST give the same handle for the same name, MUST make one where there is none, and MUST NOT
    write a name anywhere unsealed.
    """

    def handle_of(self, connection: Connection, name: str) -> bytes:
        """The handle of a person, found or made in the caller's transaction."""

    def name_of(self, connection: Connection, handle: bytes) -> str:
        """The name behind a handle."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; not the token. `person` is a handle, `orgs` handles, or None for every organisation."""

    id: str
    person: bytes
    roles: frozenset[Role]
    orgs: frozenset[bytes] | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    def live(self, now: datetime) -> bool:
        """Whether it is accepted at `now`."""
        return self.revoked_at is None and now < self.expires_at


class Tokens:
    """The credentials of this archive."""

    def __init__(
        self,
        store: Store,
        names: Names,
        clock: Clock,
        evidence: Evidence,
        mac: Mac,
        *,
        demo: Callable[[Connection], bool] = lambda _: False,
    ) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self._evidence = evidence
        self._mac = mac
        self._demo = demo

    def create(
        self, *, person: str, roles: Collection[str], orgs: Collection[bytes] | None, days: int = DAYS, by: Principal
    ) -> tuple[str, Token]:
        """Make a token for a person, and give it; it cannot be shown again.

        Raises Malformed for a role, name or period that is not one, and Conflict where the person would hold two roles
        that one person never holds together, counted over all of their live tokens. The database refuses that too.
        """
        wanted = _roles(roles)
        _check(person, orgs, days)
        now = self._clock()
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        with self._store.transaction() as connection:
            handle = self._names.handle_of(connection, person)
            side = self._take_side(connection, handle, wanted, now)
            made = Token(
                id=f"t-{secrets.token_hex(8)}",
                person=handle,
                roles=wanted,
                orgs=None if orgs is None else frozenset(orgs),
                created_at=now,
                expires_at=now + timedelta(days=days),
                revoked_at=None,
            )
            digest = _digest(secret)
            row = {**_row(made, digest), "side": side}
            connection.execute(insert(tokens).values(marked(row, self._mac)))
            facts = {"did": "created", **_facts(made), "hash": digest.hex(), "by": by.person.hex(), "with": by.token}
            self._evidence(connection, facts)
        return secret, made

    def list(self) -> list[tuple[Token, str]]:
        """Every token with the name of its person, oldest first, expired and revoked ones too."""
        with self._store.reading() as connection:
            found = connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id)).all()
            return [(token, self._names.name_of(connection, token.person)) for token in map(_token, found)]

    def revoke(self, token_id: str, *, by: Principal) -> Token:
        """End a token now, and give it; a second time changes nothing. Raises NotFound for an id that is none."""
        now = self._clock()
        with self._store.transaction() as connection:
            row = connection.execute(select(tokens).where(tokens.c.id == token_id)).one_or_none()
            if row is None:
                raise NotFound("there is no token of that id", remedy="`textkeep token list` shows the ids.")
            if row.revoked_at is None:
                self._end(connection, row, now)
                facts = {"did": "revoked", "token": token_id, "by": by.person.hex(), "with": by.token}
                self._evidence(connection, facts)
            return _token(connection.execute(select(tokens).where(tokens.c.id == token_id)).one())

    def doubtful(self) -> tuple[str, ...]:
        """The ids of rows that the service did not write as they stand: nobody gets in by them. In order."""
        with self._store.reading() as connection:
            rows = connection.execute(select(tokens).order_by(tokens.c.id)).all()
        return tuple(row.id for row in rows if not genuine(row._mapping, self._mac))

    def mark_earlier(self, connection: Connection) -> int:
        """Mark what lies there without any mark, in the caller's transaction, and give how many tokens that were.

        For tokens made before there were marks; whoever calls MUST see to it that it is done once in an archive's life.
        """
        before = connection.execute(select(tokens).where(tokens.c.mark.is_(None)).with_for_update()).all()
        for row in before:
            mark = marked(row._mapping, self._mac)["mark"]
            connection.execute(update(tokens).where(tokens.c.id == row.id).values(mark=mark))
        return len(before)

    def authenticate(self, presented: str) -> Principal:
        """Who presents this token. Raises Unauthenticated, always in the same words, for any that is not accepted."""
        digest = _digest(presented) if _FORM.fullmatch(presented) else None
        if digest is not None:
            with self._store.reading() as connection:
                row = connection.execute(select(tokens).where(tokens.c.hash == digest)).one_or_none()
            if row is not None and hmac.compare_digest(row.hash, digest):
                token = _token(row) if genuine(row._mapping, self._mac) else None
                if token is not None and token.live(self._clock()):
                    return Principal(token.person, token.id, token.roles, token.orgs)
        raise Unauthenticated("the token is not known, has expired or was revoked")

    def _take_side(self, connection: Connection, person: bytes, wanted: frozenset[Role], now: datetime) -> Side | None:
        """Put a person on the side of these roles, and give it. Raises Conflict where they are on the other one."""
        side = side_of(wanted)
        if side is None:
            return None
        demo = self._demo(connection)
        if demo:
            side = "both"
        else:
            _keep_apart(wanted)
        before = _side_locked(connection, person, side, because=DEMO if demo else None)
        if not demo:
            theirs = connection.execute(select(tokens).where(tokens.c.person == person)).all()
            _keep_apart(wanted.union(*(token.roles for token in map(_token, theirs) if token.live(now))))
        if before != side:  # nothing live holds them there
            over = (tokens.c.person == person, tokens.c.revoked_at.is_(None), tokens.c.expires_at <= now)
            for row in connection.execute(select(tokens).where(*over)).all():
                self._write_ended(connection, row, row.expires_at)
            connection.execute(update(sides).where(sides.c.person == person).values(side=side))
        return side

    def _end(self, connection: Connection, row: Row[Any], now: datetime) -> None:
        """Revoke a token; with the last one of a side its person is free of it."""
        person = row.person
        connection.execute(select(sides.c.side).where(sides.c.person == person).with_for_update()).all()
        self._write_ended(connection, row, now)
        held = select(tokens.c.id).where(tokens.c.person == person, tokens.c.side.is_not(None))
        connection.execute(delete(sides).where(sides.c.person == person, ~held.exists()))

    def _write_ended(self, connection: Connection, row: Row[Any], at: datetime) -> None:
        """Write down that a token has ended. A row that the service did not write so gets no right mark by that."""
        ended: dict[str, object] = {"revoked_at": at, "side": None}
        if genuine(row._mapping, self._mac):
            ended["mark"] = marked({**row._mapping, **ended}, self._mac)["mark"]
        connection.execute(update(tokens).where(tokens.c.id == row.id).values(ended))


def _side_locked(connection: Connection, person: bytes, side: Side, *, because: str | None) -> str:
    """Where a person stands, on `side` where they stood nowhere; stays so until the transaction ends."""
    locked = select(sides.c.side).where(sides.c.person == person).with_for_update()
    while True:  # again where somebody else takes the side, or ends the last token on it, in this very moment
        found: str | None = connection.execute(locked).scalar_one_or_none()
        if found is not None:
            return found
        insert_once(connection, sides, {"person": person, "side": side, "because": because})


def _keep_apart(held: frozenset[Role]) -> None:
    pair = clash(held)
    if pair is not None:
        raise Conflict(
            f"one person never holds {pair[0]} together with {pair[1]}, over all of their tokens",
            field="role",
            remedy="Make it for another person, or revoke the other token first (`textkeep token list`).",
        )


def _roles(roles: Collection[str]) -> frozenset[Role]:
    known = frozenset(role for role in ROLES if role in roles)
    if not known or len(known) != len(set(roles)):
        raise Malformed("that is not a role", field="role", remedy=f"The roles are: {', '.join(ROLES)}.")
    return known


def _check(person: str, orgs: Collection[bytes] | None, days: int) -> None:
    if not 1 <= len(person.strip()) <= NAME_CHARACTERS or not person.isprintable():
        raise Malformed(f"a person's name has 1 to {NAME_CHARACTERS} printable characters", field="for")
    if not 1 <= days <= MOST_DAYS:
        raise Malformed(f"a token is valid for 1 to {MOST_DAYS} days", field="days")
    if orgs is not None and not 1 <= len(orgs) <= MOST_ORGS:
        raise Malformed(f"a token names 1 to {MOST_ORGS} organisations, or is for every one", field="org")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8")).digest()


def _row(token: Token, digest: bytes) -> dict[str, object]:
    return {
        "id": token.id,
        "hash": digest,
        "person": token.person,
        "roles": " ".join(sorted(token.roles)),
        "orgs": EVERY if token.orgs is None else " ".join(sorted(org.hex() for org in token.orgs)),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }


def _token(row: Row[Any]) -> Token:
    named = row.roles.split()
    return Token(
        id=row.id,
        person=row.person,
        roles=frozenset(role for role in ROLES if role in named),
        orgs=None if row.orgs == EVERY else frozenset(bytes.fromhex(org) for org in row.orgs.split()),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _facts(token: Token) -> dict[str, object]:
    return {
        "token": token.id,
        "person": token.person.hex(),
        "roles": sorted(token.roles),
        "orgs": EVERY if token.orgs is None else sorted(org.hex() for org in token.orgs),
        "days": (token.expires_at - token.created_at).days,
    }
