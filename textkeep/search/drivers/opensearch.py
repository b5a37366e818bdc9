"""The index on OpenSearch 2.19 or later: one index a shelf, behind an alias that every write requires.

How indices are named and laid out is in `opensearch_names.py`, what is sent in `opensearch_query.py`. A text has one
document for each slice that says something of it; an answer has it once.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

from textkeep.archive.text import TextId
from textkeep.errors import Outage, TextkeepError
from textkeep.search.drivers import opensearch_query as query
from textkeep.search.drivers.opensearch_address import Address
from textkeep.search.drivers.opensearch_compact import compact
from textkeep.search.drivers.opensearch_errors import RETRY_AFTER, Refused, in_words
from textkeep.search.drivers.opensearch_http import BULK_BYTES, Cluster
from textkeep.search.drivers.opensearch_names import SETTINGS, Found, Names, mappings
from textkeep.search.drivers.opensearch_setup import Setup
from textkeep.search.index import Addition, Asked, Hit, NoIndex, Plan, Window

HITS_AT_ONCE: Final = 50_000
"""Hits of one request, over all the shelves that it asks."""

_NOT_THERE: Final = 404

LOOKS: Final = 5
"""How often a drop looks again for an index that somebody brings back, before it gives up."""


class OpenSearchIndex:
    """An IndexDriver on an OpenSearch cluster. It is first spoken to when it is needed; it may be down until then."""

    together = 256
    step_texts = 5_000

    def __init__(self, address: Address, owner: str | None = None) -> None:
        self._cluster = Cluster(address)
        self._names = Names(address.prefix)
        self._setup = Setup(self._cluster, self._names, owner)
        self._mappings = mappings(owner)

    @classmethod
    def open(cls, url: str, owner: str | None = None) -> "OpenSearchIndex":
        """The index at an INDEX_URL, of the archive that `owner` names; without one nothing is asked or told of that.

        Raises Malformed. Whatever is asked of it raises Unsound where its prefix belongs to another archive.
        """
        return cls(Address.parse(url), owner)

    def create(self, shelves: Collection[str]) -> None:
        """Make an empty index for each shelf that has none; what a crash left of one is cleared away first."""
        wanted = sorted(set(shelves))
        with self._translated():
            listing = self._listing(*wanted)
            missing = [shelf for shelf in wanted if not self._names.found(shelf, listing).live]
            if missing:
                self._setup.must_be_ours(again=True)
                self._setup.prepare()
            for shelf in missing:
                before = self._names.found(shelf, listing)
                self._clear(shelf, before)
                self._make(shelf, self._names.alias(shelf), before)
                self._clear(shelf, self._found(shelf))

    def add(self, additions: Sequence[Addition]) -> None:
        """Add documents; `add` of the same again completes what an error cut off."""
        aliases = {each.shelf: self._names.alias(each.shelf) for each in additions}
        with self._translated():
            self._write((aliases[each.shelf], each) for each in additions)
            self._cluster.refresh(aliases.values())

    def replace(self, shelf: str, additions: Iterable[Addition]) -> None:
        """Make a shelf's index anew, in an index beside it whose alias then takes the place of the old one's."""
        with self._translated(shelf):
            self._setup.prepare()
            before = self._must_be_live(shelf)
            self._clear(shelf, before)
            made = self._make(shelf, self._names.beside(shelf), before)
        try:
            self._fill(shelf, additions)
            with self._translated(shelf):
                self._must_be_live(shelf)
                self._swap(shelf, made, before.live[0])
        except BaseException:
            with suppress(TextkeepError), self._translated(shelf):
                if made not in self._found(shelf).live:
                    self._delete([made])
            raise

    def compact(self, shelf: str, leaving: threading.Event) -> bool:
        """Merge a shelf's index into one segment; what is not done when `leaving` is set, the cluster goes on with."""
        with self._translated(shelf):
            return compact(self._cluster, self._names.alias(shelf), leaving)

    def drop(self, shelf: str) -> None:
        """Remove every index and every alias of a shelf, whoever made it, and look until none is left."""
        with self._translated(shelf):
            for _ in range(LOOKS):
                listing = self._listing(shelf)
                if not listing:
                    return
                self._delete([name for name in listing if self._names.shelf(name) == shelf])
                self._unname(shelf, {name: each for name, each in listing.items() if self._names.shelf(name) != shelf})
        raise Outage("an index that was removed is brought back again and again", retry_after=RETRY_AFTER)

    def exists(self, shelf: str) -> bool:
        """Whether there is any index or alias of a shelf: the one in use, one in the making, or somebody else's."""
        with self._translated(shelf):
            return bool(self._listing(shelf))

    def shelves(self) -> set[str]:
        """Every shelf of which there is any index under our prefix."""
        with self._translated():
            found = self._cluster.listing([self._names.every])
        return {shelf for name, aliases in found.items() for shelf in self._names.shelves(name, aliases)}

    def ids(self, shelf: str) -> Iterator[TextId]:
        """Every id in a shelf's index, read page by page; the documents of one text are neighbours."""
        return (text for text, _ in groupby(hit.id for hit in self._every(shelf)))

    def slices(self, shelf: str) -> set[int]:
        """Every slice that a shelf's index holds a document of."""
        found: set[int] = set()
        after = None
        with self._translated(shelf):
            while True:
                page, after = self._cluster.search(self._names.alias(shelf), query.slices(after), query.slices_in)
                found.update(page)
                if after is None:
                    return found

    def query(self, asked: Asked, window: Window) -> list[Hit]:
        """The documents of some plans, in order; several shelves are asked in one request."""
        found: list[Hit] = []
        at = 0
        while at < len(asked) and len(found) < window.limit:
            left = replace(window, limit=window.limit - len(found))
            sent, at = self._request(asked, at, left)
            found += self._send(sent, left)
        return found

    def warnings(self) -> list[str]:
        """What an operator should know about the cluster, a sentence each; for `textkeep doctor`. Raises Outage."""
        with self._translated():
            return self._setup.warnings()

    def close(self) -> None:
        """Close the connections."""
        self._cluster.close()

    def _request(self, asked: Asked, at: int, window: Window) -> tuple[list[tuple[str, Plan, bytes]], int]:
        """The searches of one request, from the shelf at `at` on, and where the next request begins."""
        size, sent, taken = min(window.limit, query.MAX_PAGE), [], 0
        for shelf, plan in asked[at : at + max(HITS_AT_ONCE // window.limit, 1)]:
            body = query.search(plan, window, size)
            at += 1
            if body is not None:
                sent.append((shelf, plan, body))
                taken += len(body)
            if taken > BULK_BYTES:
                break
        return sent, at

    def _send(self, sent: Sequence[tuple[str, Plan, bytes]], window: Window) -> list[Hit]:
        if not sent:
            return []
        with self._translated():
            searches = [(self._names.alias(shelf), body) for shelf, _, body in sent]
            answers = self._cluster.searches(searches, query.hits_in)
        found: list[Hit] = []
        for (shelf, plan, _), answer in zip(sent, answers, strict=True):
            # A text may be there for several slices: its documents are neighbours, and behind the last one lie others.
            hits = list(dict.fromkeys(answer))
            found += hits
            left = window.limit - len(found)
            if left > 0 and len(answer) == min(window.limit, query.MAX_PAGE):
                found += self.query([(shelf, plan)], replace(window, limit=left, after=hits[-1]))
            if len(found) >= window.limit:
                break
        return found[: window.limit]

    def _every(self, shelf: str) -> Iterator[Hit]:
        """Every document of a shelf, some more than once: by places that never change, so that additions lose none.

        Page after page would look at all documents for each. So the first page tells how much time holds one, and the
        others are asked for in stretches of that length, and doubled where little is in one.
        """
        alias = self._names.alias(shelf)
        with self._translated(shelf):
            hits, last = self._cluster.search(alias, query.every(), query.page_in)
            yield from hits
            while len(hits) == query.MAX_PAGE:
                start, after = hits[-1].at, hits[-1]
                length = max(start - hits[0].at, 1)
                while start <= last:
                    until = start + length
                    hits, _ = self._cluster.search(alias, query.every(after, start, until), query.page_in)
                    yield from hits
                    if len(hits) == query.MAX_PAGE:
                        start, after = hits[-1].at, hits[-1]
                    else:
                        start, length = until, 2 * length if len(hits) < query.MAX_PAGE // 2 else length
                hits, last = self._cluster.search(alias, query.every(after, start), query.page_in)
                yield from hits

    def _fill(self, shelf: str, additions: Iterable[Addition]) -> None:
        beside = self._names.beside(shelf)
        with self._translated(shelf):
            self._write((beside, each) for each in additions)
            self._cluster.refresh([beside])

    def _write(self, additions: Iterable[tuple[str, Addition]]) -> None:
        self._cluster.bulk((alias, line) for alias, each in additions for line in query.lines(alias, each))

    def _swap(self, shelf: str, made: str, old: str) -> None:
        """Let the alias lead to the new index and delete the old one, at once or not at all."""
        actions = [
            {"remove_index": {"index": old}},
            {"add": {"index": made, "alias": self._names.alias(shelf)}},
            {"remove": {"index": made, "alias": self._names.beside(shelf)}},
        ]
        try:
            self._cluster.call(lambda client: client.indices.update_aliases(body={"actions": actions}))
        except Refused as refused:
            if refused.status != _NOT_THERE:
                raise
            # Where its first answer was lost, the swap was done and the second attempt finds nothing left to do.
            if made not in self._found(shelf).live:
                raise NoIndex("the index was dropped while it was made anew", shelf=shelf) from None

    def _make(self, shelf: str, alias: str, before: Found) -> str:
        """Make an empty index behind an alias. Where somebody else made it at the same moment, it is theirs."""
        newest = max((self._names.generation(each) for each in (*before.live, *before.others)), default=0)
        name = self._names.index(shelf, newest + 1)
        body = {"settings": SETTINGS, "mappings": self._mappings, "aliases": {alias: {}}}
        try:
            self._cluster.call(lambda client: client.indices.create(index=name, body=body))
        except Refused as refused:
            if not refused.exists:
                raise
        return name

    def _clear(self, shelf: str, found: Found) -> None:
        """Delete what a crash left, and all but the newest of several that were made at once."""
        left = [each for each in found.others if self._names.made_by_us(shelf, each)]
        self._delete([*found.live[1:], *left])
        self._unname(shelf, {each: {self._names.alias(shelf)} for each in found.others if each not in left})

    def _delete(self, indices: Sequence[str]) -> None:
        for name in indices:
            try:
                self._cluster.call(_deleting(name))
            except Refused as refused:
                if not refused.missing:
                    raise

    def _unname(self, shelf: str, listing: Mapping[str, Collection[str]]) -> None:
        """Take our names from indices that are somebody else's."""
        for index, aliases in listing.items():
            for alias in aliases:
                if self._names.shelf(alias) == shelf:
                    self._cluster.call(_unnaming(index, alias))

    def _must_be_live(self, shelf: str) -> Found:
        found = self._found(shelf)
        if not found.live:
            raise NoIndex("a day has no index", shelf=shelf)
        return found

    def _found(self, shelf: str) -> Found:
        return self._names.found(shelf, self._listing(shelf))

    def _listing(self, *shelves: str) -> dict[str, frozenset[str]]:
        patterns = [pattern for shelf in shelves for pattern in self._names.patterns(shelf)]
        listing = self._cluster.listing(patterns)
        wanted = frozenset(shelves)
        return {name: each for name, each in listing.items() if not wanted.isdisjoint(self._names.shelves(name, each))}

    @contextmanager
    def _translated(self, shelf: str | None = None) -> Iterator[None]:
        try:
            self._setup.must_be_ours()
            yield
        except Refused as refused:
            named = self._names.shelf(refused.index) if refused.index else None
            raise in_words(refused, named or shelf) from None


def _unnaming(index: str, alias: str) -> Callable[[Any], Any]:
    return lambda client: client.indices.delete_alias(index=index, name=alias, ignore=_NOT_THERE)


def _deleting(name: str) -> Callable[[Any], Any]:
    return lambda client: client.indices.delete(index=name)
