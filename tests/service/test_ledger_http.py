"""The ledger of a running archive: signed within seconds, served as tlog-tiles, proven, cosigned, changed by two."""

import base64
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.housing import event
from tests.service.conftest import DIRECTORY, as_before, bearer
from textkeep.access.principal import Principal
from textkeep.errors import Malformed
from textkeep.ledger import tree
from textkeep.ledger.cosignature import Cosigner
from textkeep.ledger.note import Checkpoint, Verifier, opened, parse
from textkeep.ledger.paths import bundle_path, tile_path
from textkeep.ledger.proof import Proof
from textkeep.ledger.published import Folder as Copy
from textkeep.ledger.published import Published
from textkeep.retention.approvals.approval import Approval, Kind
from textkeep.service.folder import Folder
from textkeep.service.running import Running
from textkeep.service.settings import Settings

PATIENCE = 60.0


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An archive as `up` runs it, with its schedule and its signer."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TEXTKEEP_")]:
            patch.delenv(name)
        settings = Settings.load(tmp_path_factory.mktemp("ledger") / "archive")
    with as_before(), Running.start(settings, Folder.hold(settings.folder, "up"), schedule=True) as started:
        with httpx.Client(base_url=started.listening.url, headers=bearer(started.secret)) as client:
            client.post("/v1/directory", content=DIRECTORY, headers={"Content-Type": "application/x-ndjson"})
        yield started


@pytest.fixture(scope="module")
def client(kept: Running) -> Iterator[Callable[..., httpx.Client]]:
    """Clients, each with a token of these roles."""
    made: list[httpx.Client] = []

    def make(*roles: str, person: str = "") -> httpx.Client:
        archive = kept.archive
        token, _ = archive.tokens.create(
            person=person or f"the {roles[0]}", roles=list(roles), orgs=None, by=archive.local
        )
        made.append(httpx.Client(base_url=kept.listening.url, headers=bearer(token), timeout=PATIENCE))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def local(kept: Running) -> Iterator[httpx.Client]:
    """Whoever has the archive's files."""
    with httpx.Client(base_url=kept.listening.url, headers=bearer(kept.secret), timeout=PATIENCE) as opened_client:
        yield opened_client


@pytest.fixture(scope="module")
def auditor(client: Callable[..., httpx.Client]) -> httpx.Client:
    return client("auditor")


def until(asked: Callable[[], httpx.Response], status: int = 200) -> httpx.Response:
    """The first answer of that status."""
    end = time.monotonic() + PATIENCE
    while (answer := asked()).status_code != status:
        assert time.monotonic() < end, answer.text
        time.sleep(0.05)
    return answer


def settled(auditor: httpx.Client) -> dict[str, Any]:
    """How the ledger stands once nothing waits."""
    end = time.monotonic() + PATIENCE
    while True:
        told: dict[str, Any] = auditor.get("/v1/ledger").json()
        if told["waiting"] == 0 and told["published"] == told["integrated"] > 0:
            return told
        assert time.monotonic() < end, told
        time.sleep(0.05)


def push(client: Callable[..., httpx.Client], *numbers: int, **data: Any) -> dict[str, Any]:
    lines = b"".join(json.dumps(event(number, **data)).encode() + b"\n" for number in numbers)
    sent = client("producer").post(
        "/v1/texts", content=lines + b"no record\n", headers={"Content-Type": "application/x-ndjson"}
    )
    receipt: dict[str, Any] = sent.raise_for_status().json()
    return receipt


class Served:
    """The log as it is served, for a reader of published logs."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str) -> bytes | None:
        answer = self._http.get(f"/ledger/{path}")
        return answer.content if answer.status_code == 200 else None


def test_what_is_acknowledged_is_signed_soon_and_everybody_can_check_it(
    client: Callable[..., httpx.Client], auditor: httpx.Client
) -> None:
    push(client, 1, 2)
    told = settled(auditor)
    note = parse(auditor.get("/ledger/checkpoint").content)
    key = Verifier.parse(auditor.get("/ledger/key").text)
    opened(note, [key])
    said = Checkpoint.parse(note.text)
    assert said.origin == key.name == told["origin"]
    assert said.origin.startswith("textkeep/")
    log = Published(Served(auditor), said.size)
    entries = [entry for _, entry in log.entries()]
    assert tree.root([tree.leaf_hash(entry) for entry in entries]) == said.root == tree.root_through(log, said.size)
    kinds = [json.loads(entry)["kind"] for entry in entries]
    assert {"slice", "quarantine", "token"} <= set(kinds)


def test_a_receipt_becomes_proofs_of_its_slices_and_of_what_was_set_aside(
    client: Callable[..., httpx.Client], auditor: httpx.Client
) -> None:
    receipt = push(client, 11, 12, 13)
    producer = client("producer")
    address = f"/v1/batches/{receipt['batch_id']}/proof"
    told = until(lambda: producer.get(address)).json()
    key = Verifier.parse(auditor.get("/ledger/key").text)
    by_kind = {each["kind"]: each for each in told["entries"]}
    assert by_kind.keys() == {"slice", "quarantine"}
    assert by_kind["slice"]["entry"]["accepted"] == 3
    assert by_kind["quarantine"]["entry"]["count"] == 1
    for each in told["entries"]:
        proof = Proof.parse(each["proof"].encode())
        note = parse(proof.note)
        opened(note, [key])
        said = Checkpoint.parse(note.text)
        assert json.loads(proof.extra or b"") == each["entry"]
        proof.check(proof.extra or b"", said.size, said.root)
    root = tree.root([tree.leaf_hash(bytes.fromhex(by_kind["slice"]["entry"]["root"]))])
    assert root.hex() == receipt["root"]
    leaves = Published(Served(auditor), 0).leaves("2026-11-20")
    assert leaves is not None
    assert tree.root_of_set(leaves[by_kind["slice"]["entry"]["slice"]]).hex() == by_kind["slice"]["entry"]["root"]
    assert auditor.get(address).status_code == 200
    assert client("producer", person="another").get(address).status_code == 404
    assert client("officer").get(address).status_code == 403


def test_a_proof_is_pending_until_it_is_signed(kept: Running, client: Callable[..., httpx.Client]) -> None:
    with kept.archive.evidence.signer._alone:  # no step is taken meanwhile
        receipt = push(client, 21)
        answer = client("producer").get(f"/v1/batches/{receipt['batch_id']}/proof")
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/pending")
    until(lambda: client("producer").get(f"/v1/batches/{receipt['batch_id']}/proof"))


def test_tiles_are_served_as_tlog_tiles_says(auditor: httpx.Client) -> None:
    size = settled(auditor)["published"]
    width = min(size, 255)
    tile, bundle = auditor.get(f"/ledger/{tile_path(0, 0, width)}"), auditor.get(f"/ledger/{bundle_path(0, width)}")
    for answer in (tile, bundle):
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "immutable" in answer.headers["cache-control"]
    assert len(tile.content) == width * 32
    checkpoint = auditor.get("/ledger/checkpoint")
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
    assert "no-cache" in checkpoint.headers["cache-control"]
    for path in ("tile/0/000", "tile/0/0", "tile/1/000.p/1", "tile/entries/001.p/1", "tile/entries/x", "tile/9/000"):
        answer = auditor.get(f"/ledger/{path}")
        assert answer.status_code in (404, 400), path
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/ledger/checkpoint", "/ledger/key", "/ledger/tile/0/000.p/1", "/ledger/leaves/2026-11-20", "/v1/ledger"]
)
def test_the_log_is_for_auditors(client: Callable[..., httpx.Client], kept: Running, path: str) -> None:
    assert client("auditor").get(path).status_code == 200
    assert client("officer").get(path).status_code == 403
    assert httpx.get(kept.listening.url + path).status_code == 401


def test_the_key_is_a_private_file_apart_from_the_data(kept: Running) -> None:
    settings = kept.archive.settings
    file = settings.keyring_folder / "ledger-key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = base64.b64decode(file.read_text().strip().split("+", 4)[4])
    held = b"".join(path.read_bytes() for path in settings.folder.rglob("*") if path.is_file())
    assert secret[1:] not in held


def test_an_export_is_the_log_that_is_served_and_is_brought_up_to_date(
    local: httpx.Client, auditor: httpx.Client, client: Callable[..., httpx.Client], tmp_path: Path
) -> None:
    for number in (31, 32):
        push(client, number)
        size = settled(auditor)["published"]
        told = local.post("/local/ledger/export", json={"folder": str(tmp_path / "log")}).json()
        assert told["size"] >= size
        copy = Copy(tmp_path / "log")
        said = Checkpoint.parse(parse(copy.get("checkpoint") or b"").text)
        log = Published(copy, said.size)
        assert tree.root([tree.leaf_hash(entry) for _, entry in log.entries()]) == said.root
        assert tree.root_through(log, said.size) == said.root
        assert log.leaves("2026-11-20") == Published(Served(auditor), said.size).leaves("2026-11-20")
        assert copy.get("key") == auditor.get("/ledger/key").content
    files = [path for path in (tmp_path / "log").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
    assert local.post("/local/ledger/export", json={"folder": str(tmp_path / "log")}).json()["shelves"] == 0


def agreed(kept: Running, kind: Kind, request: dict[str, Any], *, decide: bool = True) -> tuple[Approval, Any]:
    """What one person asked for, and what came of it when another one approved."""
    archive = kept.archive
    asked = archive.approvals.put(archive.local, kind, "ledger", {**request, "reason": "as agreed"}, None)
    return asked, approve(kept, asked) if decide else None


def approve(kept: Running, asked: Approval) -> Any:
    other = Principal(b"another!", "t-1", frozenset({"approver"}), None)
    return kept.archive.approvals.decide(other, asked.id, "approved", asked.digest).effect


def test_a_witness_is_added_by_two_and_its_cosignature_is_served(kept: Running, auditor: httpx.Client) -> None:
    cosigner = Cosigner.generate("witness.example")
    content = auditor.get("/ledger/checkpoint").content
    said = Checkpoint.parse(parse(content).text)
    line = cosigner.cosign(parse(content).text, int(time.time())).line
    given = {"size": said.size, "line": line.rstrip("\n")}
    assert auditor.post("/v1/ledger/cosignatures", json=given).status_code == 409
    _, effect = agreed(kept, "witness", {"add": str(cosigner.witness)})
    assert effect == {"did": "added", "witness": "witness.example"}
    settled(auditor)
    content = auditor.get("/ledger/checkpoint").content
    text = parse(content).text
    given = {"size": Checkpoint.parse(text).size, "line": cosigner.cosign(text, int(time.time())).line.rstrip("\n")}
    assert auditor.post("/v1/ledger/cosignatures", json=given).json()["witness"] == "witness.example"
    served = parse(auditor.get("/ledger/checkpoint").content)
    assert opened(served, [cosigner.witness]) == [cosigner.witness]
    assert auditor.get("/v1/ledger/witnesses").json()[0]["cosigned"] == given["size"]

    false = {**given, "line": cosigner.cosign("another\n1\n" + "A" * 43 + "=\n", int(time.time())).line.rstrip("\n")}
    assert auditor.post("/v1/ledger/cosignatures", json=false).status_code == 409
    assert auditor.post("/v1/ledger/cosignatures", json={**given, "size": 10**9}).status_code == 404
    assert auditor.post("/v1/ledger/cosignatures", json={**given, "line": "nothing"}).status_code == 400
    late = {**given, "line": cosigner.cosign(text, int(time.time()) + 3600).line.rstrip("\n")}
    assert auditor.post("/v1/ledger/cosignatures", json=late).status_code == 409

    assert agreed(kept, "witness", {"remove": str(cosigner.witness)})[1]["did"] == "removed"
    assert auditor.post("/v1/ledger/cosignatures", json=given).status_code == 409
    told = [json.loads(entry) for _, entry in Published(Served(auditor), settled(auditor)["published"]).entries()]
    assert [each["did"] for each in told if each["kind"] == "witness-change"] == ["added", "removed"]


def test_the_key_is_changed_by_two_and_both_sign(kept: Running, local: httpx.Client, auditor: httpx.Client) -> None:
    old = auditor.get("/ledger/key").text.strip()
    asked, _ = agreed(kept, "ledger-key", {"old": old}, decide=False)
    refused = local.post("/local/ledger/rotate", json={"approval": asked.id})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/not-approved")
    approve(kept, asked)
    told = local.post("/local/ledger/rotate", json={"approval": asked.id}).raise_for_status().json()
    assert auditor.get("/ledger/key").text.strip() == told["key"] != old
    assert local.post("/local/ledger/rotate", json={"approval": asked.id}).status_code == 409
    settled(auditor)
    opened(parse(auditor.get("/ledger/checkpoint").content), [Verifier.parse(told["key"])])


def test_an_approval_of_something_else_changes_nothing(
    kept: Running, local: httpx.Client, auditor: httpx.Client
) -> None:
    key = auditor.get("/ledger/key").text
    asked, _ = agreed(kept, "ledger-key", {"old": "another key"})
    answer = local.post("/local/ledger/rotate", json={"approval": asked.id})
    assert (answer.status_code, "what was approved" in answer.json()["detail"]) == (409, True)
    assert auditor.get("/ledger/key").text == key
    for what in ({"add": "no key"}, {"add": "a", "remove": "b"}, {}):
        with pytest.raises(Malformed):
            agreed(kept, "witness", what)
