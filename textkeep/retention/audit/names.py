"""Audit of who is named: organisations, persons, tokens, witnesses, by their seals and the ledger's entries."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from textkeep.access.marks import genuine
from textkeep.access.principal import ROLES
from textkeep.access.rules import side_of
from textkeep.archive.keyring import HOUSE_SHELF, Keyring, org_secret
from textkeep.archive.marking import marking
from textkeep.archive.organisations import lookup_of
from textkeep.archive.sealing import Sealer
from textkeep.archive.text import HOUSE, Handle
from textkeep.ledger import log
from textkeep.ledger.log import Entry, moment
from textkeep.retention.audit.findings import UNREADABLE, Finding, Line, near
from textkeep.store.demo import is_demo
from textkeep.store.evidence import sides, witnesses
from textkeep.store.tables import orgs, persons, slices, tokens

_ORG_SECRET: Final = "org:"  # noqa: S105 - the beginning of a name


class NamesAudit:
    """Whoever the ledger or the data names is there, and stands for the name that was sealed."""

    def __init__(self, connection: Connection, keyring: Keyring, sealer: Sealer) -> None:
        self._connection = connection
        self._keyring = keyring
        self._sealer = sealer
        self._orgs = Line("organisations")
        self._persons = Line("persons")
        self._tokens = Line("tokens")
        self._witnesses = Line("witnesses")

    def findings(self) -> list[Finding]:
        """What was found."""
        with self._orgs.reading("an organisation"):
            self._check_orgs()
        with self._persons.reading("a person"):
            self._check_persons()
        with self._tokens.reading("a token"):
            self._check_tokens()
        with self._witnesses.reading("a witness"):
            self._check_witnesses()
        return [
            *self._orgs.findings("each organisation has its secret, and its handle stands for one sealed name"),
            *self._persons.findings("each handle of a person stands for one sealed name"),
            *self._tokens.findings("each token has the person, roles and dates that the ledger says"),
            *self._witnesses.findings("the witnesses are those that the ledger says"),
        ]

    def _check_orgs(self) -> None:
        there: set[bytes] = set()
        for row in self._connection.execute(select(orgs)):
            handle = Handle(bytes(row.handle))
            there.add(handle)
            named = f"organisation {handle.hex()}"
            try:
                plain = self._sealer.open("directory", HOUSE_SHELF, HOUSE, (b"org", handle), bytes(row.sealed))
                same = lookup_of(self._keyring, "org", plain.decode()) == bytes(row.lookup)
                same = same and self._keyring.commitment(org_secret(handle)) == bytes(row.commitment)
            except UNREADABLE:
                same = False
            self._orgs.demand(same, f"{named}: its name or its secret is not the one it was registered with")
        for entry in log.entries(self._connection, kinds=("hold",)):
            self._orgs.demand(bytes.fromhex(entry.body["org"]) in there, "its organisation is not registered", entry)
        for name in self._keyring.names():
            if name.startswith(_ORG_SECRET) and bytes.fromhex(name.removeprefix(_ORG_SECRET)) not in there:
                self._named_nowhere(name.removeprefix(_ORG_SECRET))

    def _named_nowhere(self, org: str) -> None:
        """A secret without a row: left over by two processes that registered one name at once, unless data names it."""
        for shelf in self._connection.scalars(select(slices.c.shelf).distinct()):
            for entry in log.entries(self._connection, shelf=shelf, kinds=("slice", "kept")):
                if org in entry.body.get("orgs", ()):
                    self._orgs.fail(f"organisation {org} has texts, and is not registered", entry)
                    return
        self._orgs.doubt(f"the keyring holds a secret of {org}, which is not registered and has no texts")

    def _check_persons(self) -> None:
        there: set[bytes] = set()
        for row in self._connection.execute(select(persons)):
            handle = bytes(row.handle)
            there.add(handle)
            try:
                plain = self._sealer.open("directory", HOUSE_SHELF, HOUSE, (b"person", handle), bytes(row.sealed))
                same = lookup_of(self._keyring, "person", plain.decode()) == bytes(row.lookup)
            except UNREADABLE:
                same = False
            self._persons.demand(same, f"person {handle.hex()}: the name is not the one that was sealed")
        for entry in log.entries(self._connection, kinds=("token", "hold", "approval", "release")):
            for member in ("person", "by", "asked_by", "approved_by"):
                said = entry.body.get(member)
                if said is not None and bytes.fromhex(said) not in there:
                    self._persons.fail(f"person {said} is named, and is not there", entry)

    def _check_tokens(self) -> None:
        told: dict[str, dict[str, Entry]] = defaultdict(dict)
        for entry in log.entries(self._connection, kinds=("token",)):
            with self._tokens.reading("what it says", entry):
                if entry.body["did"] == "marked":
                    number = f"{entry.body['count']} tokens from before there were marks were taken as they stood"
                    self._tokens.doubt(number, entry)
                    continue
                told[entry.body["token"]][entry.body["did"]] = entry
        standing = {bytes(row.person): row.side for row in self._connection.execute(select(sides))}
        held: set[bytes] = set()
        mac = marking(self._keyring)
        for row in self._connection.execute(select(tokens)):
            self._check_side(row, standing, held)
            own = genuine(row._mapping, mac)
            self._tokens.demand(own, f"{row.id}: its mark is not the service's; nobody gets in by it")
            entries = told.pop(row.id, {})
            made, ended = entries.get("created"), entries.get("revoked")
            if made is None:
                self._tokens.fail(f"{row.id}: the ledger knows no such token")
                continue
            with self._tokens.reading(row.id, made):
                body = made.body
                listed = body["orgs"] if isinstance(body["orgs"], str) else " ".join(body["orgs"])
                said = (body["person"], " ".join(body["roles"]), listed)
                there = (bytes(row.person).hex(), row.roles, row.orgs)
                self._tokens.demand(said == there, f"{row.id}: person, roles or organisations are others", made)
                lasts = row.expires_at - row.created_at == timedelta(days=body["days"])
                if "hash" not in body:
                    self._tokens.doubt(f"{row.id}: it was made before entries named what a token is known by", made)
                elif body["hash"] != bytes(row.hash).hex():
                    self._tokens.fail(f"{row.id}: another secret opens it than the one that was given out", made)
                on_time = lasts and near(row.created_at, made.made_at)
                self._tokens.demand(on_time, f"{row.id}: it was made, or expires, at another time", made)
                over = row.revoked_at == row.expires_at and ended is None  # made room for a token of another side
                same = over or near(row.revoked_at, None if ended is None else ended.made_at)
                self._tokens.demand(same, f"{row.id}: it was revoked at another time, or not at all", ended or made)
        for named, entries in told.items():
            self._tokens.fail(f"{named}: the token is not there", next(iter(entries.values())))
        for person in standing.keys() - held:
            self._tokens.fail(f"person {person.hex()} stands on a side, and has no token of it")

    def _check_side(self, row: Row[Any], standing: Mapping[bytes, str], held: set[bytes]) -> None:
        """A token that was not ended stands on the side of its roles, and so does its person; `held` learns of them."""
        person = bytes(row.person)
        side = side_of(frozenset(role for role in ROLES if role in row.roles.split()))
        if row.revoked_at is not None or side is None:
            self._tokens.demand(row.side is None, f"{row.id}: it stands on a side, and may not")
            return
        held.add(person)
        on_both = row.side == "both" and is_demo(self._connection)
        there = row.side == standing.get(person) and (row.side == side or on_both)
        self._tokens.demand(there, f"{row.id}: it stands on another side than that of its roles")

    def _check_witnesses(self) -> None:
        said: dict[str, tuple[str, str, str | None]] = {}
        newest: dict[str, Entry] = {}
        for entry in log.entries(self._connection, kinds=("witness-change",)):
            with self._witnesses.reading("what it says", entry):
                key, at = entry.body["witness"], moment(entry.made_at)
                name = key.partition("+")[0]
                newest[name] = entry
                if entry.body["did"] == "added":
                    said[name] = (key, at, None)
                elif name in said:
                    said[name] = (*said[name][:2], at)
        for row in self._connection.execute(select(witnesses)):
            until = None if row.until is None else moment(row.until)
            same = said.pop(row.name, None) == (row.key, moment(row.since), until)
            self._witnesses.demand(same, f"{row.name}: the ledger says otherwise", newest.get(row.name))
        for name in said:
            self._witnesses.fail(f"{name}: it is a witness, and is not there", newest[name])
