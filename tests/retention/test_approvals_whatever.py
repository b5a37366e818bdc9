"""Whatever is asked, decided, used, edited and whenever: nothing is done without two persons, in time, once."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule, run_state_machine_as_test
from sqlalchemy import delete, select

from tests.housing import NOON, SetClock
from tests.retention.approving import ORG, OTHER, person
from textkeep.access.principal import Principal
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import Keyring, org_secret
from textkeep.archive.sealing import CannotOpen, Sealer
from textkeep.archive.text import Handle
from textkeep.errors import Refusal
from textkeep.retention import notes
from textkeep.retention.approvals.approval import Approval, digest_of
from textkeep.retention.approvals.approvals import Approvals
from textkeep.store.engine import Store
from textkeep.store.evidence import approvals
from textkeep.store.schema import migrate

DAY = timedelta(hours=24)
PEOPLE = st.sampled_from([bytes([number]) * 8 for number in range(3)])
EVERY_ROLE: frozenset[Any] = frozenset({"counsel", "approver", "operator", "officer"})
"""As nobody has them outside a demo: what keeps people apart here is the request alone."""

ABLE = st.builds(lambda handle, number: person(handle, *EVERY_ROLE, number=number), PEOPLE, st.integers(1, 2))
ANYBODY = st.builds(
    lambda handle, roles, orgs: person(handle, *roles, orgs=orgs),
    PEOPLE,
    st.frozensets(st.sampled_from(["counsel", "approver", "officer", "operator", "auditor"]), min_size=1),
    st.none() | st.frozensets(st.sampled_from([ORG, OTHER]), min_size=1),
)
CALLERS = ABLE | ABLE | ANYBODY
KINDS: Any = st.sampled_from(["release", "return", "resume"])
REQUESTS = st.sampled_from([{"reason": "one"}, {"reason": "another"}, {"reason": "one", "more": 1}])
NO_OTHER = st.none() | st.none() | st.none()
TICK = timedelta(microseconds=1)
JUMPS = st.sampled_from([*(timedelta(hours=hours) for hours in (1, 1, 3, 8, -1, -8, -30, 23)), DAY, DAY - TICK, TICK])


class TwoPersonsAlways(RuleBasedStateMachine):
    """Keeps its own plain books: who asked for what when, who said yes to which words when."""

    store: Store
    sealer: Sealer
    asked = Bundle("asked")
    approved = Bundle("approved")

    def __init__(self) -> None:
        super().__init__()
        self.clock = SetClock(NOON)
        self.latest = NOON - timedelta(days=400)
        self.approvals = Approvals(self.store, self.sealer, self.clock)
        self.yes: dict[str, tuple[bytes, bytes, datetime]] = {}
        self.used: set[str] = set()
        with self.store.transaction() as connection:
            connection.execute(delete(approvals))
            notes.write(connection, notes.LAST_SEEN, None)

    @rule(target=asked, who=CALLERS, kind=KINDS, request=REQUESTS, org=st.sampled_from([ORG, OTHER]))
    def ask(self, who: Principal, kind: Any, request: dict[str, Any], org: bytes) -> Any:
        try:
            return self.approvals.put(who, kind, "s-1", request, None if kind == "resume" else org)
        except Refusal:
            return multiple()

    @rule(
        target=approved,
        which=asked,
        who=CALLERS,
        outcome=st.sampled_from(["approved", "approved", "approved", "refused"]),
        other=NO_OTHER | REQUESTS,
    )
    def decide(self, which: Approval, who: Principal, outcome: Any, other: dict[str, Any] | None) -> Any:
        digest = which.digest if other is None else digest_of(which.kind, which.subject, other)
        try:
            self.approvals.decide(who, which.id, outcome, digest)
        except Refusal:
            return multiple()
        assert digest == which.digest
        assert "approver" in who.roles
        assert who.person != which.asked_by
        assert who.orgs is None or which.org in who.orgs
        assert which.id not in self.yes
        if outcome == "refused":
            return multiple()
        self.yes[which.id] = (who.person, digest, self.now())
        return which

    @initialize(target=approved)
    def begin(self) -> Any:
        return self.go_the_right_way(person(bytes(8), "counsel"), person(bytes([1]) * 8, "approver"))

    @rule(target=approved, asker=ABLE, approver=ABLE)
    def go_the_right_way(self, asker: Principal, approver: Principal) -> Any:
        asked = self.ask(asker, "release", {"reason": f"the {len(self.yes)}th"}, ORG)
        return self.decide(asked, approver, "approved", None) if isinstance(asked, Approval) else multiple()

    @rule(which=approved | asked, other=NO_OTHER | REQUESTS, kind=NO_OTHER | KINDS)
    def use(self, which: Approval, other: dict[str, Any] | None, kind: Any) -> None:
        digest = which.digest if other is None else digest_of(which.kind, which.subject, other)
        with suppress(Refusal), self.store.transaction() as connection:
            used = self.approvals.use(connection, which.id, kind or which.kind, digest)
            assert which.id not in self.used
            self.used.add(which.id)
            by, words, at = self.yes[which.id]
            assert by != which.asked_by
            assert used.decided_by == by
            assert (kind or which.kind, digest) == (which.kind, words)
            assert at < which.until
            assert self.now() < which.until == which.asked_at + DAY

    def now(self) -> datetime:
        """The time that counts: what the clock says, or the last time seen where it is behind that."""
        return max(self.clock(), self.latest)

    @rule(which=asked, other=approved)
    def swap_what_was_decided(self, which: Approval, other: Approval) -> None:
        """Somebody past the service gives one request the decision of another, seal and all."""
        with self.store.transaction() as connection:
            theirs = connection.execute(select(approvals).where(approvals.c.id == other.id)).one()
            given = {name: getattr(theirs, name) for name in ("decided_by", "decided_at", "outcome", "sealed")}
            mine = connection.execute(select(approvals).where(approvals.c.id == which.id)).one()
            fits = given["decided_by"] != mine.asked_by and (given["decided_at"] or NOON) < mine.until
            if which.id != other.id and mine.used_at is None and fits:
                connection.execute(approvals.update().where(approvals.c.id == which.id).values(given))
                with pytest.raises((Refusal, CannotOpen)):
                    self.approvals.use(connection, which.id, which.kind, which.digest)
                kept = {name: getattr(mine, name) for name in given}
                connection.execute(approvals.update().where(approvals.c.id == which.id).values(kept))

    @rule(by=JUMPS, seen=st.booleans())
    def the_clock_jumps(self, by: timedelta, seen: bool) -> None:
        self.clock.now += by
        if seen and self.clock.now > self.latest:  # the keeper stores the last time seen
            self.latest = self.clock.now
            with self.store.transaction() as connection:
                notes.write(connection, notes.LAST_SEEN, self.latest)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[type[TwoPersonsAlways]]:
    store = Store.open("sqlite://")
    migrate(store)
    keyring = Keyring.open(FolderStore(tmp_path), LocalRoot(tmp_path / "roots"), create=True)
    keyring.make(org_secret(Handle(org)) for org in (ORG, OTHER))
    yield type("Machine", (TwoPersonsAlways,), {"store": store, "sealer": Sealer(keyring)})
    store.close()


def test_nothing_is_done_without_two_persons_in_time_in_the_same_words_once(machine: type[TwoPersonsAlways]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=80, stateful_step_count=40, deadline=None))


@pytest.mark.soak
def test_the_same_for_longer(machine: type[TwoPersonsAlways]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=3_000, stateful_step_count=100, deadline=None))
