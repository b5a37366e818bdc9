"""Reports on disk: there whole or not at all, and only under names that are reports'."""

from pathlib import Path

import pytest

from textkeep.errors import NotFound, Outage
from textkeep.retention.reports.folder import ReportFolder
from textkeep.retention.reports.report import canonical


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path / "reports")
    folder.write("2026-11-22", b"{}")
    folder.write("2026-11-22", b'{"a":1}')
    assert folder.read("2026-11-22") == b'{"a":1}'
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["2026-11-22.json"]


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", "A", ".hidden", "a.json", "x" * 101, "a\0b"])
def test_a_name_that_is_no_reports_leads_nowhere(tmp_path: Path, name: str) -> None:
    folder = ReportFolder(tmp_path)
    with pytest.raises(NotFound):
        folder.read(name)
    with pytest.raises(NotFound):
        folder.write(name, b"")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "reports").touch()
    with pytest.raises(Outage):
        ReportFolder(tmp_path / "reports").write("2026-11-22", b"{}")


def test_a_report_is_canonical_json() -> None:
    assert canonical({"b": 1, "a": ["é", None]}) == '{"a":["é",null],"b":1}'.encode()
