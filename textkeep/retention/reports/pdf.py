"""A report as PDF, by reportlab (the extra `pdf`). Like the page, it shows every value and the digest of the JSON."""

import io
from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from textkeep.errors import Unsound
from textkeep.retention.reports.layout import Section, sections, title_of
from textkeep.retention.reports.parts import Document
from textkeep.retention.reports.report import digest

CELL_CHARACTERS: Final = 1_200
"""The longest text of one cell: no cell may be longer than a page."""

COLUMN_CHARACTERS: Final = 12
"""What each column of a wide table gets at least, as a share of the width."""

MARGIN_MM: Final = 15

NAME_SHARE: Final = 0.3
"""The share of the width that names get."""


def pdf(content: bytes, document: Document, *, compress: bool = True) -> bytes:
    """The PDF of a report; the same bytes each time. Raises Unsound where the extra is not installed."""
    try:
        from reportlab.lib.pagesizes import A4, landscape
        from reportlab.lib.units import mm
        from reportlab.platypus import SimpleDocTemplate
    except ModuleNotFoundError as exc:
        raise Unsound(
            "what writes PDF is not installed here; nothing was written",
            field="pdf",
            remedy="Install textkeep[pdf]; or take the report as HTML, which shows the same and prints well.",
        ) from exc
    whole = io.BytesIO()
    made = SimpleDocTemplate(
        whole,
        pagesize=landscape(A4),
        leftMargin=MARGIN_MM * mm,
        rightMargin=MARGIN_MM * mm,
        topMargin=MARGIN_MM * mm,
        bottomMargin=MARGIN_MM * mm,
        title=title_of(document),
        author="Textkeep",
        lang="en",
        invariant=1,
        pageCompression=int(compress),
    )
    drawing = _Drawing(made.width)
    story = drawing.head(content, document)
    for section in sections(document):
        story += drawing.section(section)
    made.build(story)
    return whole.getvalue()


class _Drawing:
    """Draws parts of the layout at a width, in points."""

    def __init__(self, width: float) -> None:
        from reportlab.lib import colors
        from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
        from reportlab.platypus import TableStyle

        self._width = width
        styles = getSampleStyleSheet()
        self._title, self._heading = styles["Heading1"], styles["Heading2"]
        self._text = ParagraphStyle("text", fontName="Helvetica", fontSize=7.5, leading=9.5, wordWrap="CJK")
        self._bold = ParagraphStyle("bold", parent=self._text, fontName="Helvetica-Bold")
        self._lines = TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.grey),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ]
        )

    def head(self, content: bytes, document: Document) -> list[Any]:
        """Title, verdict, digest."""
        from reportlab.platypus import Paragraph

        shown = f"SHA-256 of the {len(content)} bytes of the JSON, which alone is the record:"
        return [
            Paragraph(_safe(title_of(document)), self._title),
            Paragraph(_safe(f"Verdict: {document['verdict']}"), self._bold),
            Paragraph(_safe(shown), self._text),
            Paragraph(_safe(digest(content)), self._bold),
        ]

    def section(self, section: Section) -> list[Any]:
        """A heading, its values, its tables."""
        from reportlab.platypus import Paragraph

        drawn: list[Any] = [Paragraph(_safe(section.title), self._heading)]
        if section.rows:
            rows = [
                [name, part]
                for row in section.rows
                for name, part in _parted(_name(row.words, row.part, row.path), row.values)
            ]
            drawn.append(self._table(rows, [NAME_SHARE, 1 - NAME_SHARE], headed=False))
        for table in section.tables:
            head = [words for _, words in table.columns]
            shares = _shares([head, *table.rows])
            drawn.append(self._table([head, *table.rows], shares, headed=True))
        return drawn

    def _table(self, rows: Sequence[Sequence[str]], shares: Sequence[float], *, headed: bool) -> Any:
        from reportlab.platypus import Paragraph, Table

        cells = [
            [Paragraph(_safe(each), self._bold if headed and not number else self._text) for each in row]
            for number, row in enumerate(rows)
        ]
        widths = [self._width * share for share in shares]
        return Table(cells, widths, repeatRows=int(headed), style=self._lines, spaceAfter=8, splitInRow=1)


def _name(words: str, part: str | None, path: str) -> str:
    return f"{words} ({path})" if part is None else f"{words}: {part} ({path})"


def _parted(name: str, values: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A name with its values, in parts that fit a cell; the name stands beside the first."""
    whole = "\n".join(values)
    for start in range(0, max(len(whole), 1), CELL_CHARACTERS):
        yield name if not start else "", whole[start : start + CELL_CHARACTERS]


def _shares(rows: Sequence[Sequence[str]]) -> list[float]:
    longest = [max(COLUMN_CHARACTERS, *(min(len(row[at]), 60) for row in rows)) for at in range(len(rows[0]))]
    return [each / sum(longest) for each in longest]


def _safe(text: str) -> str:
    """Text for a paragraph: no markup, in the letters that the standard fonts have."""
    return escape(text.encode("cp1252", "backslashreplace").decode("cp1252")).replace("\n", "<br/>")
