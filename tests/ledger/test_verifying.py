"""`textkeep verify`: what it reads, what it prints, and how it ends."""

import json
import re
from contextlib import chdir
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner, Result

from tests.ledger.sample_log import FIRST, SECOND_SIGNER, SIGNER, WITNESSES, SampleLog, sample
from textkeep.ledger.step import MEANING
from textkeep.ledger.verifying import CLAIM, parser
from textkeep.ledger.witness import Kind
from textkeep.service.cli import app

DAY = FIRST.isoformat()
KEY = str(SIGNER.verifier)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`reports/` and `log/` of the sample, and an older checkpoint, `old`."""
    log = sample()
    log.write_reports(tmp_path / "reports", WITNESSES[:1])
    log.publish(tmp_path / "log")
    (tmp_path / "old").write_bytes(log.checkpoint(9))
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    """The command, in the folder."""
    with chdir(folder):
        return CliRunner().invoke(app, ["verify", *arguments])


def test_a_sound_report_is_verified_with_everything_that_can_be_asked_for(folder: Path) -> None:
    more = ["--checkpoint", "old", "--witness", str(WITNESSES[0].witness), "--chain", "reports", "--ledger", "log"]
    told = run(folder, f"reports/{DAY}.json", "--key", KEY, *more)
    assert (told.exit_code, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert [line[:10] for line in lines if line[:2].strip().isdigit()] == [f"{n:>2}. pass  " for n in range(1, 15)]
    assert "VERIFIED. The report itself says: pass." in lines
    assert lines[-1] == CLAIM
    assert told.stdout.count("does not show: ") == 14


def test_a_changed_report_is_not_verified_and_the_steps_that_fail_are_named(folder: Path) -> None:
    path = folder / "reports" / f"{DAY}.json"
    path.write_bytes(path.read_bytes().replace(b'"lost":0', b'"lost":1'))
    told = run(folder, f"reports/{DAY}.json", "--key", KEY)
    assert told.exit_code == 1
    assert "NOT VERIFIED: see step 3 (entry), 10 (totals), 14 (own verdict)." in told.stdout
    assert "\nVERIFIED" not in told.stdout


def test_what_was_not_asked_for_is_named(folder: Path) -> None:
    told = run(folder, f"reports/{DAY}.json", "--key", KEY)
    assert told.exit_code == 0
    assert (
        "Not asked for, so not shown: witnesses, older checkpoint, ledger, key changes, recount, chain." in told.stdout
    )


def test_machines_get_one_document(folder: Path) -> None:
    told = run(folder, f"reports/{DAY}.json", "--key", KEY, "--json")
    document = json.loads(told.stdout)
    assert document["verified"] is True
    assert [step["number"] for step in document["steps"]] == list(range(1, 15))
    members = {"number", "name", "verdict", "asked", "reason", "shows", "does_not_show"}
    assert all(step.keys() == members for step in document["steps"])


def test_a_key_may_stand_in_a_file(folder: Path) -> None:
    (folder / "key").write_text(f"{KEY}\n")
    assert run(folder, f"reports/{DAY}.json", "--key", "key").exit_code == 0


def test_a_proof_may_lie_elsewhere(folder: Path) -> None:
    (folder / "reports" / f"{DAY}.tlog-proof").rename(folder / "moved")
    assert run(folder, f"reports/{DAY}.json", "--key", KEY).exit_code == 3
    assert run(folder, f"reports/{DAY}.json", "--key", KEY, "--proof", "moved").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ([f"reports/{DAY}.json"], 2, "--key"),
        ([], 2, "REPORT"),
        ([f"reports/{DAY}.json", "--key", "a+b+c"], 2, "--key"),
        ([f"reports/{DAY}.json", "--key", f"{KEY[:-1]}x"], 2, "--key"),
        ([f"reports/{DAY}.json", "--key", str(WITNESSES[0].witness)], 2, "--key"),
        ([f"reports/{DAY}.json", "--key", KEY, "--witness", KEY], 2, "--witness"),
        (["nowhere.json", "--key", KEY], 3, "nowhere.json cannot be read"),
        ([f"reports/{DAY}.json", "--key", "nowhere"], 3, "nowhere cannot be read"),
        (["reports", "--key", KEY], 3, "reports cannot be read"),
        ([f"reports/{DAY}.json", "--key", KEY, "--checkpoint", "nowhere"], 3, "nowhere cannot be read"),
        ([f"reports/{DAY}.json", "--key", KEY, "--ledger", "reports"], 3, "checkpoint cannot be read"),
        ([f"reports/{DAY}.json", "--key", KEY, "--chain", "nowhere"], 3, "nowhere is no folder"),
        ([f"reports/{DAY}.json", "--key", str(SECOND_SIGNER.verifier)], 1, ""),
    ],
)
def test_the_command_ends_as_it_says(folder: Path, arguments: list[str], code: int, why: str) -> None:
    told = run(folder, *arguments)
    assert told.exit_code == code, told.stdout + told.stderr
    assert why in told.stderr
    assert "Traceback" not in told.stderr


def test_nothing_that_a_report_says_can_rewrite_what_a_terminal_shows(tmp_path: Path) -> None:
    log = SampleLog()
    log.purge(FIRST, shelf="2025-10-01", cutoff={"due_at": "\x1b[2J\x1b[1;1HVERIFIED", "told_by": ""})
    log.write_reports(tmp_path)
    told = run(tmp_path, f"{DAY}.json", "--key", KEY)
    assert told.exit_code == 1
    assert "\x1b" not in told.stdout


def test_every_report_of_a_folder_is_verified_one_by_one(folder: Path) -> None:
    names = [DAY, "missed-run-2026-11-07", (FIRST + timedelta(days=3)).isoformat()]
    assert [run(folder, f"reports/{name}.json", "--key", KEY).exit_code for name in names] == [0, 0, 0]


def test_the_verifier_on_its_own_takes_the_same_options() -> None:
    alone = {option for action in parser()._actions for option in action.option_strings}
    told = run(Path(), "--help").stdout
    assert all(option in told for option in alone - {"-h"})


def test_the_documentation_tells_of_every_step_in_its_order_and_of_every_finding() -> None:
    told = (Path(__file__).parents[2] / "docs" / "verify.md").read_text()
    steps, _, rest = told.partition("## The steps")[2].partition("## Be a witness")
    assert re.findall(r"^\| `([a-z ]+)` \|", steps, re.MULTILINE) == list(MEANING)
    assert set(re.findall(r"^\| `([a-z-]+)` \|", rest, re.MULTILINE)) == set(get_args(Kind))
