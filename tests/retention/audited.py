"""An archive small enough to be audited in a moment, in which everything that an audit looks at has happened once."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.housing import NOON, House, SetClock, event
from tests.ledger.signing import Secret
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST
from textkeep.access.principal import LOCAL, Principal
from textkeep.access.tokens import Tokens
from textkeep.archive.marking import marking
from textkeep.archive.shelf import Day
from textkeep.ledger import checkpoints, log
from textkeep.ledger.cosignature import Cosigner
from textkeep.ledger.note import parse
from textkeep.ledger.state import State
from textkeep.retention.approvals.approvals import Approvals
from textkeep.retention.audit.audit import Audit, Finding
from textkeep.retention.reports.folder import ReportFolder
from textkeep.search.comparing import Comparing
from textkeep.service.evidence import Evidence
from textkeep.service.holding import Holds
from textkeep.store.engine import Store
from textkeep.store.schema import migrate

FIRST = OLDEST
SECOND = OLDEST.plus(1)
TODAY = Day.of(NOON)
DAYS = [FIRST, SECOND, FIRST.plus(2), TODAY.plus(-1), TODAY, TODAY.plus(1), TODAY.plus(2), TODAY.plus(3)]
"""The only days that have a shelf: some 430 of them would be most of what an audit of so few texts looks at."""


@dataclass
class Audited:
    """A finished archive: what an audit needs besides the database."""

    folder: Path
    clock: SetClock

    @property
    def database(self) -> Path:
        return self.folder / "textkeep.db"


def auditing(
    house: House, folder: Path, comparing: Comparing | None = None, signed: Callable[[], State | None] | None = None
) -> Audit:
    """The audit of a house whose reports lie in `folder`; `comparing` compares its index, where it has one.

    `signed` gives what was signed last in the place of the keyring's store.
    """
    approvals = Approvals(house.store, house.sealer, house.clock)
    rooms = (house.store, house.keyring, house.sealer, house.shelves, house.organisations, approvals, house.clock)
    return Audit(
        house.store,
        house.keyring,
        house.sealer,
        house.papers,
        signed or Evidence(house.store, house.keyring, Secret(), approvals, house.clock).signer.state,
        Holds(*rooms).agreement,
        approvals,
        ReportFolder(folder / "reports"),
        house.clock,
        comparing,
    )


@contextmanager
def few_days() -> Iterator[None]:
    """Open a shelf for a few days only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textkeep.archive.shelves.open_days", lambda _now: DAYS)
        yield


def build(folder: Path) -> Audited:
    """Make it, on SQLite: days purged with and without holds, a release done, a hold, a waiting request, quarantine."""
    clock = SetClock(NOON)
    store = Store.open(f"sqlite:///{folder / 'textkeep.db'}")
    migrate(store)
    with few_days():
        live(House.build(store, folder / "keyring", clock), folder)
    store.settle()
    store.close()
    return Audited(folder, clock)


def live(house: House, folder: Path) -> None:
    """Everything that happens in it, signed at the end."""
    with Keeping.over(house, folder) as keeping:
        holders = keeping.holders
        evidence = Evidence(house.store, house.keyring, Secret(), holders.approvals, house.clock)
        tokens(house)
        cosigner = Cosigner.generate("auditor.example/w1")
        asked = holders.approvals.put(
            holders.person("Olga", "operator", orgs=None),
            "witness",
            "auditor.example",
            {"add": str(cosigner.witness), "reason": "audit firm"},
            None,
        )
        holders.approve(asked, by=holders.person("Anna", "approver", orgs=None))
        holders.batches = 0
        keeping.take(FIRST, "merger one", "lunch", "merger two")
        keeping.take(FIRST, "merger three", org="org-002")
        keeping.set_aside(FIRST, "merger in quarantine")
        keeping.take(SECOND, "merger four", "dinner")
        again(keeping)
        keeping.take(TODAY.plus(-1), "alive one", "alive two")
        keeping.take(TODAY.plus(-1), "alive three", org="org-002")
        keeping.set_aside(TODAY.plus(-1), "waiting")
        keeping.purging.take_records([late(keeping)], verdict="refuse", reason="expired")
        house.activity.record(holders.officer, "search", holders.org(), {"reason": "a test", "query": "merger"})
        wide = holders.place(query="merger").hold
        stays = holders.place(query="merger AND (one OR four OR quarantine)").hold
        house.clock.forward(minutes=1)
        evidence.signer.keep_up()
        sign = {"signed": evidence, "signing_patience": 5.0, "witness_patience": 0.0}
        for day in (FIRST, SECOND):
            keeping.purging.until(day.due())
            cosign(house, cosigner, evidence)
            ended = stubborn(keeping, cosigner, evidence, sign)
            assert ended.stopped is None, ended.stopped
        holders.release(wide)
        keeping.purging.until(house.clock() + timedelta(hours=25))
        ended = stubborn(keeping, cosigner, evidence, sign)
        assert ended.stopped is None, ended.stopped
        assert stays.id in holders.in_force()
        holders.ask(stays)
        refused = holders.ask(holders.place(query="dinner").hold)
        holders.approvals.decide(holders.approver, refused.id, "refused", refused.digest, "no")
        house.clock.forward(minutes=1)
        evidence.signer.keep_up()
        evidence.signer.close()


def stubborn(keeping: Keeping, cosigner: Cosigner, evidence: Evidence, sign: dict[str, Any]) -> Any:
    """Run until the witness has seen what it must."""
    for _ in range(4):
        ended = keeping.run(**sign)
        if ended.stopped is None or ended.stopped.reason != "not-witnessed":
            return ended
        cosign(keeping.house, cosigner, evidence)
    return ended


def again(keeping: Keeping) -> None:
    """The same id with other content: a version beside the first."""
    keeping.numbers -= 1
    keeping.take(SECOND, "dinner, later")


def late(keeping: Keeping) -> dict[str, Any]:
    keeping.numbers += 1
    return event(keeping.numbers, sent_at=(FIRST.start() - timedelta(days=3)).isoformat(), body="too late")


def tokens(house: House) -> None:
    with house.store.transaction() as connection:
        handle = house.persons.handle_of(connection, "root")
    by = Principal(handle, LOCAL, frozenset(("operator",)), None)
    made = Tokens(
        house.store,
        house.persons,
        house.clock,
        lambda connection, body: log.append(connection, "token", body, now=house.clock()),
        marking(house.keyring),
    )
    made.create(person="Alice", roles=["officer"], orgs=None, by=by)
    _, gone = made.create(person="Bob", roles=["auditor"], orgs=[house.organisations.register("org-001")], by=by)
    house.clock.forward(minutes=1)
    made.revoke(gone.id, by=by)


def cosign(house: House, cosigner: Cosigner, evidence: Evidence) -> None:
    """What the auditor's client does with the newest checkpoint."""
    evidence.signer.keep_up()
    with house.store.transaction() as connection:
        newest = checkpoints.newest(connection)
        assert newest is not None
        if not newest.cosigned:
            now = house.clock()
            line = cosigner.cosign(parse(newest.note).text, int(now.timestamp())).line
            checkpoints.cosign(connection, newest.size, line, now)


def faults(found: list[Finding]) -> list[Finding]:
    return [each for each in found if each.verdict == "fail"]


def shown(found: list[Finding]) -> str:
    return json.dumps([[each.name, each.shelf, each.verdict, each.said, each.entry] for each in found], indent=1)
