"""What an audit says while things happen, and of what lies beside the rows: files, tables, runs, damaged texts."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, func, insert, select, update

from tests.housing import House, event
from tests.ledger.signing import Secret
from tests.retention.audited import auditing, faults, shown
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST
from tests.retention.test_returns import ReturnDesk
from textkeep.ledger.state import State
from textkeep.retention.audit.audit import TRIES, Finding
from textkeep.service.evidence import Evidence
from textkeep.store.evidence import checkpoints
from textkeep.store.tables import purges, runs, texts_of

DAY = OLDEST.plus(20)


class Watched(Keeping):
    """A purge under holds over a signed ledger, audited whenever asked."""

    evidence: Evidence

    def begin(self) -> None:
        self.evidence = Evidence(
            self.house.store, self.house.keyring, Secret(), self.holders.approvals, self.house.clock
        )

    def audit(self, shelf: str | None = None) -> list[Finding]:
        self.evidence.signer.keep_up()
        return auditing(self.house, self.purging.folder).run(shelf)


def watched(house: House, folder: Path, work: Callable[[Watched], None]) -> None:
    with Watched.over(house, folder) as made:
        assert isinstance(made, Watched)
        made.begin()
        work(made)
        made.evidence.signer.close()


def said(found: list[Finding], name: str, shelf: str | None = None) -> list[tuple[str, str]]:
    return [(each.verdict, each.said) for each in found if each.name == name and shelf in (None, each.shelf)]


@pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)
def test_no_step_of_a_purge_looks_like_a_fault(house: House, tmp_path: Path) -> None:
    def work(keeping: Watched) -> None:
        keeping.take(OLDEST, "merger", "lunch")
        keeping.take(DAY, "alive")
        keeping.set_aside(OLDEST, "in quarantine")
        hold = keeping.holders.place(query="merger").hold
        seen: dict[str, list[Finding]] = {}

        def told(shelf: str, state: str) -> None:
            seen[f"{shelf} {state}"] = keeping.audit()

        purging = {"told": told, "signed": keeping.evidence, "signing_patience": 5.0}
        assert keeping.purge(OLDEST, **purging).stopped is None
        assert keeping.released(hold, **purging).stopped is None
        assert len(seen) >= 3 * 8
        for at, found in seen.items():
            assert faults(found) == [], (at, shown(faults(found)))
        assert ("pass", "taken 2 = alive 0 + kept 1 + destroyed 1 + lost 0") in said(
            keeping.audit(), "conservation", OLDEST.shelf
        )

    watched(house, tmp_path, work)


@pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)
def test_a_record_that_came_back_is_no_fault(house: House, tmp_path: Path) -> None:
    desk = ReturnDesk(house)
    assert desk.ways_in.take(event(1, org_id="org-009", user_id="org-009-user-0001")).quarantined == 1
    house.clock.forward(hours=1)
    desk.register()
    desk.approve(desk.ask())
    evidence = Evidence(house.store, house.keyring, Secret(), desk.approvals, house.clock)
    evidence.signer.keep_up()
    found = auditing(house, tmp_path).run()
    assert faults(found) == [], shown(faults(found))
    assert ("pass", "quarantined 1 = waiting 0 + returned 1") in said(found, "quarantine", "2026-11-20")
    evidence.signer.close()


@pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)
def test_texts_that_come_during_an_audit_are_no_fault(house: House, tmp_path: Path) -> None:
    def work(keeping: Watched) -> None:
        keeping.take(DAY, "the first")
        over = threading.Event()

        def feed() -> None:
            while not over.is_set():
                keeping.take(DAY, "one more")
                keeping.evidence.signer.keep_up()

        feeding = threading.Thread(target=feed)
        feeding.start()
        try:
            for _ in range(3):
                found = auditing(house, tmp_path).run()
                assert faults(found) == [], shown(faults(found))
        finally:
            over.set()
            feeding.join()

    watched(house, tmp_path, work)


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_what_is_signed_between_two_looks_of_an_audit_is_no_fault(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkeep.retention.audit.audit.PAUSE", 0.0)

    def work(keeping: Watched) -> None:
        signer = keeping.evidence.signer
        keeping.take(DAY, "the first")
        looks: list[State | None] = []

        def looked() -> State | None:
            looks.append(signer.state())
            if len(looks) == 1:
                signer.keep_up(stays=True)
            return looks[-1]

        assert faults(auditing(house, tmp_path, signed=looked).run()) == []
        assert looks[0] is None
        keeping.take(DAY, "another")
        signer.keep_up(stays=True)  # the lease stays: a signer is at work
        signed = signer.state()
        assert signed is not None
        with house.behind.transaction() as connection:
            [row] = connection.execute(select(checkpoints).where(checkpoints.c.size == signed.size)).all()
            connection.execute(delete(checkpoints).where(checkpoints.c.size == signed.size))
        looks.clear()

        def slow() -> State | None:
            looks.append(signer.state())
            if len(looks) == 2 * TRIES:
                with house.behind.transaction() as connection:
                    connection.execute(insert(checkpoints).values(row._asdict()))
            return looks[-1]

        assert faults(auditing(house, tmp_path, signed=slow).run()) == []
        assert len(looks) >= 2 * TRIES

    watched(house, tmp_path, work)


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_files_and_runs_that_were_altered_are_named_and_those_not_there_are_unknown(
    house: House, tmp_path: Path
) -> None:
    def work(keeping: Watched) -> None:
        keeping.take(OLDEST, "lunch")
        assert keeping.purge(OLDEST, signed=keeping.evidence, signing_patience=5.0).stopped is None
        file = tmp_path / "reports" / f"{OLDEST.shelf}.json"
        content = file.read_bytes()
        file.write_bytes(content.replace(b'"taken":1', b'"taken":2'))
        assert [each.name for each in faults(keeping.audit())] == ["reports: copies"]
        file.unlink()
        found = keeping.audit()
        assert faults(found) == []
        assert said(found, "reports: copies")[0][0] == "unknown"
        file.write_bytes(content)
        keeping.behind(delete(runs))
        assert [each.name for each in faults(keeping.audit())] == ["purge runs"]

    watched(house, tmp_path, work)


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("was", "becomes", "line"),
    [
        ('"unfinished":[]', '"ukfinished":[]', "purge"),
        ("written, and its digest", "written, ind its digest", "reports: figures"),
    ],
)
def test_what_a_purge_has_found_is_as_the_service_writes_it_to_the_last_letter(
    house: House, tmp_path: Path, was: str, becomes: str, line: str
) -> None:
    def work(keeping: Watched) -> None:
        keeping.take(OLDEST, "lunch")
        assert keeping.purge(OLDEST, signed=keeping.evidence, signing_patience=5.0).stopped is None
        assert faults(keeping.audit()) == []
        keeping.behind(update(purges).values(facts=func.replace(purges.c.facts, was, becomes)))
        assert [each.name for each in faults(keeping.audit())] == [line]

    watched(house, tmp_path, work)


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_a_day_that_should_be_gone_and_a_table_that_is_not_there_are_named(house: House, tmp_path: Path) -> None:
    def work(keeping: Watched) -> None:
        keeping.take(DAY, "lunch")
        house.clock.now = OLDEST.due()
        house.clock.forward(hours=25)
        late = said(keeping.audit(), "purge runs")
        assert ("fail", f"{OLDEST.shelf} should be gone: it is open") in late
        with house.behind.transaction() as connection:
            texts_of(DAY.shelf).drop(connection)
        assert any("is not there" in each for _, each in said(keeping.audit(), "shelves"))

    watched(house, tmp_path, work)


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_a_text_that_did_not_open_is_lost_or_undecided_and_never_passed_over(house: House, tmp_path: Path) -> None:
    def work(keeping: Watched) -> None:
        keeping.take(OLDEST, "merger", "lunch")
        keeping.holders.place(query="merger")
        table = texts_of(OLDEST.shelf)
        with house.behind.transaction() as connection:
            one = connection.execute(select(table.c.tag).limit(1)).scalar_one()
            connection.execute(update(table).where(table.c.tag == one).values(sealed=b"\x01" + bytes(60)))
        assert ("texts", "fail") in {(each.name, each.verdict) for each in keeping.audit()}
        assert keeping.purge(OLDEST, signed=keeping.evidence, signing_patience=5.0).stopped is None
        verdicts = {each.verdict for each in keeping.audit() if each.name == "conservation"}
        assert "unknown" in verdicts or "fail" in verdicts

    watched(house, tmp_path, work)
