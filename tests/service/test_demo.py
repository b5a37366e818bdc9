"""The demo: an empty archive is filled, a half-filled one is gone on with, any other is left alone."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from textkeep.directory.records import read_line
from textkeep.errors import Conflict
from textkeep.service import demo, demo_feed
from textkeep.service.folder import Folder
from textkeep.service.running import Running
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive
from textkeep.store.demo import is_demo
from textkeep.store.tables import slices


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    for name in [name for name in os.environ if name.startswith("TEXTKEEP_")]:
        monkeypatch.delenv(name)
    umask = os.umask(0o022)
    settings = Settings.load(tmp_path / "archive")
    with Running.start(settings, Folder.hold(settings.folder, "up")) as running:
        yield running.archive
    os.umask(umask)


def stored(archive: Archive) -> int:
    with archive.store.reading() as connection:
        return int(connection.execute(select(func.sum(slices.c.accepted))).scalar_one() or 0)


def test_a_demo_that_was_stopped_half_way_goes_on_with_the_same_texts(archive: Archive) -> None:
    mark = demo.claim(archive)
    wanted = sum(1 for _ in demo_feed.lines(mark.until))
    batches: list[int] = []
    assert not demo.fill(archive, mark, stopped=lambda: len(batches) == 3, told=batches.append)
    assert stored(archive) == sum(batches) < wanted
    again = demo.claim(archive)
    assert again == mark
    assert demo.fill(archive, again)
    assert stored(archive) == wanted
    done = demo.claim(archive)
    assert done.state == "loaded"
    assert demo.fill(archive, done, told=batches.append)
    assert len(batches) == 3


def test_every_text_of_the_demo_is_in_order(archive: Archive) -> None:
    mark = demo.claim(archive)
    lines = list(demo_feed.lines(mark.until))
    [receipt] = archive.intake.take(archive.local, [[]])
    assert receipt.read == 0
    assert demo.fill(archive, mark)
    [again] = archive.intake.take(archive.local, [lines[:100]])
    assert again.duplicates == 100


def test_an_archive_with_anything_in_it_is_refused(archive: Archive) -> None:
    archive.directory.put_all([read_line(json.dumps(next(demo_feed.directory())).encode())])
    with pytest.raises(Conflict) as refused:
        demo.claim(archive)
    assert "nothing was changed" in refused.value.detail
    with archive.store.reading() as connection:
        assert not is_demo(connection)


def test_an_archive_that_somebody_has_a_token_for_is_refused(archive: Archive) -> None:
    archive.tokens.create(person="ada", roles=["producer"], orgs=None, by=archive.local)
    with pytest.raises(Conflict):
        demo.claim(archive)
    with archive.store.reading() as connection:
        assert not is_demo(connection)


def test_a_token_does_not_keep_a_half_loaded_demo_from_going_on(archive: Archive) -> None:
    mark = demo.claim(archive)
    archive.tokens.create(person="ada", roles=["producer"], orgs=None, by=archive.local)
    assert demo.claim(archive) == mark


def test_a_demo_archive_lets_one_person_hold_every_role(archive: Archive) -> None:
    roles = ["approver", "officer"]
    with pytest.raises(Conflict):
        archive.tokens.create(person="ada", roles=roles, orgs=None, by=archive.local)
    demo.claim(archive)
    assert archive.tokens.create(person="ada", roles=roles, orgs=None, by=archive.local)


def test_up_with_demo_answers_the_example_search_once_it_says_that_it_listens(cli: Any) -> None:
    process = cli.start("up", "--demo", "--port", "0", "--json")
    try:
        assert json.loads(process.stdout.readline())["url"]
        found = cli.json("search", "appointment* -cancel*", "--org", "org-001", "--reason", "trying it out")
        assert len(found["results"]) == 20
        [own] = cli.json("token", "list")["tokens"]
        assert own["roles"] == ["auditor", "officer", "registrar"]
    finally:
        process.terminate()
        process.communicate()
    assert process.returncode == 0
