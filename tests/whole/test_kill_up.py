"""SIGKILL of the real command, while it starts, loads, indexes, registers organisations and purges, loses nothing."""

import os
import random
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Semaphore
from typing import Final

import httpx
import pytest

from tests.housing import SetClock
from tests.whole.commanding import Up, World, up
from tests.whole.living import ORG, STREAM, living, organisation, register, stream
from tests.whole.promises import WORD, Journal, Promises, Sent, batch_of, check_answers
from tests.whole.reckoning import catch_up, check_findable, reckon
from textkeep.archive.shelf import Day, expired
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive

SEED: Final = os.environ.get("KILL_SEED") or secrets.token_hex(4)
KILLS: Final = 20
ARCHIVES: Final = 2
"""How many archives are killed beside each other."""

DUE: Final = 60
"""Days that are due when the archive is opened after a long rest."""

STARTING: Final = 0.3
"""The share of kills that come before it listens, or soon after; the others come while it works."""

STARTS_WITHIN: Final = 1.5
WORKS_WITHIN: Final = 0.6
"""Seconds within which a kill comes, after the start or after what it is to acknowledge before."""

ACKNOWLEDGES: Final = 6
"""Fewer answers than this come before a kill while it works: however slow the machine is, there is work to lose."""

PATIENCE: Final = 300
"""Seconds after which a service that acknowledges nothing is taken to hang."""

NOW: Final = datetime.now(UTC)
THEN: Final = NOW - timedelta(days=DUE)


@pytest.fixture(scope="module")
def rested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that was last open two months ago, with texts on each of the days that are due since."""
    folder = tmp_path_factory.mktemp("rested")
    journal = Journal(folder / "journal")
    with living(folder / "archive", SetClock(THEN)) as life:
        life.archive.mark.tick()
        register(life.archive, [organisation()])
        journal.registers(ORG)
        days = [Day.of(THEN).plus(offset - 399) for offset in range(DUE)]
        texts = [Sent(f"then-{number}", ORG, days[number % DUE].start() + timedelta(hours=number // DUE), -1, False)
                 for number in range(DUE * 20)]  # fmt: skip
        journal.sends(-1, texts)
        answer = life.client("producer").post(
            "/v1/texts", content=stream(text.record() for text in texts), headers={"Content-Type": STREAM}
        )
        receipt = answer.raise_for_status().json()
        assert receipt["accepted"] == len(texts)
        journal.receives(-1, [item["outcome"] for item in receipt["items"]])
        life.follow()
    return folder


@dataclass
class Source:
    """Who sends, registers and asks for purges, until nobody answers; what it was told lies in a journal."""

    service: Up
    promises: Promises
    journal: Journal
    chance: random.Random
    acknowledged: Semaphore = field(default_factory=lambda: Semaphore(0))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Send, register and purge, all at once; ends when the service is gone. What failed otherwise is raised."""
        works: tuple[Callable[[httpx.Client], None], ...] = (self._send_all, self._register, self.give_word)
        with ThreadPoolExecutor(len(works)) as pool:
            begun = [pool.submit(self._until_gone, work) for work in works]
            yield
        for each in begun:
            each.result()

    def _until_gone(self, work: Callable[[httpx.Client], None]) -> None:
        try:
            with self.service.local() as client:
                work(client)
        except httpx.TransportError:
            return

    def _send_all(self, client: httpx.Client) -> None:
        for number, batch in list(self.promises.waiting.items()):
            self._send(client, number, batch)
        while True:
            number = self.promises.batches
            self.promises.batches += 1
            batch = batch_of(number, self.promises.orgs, datetime.now(UTC), self.chance)
            self.journal.sends(number, batch)
            self._send(client, number, batch)

    def _send(self, client: httpx.Client, number: int, batch: list[Sent]) -> None:
        content = stream(sent.record() for sent in batch)
        answer = client.post("/v1/texts", content=content, headers={"Content-Type": STREAM}).raise_for_status()
        answers = [(item["outcome"], item["reason"]) for item in answer.json()["items"]]
        self.journal.receives(number, check_answers(batch, answers, datetime.now(UTC)))
        self.acknowledged.release()

    def _register(self, client: httpx.Client) -> None:
        while True:
            org = f"org-{len(self.promises.orgs) + 1:03d}"
            client.put(f"/v1/orgs/{org}", json=organisation(org)).raise_for_status()
            self.journal.registers(org)
            self.promises.orgs.append(org)
            self.acknowledged.release()

    def give_word(self, client: httpx.Client) -> None:
        """Give a person's word where it is asked for: once. What a kill cuts off after it goes on by itself."""
        told = client.post("/v1/purges", json={"dry_run": True}).raise_for_status().json()
        if told["stopped"] is not None:
            assert told["stopped"] in ("clock-ahead", "too-many-days"), told
            days = client.get("/v1/days").raise_for_status().json()
            assert {day["state"] for day in days} == {"open"}, "a word that was given is asked for again"
            client.post("/v1/purges", json={"confirm_days": len(told["days"])}).raise_for_status()


def kill(world: World, seed: str, kills: int) -> Counter[str]:
    """Kill the command on one archive again and again; gives how often it was listening."""
    chance, counts = random.Random(seed), Counter[str]()
    for _ in range(kills):
        process = world.begin()
        try:
            if chance.random() < STARTING:
                assert not process.dies_within(chance.uniform(0, STARTS_WITHIN))
                counts["starting"] += 1
                continue
            promises = Promises.read(world.base / "journal", NOW)
            source = Source(process.listening(), promises, Journal(world.base / "journal"), chance)
            with source.at_work():
                heard = all(
                    source.acknowledged.acquire(timeout=PATIENCE) for _ in range(chance.randrange(ACKNOWLEDGES))
                )
                died = process.dies_within(chance.uniform(0, WORKS_WITHIN))
                process.kill()
            assert (heard, died) == (True, False), "it acknowledges nothing, or has ended by itself"
            counts["working"] += 1
        finally:
            process.kill()
    return counts


def conclude(world: World) -> Counter[str]:
    """Start once more, let it catch up by itself, search for everything over HTTP, stop, and reckon."""
    promises = Promises.read(world.base / "journal", datetime.now(UTC))
    with up(world) as service:
        with service.local() as client:
            Source(service, promises, Journal(world.base / "journal"), random.Random(0)).give_word(client)
        service.wait_until_findable()
        service.wait_until_closed([Day.of(THEN).plus(offset - 399).shelf for offset in range(DUE - 1)])
        found = {org: Counter(search(service, org)) for org in promises.orgs[:3]}
    world.log()
    archive = Archive.open(Settings(data=world.data), SetClock(datetime.now(UTC)))
    catch_up(archive)
    reckoned = reckon(archive, promises)
    check_findable(archive, promises, reckoned, promises.orgs)
    archive.close()
    for org, ids in found.items():
        stored = {str(id_): promises.sent[name] for (owner, name), id_ in reckoned.stored.items() if owner == org}
        assert set(ids.values()) <= {1}
        assert ids.keys() <= stored.keys()
        now = datetime.now(UTC)
        assert not [id_ for id_ in stored.keys() - ids.keys() if not expired(stored[id_].sent_at, now)]
    return Counter(promises.told.values()) + Counter(
        {"organisations": len(promises.orgs), "purged": len(reckoned.reported), "stored": len(reckoned.stored)}
    )


def search(service: Up, org: str) -> Iterator[str]:
    asked = {"query": WORD, "reason": "a test", "org_id": org, "limit": 200}
    with service.officer() as officer:
        while True:
            page = officer.post("/v1/searches", json=asked).raise_for_status().json()
            yield from (text["text_id"] for text in page["results"])
            if page["cursor"] is None:
                return
            asked["cursor"] = page["cursor"]


def whole_story(rested: Path, base: Path, number: int) -> Counter[str]:
    world = World.make(base / str(number))
    for name in ("archive", "archive-keyring"):
        shutil.copytree(rested / name, world.base / name)
    shutil.copy(rested / "journal", world.base / "journal")
    return kill(world, f"{SEED}-{number}", KILLS // ARCHIVES) + conclude(world)


def test_20_kills_of_up_lose_nothing_and_the_next_start_just_works(rested: Path, tmp_path: Path) -> None:
    print(f"KILL_SEED={SEED}")
    with ThreadPoolExecutor(ARCHIVES) as pool:
        stories = [pool.submit(whole_story, rested, tmp_path, number) for number in range(ARCHIVES)]
    total = sum((story.result() for story in stories), Counter[str]())
    print(dict(total))
    assert total["starting"] + total["working"] == KILLS
    assert total["accepted"] > ARCHIVES * DUE * 20
    assert total["organisations"] > ARCHIVES
    assert total["purged"] >= ARCHIVES * (DUE - 1)
