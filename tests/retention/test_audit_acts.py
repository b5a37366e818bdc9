"""An act of two persons that nobody agreed to: a row taken out, and an entry put in that tells a story about it."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from tests.housing import NOON, House, event
from tests.ledger.signing import Secret
from tests.retention.audited import auditing, faults, shown
from tests.retention.test_returns import SHELF, ReturnDesk
from textkeep.archive.copies import Copies, Copy
from textkeep.archive.keyring import shelf_secret
from textkeep.archive.text import leaf
from textkeep.ledger import log
from textkeep.ledger.log import moment
from textkeep.retention.audit.audit import Finding
from textkeep.retention.audit.erased import ErasedAudit
from textkeep.service.evidence import Evidence
from textkeep.store.evidence import approvals
from textkeep.store.tables import ledger_entries, papers_of

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)


@dataclass
class Story:
    """An archive in which one record came back by two persons, and another one waits."""

    desk: ReturnDesk
    evidence: Evidence
    folder: Path

    def audit(self) -> list[Finding]:
        self.evidence.signer.keep_up()
        return faults(auditing(self.desk.house, self.folder).run())

    def entry(self) -> dict[str, Any]:
        """The entry of the record that did come back."""
        [told] = self.desk.holders.entries("returned")
        return {name: value for name, value in told.body.items() if name not in ("v", "kind", "time", "shelf")}

    def write(
        self, kind: str, body: Mapping[str, Any], *, shelf: str | None = None, back: timedelta = timedelta()
    ) -> None:
        """A well-formed entry that waits, as who can write to the database puts one in."""
        with self.desk.house.behind.transaction() as connection:
            log.append(connection, kind, body, now=self.desk.house.clock() - back, shelf=shelf)

    def take_out(self) -> str:
        """Delete the record that waits; gives the leaf that the ledger knows it by."""
        [paper] = self.desk.waiting()
        with self.desk.house.behind.transaction() as connection:
            connection.execute(delete(papers_of(SHELF)).where(papers_of(SHELF).c.id == paper.id))
        return leaf(paper.org, paper.commitment).hex()


@pytest.fixture
def story(house: House, tmp_path: Path) -> Iterator[Story]:
    desk = ReturnDesk(house)
    desk.ways_in.take(event(1, org_id="org-009", user_id="org-009-user-0001"))
    house.clock.forward(hours=1)
    desk.register()
    desk.approve(desk.ask())
    house.clock.forward(hours=1)
    desk.ways_in.take(event(2, org_id="org-010", user_id="org-010-user-0001"))
    evidence = Evidence(house.store, house.keyring, Secret(), desk.approvals, house.clock)
    made = Story(desk, evidence, tmp_path)
    assert made.audit() == []
    yield made
    evidence.signer.close()


def named(found: list[Finding]) -> set[str]:
    return {each.name for each in found}


def test_a_record_taken_out_is_found_whatever_its_return_is_said_to_be(story: Story) -> None:
    true = story.entry()
    lie = {**true, "leaf": story.take_out(), "batch": os.urandom(16).hex(), "slice": os.urandom(8).hex()}
    story.write("returned", {**lie, "approval": "a-0123456789abcdef"}, shelf=SHELF)
    assert named(story.audit()) == {"acts", "returns"}


def test_an_approval_is_good_for_one_return_and_for_its_own_record(story: Story) -> None:
    story.write("returned", {**story.entry(), "leaf": story.take_out()}, shelf=SHELF)
    said = {each.said for each in story.audit()}
    assert any("more was done with it than once" in each for each in said)
    assert "another record was asked for" in said
    assert "another record became the same text" in said


def test_two_persons_made_up_in_the_ledger_are_no_request(story: Story) -> None:
    true = story.entry()
    invented = "a-0123456789abcdef"
    asked, approved = story.desk.officer.person.hex(), story.desk.approver.person.hex()
    of = {"what": "return", "id": invented, "subject": f"{SHELF}/00", "digest": bytes(32).hex(), "with": "t-1"}
    for back in (timedelta(), timedelta(days=500)):
        until = moment(story.desk.house.clock() - back + timedelta(hours=24))
        story.write("approval", {**of, "did": "asked", "by": asked, "until": until}, back=back)
        story.write("approval", {**of, "did": "approved", "by": approved}, back=back)
        lie = {**true, "approval": invented, "asked_by": asked, "approved_by": approved}
        story.write("returned", {**lie, "leaf": story.take_out()} if not back else lie, shelf=SHELF, back=back)
        found = story.audit()
        assert "acts" in named(found), shown(found)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("text_leaf", "00" * 32),
        ("slice", "00" * 8),
        ("org", "00" * 8),
        ("asked_by", "00" * 8),
        ("approval", "a-0123456789abcdef"),
    ],
)
def test_every_member_of_a_return_is_read(story: Story, member: str, value: str) -> None:
    """As it is before it is signed; afterwards the ledger's own line tells that it was changed."""
    true = story.entry()
    with story.desk.house.behind.transaction() as connection:
        connection.execute(delete(ledger_entries).where(ledger_entries.c.kind == "returned"))
    story.write("returned", {**true, member: value}, shelf=SHELF)
    with story.desk.house.store.reading() as connection:
        found = auditing(story.desk.house, story.folder)._holds(connection)
    assert named(faults(found)) & {"acts", "returns"}


def test_a_used_approval_without_its_act_and_an_act_without_its_approval_are_found(story: Story) -> None:
    with story.desk.house.behind.transaction() as connection:
        connection.execute(update(approvals).values(used_at=None))
    assert {"approvals"} <= named(story.audit())
    with story.desk.house.behind.transaction() as connection:
        connection.execute(delete(approvals))
    assert {"acts", "approvals"} <= named(story.audit())


def test_what_is_called_erased_is_asked_of_the_keyring_and_its_record_of_copies(house: House) -> None:
    secret, copies = shelf_secret(SHELF), Copies(house.keyring.documents)
    body = {"secret": secret, "commitment": house.keyring.commitment(secret).hex(), "copies": 0, "named": []}
    house.clock.forward(days=1)
    with house.behind.transaction() as connection:
        told = {**body, "erased_at": moment(house.clock())}
        log.append(connection, "erased", told, now=house.clock(), shelf=SHELF)

    def said() -> str:
        with house.store.reading() as connection:
            [found] = ErasedAudit(connection, house.keyring).findings()
        return found.said

    assert said() == "the keyring has no tombstone of the secret that it names"
    held = {"made_at": NOON, "expires_at": NOON + timedelta(hours=1), "generation": 1, "root": "r", "folder": "f"}
    copies.add(Copy(id="c-1", root_kind="pkcs11", file="c", **held))  # type: ignore[arg-type]
    house.keyring.destroy(secret, entry="1", now=NOON)
    assert said() == "copy c-1 of the keyring has the secret, and had not ended"
    copies.ended("c-1", NOON + timedelta(hours=1))
    assert said() == "1 secrets are called erased, and every known copy of them has ended"
    copies.add(Copy(id="c-2", root_kind="local", file="c", ended_at=NOON, **held))  # type: ignore[arg-type]
    assert said() == "copy c-2 of the keyring has the secret, and had not ended"
