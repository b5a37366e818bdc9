"""The port to the search index: what it is given, what it is asked, and what every driver must keep to.

An index holds no readable word, number or name: a document is a set of opaque terms beside its text's public id. It
can be thrown away and made again from the vault at any time.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from textkeep.archive.text import TextId
from textkeep.errors import Outage


class NoIndex(Outage):
    """The shelf has no index: not yet, or no more. `shelf` is its name, where one of several is meant."""

    problem = "no-index"
    title = "A day cannot be searched at the moment"
    remedy = "Run `textkeep rebuild`."

    def __init__(self, detail: str, *, shelf: str | None = None) -> None:
        super().__init__(detail)
        self.shelf = shelf


@dataclass(frozen=True, slots=True)
class Document:
    """A text as the index knows it: `terms` are tokens (hex) and clear attributes (`name:value`, never hex)."""

    id: TextId
    at: int
    segments: int
    terms: Collection[str]

    def __repr__(self) -> str:
        return f"Document({self.id})"


@dataclass(frozen=True, slots=True)
class Addition:
    """What one slice adds to its shelf: its documents, and earlier versions again that it tells something about.

    One that is made again has the same documents, though their padding may differ.
    """

    shelf: str
    slice: int
    documents: Sequence[Document]


class Hit(NamedTuple):
    """A document that a plan proposes, by its place: it was sent `at` milliseconds after the start of 1970."""

    at: int
    id: TextId


@dataclass(frozen=True, slots=True)
class Everything:
    """Every document."""


@dataclass(frozen=True, slots=True)
class Term:
    """The documents with this term; `keyed` where it is a token of one organisation, not a clear attribute."""

    term: str
    keyed: bool = True

    def __repr__(self) -> str:
        return "Term()"


@dataclass(frozen=True, slots=True)
class AllOf:
    """The documents of every part; two or more, none of them Everything."""

    parts: tuple["Plan", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The documents of any part, none of them Everything; without a part, no document."""

    parts: tuple["Plan", ...]


Plan = Everything | Term | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a shelf, or of several, and in which order.

    `start` and `until` are milliseconds, the second one exclusive. Newest first, unless `oldest_first`. Only what comes
    behind `after` in that order (its moment, then its id) is given, and of that the first `limit`.
    """

    limit: int
    start: int | None = None
    until: int | None = None
    after: Hit | None = None
    oldest_first: bool = False


Asked = Sequence[tuple[str, Plan]]
"""Shelves, each with its own plan: one, or several days in the order of the window."""


class IndexDriver(Protocol):
    """Holds one index a shelf.

    A driver MUST keep documents apart by shelf, and MUST answer in the exact order of `Hit`, each id once however
    often it was added. It MUST find an id that was added by several slices through whatever fits one of these
    additions, in whichever order they came; so who adds an id again says all of its terms again. When `add` returns,
    everything MUST be durable and findable; where it raises, some of it may be, and the same call again completes it.
    Adding a slice again MUST change nothing that a query can see. It MUST NOT make an index by adding to it, only by
    `create`: a slow writer never brings a purged shelf back. It MUST NOT answer where a part of it is out of reach:
    what is missing never looks like no hit. It MUST NOT keep, log or quote a term beyond the index itself. Where its
    engine does not answer in time it raises Outage.
    """

    @property
    def together(self) -> int:
        """How many shelves one `query` takes at most."""

    @property
    def step_texts(self) -> int:
        """How many texts are best handed over by one `add`."""

    def create(self, shelves: Collection[str]) -> None:
        """Make an empty index for each shelf that has none."""

    def add(self, additions: Sequence[Addition]) -> None:
        """Add documents. Raises NoIndex where a shelf has no index; then nothing was added to that shelf."""

    def replace(self, shelf: str, additions: Iterable[Addition]) -> None:
        """Make a shelf's index anew from these alone; the old one answers until the new one is whole.

        Raises NoIndex where the shelf has none, before and after reading `additions`.
        """

    def compact(self, shelf: str, leaving: threading.Event) -> bool:
        """Let a shelf's index take less room and be gone sooner, where the engine does not see to that by itself.

        For a shelf that takes hardly anything more; it is written and asked meanwhile as ever, and nothing that is
        found changes. Gives whether anything was done; soon, and unfinished, when `leaving` is set. Raises NoIndex.
        """

    def drop(self, shelf: str) -> None:
        """Remove a shelf's index, so that nothing of it is left in any file or log of the driver; or do nothing."""

    def exists(self, shelf: str) -> bool:
        """Whether anything of a shelf is in the engine. It MUST look, and MUST NOT answer from memory."""

    def shelves(self) -> set[str]:
        """Every shelf of which anything is in the engine; what somebody brought back after a `drop` included."""

    def ids(self, shelf: str) -> Iterator[TextId]:
        """Every id in a shelf's index, a few at a time in memory; perhaps more than once, perhaps not what comes since.

        Raises NoIndex, while it is read.
        """

    def slices(self, shelf: str) -> set[int]:
        """Every slice that a shelf's index holds a document of. Raises NoIndex."""

    def query(self, asked: Asked, window: Window) -> list[Hit]:
        """The first `window.limit` documents over all these shelves, each by its own plan, in order.

        A keyed term of one shelf never stands in a document of another: a driver may rely on that to ask for all of
        them in one. Raises NoIndex that names the shelf, where one of them has none.
        """

    def warnings(self) -> list[str]:
        """What an operator should know about the engine, a sentence each."""

    def close(self) -> None:
        """Give everything back. Nothing else may be called afterwards."""
