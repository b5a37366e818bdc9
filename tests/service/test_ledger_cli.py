"""`textkeep ledger`: exported, refused after a restore, put back, resumed by two persons; its key changed."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import Cli
from textkeep.access.principal import Principal
from textkeep.ledger.note import Checkpoint, Verifier, opened, parse
from textkeep.retention.approvals.approval import Kind
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive whose entries a purge has had signed, without a service."""
    cli = Cli(tmp_path_factory.mktemp("prepared") / "archive")
    cli("migrate")
    for person in ("ada", "grace", "joan"):
        cli("token", "create", "--role", "auditor", "--for", person)
    cli("purge")
    return cli.data.parent


@pytest.fixture
def signed(prepared: Path, tmp_path: Path) -> Cli:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return Cli(tmp_path / "archive")


def agreed(cli: Cli, kind: Kind, request: dict[str, Any]) -> str:
    """The id of what one person asked for and another one approved."""
    with closing(Archive.open(Settings(data=cli.data))) as archive:
        asked = archive.approvals.put(archive.local, kind, "ledger", {**request, "reason": "as agreed"}, None)
        other = Principal(b"another!", "t-1", frozenset({"approver"}), None)
        archive.approvals.decide(other, asked.id, "approved", asked.digest)
        return asked.id


def lose_from(cli: Cli, place: int) -> None:
    with closing(sqlite3.connect(cli.data / "textkeep.db")) as connection, connection:
        connection.execute("DELETE FROM ledger_entries WHERE leaf_index >= ?", (place,))


def test_a_purge_without_a_service_signs_what_it_stands_on(signed: Cli) -> None:
    told = signed.json("ledger", "status")
    assert told["signed"] == told["published"] >= 3
    assert (told["refused"], told["time"]) == (None, "host clock only")
    assert signed.json("ledger", "key")["key"] == told["key"]
    entries = signed.json("ledger")["entries"]
    assert [each["index"] for each in entries][: told["signed"]] == list(range(told["signed"]))


def test_a_database_that_lost_entries_is_refused_put_back_and_resumed_by_two(signed: Cli, tmp_path: Path) -> None:
    told = signed.json("ledger", "export", str(tmp_path / "log"))
    assert told["size"] == signed.json("ledger", "status")["signed"]
    lose_from(signed, told["size"] - 2)
    stopped = signed("purge", "--json", code=1)
    assert b'"stopped": "ledger-forked"' in stopped.stdout
    status = signed.json("ledger", "status")
    assert "signed entries" in status["refused"]
    signed("token", "create", "--role", "auditor", "--for", "still taken")
    assert signed("ledger", "resume", "--approval", "a-0123456789abcdef", code=1).stderr

    assert signed.json("ledger", "import", str(tmp_path / "log"))["entries"] == 2
    assert b'"stopped": "ledger-forked"' in signed("purge", "--json", code=1).stdout
    approval = agreed(signed, "resume", {"refused_at": status["refused_at"]})
    resumed = signed.json("ledger", "resume", "--approval", approval)
    assert (resumed["refused"], resumed["waiting"]) == (None, 0)
    signed("purge")
    [entry] = [each for each in signed.json("ledger")["entries"] if each["kind"] == "restore"]
    assert entry["body"]["approval"] == approval


def test_the_key_is_changed_without_a_service_too(signed: Cli) -> None:
    old = signed.json("ledger", "key")["key"]
    told = signed.json("ledger", "key", "--rotate", "--approval", agreed(signed, "ledger-key", {"old": old}))
    assert told["old"] == old != told["key"] == signed.json("ledger", "key")["key"]
    assert len((signed.data.with_name("archive-keyring") / "ledger-key").read_text().splitlines()) == 1


def test_an_export_is_signed_by_the_key_that_is_shown(signed: Cli, tmp_path: Path) -> None:
    signed("ledger", "export", str(tmp_path / "log"))
    note = parse((tmp_path / "log" / "checkpoint").read_bytes())
    opened(note, [Verifier.parse((tmp_path / "log" / "key").read_text())])
    assert Checkpoint.parse(note.text).size >= 3
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "checkpoint").write_text("nothing")
    assert b"another log" in signed("ledger", "export", str(tmp_path / "other"), code=1).stderr


def test_without_its_key_nothing_is_signed_or_purged(signed: Cli) -> None:
    (signed.data.with_name("archive-keyring") / "ledger-key").unlink()
    assert b'"stopped": "ledger-key-missing"' in signed("purge", "--json", code=1).stdout


def test_what_is_asked_for_twice_at_once_is_usage(signed: Cli) -> None:
    assert signed("ledger", "witnesses", "--add", "a", "--remove", "b", code=2).stderr
    assert signed.json("ledger", "witnesses") == {"witnesses": []}
