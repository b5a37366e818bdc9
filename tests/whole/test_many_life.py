"""One text's whole life on PostgreSQL, OpenSearch and Kafka: accepted, found, read, purged, and nowhere to be seen.

The tests stand in the order of that life, on one archive of four processes.
"""

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from tests.engines import need
from tests.engines.opensearch import OpenSearchNodes
from tests.engines.postgres import PostgresServer
from tests.engines.topics import topics
from tests.housing import SetClock
from tests.service.many import Many
from tests.whole.bruteforce import Asked, BruteForce
from tests.whole.canaries import MARK, phone, user_id, word
from tests.whole.feeding import feed
from tests.whole.living import ORG, STREAM, WHY, location, organisation, register, stream, user
from tests.whole.many_archives import in_vault, migrated, private
from tests.whole.many_life import Life, Streaming, in_logs
from tests.whole.provoking import canary_text, push
from textkeep.archive.shelf import Day
from textkeep.service.wiring import Archive

NOW: Final = datetime.now(UTC)
THEN: Final = datetime.combine(NOW.date() - timedelta(days=2), time(20), UTC)
"""When the first texts came: two days are due since, and the guards ask for a person's word."""

GOING: Final = (Day.of(THEN).plus(-400), Day.of(THEN).plus(-399))
USERS: Final = 300
OLD: Final = 100
"""Texts of the days that are due."""

TEXTS: Final = 2_000
SEARCHED: Final = ("org-002", "org-003")
"""Organisations with real texts alone."""


@pytest.fixture(scope="module")
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """An archive that had texts two days ago, and whose four processes run now."""
    folder = tmp_path_factory.mktemp("life")
    with (
        private(request, PostgresServer) as server,
        private(request, OpenSearchNodes, 1) as nodes,
        topics(need(request, "kafka").address) as kafka,
        ExitStack() as opened,
    ):
        shared = migrated(server, server, folder / "archive", f"{nodes.address}/life")
        token = then(shared.service)
        topic = kafka.make(2, retention_ms="3600000", segment_ms="3600000")
        (folder / "tmp").mkdir()
        more = {
            "TEXTKEEP_KAFKA_BROKERS": kafka.address,
            "TEXTKEEP_KAFKA_TOPIC": topic,
            "TEXTKEEP_TOKEN": token,
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp")),
        }
        many = Many(Streaming(shared.owner, shared.service, shared.role, more), opened)
        made = Life(folder, server, nodes, kafka, topic, many, token)
        made.look("loaded two days ago")
        made.start()
        yield made


def then(settings: Any) -> str:
    """Two days ago: the directory, texts of the days that are due now; gives a token with every role it needs."""
    clock = SetClock(THEN)
    with closing(Archive.open(settings, clock)) as archive:
        archive.mark.tick()
        register(archive, [organisation(), location()])
        register(archive, [user(user_id(number), phone(number)) for number in range(USERS)])
        moments = [GOING[number % 2].end() - timedelta(minutes=1 + number) for number in range(OLD)]
        lines = [json.dumps(canary_text(number, moment)).encode() for number, moment in enumerate(moments)]
        (receipt,) = archive.intake.take(archive.local, [lines])
        assert receipt.accepted == OLD, receipt
        while archive.follower.step():
            continue
        (found,) = archive.finder.find(
            archive.tokens.authenticate(officer(archive)),
            word(1),
            reason="is it there to be destroyed",
            org=archive.organisations.all()[ORG],
            limit=2,
            cursor=None,
        ).results
        assert found.id.day == GOING[1].date
        roles = ["producer", "officer", "auditor", "registrar", "operator"]
        return archive.tokens.create(person="a test", roles=roles, orgs=None, by=archive.local)[0]


def officer(archive: Archive) -> str:
    """The token of an officer."""
    return archive.tokens.create(person="an officer", roles=["officer"], orgs=None, by=archive.local)[0]


def recent(number: int, changed: dict[str, Any] | None = None) -> dict[str, Any]:
    """A text of the last few days."""
    return canary_text(number, NOW - timedelta(minutes=10 + 7 * number), changed)


def test_texts_are_taken_over_http_and_from_the_topic_and_found(life: Life) -> None:
    with life.api.client(life.token) as client:
        push(client, "stream", [recent(number) for number in range(OLD, 180)])
        push(client, "batch", [recent(number) for number in range(180, 200)])
    life.produce([json.dumps(recent(number)).encode() for number in range(200, 280)])
    assert life.receipts() == {
        "read": 280,
        "accepted": 280,
        **dict.fromkeys(("versions", "duplicates", "quarantined", "refused"), 0),
    }
    assert len(life.search('"Dear"', ORG)) == 280 - OLD, "what is past its 400 days is not found, purged or not"
    for number in (100, 150, 190, 250):
        (found,) = life.search(word(number), ORG)
        assert (found["from"], found["user_id"]) == (phone(number), user_id(number))
        assert len(life.search(f"{word(number)[:12]}*", ORG)) == 1
    life.look("loaded")


def test_what_is_sent_again_is_a_duplicate_or_a_version_whichever_way_it_came(life: Life) -> None:
    before = life.receipts()
    life.produce([json.dumps(recent(number)).encode() for number in (150, 250)])
    changed = {"body": f"Dear {word(281)}, it is another one"}
    life.produce([json.dumps(recent(151, changed)).encode(), json.dumps(recent(152, {"channel": "mms"})).encode()])
    with life.api.client(life.token) as client:
        again = client.post("/v1/texts", content=stream([recent(251)]), headers={"Content-Type": STREAM})
        assert [item["outcome"] for item in again.raise_for_status().json()["items"]] == ["duplicate"]
    life.findable()
    after = life.receipts()
    told = {name: after[name] - before[name] for name in after}
    assert told == {"read": 5, "accepted": 0, "versions": 1, "duplicates": 3, "quarantined": 1, "refused": 0}
    (first,), (second,) = life.search(word(151), ORG), life.search(word(281), ORG)
    assert (first["version"], second["version"]) == (1, 2)
    assert "rewritten" in first["flags"]
    assert "rewritten" in second["flags"]


def test_a_text_is_read_for_a_reason_and_that_is_on_record(life: Life) -> None:
    (found,) = life.search(word(250), ORG)
    reason = f"matter {MARK} of {phone(250)}"
    with life.api.client(life.token) as client:
        path = f"/v1/texts/{found['text_id']}"
        assert client.get(path).status_code == 400
        shown = client.get(path, headers={"Textkeep-Reason": reason}).raise_for_status().json()
        assert shown["body"] == found["body"]
        client.get(f"{path}/conversation", headers=WHY).raise_for_status()
        day = datetime.now(UTC).date().isoformat()
        recorded = client.get("/v1/activity", params={"day": day}).raise_for_status().text
    assert reason in recorded
    assert word(250) in recorded
    life.look("searched and read")


def test_search_finds_exactly_what_a_brute_force_scan_of_real_texts_finds(life: Life, shared: Path) -> None:
    with life.api.client(life.token) as client:
        people = b"\n".join(feed(shared, "--directory", "--orgs", "3"))
        told = client.post("/v1/directory", content=people, headers={"Content-Type": STREAM})
        assert told.raise_for_status().json()["refused"] == 0
        lines = feed(shared, "--texts", str(TEXTS), "--days", "40", "--orgs", "3")
        half = b"\n".join(lines[: TEXTS // 2])
        receipt = client.post("/v1/texts", content=half, headers={"Content-Type": STREAM}).raise_for_status().json()
        assert receipt["accepted"] == TEXTS // 2
    life.produce(lines[TEXTS // 2 :])
    force, chance = BruteForce(lines, life.ids_of(lines)), random.Random(TEXTS)
    every, prefixes = force.words(), force.prefixes()
    asked = [Asked.word(each) for each in every[:10] + chance.sample(every[10:], 40)]
    asked += [Asked.phrase(each) for each in chance.sample(force.phrases((2, 3, 4)), 30)]
    asked += [Asked.prefix(each) for each in chance.sample(prefixes, 30)]
    hits = 0
    for each in asked:
        for org in SEARCHED:
            wanted = force.find(each, org)
            found = [(text["text_id"], text["body"]) for text in life.search(each.typed, org, chance.choice((20, 200)))]
            assert found == [(line.text_id, json.loads(line.raw)["data"]["body"]) for line in wanted], each.typed
            hits += len(found)
    assert hits > len(asked)


def old_ids(life: Life) -> list[str]:
    """The texts of the days that are due, as the vault and the index have them."""
    there = in_vault(life.shared.owner.database)
    return [text_id for day in GOING for text_id in sorted(there.get(day.shelf, ()))]


def test_what_is_due_is_purged_with_a_report_and_gone_from_everywhere(life: Life) -> None:
    old = old_ids(life)
    assert len(old) == OLD
    told = life.purge()
    assert told["stopped"] is None, told
    days = {day["day"]: day for day in told["days"]}
    for day in GOING:
        assert (days[day.shelf]["state"], days[day.shelf]["destroyed"]) == ("reported", OLD // 2)
        report = life.report(day.shelf)
        assert report["verdict"] == "pass", report
        assert report["totals"]["destroyed"] == OLD // 2, report["totals"]
    assert old_ids(life) == []
    assert len(life.search('"Dear" after:' + (NOW - timedelta(days=30)).date().isoformat(), ORG)) > 0
    with life.api.client(life.token) as client:
        assert client.get(f"/v1/texts/{old[0]}", headers=WHY).status_code == 404
    for day in GOING:
        with psycopg.connect(life.shared.owner.database) as connection:
            name = day.shelf.replace("-", "_")
            there = "SELECT count(*) FROM pg_class WHERE relname LIKE %s"
            assert connection.execute(there, (f"%{name}%",)).fetchone() == (0,)
        assert life.nodes.ask(0, f"/life-{day.shelf}*/_alias") == {}
    life.findable()
    life.look("purged")


def test_no_canary_is_found_at_any_moment_in_any_file_or_log(life: Life) -> None:
    logs = life.stop()
    life.look("stopped")
    assert set(life.seen) == {"loaded two days ago", "loaded", "searched and read", "purged", "stopped"}
    assert {moment: seen[:5] for moment, seen in life.seen.items() if seen} == {}
    assert all(size > 10_000_000 for size in life.sizes.values())
    assert in_logs(logs) == []
    for log in logs:
        lines = [json.loads(line) for line in log.splitlines()]
        assert not [line for line in lines if line["level"] in ("error", "critical") or "frames" in line]
