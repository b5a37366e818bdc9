"""`textkeep report`: whoever has the archive's files has its reports, in each form, and can hand them to an auditor."""

import hashlib
import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.housing import NOON, SetClock
from tests.service.conftest import Cli
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive

DAY = "2025-10-18"
"""The oldest day at NOON; due at the next midnight."""


@pytest.fixture
def purged(cli: Cli) -> Cli:
    """An archive that has purged one day."""
    cli.data.mkdir(mode=0o700)
    clock = SetClock(NOON)
    with closing(Archive.open(Settings(data=cli.data), clock)) as archive:
        clock.now = NOON + timedelta(hours=13)
        assert archive.purge.run(clock()).stopped is None
    return cli


def test_each_form_is_given_and_the_json_is_the_very_file(purged: Cli, tmp_path: Path) -> None:
    written = (purged.data / "reports" / f"{DAY}.json").read_bytes()
    assert purged("report", DAY).stdout == written
    proof = (purged.data / "reports" / f"{DAY}.tlog-proof").read_bytes()
    assert purged("report", DAY, "--proof").stdout == proof
    page = purged("report", DAY, "--html", "--output", str(tmp_path / "page.html"))
    assert page.stdout == b""
    assert hashlib.sha256(written).hexdigest() in (tmp_path / "page.html").read_text()
    pytest.importorskip("reportlab")
    purged("report", DAY, "--pdf", "--output", str(tmp_path / "report.pdf"))
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_what_was_given_is_verified_by_the_key_that_the_archive_shows(purged: Cli, tmp_path: Path) -> None:
    key = purged.json("ledger", "key")["key"]
    for form, name in ((), f"{DAY}.json"), (("--proof",), f"{DAY}.tlog-proof"):
        (tmp_path / name).write_bytes(purged("report", DAY, *form).stdout)
    told = json.loads(purged("verify", str(tmp_path / f"{DAY}.json"), "--key", key, "--json").stdout)
    assert told["verified"] is True


@pytest.mark.parametrize("words", [("2020-01-01",), ("../tokens",), ("a/b", "--proof")])
def test_a_report_that_is_none_is_refused(purged: Cli, words: tuple[str, ...]) -> None:
    assert purged("report", *words, code=1).stdout == b""


def test_two_forms_at_once_are_refused(purged: Cli) -> None:
    assert b"one form at a time" in purged("report", DAY, "--html", "--proof", code=2).stderr
