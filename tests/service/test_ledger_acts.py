"""`textkeep ledger`, as two persons type it: another key, witnesses, going on after a refusal and after a loss."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import delete, select

from tests.housing import SetClock
from tests.service.conftest import Cli, bearer
from tests.service.serving import approved, days_back, refused_to_me, served, tokens
from textkeep.ledger.cosignature import Cosigner
from textkeep.service.running import Running
from textkeep.store.tables import ledger_entries


@dataclass
class Ledger:
    """An archive that answers, and who types at it."""

    cli: Cli
    running: Running
    clock: SetClock
    tokens: dict[str, str]

    def ask(self, *words: str) -> dict[str, Any]:
        """Ask as whoever has the files; nobody can approve it themselves."""
        asked: dict[str, Any] = self.cli.json("ledger", *words, "--reason", f"as agreed, {' '.join(words)[:40]}")
        return asked

    def approve(self, asked: dict[str, Any]) -> dict[str, Any]:
        return approved(self.cli, asked["id"], self.tokens["approver"])

    def refused(self, *words: str, code: int = 1) -> bytes:
        return self.cli("ledger", *words, code=code).stderr

    def key(self) -> str:
        found: str = self.cli.json("ledger", "key")["key"]
        return found

    def figures(self) -> dict[str, float]:
        told = self.running.archive.metrics.render().decode()
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(told)
            for sample in family.samples
            if sample.name.startswith("textkeep_ledger")
        }

    def findings(self) -> dict[str, tuple[str, str]]:
        told = json.loads(self.cli("doctor", "--json", code=None).stdout)["findings"]
        return {each["check"]: (each["verdict"], each["what"]) for each in told}

    def says(self, kind: str) -> list[dict[str, Any]]:
        return [each["body"] for each in self.cli.json("ledger")["entries"] if each["kind"] == kind]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """An archive that was begun two days ago, and has purged a day and signed since."""
    cli = Cli(tmp_path_factory.mktemp("acts") / "archive")
    now = datetime.now(UTC)
    clock = days_back(2, now)
    with served(cli, clock) as running:
        known = tokens(cli)
        clock.forward(days=1)
        cli("purge")
        clock.now = now
        yield Ledger(cli, running, clock, known)


def test_the_key_is_changed_by_two_persons_once_and_for_the_key_that_they_saw(ledger: Ledger) -> None:
    old = ledger.key()
    asked, other = ledger.ask("key", "--rotate"), ledger.cli.json("ledger", "key", "--rotate", "--reason", "yearly")
    assert refused_to_me(ledger.cli, asked, ledger.tokens["me"])
    assert b"nobody has approved it" in ledger.refused("key", "--rotate", "--approval", asked["id"])
    shown = ledger.cli("approvals", "show", asked["id"], token=ledger.tokens["approver"])
    assert old.encode() in shown.stdout
    assert f"--digest {asked['digest']}".encode() in shown.stderr
    ledger.approve(asked)
    ledger.approve(other)
    told = ledger.cli.json("ledger", "key", "--rotate", "--approval", asked["id"])
    assert told["old"] == old != told["key"] == ledger.key()
    assert b"was done already" in ledger.refused("key", "--rotate", "--approval", asked["id"])
    assert b"not what would be done now" in ledger.refused("key", "--rotate", "--approval", other["id"])
    assert ledger.key() == told["key"]
    [change] = ledger.says("key-change")
    assert change["approval"] == asked["id"]
    assert change["asked_by"] != change["approved_by"]


def test_witnesses_come_and_go_by_two_persons(ledger: Ledger) -> None:
    key = str(Cosigner.generate("firm.example/w1").witness)
    assert b"that is no witness's key" in ledger.refused("witnesses", "--add", "nonsense", "--reason", "x", code=2)
    assert b"no witness of this ledger" in ledger.refused("witnesses", "--remove", key, "--reason", "x", code=2)
    asked = ledger.ask("witnesses", "--add", key)
    same = ledger.cli.json("ledger", "witnesses", "--add", key, "--reason", "again")
    assert refused_to_me(ledger.cli, asked, ledger.tokens["me"])
    assert ledger.cli.json("ledger", "witnesses") == {"witnesses": []}
    assert ledger.approve(asked)["effect"] == {"did": "added", "witness": "firm.example/w1"}
    twice = ("approvals", "approve", asked["id"], "--digest", asked["digest"])
    assert b"decided already" in ledger.cli(*twice, code=1, token=ledger.tokens["approver"]).stderr
    twice = ("approvals", "approve", same["id"], "--digest", same["digest"])
    assert b"is, or was, there" in ledger.cli(*twice, code=1, token=ledger.tokens["approver"]).stderr
    assert b"is, or was, there" in ledger.refused("witnesses", "--add", key, "--reason", "x", code=2)
    [told] = ledger.cli.json("ledger", "witnesses")["witnesses"]
    assert (told["name"], told["until"], told["cosigned"]) == ("firm.example/w1", None, None)
    assert ledger.approve(ledger.ask("witnesses", "--remove", key))["effect"]["did"] == "removed"
    assert [each["did"] for each in ledger.says("witness-change")] == ["added", "removed"]


def test_a_request_without_a_reason_or_without_a_deed_is_refused(ledger: Ledger) -> None:
    assert b"reason" in ledger.refused("key", "--rotate")
    assert b"(--rotate)" in ledger.refused("key", "--approval", "a-0123456789abcdef", code=2)
    assert b"--lost alone" in ledger.refused("key", "--rotate", "--lost", code=2)
    assert b"nothing is refused" in ledger.refused("resume", "--reason", "x")
    assert b"nothing is refused" in ledger.refused("resume", "--approval", "a-0123456789abcdef")
    assert b"the key is there" in ledger.refused("key", "--lost", "--reason", "x", code=2)


def break_off(ledger: Ledger) -> int:
    """Take the last signed entry out behind the ledger's back; gives how many were signed."""
    size: int = ledger.cli.json("ledger", "status")["signed"]
    with ledger.running.archive.store.transaction() as connection:
        connection.execute(delete(ledger_entries).where(ledger_entries.c.leaf_index == size - 1))
    return size


def test_a_refusal_is_told_by_the_doctor_and_ended_by_two_persons_for_that_refusal_alone(
    ledger: Ledger, tmp_path: Path
) -> None:
    ledger.cli("purge")
    ledger.cli("ledger", "export", str(tmp_path / "log"))
    size = break_off(ledger)
    assert b'"stopped": "ledger-forked"' in ledger.cli("purge", "--json", code=1).stdout
    verdict, what = ledger.findings()["ledger"]
    assert (verdict, f"{size - 1} of {size} signed entries" in what) == ("fail", True)
    assert ledger.figures()["textkeep_ledger_refused"] == 1
    asked = ledger.ask("resume")
    other = ledger.cli.json("ledger", "resume", "--reason", "for later")
    assert refused_to_me(ledger.cli, asked, ledger.tokens["me"])
    ledger.approve(asked)
    ledger.approve(other)
    assert b"signed entries" in ledger.refused("resume", "--approval", asked["id"])
    ledger.cli("ledger", "import", str(tmp_path / "log"))
    assert ledger.cli.json("ledger", "resume", "--approval", asked["id"])["refused"] is None
    assert b"nothing is refused" in ledger.refused("resume", "--approval", asked["id"])
    assert ledger.findings()["ledger"][0] == "ok"
    assert ledger.figures()["textkeep_ledger_refused"] == 0

    ledger.cli("ledger", "export", str(tmp_path / "log"))
    ledger.clock.forward(seconds=1)
    break_off(ledger)
    ledger.cli("purge", code=1)
    ledger.cli("ledger", "import", str(tmp_path / "log"))
    assert b"not what would be done now" in ledger.refused("resume", "--approval", other["id"])
    again = ledger.ask("resume")
    ledger.approve(again)
    ledger.cli("ledger", "resume", "--approval", again["id"])
    assert [each["approval"] for each in ledger.says("restore")] == [asked["id"], again["id"]]


def test_a_lost_key_stops_everything_until_two_persons_begin_a_new_one_and_auditors_see_it(
    ledger: Ledger, tmp_path: Path
) -> None:
    old, file = ledger.key(), ledger.cli.data.with_name("archive-keyring") / "ledger-key"
    copied = file.read_bytes()
    file.unlink()
    assert b'"stopped": "ledger-key-missing"' in ledger.cli("purge", "--json", code=1).stdout
    assert ledger.findings()["ledger key"][0] == "fail"
    assert ledger.figures()["textkeep_ledger_key_missing"] == 1
    ledger.clock.forward(hours=2)  # the same attempt of the same person is on record once an hour
    file.write_bytes(copied)  # the copy that the operator keeps is all that it takes
    ledger.cli("purge")
    assert ledger.figures()["textkeep_ledger_key_missing"] == 0
    file.unlink()

    asked, other = ledger.ask("key", "--lost"), ledger.cli.json("ledger", "key", "--lost", "--reason", "for later")
    rotation = ledger.ask("key", "--rotate", "--json")
    assert refused_to_me(ledger.cli, asked, ledger.tokens["me"])
    assert b"nobody has approved it" in ledger.refused("key", "--lost", "--approval", asked["id"])
    for each in (asked, other, rotation):
        ledger.approve(each)
    assert b"not what would be done now" in ledger.refused("key", "--lost", "--approval", rotation["id"])
    assert not file.exists()
    told = ledger.cli.json("ledger", "key", "--lost", "--approval", asked["id"])
    assert told["lost"] == old != told["key"] == ledger.key()
    assert ledger.findings()["ledger key"][0] == "ok"
    assert b"the ledger's key is there" in ledger.refused("key", "--lost", "--approval", other["id"])

    ledger.clock.forward(days=1)
    [day] = ledger.cli.json("purge")["days"]
    report = ledger.cli.data / "reports" / f"{day['day']}.json"
    ledger.cli("ledger", "export", str(tmp_path / "log"))
    asked_for = ("verify", str(report), "--ledger", str(tmp_path / "log"))
    alone = ledger.cli(*asked_for, "--key", old, code=1).stdout
    assert b"was lost" in alone
    assert told["key"].encode() in alone
    both = ledger.cli(*asked_for, "--key", old, "--key", told["key"])
    assert b"no proof connects it" in both.stdout


def test_key_and_state_that_are_both_lost_come_back_by_the_key_that_auditors_know(ledger: Ledger) -> None:
    old, folder = ledger.key(), ledger.cli.data.with_name("archive-keyring")
    for name in ("ledger-key", "ledger"):
        shutil.move(folder / name, folder.with_name(f"lost-{name}"))
    assert b'"stopped": "ledger-key-missing"' in ledger.cli("purge", "--json", code=1).stdout
    assert ledger.findings()["ledger key"][0] == "fail"
    assert b"(--old)" in ledger.refused("key", "--lost", "--reason", "x", code=2)
    stranger = str(Cosigner.generate("x.example").witness)
    assert b"not signed by that key" in ledger.refused("key", "--lost", "--old", stranger, "--reason", "x")
    asked = ledger.ask("key", "--lost", "--old", old)
    ledger.approve(asked)
    assert ledger.cli.json("ledger", "key", "--lost", "--approval", asked["id"])["lost"] == old
    assert ledger.cli.json("purge")["stopped"] is None


def test_figures_and_findings_tell_what_waits(ledger: Ledger) -> None:
    ledger.cli("purge")
    assert ledger.figures()["textkeep_ledger_waiting_entries"] == 0
    ledger.cli("token", "create", "--role", "auditor", "--for", "another")
    ledger.clock.forward(seconds=90)
    figures = ledger.figures()
    assert (figures["textkeep_ledger_waiting_entries"], figures["textkeep_ledger_waiting_seconds"]) == (1, 90)
    assert figures["textkeep_ledger_checkpoint_age_seconds"] >= 90
    assert (figures["textkeep_ledger_witnesses"], "textkeep_ledger_witness_age_seconds" in figures) == (0, False)
    assert ledger.findings()["ledger"] == ("warn", "1 entries wait to be signed, the oldest for 90 s")
    ledger.cli("purge")
    assert ledger.figures()["textkeep_ledger_waiting_seconds"] == 0
    with ledger.running.archive.store.reading() as connection:
        assert connection.execute(select(ledger_entries).where(ledger_entries.c.leaf_index.is_(None))).first() is None


def test_a_witness_is_heard_over_http_once_two_persons_added_it_and_a_purge_waits_for_it(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*words: str, code: int = 0) -> Any:
        own = ("ledger", "witness", "--state", str(tmp_path / "state"), "--key", str(tmp_path / "key"), *words)
        return json.loads(ledger.cli(*own, "--json", code=code, token=ledger.tokens["auditor"]).stdout)

    url = ("--url", ledger.running.listening.near_url, "--log-key", ledger.key())
    key = look("--new-key", "--name", "firm.example/w2")["key"]
    stranger = look(*url, code=1)
    assert (stranger["handed_in"], "no witness of this ledger" in stranger["not_handed_in"]) == (False, True)
    ledger.approve(ledger.ask("witnesses", "--add", key))
    ledger.cli("purge")
    assert ledger.cli.json("ledger", "status")["cosigned_by"] == []

    monkeypatch.setattr(ledger.running.archive.purge._awaiting, "_witness_patience", 0.0)
    ledger.clock.forward(days=1)
    stopped = json.loads(ledger.cli("purge", "--json", code=1).stdout)
    assert (stopped["stopped"], [day["state"] for day in stopped["days"]]) == ("not-witnessed", ["kept"])
    assert "textkeep ledger witness" in stopped["remedy"]
    seen = look(*url)
    assert (seen["handed_in"], seen["findings"]) == (True, [])
    status = ledger.cli.json("ledger", "status")
    assert (status["cosigned_by"], status["published"]) == (["firm.example/w2"], seen["size"])
    assert ledger.figures()["textkeep_ledger_witnesses"] == 1
    [day] = ledger.cli.json("purge")["days"]
    assert day["state"] == "reported"

    look(*url)
    report, proof = tmp_path / f"{day['day']}.json", tmp_path / f"{day['day']}.tlog-proof"
    ledger.cli("report", day["day"], "--output", str(report))
    ledger.cli("report", day["day"], "--proof", "--output", str(proof))
    told = json.loads(report.read_bytes())
    assert told["witnesses"] == {"set": ["firm.example/w2"], "cosigned": ["firm.example/w2"]}
    verified = ledger.cli("verify", str(report), "--key", ledger.key(), "--witness", key).stdout
    assert b"firm.example/w2 at " in verified
    ledger.clock.forward(hours=27)
    assert ledger.findings()["witnesses"][0] == "fail"
    assert ledger.figures()["textkeep_ledger_witness_age_seconds"] > 26 * 3600


def test_nobody_asks_for_these_acts_who_is_no_operator(ledger: Ledger) -> None:
    body = {"kind": "ledger-key", "subject": "ledger", "reason": "x", "request": {"old": ledger.key()}}
    with httpx.Client(base_url=ledger.running.listening.url) as client:
        for role in ("auditor", "approver"):
            said = client.post("/v1/approvals", json=body, headers=bearer(ledger.tokens[role]))
            assert (said.status_code, said.json()["type"]) == (403, "/problems/forbidden")
