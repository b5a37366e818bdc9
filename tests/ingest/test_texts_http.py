"""Texts, receipts and quarantine over HTTP."""

import gzip
import http.client
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.housing import House, event
from tests.ingest.ways_in import WaysIn, raws
from tests.serving import Serving, serving
from textkeep.archive.batch import Batch, Receipt
from textkeep.archive.shelf import Day
from textkeep.errors import Outage
from textkeep.ingest.door import Door, Write
from textkeep.ingest.http import router
from textkeep.ingest.splitting import FORMS, MAX_REQUEST_BYTES

pytestmark = pytest.mark.parametrize("house", ["sqlite"], indirect=True)  # the routes know no engine

EVENT, BATCH, STREAM = FORMS
RECEIPT = {
    *("batch_id", "received_at", "read", "accepted", "versions", "duplicates", "quarantined", "refused", "root"),
    "items",
}


class ToldDoor(Door):
    """The door, telling a test each time a request has joined the queue."""

    def __init__(self, write: Write, **bounds: int) -> None:
        super().__init__(write, **bounds)
        self.joined = threading.Semaphore(0)

    def submit(self, batch: Batch) -> "Future[Receipt]":
        waiting = super().submit(batch)
        self.joined.release()
        return waiting


class Gate:
    """Between door and intake: lets a test hold the writer, and counts its transactions."""

    def __init__(self, ways_in: WaysIn) -> None:
        self.ways_in = ways_in
        self.transactions: list[int] = []
        self.entered = threading.Semaphore(0)
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, batches: Sequence[Batch]) -> list[Receipt]:
        self.transactions.append(len(batches))
        self.entered.release()
        assert self.may_go.wait(30)
        return self.ways_in.intake.store(batches)


@pytest.fixture
def gate(house: House) -> Gate:
    return Gate(WaysIn.build(house).register("org-001", "org-002"))


@pytest.fixture
def door(gate: Gate) -> Iterator[ToldDoor]:
    opened = ToldDoor(gate, max_records=50)
    opened.start()
    yield opened
    gate.may_go.set()
    opened.stop()


@pytest.fixture
def served(gate: Gate, door: Door) -> Iterator[Serving]:
    ways_in = gate.ways_in
    with serving(ways_in.house, router(ways_in.intake, door, ways_in.house.vault, ways_in.quarantine)) as running:
        yield running


def post(client: httpx.Client, body: bytes, content_type: str = STREAM, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/v1/texts", content=body, headers={"Content-Type": content_type, **named})


def as_body(form: str, records: list[bytes]) -> bytes:
    return {EVENT: b"".join(records), BATCH: b"[" + b",".join(records) + b"]", STREAM: b"\n".join(records)}[form]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", [EVENT, BATCH, STREAM])
def test_each_door_takes_texts_plain_and_packed(served: Serving, form: str, packed: bool) -> None:
    records = raws(*(event(number) for number in range(1 if form == EVENT else 20)))
    body = as_body(form, records)
    client = served.client("producer")
    if packed:
        answer = post(client, gzip.compress(body), form, Content_Encoding="gzip")
    else:
        answer = post(client, body, f"{form}; charset=UTF-8")
    assert answer.status_code == 200
    receipt = answer.json()
    assert set(receipt) == RECEIPT
    assert (receipt["read"], receipt["accepted"]) == (len(records), len(records))
    assert receipt["received_at"] == "2026-11-22T12:00:00Z"
    assert set(receipt["items"][0]) == {"index", "id", "outcome", "text_id", "reason", "flags"}
    assert (receipt["items"][0]["id"], receipt["items"][0]["outcome"]) == ("txt-0000000000", "accepted")


@pytest.mark.parametrize(
    ("record", "outcome", "reason"),
    [
        (b"not JSON", "quarantined", "unreadable"),
        (b"{}", "quarantined", "malformed"),
        (json.dumps(event(1, channel="mms")).encode(), "quarantined", "mms"),
        (json.dumps(event(1, sent_at="2019-01-01T00:00:00Z")).encode(), "refused", "expired"),
    ],
)
def test_one_event_whatever_its_outcome_answers_200_with_a_receipt(
    served: Serving, record: bytes, outcome: str, reason: str
) -> None:
    answer = post(served.client("producer"), record, EVENT)
    assert answer.status_code == 200
    assert answer.json()["read"] == 1
    (item,) = answer.json()["items"]
    assert (item["outcome"], item["reason"]) == (outcome, reason)


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status", "problem"),
    [
        (b"{}", BATCH, {}, 400, "malformed"),
        (b"[{}", BATCH, {}, 400, "malformed"),
        (b"", EVENT, {}, 400, "malformed"),
        (b"{}", "application/json", {}, 415, "unknown-media-type"),
        (b"{}", "", {}, 415, "unknown-media-type"),
        (b"{}", f"{EVENT}; charset=latin-1", {}, 415, "unknown-media-type"),
        (b"{}", EVENT, {"Content_Encoding": "br"}, 415, "unknown-media-type"),
        (b"{}", EVENT, {"Content_Encoding": "gzip"}, 400, "malformed"),
        (gzip.compress(bytes(MAX_REQUEST_BYTES + 1)), STREAM, {"Content_Encoding": "gzip"}, 413, "too-large"),
        (b"{}\n" * 10_001, STREAM, {}, 413, "too-large"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_what_is_not_a_batch_at_all_is_refused_whole(
    served: Serving, gate: Gate, body: bytes, content_type: str, headers: dict[str, str], status: int, problem: str
) -> None:
    answer = post(served.client("producer"), body, content_type, **headers)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == f"/problems/{problem}"
    assert gate.transactions == []


def test_a_request_over_the_limit_is_refused_before_it_is_read(served: Serving) -> None:
    address = urlsplit(served.url)
    assert address.hostname
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    token = served.client("producer").headers["Authorization"]
    connection.putrequest("POST", "/v1/texts")
    for name, value in (("Authorization", token), ("Content-Type", STREAM), ("Content-Length", str(2**40))):
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_stream_over_the_limit_is_refused_while_it_is_read(served: Serving) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(MAX_REQUEST_BYTES // 2**20 + 2):
            yield b"x" * 2**20

    headers = {"Content-Type": STREAM}
    try:
        answer = served.client("producer").post("/v1/texts", content=endless(), headers=headers)
    except httpx.TransportError:
        return  # the server closed the connection while the client was still sending
    assert answer.status_code == 413


def test_only_a_known_producer_may_push(served: Serving) -> None:
    body = raws(event(1))[0]
    assert post(served.stranger(), body).status_code == 401
    assert post(served.client("officer"), body).status_code == 403
    assert post(served.client("producer", orgs=["org-002"]), body).status_code == 403
    assert post(served.client("producer", orgs=["org-001"]), body).json()["accepted"] == 1


def test_concurrent_small_posts_share_a_transaction(served: Serving, gate: Gate, door: ToldDoor) -> None:
    clients = [served.client("producer") for _ in range(8)]
    gate.may_go.clear()
    with ThreadPoolExecutor(len(clients)) as pool:
        posts = [pool.submit(post, client, raws(event(number))[0], EVENT) for number, client in enumerate(clients)]
        for _ in posts:
            assert door.joined.acquire(timeout=30)
        gate.may_go.set()
        receipts = [future.result().json() for future in posts]
    assert all(receipt["accepted"] == 1 for receipt in receipts)
    assert len({receipt["batch_id"] for receipt in receipts}) == len(receipts)
    assert sum(gate.transactions) == len(posts)
    assert len(gate.transactions) <= 2  # the first, and all that came while it was held


def test_a_writer_that_is_behind_answers_429_and_when_to_come_again(
    served: Serving, gate: Gate, door: ToldDoor
) -> None:
    client = served.client("producer")
    gate.may_go.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, client, raws(event(0))[0], EVENT)
        assert gate.entered.acquire(timeout=30)
        fifty = pool.submit(post, client, b"\n".join(raws(*(event(number) for number in range(50)))))
        for _ in range(2):
            assert door.joined.acquire(timeout=30)
        refused = post(served.client("producer"), raws(event(99))[0], EVENT)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json()["type"] == "/problems/too-busy"
        gate.may_go.set()
        assert first.result().json()["accepted"] == 1
        assert fifty.result().json()["read"] == 50
    assert post(client, raws(event(99))[0], EVENT).json()["accepted"] == 1


def test_an_outage_of_the_database_is_503_and_nothing_is_stored(
    served: Serving, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Sequence[Batch] | None) -> list[Receipt]:
        raise Outage("the database does not answer", retry_after=7)

    client = served.client("producer")
    with monkeypatch.context() as patched:
        patched.setattr(gate.ways_in.house.vault, "accept", fail)
        answer = post(client, raws(event(1))[0], EVENT)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert post(client, raws(event(1))[0], EVENT).json()["accepted"] == 1


def test_a_stored_batch_shows_its_counts_and_root_to_its_producer_and_auditors(served: Serving) -> None:
    producer = served.client("producer", person="one")
    receipt = post(producer, b"\n".join([*raws(event(1), event(1)), b"{"])).json()
    path = f"/v1/batches/{receipt['batch_id']}"
    expected = {name: value for name, value in receipt.items() if name != "items"}
    assert producer.get(path).json() == expected
    assert served.client("auditor", person="two").get(path).json() == expected
    assert served.client("producer", person="three").get(path).status_code == 404
    assert served.client("officer", person="four").get(path).status_code == 403
    assert producer.get("/v1/batches/nothing").status_code == 404


def test_quarantine_is_listed_and_opened_for_a_reason(served: Serving) -> None:
    post(served.client("producer", person="one"), b"\n".join([*raws(event(1, channel="mms")), b"not JSON \xff"]))
    officer, why = served.client("officer", person="two"), {"Textkeep-Reason": "complaint 4711"}
    assert officer.get("/v1/quarantine").json()["type"] == "/problems/reason-required"
    page = officer.get("/v1/quarantine", headers=why).json()
    assert [(item["reason"], item["org_id"]) for item in page["items"]] == [("unreadable", None), ("mms", "org-001")]
    opened = [
        officer.get(f"/v1/quarantine/{item['shelf']}/{item['paper_id']}", headers=why).json() for item in page["items"]
    ]
    assert opened[0]["content_base64"] == "bm90IEpTT04g/w=="
    assert json.loads(opened[1]["content"]) == event(1, channel="mms")
    assert officer.get("/v1/quarantine/2026-11-20/" + "0" * 32, headers=why).status_code == 404
    assert officer.get("/v1/quarantine/2026-11-20/xyz", headers=why).status_code == 400
    assert officer.get("/v1/quarantine?limit=0", headers=why).status_code == 400


@pytest.mark.parametrize("sent", [b"caf%C3%A9 matter", "café matter".encode(), "café matter".encode("latin-1")])
def test_a_reason_to_look_into_the_quarantine_is_recorded_as_it_was_meant(
    gate: Gate, served: Serving, sent: bytes
) -> None:
    post(served.client("producer", person="one"), b"not JSON")
    officer, why = served.client("officer", person="two"), {b"Textkeep-Reason": sent}
    (item,) = officer.get("/v1/quarantine", headers=why).json()["items"]
    assert officer.get(f"/v1/quarantine/{item['shelf']}/{item['paper_id']}", headers=why).status_code == 200
    house = gate.ways_in.house
    records = house.activity.of_day(Day.of(house.clock()))
    assert [record.detail["reason"] for record in records] == ["café matter"] * 2


@pytest.mark.parametrize(("length", "status"), [(1000, 200), (1001, 400)])
def test_a_reason_is_as_long_here_as_in_a_search(served: Serving, length: int, status: int) -> None:
    why = {"Textkeep-Reason": "%C3%A9" * length}
    answer = served.client("officer").get("/v1/quarantine", headers=why)
    assert answer.status_code == status
    assert status == 200 or answer.json()["type"] == "/problems/reason-required"


def test_hostile_strings_break_nothing(served: Serving, shared: Path) -> None:
    hostile = json.loads((shared / "data" / "naughty" / "blns.json").read_bytes())
    records = raws(
        *({**event(at, body=string), "id": string or "x", "source": string or "x"} for at, string in enumerate(hostile))
    )
    client = served.client("producer")
    receipt = post(client, b"\n".join(records)).json()
    assert receipt["read"] == receipt["accepted"] + receipt["duplicates"] + receipt["versions"] == len(hostile)
    for string in hostile[::5]:
        if string.isprintable() and string.isascii():
            headers = {"Content-Type": string.strip() or EVENT, "Content-Encoding": "gzip"}
            assert client.post("/v1/texts", content=b"{}", headers=headers).status_code in (400, 415)


def test_the_openapi_document_shows_the_three_doors_and_the_receipt(served: Serving) -> None:
    operation = served.app.openapi()["paths"]["/v1/texts"]["post"]
    assert set(operation["requestBody"]["content"]) == set(FORMS)
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
    assert set(served.app.openapi()["components"]["schemas"][schema]["properties"]) == RECEIPT
