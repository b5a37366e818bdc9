"""Three consumers of one topic, killed again and again: each record of it ends in exactly one outcome, once.

Duplicates and rewritten records lie in whatever partition, so which of them comes first is chance; how many of each
outcome there are is not, and a plain model that reads one line after the other tells it.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from sqlalchemy import func, select

from tests.conftest import SHARED
from tests.engines.topics import Topics
from tests.ingest.reading_topics import Sent, send
from tests.service.many import Shared, sharing
from tests.whole import living
from tests.whole.feeding import feed
from tests.whole.killing_consumers import Plan, written
from tests.whole.outcomes import STRAYS, Expected, expected
from textkeep.clock import system_clock
from textkeep.ledger import log
from textkeep.service.parts import Part
from textkeep.service.wiring import Archive
from textkeep.store.tables import batches, slices

PARTITIONS: Final = 12
TEXTS_OF_A_FEED: Final = 5_000
DAYS: Final = 5
ORGS: Final = 3
API: Final[tuple[Part, ...]] = ("api",)
COUNTS: Final = ("accepted", "versions", "duplicates", "quarantined", "refused")
OUTCOME_OF: Final = {"accepted": "accepted", "version": "versions", "duplicate": "duplicates"}


def lines_of(count: int, chance: random.Random) -> list[bytes]:
    """So many records, real ones where the shared data is there: texts, records sent twice, every kind of stray.

    A small feed again and again under other ids: to make each text anew would take longer than to archive it.
    """
    arguments = ("--days", str(DAYS), "--orgs", str(ORGS))
    if SHARED.is_dir():
        hostile = ("--strays", "0.03", "--duplicates", "0.05")
        base = feed(SHARED, *arguments, "--texts", str(TEXTS_OF_A_FEED), *hostile)
    else:
        base = made_up(chance)
    lines: list[bytes] = []
    while len(lines) < count:
        prefix = f'"id": "{len(lines)}-'.encode()
        lines += [line.replace(b'"id": "', prefix, 1) for line in base]
    return lines[:count]


def made_up(chance: random.Random) -> list[bytes]:
    """Records without the shared data: enough of each outcome."""
    now = system_clock()
    lines = []
    for number in range(TEXTS_OF_A_FEED):
        record = living.text(f"txt-{number}", now.replace(microsecond=0), body=f"Text number {number}")
        lines.append(json.dumps(record).encode())
        for share, again in ((0.05, record), (0.01, {**record, "data": {**record["data"], "body": "else"}})):
            if chance.random() < share:
                lines.append(json.dumps(again).encode())
        if chance.random() < 0.01:
            mms = living.text(f"mms-{number}", now, channel="mms") | {"straykind": "mms"}
            lines += [b"not JSON", json.dumps(mms).encode()]
    return lines


@dataclass(frozen=True)
class World:
    """A shared archive with its directory, a topic with its records, and what must become of each of them."""

    shared: Shared
    topic: str
    wanted: Sequence[Expected]
    places: Sequence[tuple[int, int]]
    """Partition and offset of each record."""
    environment: dict[str, str]


def prepare(shared: Shared, kafka: Topics, lines: Sequence[bytes], chance: random.Random) -> World:
    """Open every shelf, register everybody, make a producer's token, and put all records into a topic."""
    archive = Archive.open(shared.service, parts=API, kind="api")
    try:
        living.register(archive, directory())
        token, _ = archive.tokens.create(person="the backend", roles=["producer"], orgs=None, by=archive.local)
    finally:
        archive.close()
    topic = kafka.make(PARTITIONS, retention_ms="86400000", segment_ms="3600000")
    partitions = [chance.randrange(PARTITIONS) for _ in lines]
    send(
        kafka.address,
        topic,
        [Sent(line, partition=partition) for line, partition in zip(lines, partitions, strict=True)],
        **{"linger.ms": 20, "batch.num.messages": 5000},
    )
    passed: Counter[int] = Counter()
    places = []
    for partition in partitions:
        places.append((partition, passed[partition]))
        passed[partition] += 1
    environment = {
        **{name: value for name, value in shared.environment().items() if name.startswith("TEXTKEEP_")},
        "TEXTKEEP_KAFKA_BROKERS": kafka.address,
        "TEXTKEEP_KAFKA_TOPIC": topic,
        "TEXTKEEP_KAFKA_SESSION_SECONDS": str(shortest_session(kafka.address)),
        "TEXTKEEP_TOKEN": token,
    }
    return World(shared, topic, list(expected(lines)), places, environment)


def directory() -> list[dict[str, Any]]:
    if not SHARED.is_dir():
        return [living.organisation(), living.location(), living.user("u-1", "+12125550101")]
    return [json.loads(line) for line in feed(SHARED, "--directory", "--orgs", str(ORGS))]


def shortest_session(address: str) -> float:
    """How soon a broker may be told to take a process for dead; a second is soon enough."""
    admin = AdminClient({"bootstrap.servers": address})
    (broker,) = admin.list_topics(timeout=30).brokers
    wanted = ConfigResource(ConfigResource.Type.BROKER, str(broker))
    config = admin.describe_configs([wanted])[wanted].result()
    return max(1.0, int(config["group.min.session.timeout.ms"].value) / 1000)


def kill(world: World, folder: Path, kills: int, seed: str) -> dict[str, Any]:
    """Run the program that kills; it must succeed."""
    database = world.shared.owner.database
    folder.mkdir()
    plan = Plan(world.environment, database, len(world.wanted), kills, seed, str(folder))
    done = subprocess.run(
        [sys.executable, "-m", "tests.whole.killing_consumers"],
        input=written(plan),
        capture_output=True,
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if not name.startswith("TEXTKEEP_")},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-6000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def hold_against_the_model(world: World) -> None:
    """Counts, days, and which records lie in quarantine."""
    archive = Archive.open(world.shared.service, parts=API, kind="api")
    try:
        with archive.store.reading() as connection:
            columns = [func.sum(batches.c[name]) for name in ("read", *COUNTS)]
            read, *counts = connection.execute(select(*columns)).one()
            by_day = select(slices.c.shelf, func.sum(slices.c.accepted), func.sum(slices.c.versions))
            found = connection.execute(by_day.group_by(slices.c.shelf)).all()
            refusals = sum(entry.body["count"] for entry in log.entries(connection, kinds=["refusals"]))
        officer, _ = archive.tokens.create(person="an officer", roles=["officer"], orgs=None, by=archive.local)
        quarantined = in_quarantine(archive, officer)
    finally:
        archive.close()
    outcomes = Counter(OUTCOME_OF.get(each.outcome, each.outcome) for each in world.wanted)
    assert (int(read), dict(zip(COUNTS, map(int, counts), strict=True))) == (len(world.wanted), outcomes)
    wanted_days: dict[str, Counter[str]] = {}
    for each in world.wanted:
        if each.outcome in ("accepted", "version"):
            wanted_days.setdefault(str(each.day), Counter())[each.outcome] += 1
    assert {row[0]: (int(row[1]), int(row[2])) for row in found} == {
        day: (counts["accepted"], counts["version"]) for day, counts in wanted_days.items()
    }
    assert refusals == outcomes["refused"]
    assert quarantined == {
        place: each.reason
        for place, each in zip(world.places, world.wanted, strict=True)
        if each.outcome == "quarantined"
    }


def in_quarantine(archive: Archive, token: str) -> dict[tuple[int, int], str]:
    """For each record in quarantine its partition and offset, which no two share, and why it is there."""
    principal, cursor = archive.tokens.authenticate(token), None
    found: dict[tuple[int, int], str] = {}
    while True:
        page = archive.quarantine.page(principal, "a test of the whole", cursor=cursor, limit=5000)
        for entry in page.items:
            assert entry.origin is not None
            place = (int(entry.origin["partition"]), int(entry.origin["offset"]))
            assert place not in found
            found[place] = entry.reason
        cursor = page.cursor
        if cursor is None:
            return found


def run(request: pytest.FixtureRequest, kafka: Topics, tmp_path: Path, messages: int, kills: int) -> None:
    seed = os.environ.get("TEXTKEEP_TEST_SEED") or str(random.randrange(2**32))
    print(f"TEXTKEEP_TEST_SEED={seed}")
    chance = random.Random(seed)
    lines = lines_of(messages, chance)
    with sharing(request, tmp_path / "archive") as shared:
        world = prepare(shared, kafka, lines, chance)
        kinds = {each.kind for each in world.wanted}
        assert kinds >= ({"text", "not-json", "rewritten", *STRAYS} if SHARED.is_dir() else {"text", "not-json", "mms"})
        told = kill(world, tmp_path / "logs", kills, seed)
        print(told)
        assert told["kills"] == kills
        assert told["while_reading"] >= kills * 0.9
        hold_against_the_model(world)


def test_killed_consumers_leave_each_record_with_one_outcome(
    request: pytest.FixtureRequest, kafka: Topics, tmp_path: Path
) -> None:
    run(request, kafka, tmp_path, 60_000, 20)


@pytest.mark.soak
def test_three_consumers_killed_fifty_times_over_300_000_records_leave_each_with_one_outcome(
    request: pytest.FixtureRequest, kafka: Topics, tmp_path: Path
) -> None:
    run(request, kafka, tmp_path, 300_000, 50)
