"""Reports lie in the database and in the keeper's folder; either is served where it is what the ledger speaks of."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from tests.housing import House
from tests.retention.purging import OLDEST, Purging
from textkeep.errors import Unsound
from textkeep.retention.reports.chain import Chain
from textkeep.retention.reports.folder import ReportFolder
from textkeep.store.tables import reports


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    """A house that has purged one day."""
    with Purging.over(house, tmp_path) as made:
        made.until(OLDEST.due())
        made.run()
        yield made


def file_of(purging: Purging) -> Path:
    return purging.folder / "reports" / f"{OLDEST.shelf}.json"


def change(purging: Purging, statement: Any) -> None:
    with purging.house.behind.transaction() as connection:
        connection.execute(statement)


def test_database_and_folder_hold_the_same_bytes(purging: Purging) -> None:
    with purging.house.store.reading() as connection:
        copy = connection.execute(select(reports.c.document).where(reports.c.name == OLDEST.shelf)).scalar_one()
    assert copy == file_of(purging).read_bytes() == purging.chain.read(OLDEST.shelf)


def test_a_machine_without_the_folder_reads_reports_from_the_database(purging: Purging, tmp_path: Path) -> None:
    elsewhere = Chain(purging.house.store, ReportFolder(tmp_path / "elsewhere"))
    assert elsewhere.read(OLDEST.shelf) == file_of(purging).read_bytes()


def test_a_report_is_read_from_the_folder_where_the_database_has_no_copy(purging: Purging) -> None:
    change(purging, delete(reports))
    assert purging.chain.read(OLDEST.shelf) == file_of(purging).read_bytes()


@pytest.mark.parametrize("where", ["file", "database"])
def test_a_changed_report_is_not_served_and_the_true_one_is(purging: Purging, where: str) -> None:
    true = file_of(purging).read_bytes()
    changed = true.replace(b'"taken":0', b'"taken":1')
    assert changed != true
    if where == "file":
        file_of(purging).write_bytes(changed)
    else:
        change(purging, update(reports).values(document=changed))
    assert purging.chain.read(OLDEST.shelf) == true


@pytest.mark.parametrize("left", [b"{}", None])
def test_a_report_that_is_nowhere_as_it_was_is_not_served(purging: Purging, left: bytes | None) -> None:
    change(purging, update(reports).values(document=b"{}"))
    if left is None:
        file_of(purging).unlink()
    else:
        file_of(purging).write_bytes(left)
    with pytest.raises(Unsound, match="neither"):
        purging.chain.read(OLDEST.shelf)


def test_missing_files_are_written_again_from_the_database(purging: Purging) -> None:
    true = file_of(purging).read_bytes()
    shutil.rmtree(purging.folder / "reports")
    assert purging.chain.keep() == [OLDEST.shelf]
    assert file_of(purging).read_bytes() == true
    assert purging.chain.keep() == []


def test_a_file_that_was_changed_stays_as_it_is(purging: Purging) -> None:
    file_of(purging).write_bytes(b"{}")
    assert purging.chain.keep() == []
    assert file_of(purging).read_bytes() == b"{}"


def test_a_copy_that_was_changed_is_not_written_to_a_file(purging: Purging) -> None:
    file_of(purging).unlink()
    change(purging, update(reports).values(document=b"{}"))
    assert purging.chain.keep() == []
    assert not file_of(purging).exists()


def test_a_report_names_the_one_before_it(purging: Purging) -> None:
    purging.until(OLDEST.plus(1).due())
    assert purging.run().stopped is None
    first, second = (purging.chain.entry(day.shelf) for day in (OLDEST, OLDEST.plus(1)))
    assert first is not None
    assert second is not None
    assert second.body["previous"] == first.body["report"]
