"""`textkeep approvals`: one person asks, another one is shown it and decides, each with their own token."""

from typing import Any

import pytest

from tests.service.conftest import Cli
from textkeep.service.running import Running


@pytest.fixture
def cli(running: Running) -> Cli:
    """The command beside the service that runs on the folder."""
    running.announce()
    return Cli(running.archive.settings.folder)


@pytest.fixture
def people(running: Running) -> dict[str, str]:
    """A token for each of three people."""
    archive = running.archive
    return {
        name: archive.tokens.create(person=name, roles=[role], orgs=None, by=archive.local)[0]
        for name, role in (("Olivia", "officer"), ("Anna", "approver"), ("Otto", "operator"))
    }


def ask(cli: Cli, subject: str, **more: str) -> dict[str, Any]:
    words = ("resume", subject, "--reason", "the database was restored", "--request", '{"ring": "ab"}')
    asked: dict[str, Any] = cli.json("approvals", "ask", *words, **more)
    return asked


def test_a_request_is_listed_shown_and_approved_by_its_digest(cli: Cli, people: dict[str, str]) -> None:
    asked = ask(cli, "restore-1", token=people["Otto"])
    listed = cli.json("approvals", "list", token=people["Anna"])
    assert asked["id"] in [each["id"] for each in listed["waiting"]]
    shown = cli.json("approvals", "show", asked["id"], token=people["Anna"])
    assert shown["request"] == {"ring": "ab", "reason": "the database was restored"}
    wrong = cli("approvals", "approve", asked["id"], "--digest", "0" * 64, code=1, token=people["Anna"])
    assert b"the digest is not that of the request (digest)" in wrong.stderr
    assert b"no longer" not in wrong.stdout
    done = cli.json("approvals", "approve", asked["id"], "--digest", shown["digest"].upper(), token=people["Anna"])
    assert (done["state"], done["decided_by"]) == ("approved", "Anna")
    mine = cli.json("approvals", "list", token=people["Otto"])["asked"]
    assert [each["outcome"] for each in mine if each["id"] == asked["id"]] == ["approved"]


def test_people_read_it_as_a_table_and_in_words(cli: Cli, people: dict[str, str]) -> None:
    asked = ask(cli, "restore-2", token=people["Otto"])
    table = cli("approvals", "list", token=people["Anna"])
    assert b"Waits for you" in table.stderr
    assert asked["id"].encode() in table.stdout
    shown = cli("approvals", "show", asked["id"], token=people["Anna"])
    assert b"the database was restored" in shown.stdout
    assert f"--digest {asked['digest']}".encode() in shown.stderr
    refused = cli("approvals", "refuse", asked["id"], "--digest", asked["digest"], token=people["Anna"])
    assert b"is refused" in refused.stderr
    assert b"Nothing waits" in cli("approvals", "list", token=people["Olivia"]).stderr


def test_who_has_the_files_asks_as_an_operator_and_decides_nothing(cli: Cli, people: dict[str, str]) -> None:
    asked = ask(cli, "restore-3")
    own = cli("approvals", "approve", asked["id"], "--digest", asked["digest"], code=1)
    assert b"needs a token of your own" in own.stderr
    done = cli.json("approvals", "approve", asked["id"], "--digest", asked["digest"], token=people["Anna"])
    assert done["outcome"] == "approved"


def test_what_is_no_request_is_a_mistake_of_usage(cli: Cli, people: dict[str, str]) -> None:
    bad = cli("approvals", "ask", "resume", "r-1", "--reason", "x", "--request", "[1]", code=2)
    assert b"--request" in bad.stderr
    assert b"--digest" in cli("approvals", "approve", "a-0", code=2, token=people["Anna"]).stderr
