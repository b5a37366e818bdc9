"""Tokens of an archive from before there were marks: taken as they stand once, on record, and never again."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from tests.housing import NOON, House, SetClock
from textkeep.access.principal import LOCAL, Principal
from textkeep.access.tokens import Tokens
from textkeep.archive.marking import MARKS
from textkeep.errors import Unauthenticated, Unsound
from textkeep.ledger import log
from textkeep.ledger.state import DOCUMENT as SIGNED
from textkeep.service.audit_http import audit_of
from textkeep.service.credentials import mark_earlier, tokens_of
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive
from textkeep.store.tables import ledger_entries
from textkeep.store.tables import tokens as table

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)


@pytest.fixture
def tokens(house: House) -> Tokens:
    return tokens_of(house.store, house.persons, house.keyring, house.clock)


def make(house: House, tokens: Tokens, person: str = "Ada") -> str:
    with house.store.transaction() as connection:
        by = Principal(house.persons.handle_of(connection, "root"), LOCAL, frozenset(), None)
    return tokens.create(person=person, roles=["auditor"], orgs=None, by=by)[0]


def unmark(house: House) -> None:
    with house.behind.transaction() as connection:
        connection.execute(update(table).values(mark=None))


def refused(tokens: Tokens, secret: str) -> bool:
    try:
        tokens.authenticate(secret)
    except Unauthenticated:
        return True
    return False


def said(house: House) -> list[int]:
    with house.store.reading() as connection:
        found = [entry.body for entry in log.entries(connection, kinds=["token"])]
    return [body["count"] for body in found if body["did"] == "marked"]


def test_tokens_from_before_are_marked_once_and_the_ledger_says_how_many(house: House, tokens: Tokens) -> None:
    secrets = [make(house, tokens), make(house, tokens, "Grace")]
    unmark(house)
    assert all(refused(tokens, secret) for secret in secrets)
    assert mark_earlier(tokens, house.store, house.keyring, house.clock) == 2
    assert not any(refused(tokens, secret) for secret in secrets)
    unmark(house)
    assert mark_earlier(tokens, house.store, house.keyring, house.clock) == 0
    assert all(refused(tokens, secret) for secret in secrets)
    assert said(house) == [2]


def test_once_anything_was_signed_nothing_without_a_mark_gets_one(house: House, tokens: Tokens) -> None:
    secret = make(house, tokens)
    house.keyring.documents.swap(SIGNED, None, b"{}")
    unmark(house)
    assert mark_earlier(tokens, house.store, house.keyring, house.clock) == 0
    assert refused(tokens, secret)
    assert said(house) == []


@pytest.fixture
def archive(tmp_path: Path, house: House) -> Iterator[Archive]:
    (tmp_path / "data").mkdir()
    with closing(Archive.open(Settings(data=tmp_path / "data"), SetClock(NOON))) as opened:
        yield opened


def test_a_new_archive_marks_nothing_later_and_its_doctor_names_a_row_it_did_not_write(archive: Archive) -> None:
    assert archive.keyring.documents.read(MARKS) is not None
    secret, token = archive.tokens.create(person="Ada", roles=["auditor"], orgs=None, by=archive.local)
    assert next(each for each in archive.examine() if each.check == "tokens").verdict == "ok"
    with archive.store.transaction() as connection:
        connection.execute(update(table).values(roles="auditor producer"))
    found = next(each for each in archive.examine() if each.check == "tokens")
    assert (found.verdict, token.id in found.what) == ("fail", True)
    with pytest.raises(Unauthenticated):
        archive.tokens.authenticate(secret)


def test_an_entry_that_somebody_else_wrote_is_never_signed_and_is_named(archive: Archive) -> None:
    with archive.store.transaction() as connection:
        log.append(connection, "capability", {"capability": "events"}, now=NOON)
    archive.evidence.sign()
    signed = archive.evidence.status()["signed"]
    with archive.store.transaction() as connection:
        told = log.append(connection, "capability", {"capability": "ediscovery"}, now=NOON)
        connection.execute(update(ledger_entries).where(ledger_entries.c.seq == told).values(mark=None))
    with pytest.raises(Unsound, match=f"entry {told} of the ledger was not written by this service"):
        archive.evidence.sign()
    assert archive.evidence.status()["signed"] == signed
    found = [each for each in audit_of(archive).run() if each.verdict == "fail"]
    assert [(each.name, each.entry) for each in found] == [("ledger: not signed yet", f"seq {told}")]
    with archive.store.transaction() as connection:  # giving it a place by hand does not help
        connection.execute(update(ledger_entries).where(ledger_entries.c.seq == told).values(leaf_index=signed))
    with pytest.raises(Unsound, match=f"entry {told} "):
        archive.evidence.sign()


def test_entries_from_before_there_were_marks_are_signed_and_no_more_than_there_were(archive: Archive) -> None:
    with archive.store.transaction() as connection:
        for day in ("2026-11-20", "2026-11-21"):
            log.append(connection, "missed-run", {"day": day}, now=NOON)
        connection.execute(update(ledger_entries).values(mark=None))
        before = connection.execute(select(func.count()).select_from(ledger_entries)).scalar_one()
    documents = archive.keyring.documents
    (archive.settings.keyring_folder / MARKS).unlink()
    assert mark_earlier(archive.tokens, archive.store, archive.keyring, archive.clock) == 0
    assert documents.read(SIGNED) is None
    archive.evidence.sign()
    assert archive.evidence.status()["signed"] == before
    with archive.store.transaction() as connection:
        log.append(connection, "missed-run", {"day": "2026-11-22"}, now=NOON)
    archive.evidence.sign()
    assert archive.evidence.status()["signed"] == before + 1
