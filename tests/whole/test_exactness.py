"""Search gives exactly what a brute-force scan of the feed finds, in its order, over pages of any size."""

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest

from tests.housing import NOON, SetClock
from tests.whole.bruteforce import Asked, BruteForce, text_ids
from tests.whole.feeding import BATCH, feed
from textkeep.access.principal import Principal
from textkeep.directory.records import read_line
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive

UNTIL = ("--until", "2026-11-21")
OFFICER = Principal(b"\x07" * 8, "token-1", frozenset({"officer"}), None)
ORGS = ("org-001", "org-002", "org-003")
LIMITS = (1, 2, 3, 5, 8, 20, 50, 200)
MOST_PAGES = 6


@dataclass
class Loaded:
    """An archive that has taken a feed and made it findable, and the same feed to be searched by brute force."""

    archive: Archive
    force: BruteForce
    chance: random.Random = field(default_factory=lambda: random.Random(5574))

    @classmethod
    def build(cls, folder: Path, shared: Path, days: int) -> "Loaded":
        folder.mkdir()
        archive = Archive.open(Settings(data=folder), SetClock(NOON))
        archive.directory.put_all([read_line(line) for line in feed(shared, "--directory")])
        lines = feed(shared, "--texts", "5574", "--days", str(days), *UNTIL)
        requests = [lines[start : start + BATCH] for start in range(0, len(lines), BATCH)]
        receipts = archive.intake.take(archive.local, requests)
        while archive.follower.step():
            continue
        return cls(archive, BruteForce(lines, text_ids(receipts)))

    def check(self, asked: Asked, org: str) -> int:
        """Hold every page of a search against brute force; gives how many texts were found."""
        wanted = self.force.find(asked, org)
        limit = min(200, max(self.chance.choice(LIMITS), math.ceil(len(wanted) / MOST_PAGES)))
        found: list[tuple[str, bytes]] = []
        cursor = None
        while True:
            page = self.archive.finder.find(
                OFFICER,
                asked.typed,
                reason="is everything found",
                org=self.archive.organisations.all()[org],
                limit=limit,
                cursor=cursor,
            )
            found += [(str(opened.id), opened.raw) for opened in page.results]
            cursor = page.cursor
            assert len(page.results) == limit or cursor is None, (asked.typed, org)
            if cursor is None:
                break
        assert found == [(line.text_id, line.raw) for line in wanted], (asked.typed, org, limit)
        return len(found)

    def check_each(self, many: Iterable[Asked]) -> None:
        """Hold each against brute force in one organisation that has it, and every tenth in all of them."""
        for number, asked in enumerate(many):
            orgs = ORGS if number % 10 == 0 else [self.chance.choice(self.force.orgs_with(asked))]
            assert sum(self.check(asked, org) for org in orgs) > 0, asked.typed

    def some_words(self, count: int) -> list[Asked]:
        """So many distinct words: the most frequent ones, the rest by chance, every other one capitalised."""
        every = self.force.words()
        frequent = count // 20
        some = every[:frequent] + self.chance.sample(every[frequent:], count - frequent)
        return [Asked.word(word) if at % 2 else capitalised(Asked.word(word)) for at, word in enumerate(some)]

    def some_phrases(self, count: int) -> list[Asked]:
        """So many phrases of two to five words."""
        return [Asked.phrase(run) for run in self.chance.sample(self.force.phrases((2, 3, 4, 5)), count)]

    def some_prefixes(self, count: int) -> list[Asked]:
        """So many prefixes, a few of them of one letter."""
        every = self.force.prefixes()
        short = [prefix for prefix in every if len(prefix) == 1][: count // 20]
        return [Asked.prefix(prefix) for prefix in short + self.chance.sample(every, count - len(short))]


def capitalised(asked: Asked) -> Asked:
    return Asked(asked.typed.title(), asked.needle)


@dataclass
class Archives:
    """Archives that are loaded once for all tests here."""

    folder: Path
    loaded: dict[int, Loaded] = field(default_factory=dict)

    def over(self, shared: Path, days: int) -> Loaded:
        """The real texts over so many days."""
        if days not in self.loaded:
            self.loaded[days] = Loaded.build(self.folder / str(days), shared, days)
        return self.loaded[days]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archives]:
    made = Archives(tmp_path_factory.mktemp("exactness"))
    yield made
    for each in made.loaded.values():
        each.archive.close()


@pytest.fixture
def dense(archives: Archives, shared: Path) -> Loaded:
    """5,574 texts over 40 days."""
    return archives.over(shared, 40)


@pytest.fixture
def sparse(archives: Archives, shared: Path) -> Loaded:
    """5,574 texts over all the days there are."""
    return archives.over(shared, 398)


def test_a_thousand_words_find_exactly_the_texts_that_have_them(dense: Loaded) -> None:
    dense.check_each(dense.some_words(1_000))


def test_two_hundred_phrases_find_exactly_the_texts_that_have_them(dense: Loaded) -> None:
    dense.check_each(dense.some_phrases(200))


def test_two_hundred_prefixes_find_exactly_the_texts_with_such_a_word(dense: Loaded) -> None:
    dense.check_each(dense.some_prefixes(200))


def test_over_all_the_days_there_are_search_is_as_exact(sparse: Loaded) -> None:
    sparse.check_each(sparse.some_words(40) + sparse.some_phrases(20) + sparse.some_prefixes(10))


@pytest.mark.soak
def test_every_word_of_the_corpus_finds_exactly_the_texts_that_have_it(dense: Loaded) -> None:
    for asked, org in product(map(Asked.word, dense.force.words()), ORGS):
        dense.check(asked, org)


@pytest.mark.soak
def test_every_phrase_of_two_words_finds_exactly_the_texts_that_have_it(dense: Loaded) -> None:
    dense.check_each(map(Asked.phrase, dense.force.phrases((2,))))


@pytest.mark.soak
def test_every_prefix_finds_exactly_the_texts_with_such_a_word(dense: Loaded) -> None:
    dense.check_each(map(Asked.prefix, dense.force.prefixes()))


@pytest.mark.soak
def test_over_all_the_days_there_are_every_word_is_as_exact(sparse: Loaded) -> None:
    sparse.check_each(map(Asked.word, sparse.force.words()))
