"""No word, number, user or message id is found in any file that the archive leaves anywhere, at any moment of its life.

One archive lives through all of it; at each moment every byte below its world is looked at (tests/whole/canaries.py).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.housing import SetClock
from tests.whole.canaries import FOREIGN, MARK, NUMBERS, QUOTED, Sighting, phone, scan, scan_process, user_id, word
from tests.whole.commanding import Up, World, up
from tests.whole.living import ORG, STREAM, WHY, living, location, organisation, register, stream, user
from tests.whole.provoking import (
    ask,
    break_off,
    broken_directory,
    canary_text,
    push,
    refusals,
    set_aside,
    too_late,
)
from textkeep.archive.shelf import Day

NOW: Final = datetime.now(UTC)
THEN: Final = datetime.combine(NOW.date() - timedelta(days=2), time(20), UTC)
"""When the archive was last open: two days are due since, and the guards ask for a person's word."""

GOING: Final = (Day.of(THEN).plus(-400), Day.of(THEN).plus(-399))
"""The days that are due."""

RECENT: Final = NOW - timedelta(days=3)

MOMENTS: Final = (
    "loaded",
    "while loading",
    "searched and read",
    "after failing requests",
    "after commands",
    "stopped",
    "killed while loading",
    "started again",
    "purged",
    "purged, and the index made anew",
    "stopped at the end",
)


@dataclass
class Watch:
    """What was seen at each moment, and how much there was to be seen."""

    world: World
    seen: dict[str, list[Sighting]] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    statuses: list[tuple[str, int, int]] = field(default_factory=list)
    findable_then: int = 0
    findable: int = 0
    left: int = 0
    states: set[str] = field(default_factory=set)

    def look(self, moment: str, service: Up | None = None) -> None:
        """Look at every byte."""
        assert moment in MOMENTS
        files = [path for path in self.world.base.rglob("*") if path.is_file()]
        self.bytes[moment] = sum(path.stat().st_size for path in files)
        self.seen[moment] = scan(self.world.base) + (scan_process(service.pid) if service else [])


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    watch = Watch(World.make(tmp_path_factory.mktemp("canaries") / "world"))
    load_then(watch)
    watch.look("loaded")
    with up(watch.world) as service:
        load_now(watch, service)
        search_and_read(watch, service)
        watch.look("searched and read", service)
        provoke(watch, service)
        watch.look("after failing requests", service)
        run_commands(watch.world)
        service.wait_until_findable()
        watch.look("after commands", service)
    watch.look("stopped")
    kill_while_loading(watch.world)
    watch.look("killed while loading")
    with up(watch.world) as service:
        service.wait_until_findable()
        watch.look("started again", service)
        purge(watch, service)
        watch.look("purged", service)
        assert watch.world.run("rebuild", "--shelf", Day.of(NOW).plus(-20).shelf).returncode == 0
        watch.look("purged, and the index made anew", service)
    watch.look("stopped at the end")
    watch.world.log()
    return watch


def load_then(watch: Watch) -> None:
    """Two days ago: the directory, and texts of the two days that are due now and of others."""
    last_hours = [day.end() - timedelta(minutes=1 + number * 2) for day in GOING for number in range(50)]
    others = [THEN - timedelta(days=number) for number in range(1, 301)]
    with living(watch.world.data, SetClock(THEN)) as life:
        life.archive.mark.tick()
        register(life.archive, [organisation(), location()])
        register(life.archive, [user(user_id(number), phone(number)) for number in range(NUMBERS)])
        records = [canary_text(number, moment) for number, moment in enumerate(last_hours + others)]
        push(life.client("producer"), "stream", records)
        aside = b"\n".join(set_aside(last_hours[0], THEN + timedelta(days=1)))
        life.client("producer").post("/v1/texts", content=aside, headers={"Content-Type": STREAM}).raise_for_status()
        life.follow()
        watch.findable_then = len(list(pages(life.client("officer"), '"Dear"')))


def load_now(watch: Watch, service: Up) -> None:
    """Texts through every door, and everything that is set aside."""
    with service.local() as client:
        for form, numbers in (("event", range(400, 420)), ("batch", range(420, 650)), ("stream", range(650, 900))):
            push(client, form, [canary_text(number, NOW - timedelta(hours=number)) for number in numbers])
        watch.look("while loading", service)
        lines = [*set_aside(RECENT, NOW + timedelta(days=3)), too_late(NOW)]
        answer = client.post("/v1/texts", content=b"\n".join(lines), headers={"Content-Type": STREAM})
        receipt = answer.raise_for_status().json()
        assert (receipt["read"], receipt["quarantined"], receipt["refused"]) == (len(lines), len(lines) - 1, 1)
    service.wait_until_findable()


def search_and_read(watch: Watch, service: Up) -> None:
    """Searches of every kind; what is found proves that the canaries are there to be leaked."""
    with service.officer() as officer:
        every = list(pages(officer, f'{word(0)} OR {word(1)} OR "Dear" -{word(2)}'))
        watch.findable = len({text["text_id"] for text in every})
        for query in (word(401), f"{word(402)[:12]}*", f"with:{phone(403)}", f"user:{user_id(404)}", f"{FOREIGN}402"):
            assert list(pages(officer, query)), query
        for text in every[:10]:
            for path in (f"/v1/texts/{text['text_id']}", f"/v1/texts/{text['text_id']}/conversation"):
                told = officer.get(path, headers={"Textkeep-Reason": f"matter {MARK} {phone(5)}"}).raise_for_status()
                assert MARK in told.text
        listed = officer.get("/v1/quarantine", headers=WHY).raise_for_status().json()["items"]
        for item in listed[:5]:
            officer.get(f"/v1/quarantine/{item['shelf']}/{item['paper_id']}", headers=WHY).raise_for_status()


def pages(officer: Any, query: str) -> Iterable[dict[str, Any]]:
    asked = {"query": query, "reason": f"matter {MARK} of {phone(1)}", "org_id": ORG, "limit": 200}
    while True:
        page = officer.post("/v1/searches", json=asked).raise_for_status().json()
        yield from page["results"]
        if page["cursor"] is None:
            return
        asked["cursor"] = page["cursor"]


def provoke(watch: Watch, service: Up) -> None:
    """Everything that is refused."""
    tokens = {"local": service.secret}
    with service.local() as client:
        for role in ("producer", "officer", "auditor", "registrar", "stranger"):
            wanted: dict[str, Any] = {"roles": [role], "person": f"{role} {MARK}"}
            if role == "stranger":
                client.put("/v1/orgs/org-002", json=organisation("org-002")).raise_for_status()
                wanted = {**wanted, "roles": ["producer"], "orgs": ["org-002"]}
            tokens[role] = client.post("/local/tokens", json=wanted).raise_for_status().json()["token"]
        told = client.post("/v1/directory", content=b"\n".join(broken_directory()), headers={"Content-Type": STREAM})
        counts = told.raise_for_status().json()
        assert counts["refused"] == counts["read"] > 0
        assert MARK not in told.text
    for asked in refusals():
        watch.statuses.append((f"{asked.method} {asked.path}", asked.status, ask(service, tokens, asked)))
    break_off(service)
    with service.client(tokens["auditor"]) as auditor:
        told = auditor.get("/v1/activity", params={"day": datetime.now(UTC).date().isoformat()}).raise_for_status()
        assert MARK in told.text


def run_commands(world: World) -> None:
    """The same by the command line, with the canaries on standard input."""
    feed = b"\n".join(
        (*set_aside(RECENT, NOW + timedelta(days=3)), stream([canary_text(900, NOW - timedelta(days=1))]).strip())
    )
    loaded = world.run("load", "-", "--json", stdin=feed)
    assert json.loads(loaded.stdout)["accepted"] == 1
    assert world.run("load", "--directory", "-", "--json", stdin=b"\n".join(broken_directory())).returncode == 1
    for query, code in ((word(901), 0), (f'{QUOTED} "{word(902)} (', 1)):
        words = ("search", "-", "--org", ORG, "--reason", "a test", "--json")
        assert world.run(*words, stdin=query.encode(), keep=False).returncode == code
    assert world.run("doctor").returncode in (0, 1)
    assert world.run("ledger", "--json").returncode == 0


def kill_while_loading(world: World) -> None:
    """The write-ahead logs of database and index stay behind."""
    process = world.begin()
    service = process.listening()
    with service.local() as client:
        for start in range(901, NUMBERS, 10):
            numbers = range(start, min(start + 10, NUMBERS))
            push(client, "stream", [canary_text(number, NOW - timedelta(hours=number)) for number in numbers])
    process.kill()


def purge(watch: Watch, service: Up) -> None:
    """Destroy the days that are due: a third one where midnight has passed since this began."""
    foreseen = json.loads(watch.world.run("purge", "--dry-run", "--json").stdout)
    assert foreseen["stopped"] == "clock-ahead"
    assert {day.shelf for day in GOING} <= {day["day"] for day in foreseen["days"]}
    done = watch.world.run("purge", "--confirm-days", str(len(foreseen["days"])), "--json")
    told = json.loads(done.stdout)
    assert told["stopped"] is None, told
    watch.states = {day["state"] for day in told["days"]}
    with service.officer() as officer:
        watch.left = len(list(pages(officer, '"Dear"')))


@pytest.mark.parametrize("moment", MOMENTS)
def test_no_canary_is_found(watch: Watch, moment: str) -> None:
    assert watch.seen[moment][:10] == []
    assert watch.bytes[moment] > 10_000_000


def test_every_canary_was_there_to_be_found(watch: Watch) -> None:
    assert watch.findable_then == 400
    assert watch.findable == 900 - 100
    assert watch.left == NUMBERS - 100
    assert watch.states == {"reported"}


def test_every_failing_request_got_the_refusal_that_it_must(watch: Watch) -> None:
    assert [asked for asked in watch.statuses if asked[1] != asked[2]] == []
    assert {status for _, status, _ in watch.statuses} == {400, 401, 403, 404, 405, 409, 413, 415, 422}


def test_the_logs_that_were_looked_at_are_those_of_the_whole_run(watch: Watch) -> None:
    events = [event["event"] for event in watch.world.log()]
    assert events.count("listening") == 3
    assert events.count("stopped") == 2
    assert list(Path(watch.world.temporary).iterdir()) == []
