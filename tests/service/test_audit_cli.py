"""`textkeep audit` as people run it: a table or JSON, exit 0 or 1, and `unknown` said."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.service.test_cli import DIRECTORY, directory, texts, yesterday

__all__ = ["DIRECTORY", "directory", "yesterday"]

Run = Any


@pytest.fixture
def loaded(cli: Run, directory: Path, tmp_path: Path, yesterday: str) -> Run:
    feed = tmp_path / "feed.ndjson"
    feed.write_bytes(texts(20, yesterday) + b"not a record\n")
    cli("load", str(feed), "--directory", str(directory), "--wait")
    return cli


def test_an_archive_as_it_was_loaded_passes_and_what_is_unknown_is_counted(loaded: Run) -> None:
    told = loaded.json("audit")
    assert [each for each in told["findings"] if each["verdict"] == "fail"] == []
    assert told["counts"]["pass"] > 10
    assert told["counts"]["fail"] == 0
    done = loaded("audit")
    assert f"{told['counts']['unknown']} are unknown".encode() in done.stderr
    assert b"taken 20 = alive 20" in done.stdout


def test_an_edited_text_fails_and_names_its_entry(loaded: Run, yesterday: str) -> None:
    table = f"texts_{yesterday.replace('-', '_')}"
    with closing(sqlite3.connect(loaded.data / "textkeep.db")) as behind, behind:
        behind.execute(f"DELETE FROM {table} WHERE rowid = (SELECT min(rowid) FROM {table})")  # noqa: S608
    told = loaded.json("audit", code=1)
    faults = [each for each in told["findings"] if each["verdict"] == "fail"]
    named = {each["name"]: each for each in faults}
    assert named.keys() == {"conservation", "index coverage"}  # the document of what is gone is a stray
    assert {each["shelf"] for each in faults} == {yesterday}
    assert named["conservation"]["entry"]
    assert b"FAIL" in loaded("audit", "--shelf", yesterday, code=1).stdout


def test_one_shelf_is_looked_at_alone_and_one_that_is_none_is_refused(loaded: Run, yesterday: str) -> None:
    told = loaded.json("audit", "--shelf", yesterday)
    assert {each["shelf"] for each in told["findings"]} <= {yesterday, None}
    loaded("audit", "--shelf", "1999-01-01", code=1)


def test_an_edited_hold_fails_though_opening_the_archive_puts_it_right(loaded: Run) -> None:
    loaded("token", "create", "--role", "officer", "--org", "org-001")
    review = (datetime.now(UTC) + timedelta(days=90)).date().isoformat()
    loaded(
        *("hold", "place", "--org", "org-001", "--matter", "Doe v. Roe", "--reason", "a subpoena"),
        *("--review", review, "--query", "pelican"),
    )
    assert loaded.json("audit")["counts"]["fail"] == 0
    with closing(sqlite3.connect(loaded.data / "textkeep.db")) as behind, behind:
        behind.execute("UPDATE holds SET review_at = review_at - 3600000000")
    faults = [each for each in loaded.json("audit", code=1)["findings"] if each["verdict"] == "fail"]
    assert [each["name"] for each in faults] == ["holds"]
    assert "set-right" in faults[0]["said"]
    left = [each for each in loaded.json("audit")["findings"] if each["name"] == "repairs"]
    assert [(each["verdict"], "hold-set-right" in each["said"]) for each in left] == [("unknown", True)]
