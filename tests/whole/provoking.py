"""Requests that are refused, and records that are set aside, each full of canaries."""

import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from tests.whole.canaries import FOREIGN, MARK, QUOTED, body, message_id, phone, user_id, word
from tests.whole.commanding import Up
from tests.whole.living import ORG, STREAM, organisation, stream, text, user

BATCH: Final = "application/cloudevents-batch+json"
EVENT: Final = "application/cloudevents+json"
MEBIBYTE: Final = 1024 * 1024
Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One request; `status` is what it must be answered with, `role` whose token it comes with."""

    status: int
    method: str
    path: str
    role: str = "officer"
    json: Any = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)


def canary_text(number: int, sent_at: datetime, changed: Json | None = None) -> Json:
    """A text of which nothing but its organisation and its times may be seen anywhere."""
    members: Json = {
        "user_id": user_id(number),
        "from": phone(number),
        "to": phone((number * 7 + 1) % 1000),
        "body": body(number),
        "campaign_id": f"campaign {MARK}",
        "decided_by": f"{MARK} desk",
    }
    if number % 5 == 0:
        members |= {"disposition": "blocked", "reason": f"because {MARK} {number}"}
    made = text(message_id(number), sent_at, **members)
    made["data"] |= changed or {}
    return made


def set_aside(past: datetime, coming: datetime) -> Iterator[bytes]:
    """Lines of a stream that are no business texts, for each reason there is: sent in the past, or to be sent."""
    faults: tuple[Json, ...] = (
        {"channel": "mms"},
        {"channel": f"{MARK}gram"},
        {"to": [phone(1), phone(2)]},
        {"to": "+442071838750", "user_id": f"abroad {MARK}"},
        {"body": word(3) * 4000},
        {"org_id": f"org-{MARK}"},
        {"direction": MARK},
        {"from": f"{phone(4)}{MARK}"},
        {"disposition": FOREIGN},
        {"sent_at": f"{MARK} o'clock"},
        {"reason": [QUOTED, MARK]},
        {"user_id": {"name": user_id(5)}},
        {"deep": _deep(word(6))},
        {"body": f"{word(7)} \ud83d half a pair"},
    )
    for number, changed in enumerate(faults):
        yield json.dumps(canary_text(number, past, changed)).encode()
    yield json.dumps(canary_text(8, coming)).encode()
    yield json.dumps({**canary_text(9, past), "type": MARK}).encode()
    yield json.dumps(canary_text(10, past)).encode()[:-20]
    yield json.dumps(canary_text(11, past), ensure_ascii=False).encode("utf-16")
    yield f'{{"id": {word(12)}, "number": {phone(12)}'.encode()
    yield json.dumps({**canary_text(13, past), "padding": word(13) * 20_000}).encode()


def _deep(inside: str) -> Any:
    made: Any = inside
    for _ in range(40):
        made = [made]
    return made


def too_late(now: datetime) -> bytes:
    """A text of which only a number is kept."""
    return json.dumps(canary_text(14, now - timedelta(days=401))).encode()


def broken_directory() -> Iterator[bytes]:
    """Lines of a directory feed that are refused."""
    yield f'{{"kind": "user", "user_id": "{user_id(20)}", '.encode()
    yield json.dumps({**organisation(f"org-{MARK}"), "calling_plan": MARK}).encode()
    yield json.dumps({**user(user_id(21), phone(21)), MARK: FOREIGN}).encode()
    yield json.dumps({**user(user_id(22), f"{phone(22)}{MARK}")}).encode()
    yield json.dumps({**user(user_id(23), phone(23)), "location_id": f"nowhere {MARK}"}).encode()
    yield json.dumps({**user(user_id(24), phone(24), f"unknown-{MARK}")}).encode()
    yield json.dumps({"kind": MARK, "who": phone(25), "words": QUOTED}).encode()
    yield json.dumps([FOREIGN, phone(26)]).encode()


def refusals() -> Iterator[Asked]:
    """Every way of being refused that carries a canary."""
    yield from _refused_texts()
    yield from _refused_searches()
    yield from _refused_names()


def _refused_texts() -> Iterator[Asked]:
    producer, a_text = "producer", json.dumps(canary_text(30, datetime(2026, 1, 1, tzinfo=UTC))).encode()
    lines = a_text + b"\n"
    stream_type, batch_type = {"Content-Type": STREAM}, {"Content-Type": BATCH}
    packed = {**stream_type, "Content-Encoding": "gzip"}
    texts = ("POST", "/v1/texts")
    yield Asked(400, *texts, producer, content=b"{" + a_text, headers=batch_type)
    yield Asked(400, *texts, producer, content=b"[" + a_text + b",", headers=batch_type)
    yield Asked(400, *texts, producer, content=lines, headers=packed)
    yield Asked(400, *texts, producer, content=gzip.compress(lines * 50)[:-9], headers=packed)
    yield Asked(413, *texts, producer, content=lines * (17 * MEBIBYTE // len(lines)), headers=stream_type)
    yield Asked(413, *texts, producer, content=gzip.compress(lines * (17 * MEBIBYTE // len(lines))), headers=packed)
    yield Asked(413, *texts, producer, content=f'"{word(31)}"\n'.encode() * 10_001, headers=stream_type)
    yield Asked(415, *texts, producer, content=a_text, headers={"Content-Type": f"text/{MARK}"})
    yield Asked(415, *texts, producer, content=a_text, headers={"Content-Type": EVENT, "Content-Encoding": MARK})
    yield Asked(403, *texts, "officer", content=a_text, headers={"Content-Type": EVENT})
    yield Asked(403, *texts, "stranger", content=a_text, headers={"Content-Type": EVENT})
    yield Asked(401, *texts, f"no-{MARK}", content=a_text, headers={"Content-Type": EVENT})


def _refused_searches() -> Iterator[Asked]:
    wrong = (
        f'"{word(40)}',
        f"({word(41)} OR",
        f"from:{phone(42)}x{MARK}",
        f"{MARK}:{phone(43)}",
        f"on:{MARK}",
        f"-{word(44)} -",
        f"flag:{MARK} {word(45)}*{QUOTED}",
        f"{FOREIGN} )",
    )
    asked = {"reason": f"matter {MARK}", "org_id": ORG}
    searches = ("POST", "/v1/searches")
    for query in wrong:
        yield Asked(422, *searches, json={**asked, "query": query})
    yield Asked(400, *searches, json={**asked, "query": word(46), "reason": ""})
    yield Asked(400, *searches, json={**asked, "query": word(46), "reason": MARK * 100})
    yield Asked(403, *searches, json={**asked, "query": word(46), "org_id": f"org-{MARK}"})
    yield Asked(400, *searches, json={**asked, "query": word(46), "cursor": f"{MARK}{phone(46)}"})
    yield Asked(400, *searches, json={**asked, "query": word(46), "limit": MARK})
    yield Asked(400, *searches, json={**asked, "query": word(46), MARK: FOREIGN})
    yield Asked(400, *searches, json={**asked, "query": [word(46)]})
    yield Asked(400, *searches, content=f'{{"query": "{word(47)}", '.encode(), headers={"Content-Type": STREAM})
    yield Asked(403, *searches, role="producer", json={**asked, "query": word(48)})
    yield Asked(401, *searches, role=f"no-{MARK}", json={**asked, "query": word(49)})


def _refused_names() -> Iterator[Asked]:
    why = {"Textkeep-Reason": f"matter {MARK}", "Referer": f"http://{MARK}/{phone(50)}", "X-Word": quote(FOREIGN)}
    for name in (message_id(50), user_id(51), phone(52), quote(FOREIGN), quote(QUOTED, safe="")):
        yield Asked(404, "GET", f"/v1/texts/{name}", headers=why)
        yield Asked(404, "GET", f"/v1/texts/{name}/conversation", headers=why)
        yield Asked(404, "GET", f"/v1/batches/{name}", "producer", headers=why)
        yield Asked(404, "GET", f"/v1/orgs/{ORG}/users/{name}-{MARK}", "registrar", headers=why)
        yield Asked(404, "GET", f"/v1/orgs/{ORG}/users/{name}-{MARK}/texting", "registrar")
        yield Asked(404, "GET", f"/v1/reports/{name}", "auditor")
        yield Asked(404, "GET", f"/problems/{name}")
        yield Asked(404, "GET", f"/{name}", params={"q": phone(53), MARK: word(53)})
        yield Asked(404 if "%2F" in name else 405, "DELETE", f"/v1/texts/{name}")
        yield Asked(403, "GET", f"/v1/ediscovery/{name}", params={"words": word(54)})
        yield Asked(403, "POST", f"/v1/events/{name}", json={"words": word(54), "number": phone(54)})
    yield Asked(400, "GET", f"/v1/texts/{message_id(55)}", params={"why": MARK})
    yield Asked(400, "GET", "/v1/activity", "auditor", params={"day": word(56)})
    yield Asked(400, "GET", "/v1/quarantine", params={"cursor": word(57)}, headers=why)
    yield Asked(403, "GET", "/v1/quarantine", params={"org_id": f"org-{MARK}"}, headers=why)
    yield Asked(400, "GET", f"/v1/quarantine/2026-01-01/{MARK}", headers=why)
    yield Asked(400, "PUT", f"/v1/orgs/{MARK}", "registrar", json={"calling_plan": MARK, "note": phone(58)})
    yield Asked(400, "PUT", f"/v1/orgs/{ORG}/users/{user_id(59)}", "registrar", json={"number": f"{phone(59)}{MARK}"})
    yield Asked(409, "PUT", "/v1/retention", json={"days": MARK})
    yield Asked(400, "POST", "/v1/purges", "local", json={"confirm_days": MARK, MARK: phone(60)})
    yield Asked(404, "POST", "/local/rebuild", "local", json={"shelf": MARK})
    yield Asked(400, "POST", "/local/tokens", "local", json={"roles": [MARK], "person": f"{MARK} {phone(61)}"})


def ask(service: Up, tokens: dict[str, str], asked: Asked) -> int:
    """Send it, and give the status of the answer; the answer must not repeat what was sent."""
    token = tokens.get(asked.role, asked.role)
    with service.client(token) as client:
        answer = client.request(
            asked.method,
            asked.path,
            json=asked.json,
            content=asked.content,
            headers=asked.headers,
            params=asked.params or None,
        )
    assert MARK.encode() not in answer.content, asked.path
    assert phone(0)[:-4].encode() not in answer.content, asked.path
    return answer.status_code


def break_off(service: Up) -> None:
    """What is no HTTP, a head that is far too long, and a body that never ends."""
    where = urlsplit(service.url)
    head = f"POST /v1/texts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.secret}\r\nContent-Type: {STREAM}\r\n"
    a_text = json.dumps(canary_text(70, datetime(2026, 1, 1, tzinfo=UTC)))
    for said in (
        f"{MARK} /{word(71)} {phone(71)}\r\n\r\n",
        f"GET /v1/texts/{word(72)} HTTP/1.1\r\n{MARK} {QUOTED}\r\n\r\n",
        f"GET /{MARK} HTTP/1.1\r\nX-Long: {word(73) * 10_000}\r\n\r\n",
        f"{head}Content-Length: 100000\r\n\r\n{a_text}\n{a_text[:50]}",
        f"{head}Transfer-Encoding: chunked\r\n\r\n{MARK}\r\n{a_text}\r\n",
    ):
        # The other end may have closed before all was said.
        with suppress(OSError), socket.create_connection((str(where.hostname), int(where.port or 0))) as raw:
            raw.sendall(said.encode())
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65_536):
                continue


def push(client: httpx.Client, form: str, records: list[Json]) -> None:
    """Texts through one of the doors, each of which must be accepted."""
    if form == "event":
        answers = [
            client.post("/v1/texts", content=json.dumps(record).encode(), headers={"Content-Type": EVENT})
            for record in records
        ]
    elif form == "batch":
        content = gzip.compress(json.dumps(records).encode())
        headers = {"Content-Type": BATCH, "Content-Encoding": "gzip"}
        answers = [client.post("/v1/texts", content=content, headers=headers)]
    else:
        answers = [client.post("/v1/texts", content=stream(records), headers={"Content-Type": STREAM})]
    assert sum(answer.raise_for_status().json()["accepted"] for answer in answers) == len(records)
