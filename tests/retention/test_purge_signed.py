"""A purge goes on when the ledger is signed, and cosigned where witnesses are set; else it waits, and says why."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from tests.housing import House
from tests.ledger.signing import Secret
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST, lines_of
from textkeep.errors import Outage
from textkeep.ledger import checkpoints
from textkeep.ledger.cosignature import Cosigner
from textkeep.ledger.note import parse
from textkeep.retention.purging.purge import RunResult
from textkeep.retention.reports import facts as found
from textkeep.retention.reports.facts import Facts
from textkeep.service.evidence import Evidence
from textkeep.store.evidence import witnesses
from textkeep.store.tables import ledger_entries

pytestmark = pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)


class Signing(Keeping):
    """A purge over a ledger that is signed."""

    evidence: Evidence

    def run(self, **how: Any) -> RunResult:
        return super().run(**{"signed": self.evidence, "signing_patience": 5.0, "witness_patience": 0.0, **how})

    def facts(self, shelf: str) -> Facts:
        with self.house.store.reading() as connection:
            purge = found.load(connection, shelf)
        assert purge is not None
        return purge.facts


@pytest.fixture
def signing(house: House, tmp_path: Path) -> Iterator[Signing]:
    with Signing.over(house, tmp_path) as made:
        assert isinstance(made, Signing)
        holders = made.holders
        made.evidence = Evidence(house.store, house.keyring, Secret(), holders.approvals, house.clock)
        yield made
        made.evidence.signer.close()


def test_each_step_names_the_checkpoint_that_it_waited_for(signing: Signing) -> None:
    signing.take(OLDEST, "merger", "lunch")
    signing.holders.place(query="merger")
    assert signing.purge(OLDEST).stopped is None
    facts = signing.facts(OLDEST.shelf)
    sizes = {step: checkpoint.size for step, checkpoint in facts.checkpoints.items()}
    assert list(sizes) == ["intent", "witnessed", "committed", "reported"]
    assert list(sizes.values()) == sorted(sizes.values())
    places = {row["seq"]: row["leaf_index"] for row in signing.rows(ledger_entries)}
    for step, kind in (("intent", "intent"), ("committed", "committed"), ("shredded", "key-destroyed")):
        [entry] = signing.purging.entries(kind, shelf=OLDEST.shelf)
        assert facts.indices[step] == entry.index
    assert facts.indices["intent"] < sizes["witnessed"]
    assert facts.indices["committed"] < sizes["committed"]
    assert facts.indices["shredded"] < sizes["reported"]
    assert facts.holds is not None
    [started] = signing.purging.entries("hold")
    assert [facts.indices[f"hold:{hold.id}"] for hold in facts.holds.holds] == [started.index]
    assert facts.census is not None
    assert facts.census.places["slices"] == [
        (places[entry.seq], places[entry.seq]) for entry in signing.purging.entries("slice", shelf=OLDEST.shelf)
    ]
    assert lines_of(signing.purging.report(OLDEST.shelf), "steps")["witnessed"] == "pass"


def test_the_secret_goes_only_when_the_decision_is_inside_a_signed_checkpoint(signing: Signing) -> None:
    signing.take(OLDEST, "lunch")
    seen: list[bool] = []
    destroy = signing.house.keyring.destroy

    def destroying(*args: Any, **how: Any) -> Any:
        [committed] = signing.purging.entries("committed")
        seen.append(committed.index is not None)
        return destroy(*args, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing.house.keyring, "destroy", destroying)
        signing.purge(OLDEST)
    assert seen == [True]


def test_where_nothing_is_signed_the_run_stops_after_the_intent_and_goes_on_later(signing: Signing) -> None:
    signing.take(OLDEST, "lunch")

    class Silent:
        """A ledger that another process signs, which is not there."""

        def __getattr__(self, name: str) -> Any:
            return getattr(signing.evidence, name)

        def through(self, _seqs: Any, _patience: float) -> Any:
            raise Outage("not signed yet")

    result = signing.purge(OLDEST, signed=Silent(), signing_patience=0.0)
    assert result.stopped is not None
    assert (result.stopped.reason, signing.state(OLDEST.shelf)) == ("outage", "intent")
    assert signing.house.keyring.has(f"shelf:{OLDEST.shelf}")
    assert signing.run().stopped is None
    assert signing.state(OLDEST.shelf) == "reported"


def test_without_a_cosignature_nothing_further_happens_where_a_witness_is_set(signing: Signing) -> None:
    signing.take(OLDEST, "lunch")
    cosigner = Cosigner.generate("auditor")
    signing.behind(
        insert(witnesses).values(name="auditor", key=str(cosigner.witness), since=signing.house.clock(), until=None)
    )
    result = signing.purge(OLDEST)
    assert result.stopped is not None
    assert (result.stopped.reason, signing.state(OLDEST.shelf)) == ("not-witnessed", "kept")
    assert signing.house.keyring.has(f"shelf:{OLDEST.shelf}")
    cosign(signing, cosigner)
    assert signing.run().stopped is None
    witnessed = signing.facts(OLDEST.shelf).checkpoints["witnessed"]
    assert (witnessed.witnesses, witnessed.required) == (["auditor"], ["auditor"])
    report = signing.purging.report(OLDEST.shelf)
    [step] = [step for step in report["steps"] if step["step"] == "witnessed"]
    assert step["verdict"] == "pass"
    assert "auditor" in step["reason"]


def test_a_witness_that_is_one_no_more_is_not_waited_for(signing: Signing) -> None:
    signing.take(OLDEST, "lunch")
    key = str(Cosigner.generate("auditor").witness)
    signing.behind(
        insert(witnesses).values(name="auditor", key=key, since=signing.house.clock(), until=None),
        update(witnesses).values(until=signing.house.clock()),
    )
    assert signing.purge(OLDEST).stopped is None


def cosign(signing: Signing, cosigner: Cosigner) -> None:
    """What the auditor's client does with the newest checkpoint."""
    with signing.house.store.transaction() as connection:
        newest = checkpoints.newest(connection)
        assert newest is not None
        now = signing.house.clock()
        line = cosigner.cosign(parse(newest.note).text, int(now.timestamp())).line
        assert checkpoints.cosign(connection, newest.size, line, now) == "auditor"
