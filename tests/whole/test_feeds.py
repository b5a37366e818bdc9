"""Feeds of real texts through the real command and its real HTTP: each line is taken once, and none is lost."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.whole.commanding import World
from tests.whole.feeding import (
    BATCH,
    contents,
    feed,
    ledger_kinds,
    quarantined,
    receipts_stored,
    send,
    serving,
    texts,
    told,
    totals,
    write,
)
from tests.whole.outcomes import NOT_ON_ITS_DAY, STRAYS, Expected, expected

REAL_TEXTS = 5_574
OF_ITS_OWN = (
    "tokens",
    "ledger_entries",
    "tiles",
    "checkpoints",
    "sqlite_sequence",
    "notes",
    "runs",
    "leases",
    "coverage",
)
WHY = {"Textkeep-Reason": "is everything there"}


def test_a_feed_of_real_texts_is_taken_whole_and_loading_it_again_stores_nothing(shared: Path, tmp_path: Path) -> None:
    world = World.make(tmp_path / "world")
    lines = feed(shared, "--texts", str(REAL_TEXTS))
    directory = write(tmp_path / "directory.ndjson", feed(shared, "--directory"))
    texts_file = write(tmp_path / "texts.ndjson", lines)
    with serving(world):
        said = told(world, "load", texts_file, "--directory", directory, "--wait")
        assert (said["directory"]["read"], said["directory"]["refused"]) == (said["directory"]["added"], 0)
        assert {count: said[count] for count in ("read", "accepted")} == {"read": REAL_TEXTS, "accepted": REAL_TEXTS}
    assert len(texts(world.data)) == REAL_TEXTS
    before, files = what_is_stored(world.data), sizes(world.data)

    with serving(world):
        again = told(world, "load", texts_file, "--directory", directory, "--wait")
        assert again["directory"]["unchanged"] == said["directory"]["read"]
        assert (again["read"], again["duplicates"], again["accepted"]) == (REAL_TEXTS, REAL_TEXTS, 0)
    after, files_after = what_is_stored(world.data), sizes(world.data)

    receipts = -(-REAL_TEXTS // BATCH)
    assert after.pop("batches")[0] == before.pop("batches")[0] + receipts
    assert after == before
    assert ledger_kinds(world.data) == {"slice": before["slices"][0], "token": 3}
    assert files_after.keys() == files.keys()
    same = {name for name in files if files_after[name] == files[name] or "index.db" in name}
    grown = {name: files_after[name] - files[name] for name in files.keys() - same}
    # A page each for the receipts and for the tables in which the service notes its own runs; the texts take hundreds.
    assert sum(grown.values()) <= (receipts + len(OF_ITS_OWN)) * 4096, grown


def what_is_stored(data: Path) -> dict[str, tuple[int, str]]:
    """Counts and digests of the tables of archive and index, without those in which the service notes its own runs."""
    index = contents(data / "index.db")
    # Each run of the comparison makes index and vocabulary of some day anew: as many documents, padded and placed
    # otherwise, and words sealed again.
    documents = {f"index {name}": (it[0], "") for name, it in index.items() if name.startswith(("docs_", "slices"))}
    stored = contents(data / "textkeep.db")
    return {name: it for name, it in stored.items() if name not in OF_ITS_OWN and "papers_" not in name} | documents


def sizes(data: Path) -> dict[str, int]:
    """Each file of archive and keyring with its bytes."""
    folders = (data, data.with_name(f"{data.name}-keyring"))
    return {str(path): path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_every_stray_lands_where_the_outcomes_table_says_and_none_is_lost(shared: Path, tmp_path: Path) -> None:
    world = World.make(tmp_path / "world")
    lines = feed(shared, "--texts", "20000", "--strays", "0.05", "--duplicates", "0.05")
    wanted = list(expected(lines))
    assert Counter(each.kind for each in wanted).keys() == {"text", "not-json", "rewritten", *STRAYS}
    directory = write(tmp_path / "directory.ndjson", feed(shared, "--directory"))
    with serving(world) as service, service.client() as client:
        told(world, "load", "--directory", directory)
        receipts = send(client, lines)
        sums = totals(receipts)
        assert sums["read"] == len(lines)
        items = [item for receipt in receipts for item in receipt["items"]]
        for each, item in zip(wanted, items, strict=True):
            assert (each.outcome, each.reason, each.id) == (item["outcome"], item["reason"], item["id"]), each.kind
            assert ("rewritten" in item["flags"]) == (each.outcome == "version")
        for receipt in receipts:
            stored = client.get(f"/v1/batches/{receipt['batch_id']}").json()
            assert totals([{**stored, "items": receipt["items"]}]) == totals([receipt])
        listed = everything_in_quarantine(client)
        place = {receipt["batch_id"]: number * BATCH for number, receipt in enumerate(receipts)}
        reasons = {place[entry["batch_id"]] + entry["index"]: entry["reason"] for entry in listed}
        assert reasons == {at: each.reason for at, each in enumerate(wanted) if each.outcome == "quarantined"}
        look_into_quarantine(client, listed, place, lines)

    stored_once = Counter(text[:2] for text in texts(world.data))
    assert sum(stored_once.values()) == sums["accepted"] + sums["versions"]
    assert len(stored_once) == sums["accepted"]
    days = {item["text_id"]: each for each, item in zip(wanted, items, strict=True) if item["text_id"]}
    assert all(text_id[:8] == (each.day or "").replace("-", "") for text_id, each in days.items())
    assert quarantined(world.data) == Counter(
        shelf_of(each, str(receipts[at // BATCH]["received_at"]))
        for at, each in enumerate(wanted)
        if each.outcome == "quarantined"
    )

    again = told(world, "load", write(tmp_path / "texts.ndjson", lines))
    assert (again["accepted"], again["versions"]) == (0, 0)
    assert again["duplicates"] == sums["accepted"] + sums["versions"] + sums["duplicates"]
    assert (again["quarantined"], again["refused"]) == (sums["quarantined"], sums["refused"])


def shelf_of(each: Expected, received_at: str) -> str:
    """The day on whose shelf a quarantined line must lie."""
    return received_at[:10] if each.reason in NOT_ON_ITS_DAY or each.day is None else each.day


def everything_in_quarantine(client: httpx.Client) -> list[dict[str, Any]]:
    """Every entry, over all pages."""
    listed: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        page = client.get("/v1/quarantine", params={"limit": 200, **more}, headers=WHY).json()
        listed += page["items"]
        if page["cursor"] is None:
            return listed
        more = {"cursor": page["cursor"]}


def look_into_quarantine(
    client: httpx.Client, listed: list[dict[str, Any]], place: dict[str, int], lines: list[bytes]
) -> None:
    """One record of each reason holds exactly the line that was sent."""
    for entry in {entry["reason"]: entry for entry in listed}.values():
        read = client.get(f"/v1/quarantine/{entry['shelf']}/{entry['paper_id']}", headers=WHY).json()
        assert read["content"].encode() == lines[place[entry["batch_id"]] + entry["index"]]


@pytest.mark.parametrize("with_service", [False, True], ids=["on its own", "into a service"])
def test_a_load_that_is_interrupted_and_run_again_ends_with_each_text_once(
    shared: Path, tmp_path: Path, with_service: bool
) -> None:
    world = World.make(tmp_path / "world")
    lines = feed(shared, "--texts", "8000", "--days", "60")
    told(world, "load", "--directory", write(tmp_path / "directory.ndjson", feed(shared, "--directory")))
    if with_service:
        with serving(world):
            stored = interrupt(world, lines)
            said = told(world, "load", write(tmp_path / "texts.ndjson", lines))
    else:
        stored = interrupt(world, lines)
        said = told(world, "load", write(tmp_path / "texts.ndjson", lines))
    assert said["read"] == len(lines)
    assert 0 < stored <= said["duplicates"] < len(lines)
    assert said["accepted"] == len(lines) - said["duplicates"]
    there = texts(world.data)
    assert len(there) == len(set(there)) == len(lines)
    assert {version for _, _, version in there} == {1}


def interrupt(world: World, lines: list[bytes]) -> int:
    """Stop a load with SIGINT once it has stored some of half a feed; gives how many texts lie there by then."""
    before = receipts_stored(world.data)
    errors = world.logs / "load"
    with errors.open("wb") as log:
        command = [sys.executable, "-m", "textkeep", "load", "-"]
        loading = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=world.environment()
        )
    assert loading.stdin is not None
    loading.stdin.write(b"".join(line + b"\n" for line in lines[: len(lines) // 2]))
    loading.stdin.flush()
    while receipts_stored(world.data) < before + 2:
        assert loading.poll() is None, errors.read_bytes()
    stored = len(texts(world.data))
    loading.send_signal(signal.SIGINT)
    loading.communicate()
    assert loading.returncode == 1
    assert errors.read_text("utf-8").startswith("textkeep: interrupted.")
    return stored


def test_what_the_feed_says_of_a_stray_is_not_read_by_the_archive(shared: Path) -> None:
    """The expectation may use `straykind`; nothing of the product may."""
    lines = feed(shared, "--texts", "400", "--strays", "0.5")
    kinds = {json.loads(line).get("straykind") for line in lines if line.endswith(b"}")}
    assert kinds > {None, "mms", "group"}
    sources = Path(__file__).parents[2].joinpath("textkeep").rglob("*.py")
    assert not [path.name for path in sources if "straykind" in path.read_text("utf-8")]
