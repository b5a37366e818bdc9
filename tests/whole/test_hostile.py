"""Hostile strings and mutated events in every place that takes any: no fault, no traceback, no lost record."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.housing import event
from tests.whole.commanding import World
from tests.whole.feeding import Service, quarantined, send, serving, texts, told, totals, write
from tests.whole.hostility import must_be_calm, mutants, one_line, raw_status

ORG, WHY = "org-001", "a test"
ONE, MANY = "application/cloudevents+json", "application/cloudevents-batch+json"
DIRECTORY = (
    {"kind": "org", "org_id": ORG, "customer_type": "enterprise", "calling_plan": "US", "add_on": True,
     "campaign_registered": True, "healthcare": False},
    {"kind": "location", "org_id": ORG, "location_id": "l-1", "country": "US", "pstn": "cisco", "texting": True},
    {"kind": "user", "org_id": ORG, "user_id": "org-001-user-0001", "location_id": "l-1", "number": "+12125550101",
     "texting": "default", "app_version": "44.6"},
)  # fmt: skip

TAKEN = ("id", "source", "data.user_id", "data.body", "data.reason", "data.decided_by", "data.campaign_id",
         "data.app_version")  # fmt: skip
"""Members that may hold any string; some of them only one that is not empty."""

NAMES = ("id", "source", "data.org_id", "data.user_id")
SET_ASIDE = {"data.org_id": "unknown-organisation", "data.channel": "channel"}
BOUND = ("specversion", "type", "data.from", "data.to", "data.direction", "data.disposition", "data.sent_at")
"""Members that hold what is documented, or the record is malformed."""

NO_WORD = "there is no word in it: leave it out, or write a letter, a digit or an emoji"
SHORT_CODE = re.compile("[0-9]{5,6}")


@dataclass(frozen=True)
class Target:
    """A service to be attacked."""

    service: Service
    client: httpx.Client
    started: datetime

    def events(self, count: int) -> list[dict[str, Any]]:
        """Good events of the hour before it was started."""
        return [
            event(number, sent_at=(self.started - timedelta(seconds=3600 - number / 10)).isoformat())
            for number in range(count)
        ]

    def send(self, lines: Sequence[bytes], before: "Counter[str] | None" = None) -> list[dict[str, Any]]:
        """The receipts of a stream; as many records must lie in the archive afterwards as they say."""
        with self.keeping() as kept:
            receipts = send(self.client, lines)
            kept.update(totals(receipts))
        assert kept["read"] == len(lines)
        return receipts

    @contextmanager
    def keeping(self) -> "Iterator[Counter[str]]":
        """Hold what the archive's files gain against the counts that are put into what is yielded."""
        data = self.service.world.data
        texts_before, aside_before = len(texts(data)), sum(quarantined(data).values())
        kept: Counter[str] = Counter()
        yield kept
        assert len(texts(data)) - texts_before == kept["accepted"] + kept["versions"]
        assert sum(quarantined(data).values()) - aside_before == kept["quarantined"]

    def search(self, query: str, **more: Any) -> httpx.Response:
        """The answer to one search."""
        return self.client.post("/v1/searches", json={"query": query, "reason": WHY, "org_id": ORG, **more})

    def every(self, query: str) -> dict[str, Any]:
        """Everything that is found, over all pages, by text id."""
        found: dict[str, Any] = {}
        cursor = None
        while True:
            page = self.search(query, limit=200, cursor=cursor).json()
            found |= {text["text_id"]: text for text in page["results"]}
            cursor = page["cursor"]
            if cursor is None:
                return found

    def until_findable(self, receipts: Sequence[dict[str, Any]]) -> None:
        """Return when all that was received by then can be found."""
        last = datetime.fromisoformat(receipts[-1]["received_at"])
        while datetime.fromisoformat(self.search("nothing").json()["indexed_up_to"]) <= last:
            continue


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("hostile")
    world = World.make(folder / "world")
    directory = write(folder / "directory.ndjson", [json.dumps(record).encode() for record in DIRECTORY])
    told(world, "load", "--directory", directory)
    with serving(world) as service, service.client() as client:
        yield Target(service, client, datetime.now(UTC))


@pytest.fixture
def naughty(shared: Path) -> list[str]:
    """515 hostile strings, each once."""
    return sorted(set(json.loads((shared / "data" / "naughty" / "blns.json").read_text("utf-8"))))


def test_naughty_strings_in_any_member_are_kept_and_found_again_byte_for_byte(
    target: Target, naughty: list[str]
) -> None:
    wanted: list[tuple[str, str | None]] = []
    events: list[dict[str, Any]] = []
    base = target.events(1)[0]
    for member in (*TAKEN, *SET_ASIDE, *BOUND):
        for number, string in enumerate(naughty):
            events.append(put(base, f"n-{member}-{number}", member, string))
            wanted.append(outcome_of(member, string))
    # Half of them as ASCII with escapes, half as the UTF-8 itself.
    lines = [json.dumps(each, ensure_ascii=at % 2 == 0).encode() for at, each in enumerate(events)]
    receipts = target.send(lines)
    items = [item for receipt in receipts for item in receipt["items"]]
    for each, item, (outcome, reason) in zip(events, items, wanted, strict=True):
        assert (item["outcome"], item["reason"]) == (outcome, reason), each
        assert item["id"] == (each["id"] or None)
    target.until_findable(receipts)
    found = target.every("direction:outbound")
    kept = {item["text_id"]: each["data"] for each, item in zip(events, items, strict=True) if item["text_id"]}
    assert len(kept) > 500 * len(TAKEN)
    assert {text_id: said_of(found[text_id]) for text_id in kept} == {
        text_id: said_of({"reason": None, **data}) for text_id, data in kept.items()
    }
    bodies = {
        item["text_id"]: each["data"]["body"] for each, item in zip(events, items, strict=True) if item["text_id"]
    }
    assert sum(found_by_itself(target, body, text_id) for text_id, body in bodies.items() if body in naughty) > 400


def found_by_itself(target: Target, body: str, text_id: str) -> bool:
    """Whether a text is found by all of its body as a phrase; only one without a word in it is not asked for."""
    phrase = body.replace('"', " ")
    asked = f'on:{text_id[:4]}-{text_id[4:6]}-{text_id[6:8]} "{phrase}"'
    answer = must_be_calm(target.search(asked, limit=200))
    if answer.status_code == 422:
        assert answer.json()["detail"].endswith(NO_WORD)
        return False
    page = answer.json()
    first = {text["text_id"] for text in page["results"]}
    assert text_id in (first if page["cursor"] is None else target.every(asked)), body
    return True


def put(base: dict[str, Any], message_id: str, member: str, value: str) -> dict[str, Any]:
    """The event with another id and, in one member, another value."""
    made = {**base, "id": message_id, "data": dict(base["data"])}
    (made["data"] if member.startswith("data.") else made)[member.removeprefix("data.")] = value
    return made


def outcome_of(member: str, string: str) -> tuple[str, str | None]:
    """What must become of a good event with a naughty string in that member."""
    if member in ("data.from", "data.to") and SHORT_CODE.fullmatch(string):
        return "accepted", None
    if member in BOUND or (member in NAMES and not string):
        return "quarantined", "malformed"
    return ("quarantined", SET_ASIDE[member]) if member in SET_ASIDE else ("accepted", None)


def said_of(text: dict[str, Any]) -> tuple[Any, ...]:
    """What a text says that is shown."""
    return (text["org_id"], text["user_id"], text["body"], text["reason"], text["from"], text["to"])


def test_naughty_strings_as_queries_reasons_and_cursors_are_answered_or_refused(
    target: Target, naughty: list[str]
) -> None:
    answered: Counter[str] = Counter()
    quick = {"query": "on:2026-01-01 nothing", "reason": WHY, "org_id": ORG}
    for string in naughty:
        quoted = string.replace('"', " ")
        places: dict[str, dict[str, str]] = {
            "query": {**quick, "query": string},
            "phrase": {**quick, "query": f'on:2026-01-01 "{quoted}"'},
            "user": {**quick, "query": f'on:2026-01-01 user:"{quoted}"'},
            "number": {**quick, "query": f'from:"{quoted}"'},
            "day": {**quick, "query": f'on:"{quoted}"'},
            **{member: {**quick, member: string} for member in ("reason", "org_id", "cursor")},
        }
        for place, asked in places.items():
            answer = must_be_calm(target.client.post("/v1/searches", json=asked), string)
            assert answer.status_code in (200, 400, 403, 422)
            answered[place] += answer.status_code == 200
    assert answered["org_id"] == answered["cursor"] == 0
    assert min(answered["query"], answered["phrase"], answered["user"], answered["reason"]) > 200


PATHS = (
    "/v1/texts/{}",
    "/v1/texts/{}/conversation",
    "/v1/batches/{}",
    "/v1/orgs/{}",
    "/v1/orgs/org-001/users/{}/texting",
    "/v1/quarantine/2026-11-22/{}",
    "/v1/reports/{}",
    "/problems/{}",
    "/v1/quarantine?cursor={}",
)


def test_naughty_strings_as_names_in_addresses_are_not_found_or_refused(target: Target, naughty: list[str]) -> None:
    for string in naughty:
        for path in PATHS:
            address = path.format(quote(string, safe=""))
            answer = must_be_calm(target.client.get(address, headers={"Textkeep-Reason": WHY}), string)
            # Without a name some of these are addresses of their own.
            assert answer.status_code in (400, 403, 404) or string in ("", ".", ".."), address


HEADERS = ("Textkeep-Reason", "Authorization", "Content-Type", "Content-Encoding", "Accept", "X-Forwarded-For")


def test_naughty_strings_and_mutated_events_as_headers_are_answered_or_refused(
    target: Target, naughty: list[str]
) -> None:
    good = target.events(50)
    receipts = target.send([json.dumps(each).encode() for each in good])
    read = f"/v1/texts/{receipts[0]['items'][0]['text_id']}".encode()
    broken = [one_line(each)[:8_000] for each in mutants([json.dumps(each).encode() for each in good], 500, seed=3)]
    values = [*(string.encode() for string in naughty), *broken]
    kept = len(texts(target.service.world.data))
    told_of: Counter[int | None] = Counter()
    for number, value in enumerate(values):
        name = HEADERS[number % len(HEADERS)]
        told_of[raw_status(target.service.url, with_header(target.service.token, b"GET", read, name, value))] += 1
        pushed = with_header(target.service.token, b"POST", b"/v1/texts", name, value)
        told_of[raw_status(target.service.url, pushed)] += 1
    assert {status for status in told_of if status is None or status >= 500} == set(), told_of
    assert told_of[200] > 100
    assert told_of[401] > 100
    assert told_of[415] > 100
    assert len(texts(target.service.world.data)) == kept


def with_header(token: str, method: bytes, path: bytes, name: str, value: bytes) -> bytes:
    """A request in which one header has this value, and the others the ones that they should have."""
    headers = {"Host": b"textkeep", "Connection": b"close", "Authorization": f"Bearer {token}".encode(),
               "Content-Type": ONE.encode(), "Content-Length": b"2", "Textkeep-Reason": WHY.encode()}  # fmt: skip
    given = {**headers, name: b"Bearer " + value if name == "Authorization" else value}
    lines = [name.encode() + b": " + given[name] for name in given if method == b"POST" or name != "Content-Length"]
    body = b"{}" if method == b"POST" else b""
    return method + b" " + path + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_a_token_that_is_wrong_in_one_bit_is_no_token(target: Target) -> None:
    token = target.service.token.encode()
    for at in range(len(token) * 8):
        wrong = bytearray(token)
        wrong[at // 8] ^= 1 << at % 8
        status = raw_status(target.service.url, with_header("", b"GET", b"/v1/days", "Authorization", bytes(wrong)))
        assert status in (400, 401)


def test_ten_thousand_mutated_events_are_each_counted_once_and_none_is_a_fault(target: Target) -> None:
    good = [json.dumps(each).encode() for each in target.events(400)]
    broken = list(mutants(good, 10_000, seed=1))
    lines = [one_line(each) for each in broken[:7_000]]
    receipts = target.send(lines)
    items = [item for receipt in receipts for item in receipt["items"]]
    assert Counter(item["outcome"] for item in items).keys() > {"accepted", "version", "quarantined"}
    target.until_findable(receipts)
    found = target.every("direction:outbound OR direction:inbound")
    kept = {item["text_id"]: json.loads(line)["data"] for line, item in zip(lines, items, strict=True) if is_kept(item)}
    assert len(kept) > 500
    for text_id, data in kept.items():
        assert said_of(found[text_id]) == said_of({"reason": None, **data})

    with target.keeping() as kept_alone, ThreadPoolExecutor(8) as threads:
        alone = list(threads.map(lambda each: post(target, ONE, each), broken[7_000:9_000]))
        for each, answer in zip(broken[7_000:9_000], alone, strict=True):
            assert answer.status_code == 200, each[:200]
            assert answer.json()["read"] == 1
        kept_alone.update(totals([answer.json() for answer in alone]))

    with target.keeping() as kept_together, ThreadPoolExecutor(8) as threads:
        listed = [b"[" + b",".join([each, good[0]]) + b"]" for each in broken[9_000:]]
        together = list(threads.map(lambda each: post(target, MANY, each), listed))
        taken = [answer.json() for answer in together if answer.status_code == 200]
        assert 100 < len(taken) < len(together)
        assert {answer.status_code for answer in together} == {200, 400}
        kept_together.update(totals(taken))


def is_kept(item: dict[str, Any]) -> bool:
    return item["outcome"] in ("accepted", "version")


def post(target: Target, media_type: str, body: bytes) -> httpx.Response:
    return must_be_calm(target.client.post("/v1/texts", content=body, headers={"Content-Type": media_type}))


def test_mutated_events_as_queries_are_answered_or_refused(target: Target) -> None:
    good = [json.dumps(each).encode() for each in target.events(50)]
    for each in mutants(good, 500, seed=2):
        asked = {"query": each[:5_000].decode("utf-8", "surrogateescape"), "reason": WHY, "org_id": ORG}
        for body in (json.dumps(asked).encode(), each):
            json_type = {"Content-Type": "application/json"}
            answer = must_be_calm(target.client.post("/v1/searches", content=body, headers=json_type))
            assert answer.status_code in (200, 400, 422)
