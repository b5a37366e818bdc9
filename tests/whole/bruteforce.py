"""Searching by brute force: every line of a feed is looked at, with words cut by rules of its own.

The rules are those of docs/words.md as far as Latin script goes; nothing of textkeep is used, so that the two can
only agree by both being right.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

APOSTROPHES: Final = str.maketrans(dict.fromkeys("`´‘’‛ʼ′", "'"))
LATIN: Final = 0x250
"""The first code point behind Latin letters; each letter from there on is a word of its own, and never asked for."""

LONGEST: Final = 64
_WORD: Final = re.compile(r"\w+(?:(?:(?<=[^\W\d_])'(?=[^\W\d_])|(?<=\d)[.,;':](?=\d))\w+)*")


def words(body: str) -> list[str]:
    """The words of a text, exact in Latin script."""
    folded = unicodedata.normalize("NFKC", body.translate(APOSTROPHES)).casefold()
    apart = "".join(character if ord(character) < LATIN else f" {character} " for character in folded)
    return [word[:LONGEST] for word in _WORD.findall(apart) if word.strip("_")]


@dataclass(frozen=True)
class Line:
    """A text of the feed under its id in the archive; `spelled` is its words, each between spaces."""

    text_id: str
    raw: bytes
    org: str
    sent_at: str
    spelled: str


@dataclass(frozen=True)
class Asked:
    """A query as it is typed, and what stands in the `spelled` of exactly the lines that it must find."""

    typed: str
    needle: str

    @classmethod
    def word(cls, word: str) -> "Asked":
        return cls(word, f" {word} ")

    @classmethod
    def phrase(cls, sequence: Sequence[str]) -> "Asked":
        return cls(f'"{" ".join(sequence)}"', f" {' '.join(sequence)} ")

    @classmethod
    def prefix(cls, prefix: str) -> "Asked":
        return cls(f"{prefix}*", f" {prefix}")


class BruteForce:
    """Every text that a feed sent, under the ids that its receipts gave."""

    def __init__(self, lines: Sequence[bytes], text_ids: Sequence[str]) -> None:
        self.lines = [_line(raw, text_id) for raw, text_id in zip(lines, text_ids, strict=True)]
        self.lines.sort(key=lambda line: (line.sent_at, line.text_id), reverse=True)

    def find(self, asked: Asked, org: str) -> list[Line]:
        """What must be found in an organisation: newest first, of one moment the later id first."""
        return [line for line in self.lines if asked.needle in line.spelled and line.org == org]

    def orgs_with(self, asked: Asked) -> list[str]:
        """The organisations in which something must be found."""
        return sorted({line.org for line in self.lines if asked.needle in line.spelled})

    def words(self) -> list[str]:
        """Every distinct word in ASCII, the most frequent ones first."""
        counts = Counter(word for line in self.lines for word in line.spelled.split())
        return [word for word, _ in counts.most_common() if word.isascii()]

    def phrases(self, lengths: Collection[int]) -> list[tuple[str, ...]]:
        """Every distinct run of so many words in ASCII, sorted."""
        found = {
            tuple(spelled[at : at + length])
            for spelled in (line.spelled.split() for line in self.lines)
            for length in lengths
            for at in range(len(spelled) - length + 1)
        }
        return sorted(run for run in found if all(map(str.isascii, run)))

    def prefixes(self) -> list[str]:
        """Every distinct beginning of a word in ASCII that is cut as a word itself, sorted."""
        found = {word[:end] for word in self.words() for end in range(1, len(word) + 1)}
        return sorted(prefix for prefix in found if words(prefix) == [prefix])


def text_ids(receipts: Iterable[Any]) -> list[str]:
    """The id of each text of receipts, in the order they were sent; each must have been accepted."""
    items = [item for receipt in receipts for item in receipt.items]
    assert {item.outcome for item in items} == {"accepted"}
    return [item.text_id for item in items]


def _line(raw: bytes, text_id: str) -> Line:
    data = json.loads(raw)["data"]
    return Line(text_id, raw, data["org_id"], data["sent_at"], f" {' '.join(words(data['body']))} ")
