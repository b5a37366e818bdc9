"""Clocks that jump, differ and change their zone: nothing is destroyed early or served late, refusals are named."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from tests.housing import NOON, House, SetClock, event
from tests.retention.purging import OLDEST, Purging
from tests.search.searching import WHY, Searching
from tests.whole.template import OLD, Template, few_days, loaded
from textkeep.archive.shelf import RETENTION, Day, expired
from textkeep.errors import NotFound, Unsound
from textkeep.retention.guards import CLOCKS_DIFFER, Reading, check_run, earliest
from textkeep.retention.policy import due_days

SEED: Final = os.environ.get("CLOCKS_SEED", "400")
STEPS: Final = 1_000
NAMED: Final = {"clocks-differ", "clock-behind", "clock-ahead", "too-many-days"}
ZONES: Final = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "America/New_York",
        "America/St_Johns",
        "Pacific/Kiritimati",
        "Pacific/Pago_Pago",
        "Asia/Kolkata",
    )
]


@dataclass(frozen=True)
class Standing:
    """A shelf that waits."""

    name: str
    state: str = "open"


SHELVES: Final = [Standing(OLDEST.plus(at).shelf) for at in range(-3, 12)]


def skew(chance: random.Random) -> timedelta:
    """How far a clock is off: not at all, by seconds, by minutes, by hours, by a summer's hour, by years."""
    span = chance.choice([0.0, 20, 299, 301, 3_600, 90_000, 95_000, 10**6, 10**8])
    return timedelta(seconds=chance.choice([-1, 1]) * chance.choice([span, chance.uniform(0, span)]))


def shown(moment: datetime, chance: random.Random) -> datetime:
    """The same moment with the offset that some zone has then: all that a record or a clock says of its zone."""
    there = moment.astimezone(chance.choice(ZONES))
    return there.replace(tzinfo=timezone(there.utcoffset() or timedelta(0)))


def test_of_10000_sets_of_clocks_of_which_one_is_right_none_destroys_early() -> None:
    chance = random.Random(SEED)
    told: Counter[str] = Counter()
    for number in range(10_000):
        truth = NOON + timedelta(seconds=chance.uniform(-90_000, 90_000))
        clocks = [shown(truth, chance), *(shown(truth + skew(chance), chance) for _ in range(number % 3))]
        chance.shuffle(clocks)
        readings = [Reading(f"clock-{at}", moment) for at, moment in enumerate(clocks)]
        seen = chance.choice([None, truth - timedelta(minutes=1), truth - timedelta(days=2), truth + skew(chance)])
        due = due_days(SHELVES, earliest(readings))
        word = chance.choice([None, len(due)])
        stop = check_run(readings, seen, due, confirm_days=word)
        told[stop.reason if stop else "let through"] += 1
        if stop is None:
            assert all(day.due() <= truth for day in due), (SEED, number)
            assert max(clocks) - min(clocks) < CLOCKS_DIFFER
        else:
            assert stop.reason in NAMED
            assert stop.remedy
    assert min(told[each] for each in (*NAMED, "let through")) > 100, told


def test_of_10000_texts_in_any_zones_each_is_expired_by_the_moment_alone() -> None:
    chance = random.Random(SEED)
    for _ in range(10_000):
        sent_at = NOON + timedelta(seconds=chance.uniform(-(10**8), 0))
        age = RETENTION + chance.choice([skew(chance), timedelta(microseconds=chance.choice([-1, 0]))])
        here, there = shown(sent_at, chance), shown(sent_at + age, chance)
        assert expired(here, there) == (age >= RETENTION)
        assert Day.of(here) == Day.of(sent_at)
        assert Day.of(here).start() <= sent_at < Day.of(here).end()
        assert (Day.of(here).due() <= there) <= expired(here, there)


@dataclass
class Wandering:
    """An archive with two clocks, the host's and the database's, of which one is always right; time passes."""

    purging: Purging
    searching: Searching
    chance: random.Random
    truth: datetime = NOON
    texts: dict[str, datetime] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)

    def fill(self) -> None:
        for at, day in enumerate(OLD):
            moments = [day.start(), day.end() - timedelta(microseconds=1), day.start() + RETENTION / 1_000]
            moments = [each for each in moments if not expired(each, NOON)]
            wire = [event(10 * at + n, sent_at=each.isoformat()) for n, each in enumerate(moments)]
            receipt = self.purging.take_records(wire)
            for item, sent_at in zip(receipt.items, moments, strict=True):
                self.texts[str(item.text_id)] = sent_at
        self.searching.follow()
        self.purging.mark().tick()

    def step(self) -> None:
        """Some minutes later the clocks stand somewhere, a run is tried and a text is read."""
        chance, clock = self.chance, self.purging.house.clock
        self.truth += timedelta(seconds=chance.uniform(0, 900))
        self.purging.house.shelves.ensure(self.truth)
        host, database = self.truth, self.truth
        match chance.randrange(4):
            case 0:
                host += skew(chance)
            case 1:
                database += skew(chance)
        os.environ["TZ"] = chance.choice(ZONES).key
        time.tzset()
        clock.now = host.astimezone()
        before = self.closed()
        result = self.purging.run(database=lambda: shown(database, chance))
        self.told[result.stopped.reason if result.stopped else "let through"] += 1
        for day in self.closed():
            assert Day.named(day).due() <= self.truth, f"{day} was destroyed early"
        if host == database:
            assert result.stopped is None or result.stopped.reason == "clock-behind", result.stopped
            self.purging.mark(database=lambda: database).tick()
        if result.stopped is not None:
            assert result.stopped.reason in NAMED
            assert result.stopped.remedy
            assert self.closed() == before
        else:
            assert self.closed() == {day.shelf for day in OLD if day.due() <= min(host, database)}
        self.read(host)
        clock.now = self.truth

    def closed(self) -> set[str]:
        return {day.shelf for day in OLD if self.purging.state(day) != "open"}

    def read(self, host: datetime) -> None:
        text_id, sent_at = self.chance.choice([*self.texts.items()])
        refused = ""
        try:
            self.searching.reader.read(self.searching.officer(), text_id, reason=WHY)
        except (NotFound, Unsound) as exc:
            refused = exc.problem
        self.told[refused or "served"] += 1
        if not refused:
            assert not expired(sent_at, host), f"{text_id} was served late"
        elif refused == NotFound.problem:
            assert expired(sent_at, host) or Day.of(sent_at).shelf in self.closed()
        else:  # by its clock it is a day that has no shelf on which the reading could be recorded
            assert not Day.of(NOON) <= Day.of(host) <= few_days(self.truth)[-1], refused


@pytest.fixture
def wandering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wandering]:
    monkeypatch.setattr("textkeep.archive.shelves.open_days", few_days)
    monkeypatch.setenv("TZ", "UTC")
    template = Template.build(tmp_path)
    store = loaded(template.database)
    house = House.build(store, template.keyring, SetClock(NOON))
    with Purging.over(house, tmp_path) as purging:
        made = Wandering(purging, Searching.build(house, purging.index), random.Random(SEED))
        made.fill()
        yield made
    store.close()
    monkeypatch.undo()
    time.tzset()


def wander(wandering: Wandering) -> None:
    """1,000 steps: about five days; with more of them there would be no text left that can be served."""
    for _ in range(STEPS):
        wandering.step()
    assert wandering.told["let through"] > STEPS / 10, wandering.told
    assert wandering.told["clocks-differ"] > STEPS / 10, wandering.told
    assert wandering.told["served"] > STEPS / 20, wandering.told
    assert wandering.closed() == {day.shelf for day in OLD if day.due() <= wandering.truth} != set()


def test_an_archive_under_1000_jumps_skews_and_zones_destroys_nothing_early_and_serves_nothing_late(
    wandering: Wandering,
) -> None:
    wander(wandering)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_ten_archives_under_1000_other_jumps_skews_and_zones_each(wandering: Wandering, part: int) -> None:
    wandering.chance = random.Random(f"{SEED} {part}")
    wander(wandering)
