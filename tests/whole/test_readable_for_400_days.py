"""A text is there for 400 days to the millisecond, and its day is closed once its last text is that old, not before."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.housing import NOON, SetClock
from tests.whole.living import ORG, STREAM, WHY, Life, living, location, organisation, register, stream, text, user
from textkeep.archive.shelf import Day

DAYS_400 = timedelta(days=400)
MILLISECOND = timedelta(milliseconds=1)
TICK = timedelta(microseconds=1)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    with living(tmp_path / "archive", SetClock(NOON)) as life:
        register(life.archive, [organisation(), location(), user("u-1", "+12125550101")])
        yield life


def load(life: Life, *sent_at: datetime) -> list[str]:
    """The text ids of texts that were sent at these moments, findable."""
    records = [text(f"t-{moment.isoformat()}", moment) for moment in sent_at]
    answer = life.client("producer").post("/v1/texts", content=stream(records), headers={"Content-Type": STREAM})
    items = answer.json()["items"]
    assert [item["outcome"] for item in items] == ["accepted"] * len(records)
    life.follow()
    return [item["text_id"] for item in items]


def found(officer: httpx.Client) -> list[str]:
    asked = {"query": "pelican before:2025-11-01", "reason": "a test of the whole", "org_id": ORG, "limit": 200}
    answer = officer.post("/v1/searches", json=asked)
    assert answer.status_code == 200, answer.text
    return [text["text_id"] for text in answer.json()["results"]]


@pytest.mark.parametrize(
    "age",
    [
        timedelta(hours=1),
        timedelta(minutes=3, milliseconds=1),
        timedelta(hours=12, microseconds=1),
        timedelta(hours=11),
    ],
    ids=str,
)
def test_a_text_is_found_at_400_days_less_a_millisecond_and_not_at_400_days(life: Life, age: timedelta) -> None:
    """`age` is what is left of its 400 days when it comes."""
    sent_at = NOON - DAYS_400 + age
    text_id, younger = load(life, sent_at, sent_at + MILLISECOND)
    officer = life.client("officer")
    life.set(sent_at + DAYS_400 - MILLISECOND)
    assert found(officer) == [younger, text_id]
    assert officer.get(f"/v1/texts/{text_id}", headers=WHY).json()["text_id"] == text_id
    around = officer.get(f"/v1/texts/{younger}/conversation", headers=WHY).json()["texts"]
    assert [each["text_id"] for each in around] == [text_id, younger]

    life.set(sent_at + DAYS_400)
    assert found(officer) == [younger]
    assert officer.get(f"/v1/texts/{text_id}", headers=WHY).status_code == 404
    assert officer.get(f"/v1/texts/{text_id}/conversation", headers=WHY).status_code == 404
    around = officer.get(f"/v1/texts/{younger}/conversation", headers=WHY).json()["texts"]
    assert [each["text_id"] for each in around] == [younger]

    life.set(sent_at + DAYS_400 + MILLISECOND)
    assert found(officer) == []
    assert officer.get(f"/v1/texts/{younger}", headers=WHY).status_code == 404


def test_a_text_that_is_400_days_old_when_it_comes_is_refused_and_a_millisecond_earlier_it_is_taken(life: Life) -> None:
    records = [text("old", NOON - DAYS_400), text("just", NOON - DAYS_400 + MILLISECOND)]
    answer = life.client("producer").post("/v1/texts", content=stream(records), headers={"Content-Type": STREAM})
    told = [(item["outcome"], item["reason"]) for item in answer.json()["items"]]
    assert told == [("refused", "expired"), ("accepted", None)]


def test_no_day_is_closed_before_its_last_text_is_400_days_old_and_each_is_at_the_first_run_after(life: Life) -> None:
    """A run at random moments and just before, at and just after each day's end, over five days of texts."""
    chance = random.Random(400)
    first = Day.of(NOON - DAYS_400).plus(1)
    days = [first.plus(offset) for offset in range(5)]
    sent = {
        moment
        for day in days
        for moment in (day.start(), day.end() - TICK, day.start() + timedelta(seconds=chance.randrange(86_400)))
    }
    ids = dict(zip(load(life, *sorted(sent)), sorted(sent), strict=True))
    moments = {NOON + timedelta(minutes=chance.randrange(6 * 1440)) for _ in range(12)}
    moments |= {day.due() + delta for day in days for delta in (-TICK, timedelta(), TICK)}
    officer = life.client("officer")
    for now in sorted(moments):
        life.set(now)
        result = life.archive.purge.run(now)
        assert result.stopped is None
        states = {day["day"]: day["state"] for day in officer.get("/v1/days").json()}
        for day in days:
            last_is_old = now - (day.end() - TICK) >= DAYS_400
            assert states[day.shelf] == "open" or last_is_old
            assert states[day.shelf] == ("reported" if now >= day.end() + DAYS_400 else "open")
        assert set(found(officer)) == {text_id for text_id, sent_at in ids.items() if now - sent_at < DAYS_400}
