"""The made-up business of the demo."""

import json
import re
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from textkeep.directory.records import read_line
from textkeep.ingest.wire import Parsed, parse
from textkeep.service import demo_feed

UNTIL = date(2026, 11, 21)


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    return [json.loads(line) for line in demo_feed.lines(UNTIL)]


def test_the_same_last_day_gives_the_same_feed() -> None:
    assert list(demo_feed.lines(UNTIL)) == list(demo_feed.lines(UNTIL))


def test_there_are_several_thousand_texts_and_every_one_is_well_formed() -> None:
    lines = list(demo_feed.lines(UNTIL))
    assert 5_000 < len(lines) < 10_000
    assert all(isinstance(found := parse(line), Parsed) and not found.international for line in lines)


def test_every_day_of_the_398_has_texts_and_no_other(events: list[dict[str, Any]]) -> None:
    days = {date.fromisoformat(event["data"]["sent_at"][:10]) for event in events}
    assert days == {UNTIL - timedelta(days=offset) for offset in range(398)}


def test_no_text_is_past_its_400_days_at_the_end_of_the_next_day(events: list[dict[str, Any]]) -> None:
    end = datetime(UNTIL.year, UNTIL.month, UNTIL.day, tzinfo=UTC) + timedelta(days=2)
    assert all(end - datetime.fromisoformat(event["data"]["sent_at"]) < timedelta(days=400) for event in events)


def test_ids_are_unique_and_texts_come_in_the_order_they_were_sent(events: list[dict[str, Any]]) -> None:
    assert max(Counter(event["id"] for event in events).values()) == 1
    sent = [event["data"]["sent_at"] for event in events]
    assert sent == sorted(sent)


def test_every_number_is_one_reserved_for_fiction(events: list[dict[str, Any]]) -> None:
    numbers = {event["data"][side] for event in events for side in ("from", "to")}
    assert all(re.fullmatch(r"\+1[2-9]\d\d55501\d\d", number) for number in numbers)


def test_the_directory_knows_every_user_with_the_number_they_text_from(events: list[dict[str, Any]]) -> None:
    records = [read_line(json.dumps(record).encode()) for record in demo_feed.directory()]
    known = {(r.org_id, r.user_id): r.number for r in records if r.kind == "user"}
    assert len({r.org_id for r in records if r.kind == "org"}) == 3
    assert len(set(known.values())) == len(known)
    for event in events:
        data = event["data"]
        own = data["from"] if data["direction"] == "outbound" else data["to"]
        assert known[data["org_id"], data["user_id"]] == own


def test_there_are_three_languages_opt_outs_codes_and_answers(events: list[dict[str, Any]]) -> None:
    bodies = [event["data"]["body"] for event in events]
    for word in (
        "appointment",
        "rendez-vous",
        "cita",
        "STOP",
        "ARRET",
        "ALTO",
        "verification code",
        "invoice",
        "parcel",
    ):
        assert sum(word in body for body in bodies) > 5, word
    assert not any("{" in body for body in bodies)
    by_org = {org: [e["data"]["body"] for e in found] for org, found in _by_org(events)}
    assert sum("appointment" in body for body in by_org["org-001"]) > 100
    assert {event["data"]["direction"] for event in events} == {"inbound", "outbound"}


def _by_org(events: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        found[event["data"]["org_id"]].append(event)
    return list(found.items())
