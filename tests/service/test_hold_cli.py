"""`textkeep hold`: from a preview to a release that another person approved, over a running archive."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.service.conftest import Cli
from textkeep.service import demo_feed
from textkeep.service.running import Running

USER = next(record for record in demo_feed.directory() if record["kind"] == "user" and record["number"])
ORG = USER["org_id"]
REVIEW = (datetime.now(UTC) + timedelta(days=90)).date().isoformat()


@pytest.fixture
def cli(running: Running) -> Cli:
    """The command on the folder of the archive that runs."""
    running.announce()
    return Cli(running.archive.settings.folder)


@pytest.fixture
def token(running: Running) -> Callable[[str], str]:
    """A token of a role, for a person named after it, in one organisation."""

    def made(role: str) -> str:
        org = running.archive.organisations.find(ORG)
        assert org is not None
        orgs = [org]
        return running.archive.tokens.create(person=role, roles=[role], orgs=orgs, by=running.archive.local)[0]

    return made


def text(number: int, body: str) -> dict[str, Any]:
    sent_at = (datetime.now(UTC) - timedelta(days=3, seconds=number)).isoformat()
    return {
        "specversion": "1.0",
        "type": "textkeep.text.v1",
        "id": f"held-{number}",
        "source": "/test",
        "data": {
            "org_id": ORG,
            "user_id": USER["user_id"],
            "direction": "outbound",
            "channel": "sms",
            "from": USER["number"],
            "to": "+12125550199",
            "body": body,
            "sent_at": sent_at,
            "disposition": "delivered",
        },
    }


def test_a_hold_goes_from_preview_to_release_by_two_persons(cli: Cli, token: Callable[[str], str]) -> None:
    wire = [text(1, "the pelican merger"), text(2, "the pelican lunch"), text(3, "merger")]
    cli("load", "-", stdin=b"".join(json.dumps(each).encode() + b"\n" for each in wire))
    officer, counsel, approver = token("officer"), token("counsel"), token("approver")
    asked = ("--user", USER["user_id"], "--query", "-")
    why = ("--reason", "a subpoena")
    seen = cli.json("hold", "preview", *why, *asked, stdin=b"merger", token=officer)
    assert (seen["texts"], seen["opened"] >= 3, seen["cursor"]) == (2, True, None)
    placed = cli.json(
        "hold", "place", "--matter", "Doe v. Roe", *why, "--review", REVIEW, *asked, stdin=b"merger", token=officer
    )
    name = placed["hold"]["hold_id"]
    assert placed["hold"]["scope"] == {"org_id": ORG, "users": [USER["user_id"]], "query": "merger"}
    assert b"Doe v. Roe" in cli("hold", "list", token=officer).stdout
    assert cli.json("hold", "show", name, token=counsel)["state"] == "in-force"
    cli("hold", "release", name, "--reason", "settled", code=1, token=officer)
    release = cli.json("hold", "release", name, "--reason", "settled", token=counsel)
    refused = cli("hold", "approve", name, "--digest", release["digest"], code=1, token=counsel)
    assert b"no release" not in refused.stderr
    attempts = [each["body"] for each in cli.json("ledger")["entries"] if each["kind"] == "approval"]
    assert [each["subject"] for each in attempts if each["did"] == "attempt" and each.get("id")] == [name]
    shown = cli("hold", "approve", name, token=approver)
    assert release["digest"].encode() in shown.stdout + shown.stderr
    cli("hold", "approve", name, "--digest", "0" * 64, code=1, token=approver)
    done = cli.json("hold", "approve", name, "--digest", release["digest"], token=approver)
    assert done["effect"]["hold"] == name
    assert cli.json("hold", "show", name, token=counsel)["state"] == "released"


def test_it_needs_a_token_and_says_what_is_amiss(cli: Cli, token: Callable[[str], str]) -> None:
    assert b"token" in cli("hold", "list", code=1).stderr
    officer = token("officer")
    how = ("--matter", "m", "--reason", "r", "--review", REVIEW)
    for wrong in (("--conversation", "1"), ("--number", "nobody"), ("--query", "("), ("--after", "soon")):
        done = cli("hold", "place", *how, *wrong, code=None, token=officer)
        assert done.returncode in (1, 2)
        assert b"nobody" not in done.stderr
    assert b"180 days" in cli("hold", "place", *how[:-1], "2099-01-01", code=1, token=officer).stderr
