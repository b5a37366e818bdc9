"""The command, as people run it: no service running, one folder."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from textkeep.errors import Outage
from textkeep.service.client import Client

DIRECTORY: list[dict[str, Any]] = [
    {"kind": "org", "org_id": "org-001", "customer_type": "enterprise", "calling_plan": "US", "add_on": True,
     "campaign_registered": True, "healthcare": False},
    {"kind": "location", "org_id": "org-001", "location_id": "l-1", "country": "US", "pstn": "cisco", "texting": True},
    {"kind": "user", "org_id": "org-001", "user_id": "u-1", "location_id": "l-1", "number": "+12125550101",
     "texting": "default", "app_version": "44.6"},
]  # fmt: skip

Run = Any
"""The fixture `cli`; conftest.py says what it can do."""


def texts(count: int, day: str) -> bytes:
    made = [
        {
            "specversion": "1.0", "type": "textkeep.text.v1", "id": f"t-{number}", "source": "/test",
            "data": {
                "org_id": "org-001", "user_id": "u-1", "direction": "outbound", "channel": "sms",
                "from": "+12125550101", "to": "+12125550199", "body": f"pelican number {number}",
                "sent_at": f"{day}T12:00:{number % 60:02d}Z", "disposition": "delivered",
            },
        }
        for number in range(count)
    ]  # fmt: skip
    return b"".join(json.dumps(text).encode() + b"\n" for text in made)


@pytest.fixture
def yesterday() -> str:
    return (datetime.now(UTC) - timedelta(days=1)).date().isoformat()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "directory.ndjson"
    path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in DIRECTORY))
    return path


def test_a_feed_is_loaded_found_and_loaded_again_without_storing_it_twice(
    process: Run, directory: Path, tmp_path: Path, yesterday: str
) -> None:
    feed = tmp_path / "feed.ndjson"
    feed.write_bytes(texts(2_300, yesterday))
    told = process.json("load", str(feed), "--directory", str(directory), "--wait")
    assert told["directory"] == {"read": 3, "added": 3, "changed": 0, "unchanged": 0, "refused": 0}
    assert (told["read"], told["accepted"], told["batches"]) == (2_300, 2_300, 3)
    again = process.json("load", "-", stdin=feed.read_bytes())
    assert (again["read"], again["duplicates"], again["accepted"]) == (2_300, 2_300, 0)

    token = process.json("token", "create", "--role", "officer", "--org", "org-001")["token"]
    found = process.json("search", "pelican", "--org", "org-001", "--reason", "a test", "--limit", "250", token=token)
    assert len(found["results"]) == 250
    assert len({text["text_id"] for text in found["results"]}) == 250
    table = process("search", "-", "--org", "org-001", "--reason", "a test", "--limit", "3", stdin=b"pelican\n").stdout
    assert table.count(b"pelican number") == 3
    days = process.json("days")
    assert sum(day["taken"] for day in days) == 2_300


def test_a_search_needs_a_reason_and_a_token(cli: Run, directory: Path) -> None:
    cli("load", "--directory", str(directory))
    assert b"needs a reason" in cli("search", "x", "--org", "org-001", code=2).stderr
    assert b"needs a token" in cli("search", "x", "--org", "org-001", "--reason", "y", code=1).stderr
    bad = cli("search", "x", "--org", "org-001", "--reason", "y", code=1, token="tk_" + "A" * 43)
    assert b"not known, has expired or was revoked" in bad.stderr


def test_the_first_token_leaves_one_of_their_own_for_the_os_user(cli: Run, directory: Path) -> None:
    cli("load", "--directory", str(directory))
    made = cli.json("token", "create", "--role", "producer", "--org", "org-001", "--for", "messaging-backend")
    assert made["left"]
    own = cli.data / "token"
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert own.read_text().strip() != made["token"]
    assert cli.json("search", "anything", "--org", "org-001", "--reason", "a test")["results"] == []
    assert not cli.json("token", "create", "--role", "auditor", "--for", "ana")["left"]


def test_tokens_are_listed_and_revoked_and_never_shown_again(cli: Run, directory: Path) -> None:
    cli("load", "--directory", str(directory))
    made = cli.json("token", "create", "--role", "officer", "--role", "auditor", "--org", "org-001", "--for", "ada")
    listed = cli.json("token", "list")["tokens"]
    [ada] = [token for token in listed if token["person"] == "ada"]
    assert (ada["roles"], ada["orgs"], ada["state"]) == (["auditor", "officer"], ["org-001"], "live")
    assert made["token"] not in json.dumps(listed)
    cli("token", "revoke", ada["id"])
    assert "revoked" in [token["state"] for token in cli.json("token", "list")["tokens"]]
    assert b"not known" in cli("search", "x", "--org", "org-001", "--reason", "y", code=1, token=made["token"]).stderr
    assert b"no token of that id" in cli("token", "revoke", "t-none", code=1).stderr


def test_a_token_for_an_organisation_nobody_registered_is_refused(cli: Run) -> None:
    told = cli("token", "create", "--role", "officer", "--org", "org-999", code=1).stderr
    assert b"no organisation of that name" in told
    assert b"--directory" in told
    assert b"org-999" not in told


def test_an_approver_is_never_also_an_officer(cli: Run) -> None:
    cli("token", "create", "--role", "approver", "--for", "ada")
    assert b"one person never holds" in cli("token", "create", "--role", "officer", "--for", "ada", code=1).stderr


def test_a_feed_that_is_cut_off_is_taken_as_far_as_it_goes(cli: Run, directory: Path, yesterday: str) -> None:
    cli("load", "--directory", str(directory))
    whole = texts(10, yesterday)
    told = cli.json("load", "-", stdin=whole[:-20])
    assert (told["read"], told["accepted"], told["quarantined"]) == (10, 9, 1)
    told = cli.json("load", "-", stdin=whole)
    assert (told["read"], told["accepted"], told["duplicates"]) == (10, 1, 9)


def test_a_bad_directory_record_is_named_by_its_line_and_fails_the_command(cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "directory.ndjson"
    path.write_text(
        "\n" + json.dumps(DIRECTORY[0]) + "\n\n" + json.dumps({**DIRECTORY[1], "pstn": "canary-0123"}) + "\n"
    )
    done = cli("load", "--directory", str(path), code=1)
    assert b"line 4" in done.stderr
    assert b"canary" not in done.stderr + done.stdout


def test_a_line_over_the_limit_of_a_request_is_named_and_the_rest_is_stored(
    cli: Run, directory: Path, yesterday: str
) -> None:
    cli("load", "--directory", str(directory))
    good = texts(2, yesterday).splitlines(keepends=True)
    done = cli("load", "-", "--json", stdin=good[0] + b"x" * (17 * 1024 * 1024) + b"\n" + good[1], code=1)
    assert b"line 2 is over the limit" in done.stderr
    assert json.loads(done.stdout)["accepted"] == 2


@pytest.mark.parametrize(
    "words",
    [("load",), ("load", "/no/such/file"), ("load", "-", "--directory", "-"), ("search",), ("token",), ("nonsense",),
     ("token", "create"), ("purge", "--confirm-days", "-1"), ("search", "x", "--limit", "0")],
)  # fmt: skip
def test_what_is_used_wrongly_ends_with_2_and_makes_no_archive(cli: Run, words: tuple[str, ...]) -> None:
    cli(*words, code=2)
    assert not cli.data.exists()


@pytest.mark.parametrize(
    "words",
    [("days",), ("purge",), ("token", "list"), ("ledger",), ("keyring", "status"), ("rebuild",),
     ("search", "x", "--reason", "y")],
)  # fmt: skip
def test_a_folder_without_an_archive_is_refused_and_none_is_made(cli: Run, words: tuple[str, ...]) -> None:
    done = cli(*words, code=1, token="tk_x")
    assert b"no archive in this folder" in done.stderr
    assert not cli.data.exists()


@pytest.mark.parametrize("name", ["retention_days", "datta"])
def test_a_setting_that_is_none_stops_every_command(cli: Run, name: str) -> None:
    done = cli("migrate", code=None, **{name: "30"})
    assert done.returncode in (1, 2)
    assert b"nothing was started" in done.stderr
    assert not cli.data.exists()


def test_errors_are_json_where_json_was_asked_for(cli: Run) -> None:
    done = cli("days", "--json", code=1)
    assert done.stdout == b""
    assert json.loads(done.stderr)["error"] == "unsound"


def test_the_keyring_can_be_counted_and_the_tables_named(cli: Run) -> None:
    assert cli.json("migrate")["migrated"]
    assert not cli.json("migrate")["migrated"]
    status = cli.json("keyring", "status")
    assert status["secrets"] > 400
    assert status["root_kind"] == "local"


def test_the_ledger_lists_what_waits_to_be_signed(cli: Run) -> None:
    cli("token", "create", "--role", "officer", "--for", "zoe")
    [*_, last] = cli.json("ledger")["entries"]
    assert last["kind"] == "token"
    assert b"zoe" not in cli("ledger", "--json").stdout


def test_a_dry_run_changes_nothing_and_an_empty_archive_has_nothing_due(cli: Run) -> None:
    cli("migrate")
    told = cli.json("purge", "--dry-run")
    assert (told["days"], told["stopped"]) == ([], None)
    assert cli.json("purge")["days"] == []


def test_the_doctor_names_what_is_wrong_and_ends_with_1(cli: Run) -> None:
    cli("migrate")
    (cli.data.parent / "archive-keyring" / "ring").chmod(0o644)
    done = cli("doctor", code=1)
    assert b"FAIL  keyring permissions" in done.stdout
    (cli.data.parent / "archive-keyring" / "ring").chmod(0o600)
    assert b"FAIL" not in cli("doctor").stdout


def test_the_doctor_says_why_an_archive_does_not_open(cli: Run) -> None:
    cli("migrate")
    (cli.data.parent / "archive-keyring").rename(cli.data.parent / "away")
    findings = cli.json("doctor", code=1)["findings"]
    assert findings[0]["check"] == "start"
    assert "keyring is missing" in findings[0]["what"]
    assert "keyring is missing" in cli("days", code=1).stderr.decode()


def test_a_keyring_whose_data_is_gone_is_no_keyring_for_a_new_archive(cli: Run, directory: Path) -> None:
    cli("load", "--directory", str(directory))
    cli.data.rename(cli.data.parent / "away")
    assert b"data it belongs to is missing" in cli("migrate", code=1).stderr


def test_a_shelf_is_indexed_anew_and_one_that_is_none_is_not_found(cli: Run, directory: Path, yesterday: str) -> None:
    cli("load", "-", "--directory", str(directory), "--wait", stdin=texts(5, yesterday))
    assert cli.json("rebuild") == {"shelves": 1, "texts": 5}
    assert cli.json("rebuild", "--shelf", yesterday) == {"shelves": 1, "texts": 5}
    assert b"no shelf" in cli("rebuild", "--shelf", "2001-01-01", code=1).stderr


def test_two_archives_never_have_one_keyring_or_one_database_at_once(cli: Run, tmp_path: Path) -> None:
    own = {"keyring_url": f"file://{tmp_path}/ring", "database_url": f"sqlite:///{tmp_path}/db/texts.db"}
    cli("migrate", **own)
    process = cli.start("up", "--port", "0", "--json", **own)
    try:
        assert process.stdout.readline()
        other = type(cli)(tmp_path / "other")
        assert b"this keyring open" in other("migrate", code=3, **own).stderr
        own["keyring_url"] = f"file://{tmp_path}/ring-2"
        assert b"this database open" in other("migrate", code=3, **own).stderr
    finally:
        process.terminate()
        process.communicate()


def test_a_load_that_breaks_off_says_what_is_stored(
    cli: Run, directory: Path, yesterday: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("load", "--directory", str(directory))
    call, sent = Client.call, []

    def breaking(client: Client, method: str, path: str, **more: Any) -> Any:
        sent.append(path)
        if sent.count("/v1/texts") == 3:
            raise Outage("the service does not answer")
        return call(client, method, path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "call", breaking)
        done = cli("load", "-", stdin=texts(2_500, yesterday), code=3)
    assert b"2,000 records were acknowledged and are stored" in done.stderr
    again = cli.json("load", "-", stdin=texts(2_500, yesterday))
    assert (again["duplicates"], again["accepted"]) == (2_000, 500)
