"""Approvals: another person, in time, in the same words, once."""

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from tests.housing import House
from tests.retention.approving import ADA, ALAN, APPROVER, COUNSEL, GRACE, ORG, OTHER, REQUEST, Desk, person
from textkeep.access.principal import Principal
from textkeep.archive.sealing import CannotOpen
from textkeep.archive.shelf import RETENTION
from textkeep.errors import Conflict, Forbidden, Malformed, NotFound, TextkeepError
from textkeep.ledger import log
from textkeep.retention import notes
from textkeep.retention.approvals.approval import KINDS, REQUEST_BYTES, Approval, NotApproved, TwoPersons, digest_of
from textkeep.store.evidence import approvals, releases

DAY = timedelta(hours=24)
TICK = timedelta(microseconds=1)


@pytest.fixture
def desk(house: House) -> Desk:
    return Desk.over(house)


def row(desk: Desk, asked: Approval) -> Any:
    with desk.house.store.reading() as connection:
        return connection.execute(select(approvals).where(approvals.c.id == asked.id)).one()


def alter(desk: Desk, asked: Approval, **columns: Any) -> None:
    with desk.house.behind.transaction() as connection:
        connection.execute(update(approvals).where(approvals.c.id == asked.id).values(columns))


def test_what_one_person_asks_another_one_approves_and_it_is_used_once(desk: Desk) -> None:
    asked = desk.ask()
    assert asked.until - asked.asked_at == DAY
    decided = desk.approvals.decide(APPROVER, asked.id, "approved", asked.digest, "checked with the court").approval
    assert (decided.asked_by, decided.decided_by, decided.outcome) == (ADA, GRACE, "approved")
    used = desk.use(asked)
    assert (used.request, used.reason, used.used_at) == (REQUEST, "checked with the court", desk.house.clock())
    with pytest.raises(NotApproved):
        desk.use(asked)
    assert desk.did() == [("asked", None), ("approved", None)]


def test_the_digest_is_that_of_the_canonical_request(desk: Desk) -> None:
    written = json.dumps(
        {"kind": "release", "request": REQUEST, "subject": "h-1"}, sort_keys=True, separators=(",", ":")
    )
    assert desk.ask().digest == digest_of("release", "h-1", REQUEST) == hashlib.sha256(written.encode()).digest()


def test_nobody_approves_their_own_request_with_whichever_token(desk: Desk) -> None:
    asked = desk.ask()
    for own in (person(ADA, "approver", number=2), person(ADA, "approver", "counsel")):
        with pytest.raises(TwoPersons):
            desk.approvals.decide(own, asked.id, "approved", asked.digest)
    assert desk.did() == [("asked", None), ("attempt", "own-request")]
    assert row(desk, asked).outcome is None


def test_whoever_approves_names_the_digest_they_saw(desk: Desk) -> None:
    asked, other = desk.ask(), desk.ask(reason="another one")
    for digest in (other.digest, b"", bytes(32), asked.digest[:31]):
        with pytest.raises(NotApproved, match="digest"):
            desk.approvals.decide(APPROVER, asked.id, "approved", digest)
    with pytest.raises(NotApproved, match="digest"):
        desk.approvals.decide(APPROVER, asked.id, "refused", other.digest)
    assert row(desk, asked).outcome is None
    assert desk.did()[2:] == [("attempt", "digest")]


def test_a_request_can_be_decided_for_24_hours_and_not_a_microsecond_longer(desk: Desk) -> None:
    early, late = desk.ask(), desk.ask(reason="another one")
    desk.house.clock.now += DAY - TICK
    desk.approvals.decide(APPROVER, early.id, "approved", early.digest)
    desk.house.clock.now += TICK
    with pytest.raises(NotApproved, match="24 hours"):
        desk.approvals.decide(APPROVER, late.id, "approved", late.digest)
    with pytest.raises(NotApproved, match="24 hours"):
        desk.use(early)
    assert desk.did()[-1] == ("attempt", "expired")


@pytest.mark.parametrize("back", [timedelta(minutes=6), timedelta(days=3)])
def test_a_clock_that_is_set_back_makes_nothing_valid_again(desk: Desk, back: timedelta) -> None:
    asked = desk.ask()
    desk.approvals.decide(APPROVER, asked.id, "approved", asked.digest)
    desk.house.clock.now += DAY
    with desk.house.store.transaction() as connection:  # as the keeper does every minute
        notes.write(connection, notes.LAST_SEEN, desk.house.clock())
    desk.house.clock.now -= DAY / 2
    with pytest.raises(NotApproved, match="24 hours"):
        desk.use(asked)
    with desk.house.store.transaction() as connection:
        notes.write(connection, notes.LAST_SEEN, asked.asked_at - back)
    desk.house.clock.now = asked.asked_at - back
    with pytest.raises(NotApproved, match="behind"):
        desk.use(asked)


@pytest.mark.parametrize("outcome", ["approved", "refused"])
def test_a_decision_is_final(desk: Desk, outcome: Any) -> None:
    asked = desk.ask()
    desk.approvals.decide(APPROVER, asked.id, outcome, asked.digest)
    for again in ("approved", "refused"):
        with pytest.raises(NotApproved, match="decided already"):
            desk.approvals.decide(person(ALAN, "approver"), asked.id, again, asked.digest)
    assert (row(desk, asked).outcome, row(desk, asked).decided_by) == (outcome, GRACE)


def test_what_was_refused_or_not_decided_is_never_used(desk: Desk) -> None:
    waiting, refused = desk.ask(), desk.ask(reason="another one")
    desk.approvals.decide(APPROVER, refused.id, "refused", refused.digest)
    for asked, why in ((waiting, "nobody has approved"), (refused, "it was refused")):
        with pytest.raises(NotApproved, match=why):
            desk.use(asked)


def test_it_is_used_for_that_kind_and_in_those_words_only(desk: Desk) -> None:
    asked = desk.ask()
    desk.approvals.decide(APPROVER, asked.id, "approved", asked.digest)
    with pytest.raises(NotApproved, match="digest"):
        desk.use(asked, "resume")
    with pytest.raises(NotApproved, match="digest"):
        desk.use(asked, digest=digest_of("release", "h-1", {}))
    assert desk.use(asked).used_at


@pytest.mark.parametrize("role", ["producer", "officer", "counsel", "auditor", "registrar", "operator"])
def test_only_an_approver_decides_and_who_tries_is_on_record(desk: Desk, role: Any) -> None:
    asked = desk.ask()
    with pytest.raises(Forbidden):
        desk.approvals.decide(person(GRACE, role), asked.id, "approved", asked.digest)
    [_, attempt] = desk.told()
    assert (attempt["did"], attempt["why"], attempt["by"], attempt["id"]) == ("attempt", "role", GRACE.hex(), asked.id)


def test_an_approver_decides_for_its_organisations_and_one_of_every_one_for_the_house(desk: Desk) -> None:
    asked = desk.ask()
    house = desk.ask("resume", "restore", by=person(ADA, "operator"), org=None)
    theirs = person(GRACE, "approver", orgs=frozenset({ORG}))
    foreign = person(GRACE, "approver", orgs=frozenset({OTHER}))
    for approver, request in ((foreign, asked), (theirs, house)):
        with pytest.raises(NotFound):
            desk.approvals.decide(approver, request.id, "approved", request.digest)
        with pytest.raises(NotFound):
            desk.approvals.get(approver, request.id)
    desk.approvals.decide(theirs, asked.id, "approved", asked.digest)
    desk.approvals.decide(APPROVER, house.id, "approved", house.digest)
    assert ("attempt", "organisation") in desk.did()


@pytest.mark.parametrize("kind", KINDS)
def test_asking_takes_the_role_for_it_and_who_tries_without_is_on_record(desk: Desk, kind: Any) -> None:
    for role in ("producer", "approver", "auditor", "registrar"):
        with pytest.raises(Forbidden):
            desk.ask(kind, by=person(ADA, role))
    assert set(desk.did()) == {("attempt", "role")}


def test_an_attempt_made_again_and_again_is_written_once_an_hour_with_how_often(desk: Desk) -> None:
    def attempt() -> None:
        with pytest.raises(Forbidden):
            desk.ask(by=person(ADA, "auditor"))

    for _ in range(50):
        attempt()
    assert len(desk.told()) == 1
    desk.house.clock.forward(hours=1)
    attempt()
    first, second = desk.told()
    assert ("before" in first, second["before"]) == (False, 49)


def test_the_very_same_request_waits_only_once(desk: Desk) -> None:
    asked = desk.ask()
    with pytest.raises(Conflict) as refused:
        desk.ask(by=person(ALAN, "counsel"))
    assert asked.id in refused.value.remedy
    desk.approvals.decide(APPROVER, asked.id, "refused", asked.digest)
    again = desk.ask()
    assert (again.digest, again.id == asked.id) == (asked.digest, False)


@pytest.mark.parametrize("subject", ["", " ", "a b", "+12125550101 said hello", "x" * 201, "é", "-x", "a\n"])
def test_what_could_hold_personal_data_is_no_subject(desk: Desk, subject: str) -> None:
    with pytest.raises(Malformed):
        desk.ask(subject=subject)


@pytest.mark.parametrize("request_", [{"n": 2**60}, {"x": "y" * REQUEST_BYTES}, {"x": float("nan")}, {"x": "\ud800"}])
def test_a_request_without_a_canonical_form_is_refused(desk: Desk, request_: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        desk.ask(**request_)
    assert desk.told() == []


def test_the_request_lies_sealed_and_the_ledger_has_handles_only(desk: Desk) -> None:
    asked = desk.ask(reason="pelican in the matter of 4711")
    desk.approvals.decide(APPROVER, asked.id, "approved", asked.digest, "pelican agreed")
    with pytest.raises(Forbidden):
        desk.approvals.decide(COUNSEL, asked.id, "approved", asked.digest)
    assert "pelican" not in repr(tuple(row(desk, asked)))
    assert b"pelican" not in row(desk, asked).sealed
    assert "pelican" not in json.dumps(desk.told())
    assert all(set(each) <= MEMBERS for each in desk.told())
    assert "pelican" not in repr(asked)


MEMBERS = {"did", "what", "id", "subject", "digest", "by", "with", "org", "until", "why", "before"}


@pytest.mark.parametrize(
    "columns",
    [
        {"asked_by": ALAN},
        {"decided_by": ALAN},
        {"digest": digest_of("release", "h-1", {"hold": "h-1", "reason": "x"})},
        {"subject": "h-2"},
        {"org": OTHER},
        {"asked_at": timedelta(minutes=4), "until": timedelta(minutes=4)},
    ],
    ids=lambda columns: next(iter(columns)),
)
def test_a_row_that_was_edited_past_the_service_allows_nothing(desk: Desk, columns: dict[str, Any]) -> None:
    asked = desk.ask()
    desk.approvals.decide(APPROVER, asked.id, "approved", asked.digest)
    moved = {name: getattr(asked, name) + by for name, by in columns.items() if isinstance(by, timedelta)}
    alter(desk, asked, **{**columns, **moved})
    digest = columns.get("digest", asked.digest)
    with pytest.raises(CannotOpen):
        desk.use(asked, digest=digest)
    assert row(desk, asked).used_at is None


def test_an_approval_that_somebody_wrote_past_the_service_allows_nothing(desk: Desk) -> None:
    asked, refused = desk.ask(), desk.ask(reason="another one")
    desk.approvals.decide(APPROVER, refused.id, "refused", refused.digest)
    now = desk.house.clock()
    alter(desk, asked, decided_by=GRACE, decided_at=now, outcome="approved")
    alter(desk, refused, outcome="approved")
    for each in (asked, refused):
        with pytest.raises(CannotOpen):
            desk.use(each)


@pytest.mark.parametrize("used_at", [None, TICK], ids=["taken out", "another"])
def test_whether_it_was_used_is_bound_too(desk: Desk, used_at: timedelta | None) -> None:
    asked = desk.ask()
    desk.approvals.decide(APPROVER, asked.id, "approved", asked.digest)
    assert desk.use(asked).used_at
    alter(desk, asked, used_at=None if used_at is None else desk.house.clock() + used_at)
    with pytest.raises(CannotOpen if used_at is None else NotApproved):
        desk.use(asked)
    with desk.house.store.reading() as connection:
        assert [opens for _, opens in desk.approvals.every(connection)] == [False]


def test_an_approval_put_back_as_it_was_before_its_use_allows_nothing_again(desk: Desk) -> None:
    asked = desk.ask()
    desk.approvals.decide(APPROVER, asked.id, "approved", asked.digest)
    before = row(desk, asked)
    with desk.house.store.transaction() as connection:
        desk.approvals.use(connection, asked.id, asked.kind, asked.digest)
        log.append(connection, "release", {"hold": "h-1", "approval": asked.id}, now=desk.house.clock())
    alter(desk, asked, **before._mapping)
    with pytest.raises(NotApproved, match="done already"):
        desk.use(asked)


def test_what_concerns_the_whole_house_is_asked_for_by_who_sees_all_of_it(desk: Desk) -> None:
    bound = frozenset({ORG})
    for kind, role in (("witness", "operator"), ("resume", "operator"), ("ledger-key", "operator")):
        with pytest.raises(Forbidden, match="every organisation"):
            desk.ask(kind, "s-1", by=person(ADA, role, orgs=bound), org=None)  # type: ignore[arg-type]
    assert [why for _, why in desk.did()] == ["organisation"] * 3
    with pytest.raises(Forbidden, match="every organisation"):
        desk.ask("release", by=person(ADA, "counsel", orgs=bound), org=None)


def doing(effect: Callable[[Connection, Approval], Mapping[str, Any] | None], desk: Desk) -> list[Approval]:
    committed: list[Approval] = []
    desk.approvals.on_approved("release", effect, committed.append)
    return committed


def test_approving_sets_going_what_was_asked_for_in_its_own_transaction(desk: Desk) -> None:
    def act(connection: Connection, approved: Approval) -> Mapping[str, Any]:
        assert approved.request == REQUEST
        desk.approvals.use(connection, approved.id, "release", approved.digest)
        return {"done": True}

    committed = doing(act, desk)
    asked = desk.ask()
    decided = desk.approvals.decide(APPROVER, asked.id, "approved", asked.digest)
    assert (decided.effect, decided.approval.used_at) == ({"done": True}, desk.house.clock())
    assert [each.id for each in committed] == [asked.id]
    with pytest.raises(NotApproved):
        desk.use(asked)


def test_where_what_was_asked_for_cannot_be_done_nothing_is_decided_and_it_is_on_record(desk: Desk) -> None:
    def act(connection: Connection, approved: Approval) -> None:
        desk.approvals.use(connection, approved.id, "release", approved.digest)
        raise NotFound("there is no such hold")

    committed = doing(act, desk)
    asked = desk.ask()
    with pytest.raises(NotFound, match="no such hold"):
        desk.approvals.decide(APPROVER, asked.id, "approved", asked.digest)
    assert (row(desk, asked).outcome, row(desk, asked).used_at, committed) == (None, None, [])
    assert desk.did() == [("asked", None), ("attempt", "not-found")]
    assert desk.approvals.decide(APPROVER, asked.id, "refused", asked.digest).effect == {}


def test_of_two_who_decide_at_once_one_does(desk: Desk) -> None:
    asked = desk.ask()

    def decide(who: Principal, outcome: Any) -> bool:
        try:
            desk.approvals.decide(who, asked.id, outcome, asked.digest)
        except NotApproved:
            return False
        return True

    approvers = [person(bytes([number]) * 8, "approver") for number in range(10, 18)]
    with ThreadPoolExecutor(8) as all_at_once:
        done = list(all_at_once.map(decide, approvers, ["approved", "refused"] * 4))
    assert done.count(True) == 1
    assert row(desk, asked).decided_by == approvers[done.index(True)].person


def test_of_many_who_use_one_at_once_one_does(desk: Desk) -> None:
    asked = desk.ask()
    desk.approvals.decide(APPROVER, asked.id, "approved", asked.digest)

    def use(_: int) -> bool:
        try:
            return desk.use(asked).used_at is not None
        except TextkeepError:
            return False

    with ThreadPoolExecutor(6) as all_at_once:
        assert list(all_at_once.map(use, range(6))).count(True) == 1


def test_everybody_is_shown_what_waits_for_them_and_what_they_asked(desk: Desk) -> None:
    mine, decided, foreign = desk.ask(), desk.ask(reason="2"), desk.ask(org=OTHER, reason="3")
    desk.approvals.decide(APPROVER, decided.id, "refused", decided.digest)
    theirs = person(GRACE, "approver", orgs=frozenset({ORG}))
    listed = desk.approvals.list(theirs)
    assert ([each.id for each in listed.waiting], [each.id for each in listed.decided]) == ([mine.id], [decided.id])
    asker = desk.approvals.list(COUNSEL)
    assert asker.waiting == []
    assert {each.id for each in asker.asked} == {mine.id, decided.id, foreign.id}
    assert all(each.request is None for each in (*listed.waiting, *asker.asked))
    desk.house.clock.now += DAY
    assert desk.approvals.list(APPROVER).waiting == []
    assert {each.state(desk.house.clock()) for each in desk.approvals.list(COUNSEL).asked} == {"expired", "refused"}
    with pytest.raises(Forbidden):
        desk.approvals.list(person(ALAN, "auditor"))


def test_a_request_is_shown_in_its_words_to_who_asked_and_who_may_decide_and_to_nobody_else(desk: Desk) -> None:
    asked = desk.ask()
    for who in (COUNSEL, APPROVER):
        assert desk.approvals.get(who, asked.id).request == REQUEST
    for who in (person(ALAN, "counsel"), person(ALAN, "officer"), person(ALAN, "operator")):
        with pytest.raises(NotFound):
            desk.approvals.get(who, asked.id)
    with pytest.raises(NotFound):
        desk.approvals.get(APPROVER, "a-none")


def test_a_request_is_forgotten_400_days_after_it_ended_and_a_release_with_its_hold(desk: Desk) -> None:
    gone, stays = desk.ask(), desk.ask(subject="h-2")
    with desk.house.store.transaction() as connection:
        connection.execute(
            releases.insert().values(
                hold="h-2",
                org=ORG,
                approval=stays.id,
                entry=1,
                asked_by=ADA,
                approved_by=GRACE,
                approved_at=desk.house.clock(),
                effective_at=desk.house.clock() + 2 * DAY,
            )
        )
    desk.house.clock.now += DAY + RETENTION - TICK
    assert desk.approvals.forget() == 0
    desk.house.clock.now += TICK
    assert desk.approvals.forget() == 1
    with pytest.raises(NotFound):
        desk.approvals.get(APPROVER, gone.id)
    desk.house.clock.now += 2 * DAY
    assert desk.approvals.forget() == 0
    with desk.house.store.transaction() as connection:
        connection.execute(update(releases).values(done_at=desk.house.clock() - RETENTION))
    assert desk.approvals.forget() == 1
