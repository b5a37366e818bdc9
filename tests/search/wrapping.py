"""An index between a test and its driver, for what an engine cannot be told to do."""

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence

from textkeep.archive.text import TextId
from textkeep.search.index import Addition, Asked, Hit, IndexDriver, Window


class Wrapped:
    """An IndexDriver that is another one, but for the size of a step where a test sets it."""

    def __init__(self, index: IndexDriver) -> None:
        self.index = index
        self.step_texts = index.step_texts

    @property
    def together(self) -> int:
        return self.index.together

    def create(self, shelves: Collection[str]) -> None:
        self.index.create(shelves)

    def add(self, additions: Sequence[Addition]) -> None:
        self.index.add(additions)

    def replace(self, shelf: str, additions: Iterable[Addition]) -> None:
        self.index.replace(shelf, additions)

    def compact(self, shelf: str, leaving: threading.Event) -> bool:
        return self.index.compact(shelf, leaving)

    def drop(self, shelf: str) -> None:
        self.index.drop(shelf)

    def exists(self, shelf: str) -> bool:
        return self.index.exists(shelf)

    def shelves(self) -> set[str]:
        return self.index.shelves()

    def ids(self, shelf: str) -> Iterator[TextId]:
        return self.index.ids(shelf)

    def slices(self, shelf: str) -> set[int]:
        return self.index.slices(shelf)

    def query(self, asked: Asked, window: Window) -> list[Hit]:
        return self.index.query(asked, window)

    def warnings(self) -> list[str]:
        return self.index.warnings()

    def close(self) -> None:
        self.index.close()
