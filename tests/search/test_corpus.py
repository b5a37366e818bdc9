"""Search over 5,574 real texts, beside a scan that goes through them character by character."""

import random
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tests.housing import House
from tests.search.searching import Searching
from textkeep.archive.text import read_event

pytestmark = pytest.mark.parametrize("house", ["memory"], indirect=True)

Cut = list[str]


def cut(body: str) -> Cut:
    """The words of a text in Latin script, by walking over it; other scripts only separate."""
    plain = unicodedata.normalize("NFKC", body.replace("’", "'").replace("‘", "'")).casefold()
    walk = [" ", *(each if each < "\u0250" else " " for each in plain), " "]
    words, word = [], ""
    for at in range(1, len(walk) - 1):
        before, here, after = walk[at - 1 : at + 2]
        digits = before.isdecimal() and after.isdecimal() and here in ".,;:'"
        letters = before.isalpha() and after.isalpha() and here == "'"
        if here.isalnum() or here == "_" or digits or letters:
            word += here
        elif word:
            words.append(word)
            word = ""
    words += [word] if word else []
    return [each[:64] for each in words if each.strip("_")]


class Corpus:
    """The texts in the vault, and each one's words as the scan cuts them, by organisation, newest first."""

    def __init__(self, searching: Searching, shared: Path) -> None:
        tool = [sys.executable, str(shared / "tools" / "feed.py"), "--texts", "5574", "--days", "30"]
        feed = subprocess.run([*tool, "--until", "2026-11-21"], check=True, capture_output=True).stdout.splitlines()
        self.searching = searching
        self.texts: dict[str, list[tuple[str, str, Cut]]] = {}
        self.chance = random.Random(5574)
        for start in range(0, len(feed), 1000):
            lines = feed[start : start + 1000]
            for line, item in zip(lines, searching.take_raw(*lines).items, strict=True):
                data = read_event(line).data
                row = (data.sent_at.isoformat(timespec="milliseconds"), str(item.text_id), cut(data.body))
                self.texts.setdefault(data.org_id, []).append(row)
        for rows in self.texts.values():
            rows.sort(reverse=True)
        assert searching.follow() == 5574

    def check(self, query: str, wanted: Sequence[str], *, prefix: bool = False) -> None:
        """Hold what is found, over pages, against the texts in which `wanted` follow one another."""
        for org, rows in self.texts.items():
            expected = [text_id for _, text_id, words in rows if follow(words, wanted, prefix)]
            limit = max(7, len(expected) // 4)
            found = [str(each.id) for each in self.searching.every(query, org=org, limit=min(200, limit))]
            assert found == expected, (query, org)

    def words(self) -> list[str]:
        return sorted({word for rows in self.texts.values() for _, _, words in rows for word in words})

    def pairs(self) -> list[tuple[str, str]]:
        return sorted({pair for rows in self.texts.values() for _, _, words in rows for pair in pairwise(words)})


def follow(words: Cut, wanted: Sequence[str], prefix: bool) -> bool:
    """Whether `wanted` stand one after the other in `words`; with `prefix`, the last one's beginning."""
    for at in range(len(words) - len(wanted) + 1):
        window = words[at : at + len(wanted)]
        last = window[-1].startswith(wanted[-1]) if prefix else window[-1] == wanted[-1]
        if last and window[:-1] == list(wanted[:-1]):
            return True
    return False


@pytest.fixture
def corpus(house: House, shared: Path) -> Corpus:
    return Corpus(Searching.build(house), shared)


def test_words_phrases_and_prefixes_find_exactly_what_a_scan_finds(corpus: Corpus) -> None:
    chance = corpus.chance
    for word in chance.sample(corpus.words(), 60):
        corpus.check(f'"{word}"', [word])
    for pair in chance.sample(corpus.pairs(), 30):
        corpus.check(f'"{" ".join(pair)}"', pair)
    for word in chance.sample(corpus.words(), 25):
        beginning = word[: chance.randint(1, len(word))].rstrip("'.,;:")
        corpus.check(f"{beginning}*", [beginning], prefix=True)
    for first, last in chance.sample(corpus.pairs(), 15):
        beginning = last[: chance.randint(1, len(last))].rstrip("'.,;:")
        corpus.check(f'"{first} {beginning}*"', [first, beginning], prefix=True)


@pytest.mark.soak
def test_every_word_finds_exactly_what_a_scan_finds(corpus: Corpus) -> None:
    for word in corpus.words():
        corpus.check(f'"{word}"', [word])
