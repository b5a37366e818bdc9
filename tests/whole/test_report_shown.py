"""Every value of a report reaches a reader, under the words of the document, with the digest of the very bytes."""

import hashlib
import html
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest

from tests.whole.reporting import BODY, DAY, MISSED, Told, archive_of, live
from textkeep.errors import Unsound
from textkeep.retention.reports import pdf as report_pdf
from textkeep.retention.reports.fields import FIELDS, paths
from textkeep.retention.reports.layout import sections
from textkeep.retention.reports.page import page
from textkeep.retention.reports.report import canonical

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "purge-report.md"

VOID: Final = frozenset({"meta"})
ROW: Final = re.compile(r"^\| `([^`]+)` \| ([^|]+?) \|", re.MULTILINE)


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with archive_of(request, "sqlite", tmp_path_factory.mktemp("shown")) as archive:
        yield live(archive)


def contents(told: Told) -> list[bytes]:
    return [told.archive.chain.read(name) for name in told.names]


class Outline(HTMLParser):
    """The tags of a page, which must close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def written(value: Any) -> list[str]:
    """How a value of the JSON is written for people."""
    if value in (None, [], {}):
        return ["none"]
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, list):
        return [str(part) for each in value for part in (each if isinstance(each, list) else [each])]
    return [str(value)]


def test_the_document_names_every_member_of_reports_of_all_kinds_and_no_other() -> None:
    named = ROW.findall(DOCUMENT.read_text())
    assert len(named) == len(dict(named))
    assert dict(named) == dict(FIELDS)


def test_every_member_of_real_reports_is_known_and_every_known_one_is_real(told: Told) -> None:
    found = {path for content in contents(told) for path, _ in paths(json.loads(content))}
    kinds = {json.loads(content)["kind"] for content in contents(told)}
    assert kinds == {"day", "release", "missed-run"}
    whole = {path for path in found if path not in FIELDS}  # an empty list of objects stands for all of it
    assert all(any(path.startswith(f"{each}[].") for path in FIELDS) for each in whole), whole
    assert FIELDS.keys() - found == set()


def test_every_value_of_the_json_stands_on_the_page(told: Told) -> None:
    for content in contents(told):
        document = json.loads(content)
        shown = html.unescape(page(content, document))
        for path, value in paths(document):
            assert path in shown or path not in FIELDS or "[]." in path
            for each in written(value):
                assert f">{each}<" in shown or re.search(rf"[> ]{re.escape(each)}[ ,<]", shown), (path, each)


def test_the_page_shows_the_digest_of_the_bytes_and_changes_with_them(told: Told) -> None:
    content = told.archive.chain.read(DAY.shelf)
    document = json.loads(content)
    assert hashlib.sha256(content).hexdigest() in page(content, document)
    other = canonical({**document, "number": 99})
    assert hashlib.sha256(content).hexdigest() not in page(other, json.loads(other))


def test_the_page_needs_nothing_else_and_holds_no_script(told: Told) -> None:
    for content in contents(told):
        outline = Outline()
        outline.feed(page(content, json.loads(content)))
        assert outline.open == []
        tags = [tag for tag, _ in outline.seen]
        assert not {"script", "link", "img", "iframe", "form", "object"} & set(tags)
        assert not any(
            {"href", "src", "style", "onload", "onclick"} & attributes.keys() for _, attributes in outline.seen
        )


def test_the_page_can_be_read_by_ear(told: Told) -> None:
    """One heading of the first level, then the second; every table has a caption, and names its rows or columns."""
    content = told.archive.chain.read(DAY.shelf)
    outline = Outline()
    outline.feed(page(content, json.loads(content)))
    tags = [tag for tag, _ in outline.seen]
    assert (tags.count("h1"), "h3" in tags) == (1, False)
    assert tags.count("table") == tags.count("caption") > 10
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in outline.seen if tag == "th")
    assert outline.seen[0] == ("html", {"lang": "en"})


def test_a_value_that_looks_like_markup_is_shown_and_not_obeyed(told: Told) -> None:
    document = told.report(DAY.shelf) | {"claim": "<script>alert(1)</script>"}
    shown = page(canonical(document), document)
    assert "<script>" not in shown
    assert "<script>alert(1)</script>" in html.unescape(shown)


def test_what_is_unknown_is_said_once_for_all_of_it(told: Told) -> None:
    document = told.report(DAY.shelf) | {"holds": "unknown", "totals": "unknown", "readback": "unknown"}
    rows = {row.path: row.values for section in sections(document) for row in section.rows}
    assert rows["totals.taken"] == rows["holds.kept"] == rows["holds.holds"] == rows["readback"] == ["unknown"]


def test_no_report_in_any_form_quotes_a_text_a_name_or_a_number(told: Told) -> None:
    for content in contents(told):
        shown = content.decode() + page(content, json.loads(content))
        for secret in (BODY, "merger", "Doe v. Roe", "subpoena", "+1212", "org-00", "Olivia", "u-1"):
            assert secret not in shown


def test_the_pdf_shows_the_digest_of_the_bytes_and_is_the_same_each_time(told: Told) -> None:
    pytest.importorskip("reportlab")
    for content in contents(told):
        made = report_pdf.pdf(content, json.loads(content), compress=False)
        assert made.startswith(b"%PDF-")
        assert hashlib.sha256(content).hexdigest().encode() in made
        assert made == report_pdf.pdf(content, json.loads(content), compress=False)


def test_a_pdf_takes_values_of_any_length_and_letter(told: Told) -> None:
    pytest.importorskip("reportlab")
    document = told.report(DAY.shelf)
    document["time_token"] = "x" * 9_000
    document["slices"]["entries"] = [[2 * at, 2 * at] for at in range(3_000)]
    document["responsible"]["asked_by"] = "Ж <b>&"
    checkpoint = document["signed"]["checkpoints"][0]
    checkpoint["note"] = "\n".join("— witness.example/w 5I7BWIkvll1YeF1xbA" * 2 for _ in range(60))
    document["signed"]["checkpoints"] = [checkpoint] * 4
    made = report_pdf.pdf(canonical(document), document, compress=False)
    assert b"5998 to 5998" in made


def test_without_the_extra_a_pdf_is_refused_in_words(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("reportlab.lib.pagesizes", "reportlab.lib.units", "reportlab.platypus"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    content = told.archive.chain.read(MISSED)
    with pytest.raises(Unsound, match="not installed") as refused:
        report_pdf.pdf(content, json.loads(content))
    assert "textkeep[pdf]" in (refused.value.remedy or "")
