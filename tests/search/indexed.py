"""Documents, terms and days to index, and what is found of them."""

import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime

from textkeep.archive.text import TextId
from textkeep.search.index import (
    Asked,
    Document,
    Everything,
    Hit,
    IndexDriver,
    Plan,
    Term,
    Window,
)

DAY = date(2026, 11, 20)
SHELF = DAY.isoformat()
START = round(datetime(2026, 11, 20, tzinfo=UTC).timestamp() * 1000)
OTHER = "2026-11-21"
DAY_MS = 86_400_000
EVERYTHING = Everything()


def text_id(number: int, version: int = 1, day: date = DAY) -> TextId:
    return TextId(day, (number * 0x9E3779B97F4A7C15 % (1 << 128)).to_bytes(16, "big"), version)


def document(number: int, *terms: str, at: int | None = None) -> Document:
    return Document(text_id(number), START + (number if at is None else at), 1, terms or (token("any"),))


def token(word: str) -> str:
    return word.encode().hex().ljust(16, "0")[:16]


def wanted(word: str) -> Term:
    return Term(token(word))


def found(index: IndexDriver, plan: Plan, window: Window | None = None, shelf: str = SHELF) -> list[TextId]:
    return [hit.id for hit in index.query([(shelf, plan)], window or Window(1000))]


def pages(index: IndexDriver, asked: Asked, window: Window) -> list[Hit]:
    """Everything that is asked for, page by page."""
    seen: list[Hit] = []
    while page := index.query(asked, replace(window, after=seen[-1] if seen else window.after)):
        assert len(page) <= window.limit
        seen += page
    return seen


def hit(day: str, number: int) -> Hit:
    start = START + DAY_MS * (date.fromisoformat(day) - DAY).days
    return Hit(start + number // 2, text_id(number, day=date.fromisoformat(day)))


def keyed(day: str, word: str) -> Term:
    return Term(hashlib.sha256(f"{day} {word}".encode()).hexdigest()[:16])
