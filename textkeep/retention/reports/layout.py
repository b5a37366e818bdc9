"""A report as people read it: sections of named values and of tables, from the document alone. Pure.

Nothing of the document is left out, nothing is added to it, and each value stands as it is in the JSON; `yes` and `no`
stand for true and false, `none` for what there is none of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from textkeep.retention.reports.fields import SECTIONS

TITLES: Final[Mapping[str, str]] = {
    "day": "Purge report of the day",
    "release": "Purge report of released texts",
    "missed-run": "Report of a day without a run",
}
NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class Row:
    """A member under its name in plain words; several values are several lines. `part` is a name within it."""

    path: str
    words: str
    values: Sequence[str]
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A list of the document: a column for each member, a row for each of its objects."""

    path: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]


@dataclass(slots=True)
class Section:
    """A part of the report under a heading."""

    title: str
    rows: list[Row] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def title_of(document: Mapping[str, Any]) -> str:
    """What the report is, in a line."""
    return f"{TITLES[document['kind']]} {document.get('shelf', document.get('day'))}"


def sections(document: Mapping[str, Any]) -> list[Section]:
    """The sections of which the document has anything, in their order."""
    found = [_section(title, fields, document) for title, fields in SECTIONS]
    return [each for each in found if each.rows or each.tables]


def _section(title: str, fields: Mapping[str, str], document: Mapping[str, Any]) -> Section:
    section = Section(title)
    tables: dict[str, list[tuple[str, str]]] = {}
    for path, words in fields.items():
        listed, between, member = path.partition("[].")
        if between:
            tables.setdefault(listed, []).append((member, words))
        else:
            section.rows += _rows(path, words, document)
    for listed, columns in tables.items():
        there, found = _find(document, listed)
        if not there:
            continue
        if isinstance(found, list) and found:
            rows = [[_text(each.get(member)) for member, _ in columns] for each in found]
            named = [(f"{listed}[].{member}", words) for member, words in columns]
            section.tables.append(Table(listed, named, rows))
        else:
            section.rows.append(Row(listed, columns[0][1], [_text(found)]))
    return section


def _rows(path: str, words: str, document: Mapping[str, Any]) -> list[Row]:
    there, found = _find(document, path.removesuffix("[]").removesuffix(".*"))
    if not there:
        return []
    if path.endswith(".*") and isinstance(found, Mapping) and found:
        return [Row(path, words, [_text(each)], name) for name, each in found.items()]
    if isinstance(found, list) and found:
        return [Row(path, words, [_text(each) for each in found])]
    return [Row(path, words, [_text(found)])]


def _find(document: Mapping[str, Any], path: str) -> tuple[bool, Any]:
    """Whether there is such a member, and its value; where one above it says `unknown`, that is its value."""
    found: Any = document
    for name in path.split("."):
        if isinstance(found, str):
            return True, found
        if not isinstance(found, Mapping) or name not in found:
            return False, None
        found = found[name]
    return True, found


def _text(value: Any) -> str:
    if value is None or value in ([], {}):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):  # names, or the first and the last of a span of ledger entries
        return ", ".join(value) if isinstance(value[0], str) else f"{value[0]} to {value[-1]}"
    return str(value)
