"""With `TEXTKEEP_URL` a person asks from a machine of their own, with a token and nothing else."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import Cli
from textkeep.service import demo_feed
from textkeep.service.running import Running

ORG = next(record["org_id"] for record in demo_feed.directory() if record["kind"] == "user" and record["number"])
REVIEW = (datetime.now(UTC) + timedelta(days=90)).date().isoformat()
WHY = ("--reason", "a subpoena")


@pytest.fixture
def away(tmp_path: Path) -> Cli:
    """The command on a machine that has no archive."""
    return Cli(tmp_path / "nothing")


@pytest.fixture
def token(running: Running) -> Callable[[str], str]:
    def made(role: str) -> str:
        org = running.archive.organisations.find(ORG)
        assert org is not None
        orgs = None if role == "auditor" else [org]
        return running.archive.tokens.create(person=role, roles=[role], orgs=orgs, by=running.archive.local)[0]

    return made


def test_holds_searches_and_approvals_go_to_the_archive_that_is_named(
    away: Cli, running: Running, token: Callable[[str], str]
) -> None:
    url = running.listening.near_url
    officer, counsel, approver = token("officer"), token("counsel"), token("approver")
    place = ("hold", "place", "--matter", "Doe v. Roe", "--review", REVIEW, "--query", "merger", *WHY)
    hold = away(*place, url=url, token=officer).stdout.decode().strip()
    assert [each["hold_id"] for each in away.json("hold", "list", url=url, token=officer)].count(hold) == 1
    assert away.json("search", "merger", "--hold", hold, *WHY, url=url, token=officer)["results"] == []
    asked = away.json("hold", "release", hold, *WHY, url=url, token=counsel)
    [waiting] = away.json("approvals", "list", url=url, token=approver)["waiting"]
    assert waiting["id"] == asked["approval_id"]
    given = ("approvals", "approve", waiting["id"], "--digest", waiting["digest"])
    assert away.json(*given, url=url, token=approver)["outcome"] == "approved"
    assert not away.data.exists()


def test_what_needs_the_files_says_so_and_so_does_who_has_no_token(away: Cli, running: Running) -> None:
    url = running.listening.near_url
    for words in (("purge",), ("token", "list"), ("doctor",), ("ledger", "resume", "--approval", "a-0123456789abcdef")):
        assert b"TEXTKEEP_URL" in away(*words, url=url, code=2).stderr, words
    for words in (("hold", "list"), ("approvals", "list"), ("search", "merger", *WHY), ("report", "2025-01-01")):
        refused = away(*words, url=url, code=1).stderr
        assert b"TEXTKEEP_TOKEN" in refused, words
        assert b"token create" in refused


def test_reports_and_days_are_looked_at_with_an_auditors_token(
    away: Cli, running: Running, token: Callable[[str], str]
) -> None:
    asked: dict[str, Any] = {"url": running.listening.near_url, "token": token("auditor")}
    there = Cli(running.archive.settings.folder)
    running.announce()
    assert running.archive.purge.run(datetime.now(UTC) + timedelta(hours=25)).stopped is None
    listed = away.json("reports", **asked)
    assert listed == there.json("reports")
    assert listed
    assert away.json("days", **asked) == there.json("days")
    name = listed[-1]["name"]
    for form in ((), ("--html",), ("--proof",)):
        assert away("report", name, *form, **asked).stdout == there("report", name, *form).stdout != b""
    assert hashlib.sha256(away("report", name, **asked).stdout).hexdigest() == listed[-1]["digest"]
    assert b"no report" in away("report", "2001-01-01", **asked, code=1).stderr


@pytest.mark.parametrize("url", ["http://archive.example:8400", "ftp://127.0.0.1", "https://", "archive"])
def test_a_token_goes_over_tls_or_stays_on_this_machine(away: Cli, url: str) -> None:
    refused = away("hold", "list", url=url, token="tk_none", code=1).stderr
    assert b"TEXTKEEP_URL" in refused
    assert b"TLS" in refused


def test_nobody_who_answers_there_is_told_as_an_outage(away: Cli, tmp_path: Path) -> None:
    assert b"does not answer" in away("hold", "list", url="http://127.0.0.1:9", token="tk_none", code=3).stderr
    (tmp_path / "ca.pem").write_text("no certificate")
    how: dict[str, Any] = {"url": "https://127.0.0.1:9", "url_ca": str(tmp_path / "ca.pem"), "token": "tk_none"}
    assert b"TEXTKEEP_URL_CA" in away("hold", "list", code=2, **how).stderr
