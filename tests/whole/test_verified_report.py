"""Reports that a real archive has made, under the verifier, with nothing but the files that an auditor gets."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.whole.reporting import DAMAGED, DAY, HOUSE_KEPT, MISSED, NEXT, Told, archive_of, live
from textkeep.ledger.cosignature import Cosigner, times
from textkeep.ledger.note import parse
from textkeep.ledger.proof import Proof
from textkeep.ledger.step import Step, verified
from textkeep.ledger.verifying import Asked, steps_of
from textkeep.retention.reports.report import canonical


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """An archive that has purged, missed a day, released and lost; its ledger is exported."""
    with archive_of(request, request.param, tmp_path_factory.mktemp("verified")) as archive:
        live(archive)
        archive.archive.evidence.export(archive.folder / "ledger")
        yield archive


def asked(told: Told, name: str) -> Asked:
    """Everything that can be asked for."""
    checkpoint = told.folder / "checkpoint"
    checkpoint.write_bytes(told.early)
    return Asked(
        told.reports / f"{name}.json",
        [told.archive.evidence.key()],
        checkpoint=checkpoint,
        witnesses=[str(told.cosigner.witness)],
        chain=told.reports,
        ledger=told.folder / "ledger",
    )


def failed(steps: list[Step]) -> list[str]:
    return [step.name for step in steps if step.verdict == "fail"]


def test_every_report_has_its_proof_beside_it(told: Told) -> None:
    assert set(told.names) == {DAY.shelf, MISSED, NEXT.shelf, DAMAGED.shelf, told.kept(1), HOUSE_KEPT}
    for name in told.names:
        entry = told.archive.chain.entry(name)
        assert entry is not None
        proof = Proof.parse((told.reports / f"{name}.tlog-proof").read_bytes())
        assert proof.index == entry.index
        assert json.loads(proof.extra or b"")["name"] == name


def test_every_report_is_verified_alone_and_with_chain_and_ledger(told: Told) -> None:
    for name in told.names:
        alone = {"chain": None, "ledger": None, "checkpoint": None, "witnesses": ()}
        for wanted in (asked(told, name), replace(asked(told, name), **alone)):  # type: ignore[arg-type]
            steps = steps_of(wanted)
            assert verified(steps), [(step.name, step.reason) for step in steps if not step.good]
    recount = next(step for step in steps_of(asked(told, DAY.shelf)) if step.name == "recount")
    assert "all roots computed from their leaves" in recount.reason


def test_the_reports_say_what_happened(told: Told) -> None:
    verdicts = {name: told.report(name)["verdict"] for name in told.names}
    assert verdicts == {
        DAY.shelf: "pass",
        NEXT.shelf: "pass",
        told.kept(1): "pass",
        HOUSE_KEPT: "pass",
        DAMAGED.shelf: "fail",
        MISSED: "fail",
    }
    totals = {name: told.report(name)["totals"] for name in told.names if name != MISSED}
    parts = {
        name: tuple(each[part] for part in ("taken", "kept", "destroyed", "lost")) for name, each in totals.items()
    }
    assert parts == {
        DAY.shelf: (6, 2, 4, 0),
        NEXT.shelf: (1, 1, 0, 0),
        DAMAGED.shelf: (2, 0, 0, 2),
        told.kept(1): (3, 2, 1, 0),
        HOUSE_KEPT: (0, 0, 0, 0),
    }


def test_a_purge_waited_for_the_witness_and_its_report_says_so(told: Told) -> None:
    name = told.cosigner.name
    for shelf in (DAY.shelf, NEXT.shelf, DAMAGED.shelf, told.kept(1), HOUSE_KEPT):
        report = told.report(shelf)
        assert report["witnesses"] == {"set": [name], "cosigned": [name]}
        [intent] = [each for each in report["signed"]["checkpoints"] if each["of"] == "intent"]
        assert times(parse(intent["note"].encode()), told.cosigner.witness)


def test_a_witness_who_did_not_cosign_is_missed(told: Told) -> None:
    other = str(Cosigner.generate("other.example").witness)
    assert failed(steps_of(replace(asked(told, DAY.shelf), witnesses=[other]))) == ["witnesses"]


@pytest.mark.parametrize("member", ["totals", "holds", "not_covered", "responsible"])
def test_an_altered_report_is_not_verified(told: Told, tmp_path: Path, member: str) -> None:
    report = told.report(DAY.shelf)
    report[member] = [] if member == "not_covered" else {**report[member], "kept": 0}
    (tmp_path / f"{DAY.shelf}.json").write_bytes(canonical(report))
    shutil.copy(told.reports / f"{DAY.shelf}.tlog-proof", tmp_path)
    steps = steps_of(replace(asked(told, DAY.shelf), report=tmp_path / f"{DAY.shelf}.json"))
    assert not verified(steps)
    assert "entry" in failed(steps)


def test_a_folder_without_one_of_the_reports_is_no_chain(told: Told, tmp_path: Path) -> None:
    for name in told.names:
        if name != MISSED:
            shutil.copy(told.reports / f"{name}.json", tmp_path)
    assert failed(steps_of(replace(asked(told, DAY.shelf), chain=tmp_path))) == ["chain"]


def test_a_ledger_that_lost_an_entry_is_not_the_one_that_was_signed(told: Told, tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    shutil.copytree(told.folder / "ledger", folder)
    [bundle] = (path for path in (folder / "tile" / "entries").rglob("*") if path.is_file())
    bundle.write_bytes(bundle.read_bytes().replace(b'"accepted":', b'"accepteD":', 1))
    assert failed(steps_of(replace(asked(told, DAY.shelf), ledger=folder))) == ["ledger"]
