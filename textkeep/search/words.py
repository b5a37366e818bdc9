"""What a word is, for indexing, for queries and for matching alike. Pure; docs/words.md says it in plain words.

Unicode word boundaries (UAX 29) over folded text, with the tailoring that docs/words.md lists. The rules are written
out as one pattern over the `regex` library's Word_Break property, because its WORD flag cannot be tailored; a test
holds the untailored rest against that flag.
"""

import re
import unicodedata
from typing import Final

import regex

MAX_WORD: Final = 64
"""A longer word is cut to its first 64 characters, in texts and in queries alike."""

APOSTROPHES: Final = "`´‘’‛ʼ′＇\u1fef\uff40\u1ffd"
"""What is written for an apostrophe; all of them fold to U+0027."""

IGNORABLE: Final = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Characters that show nothing (Default_Ignorable_Code_Point): joiners, variation selectors, soft hyphens."""

_KEYCAP: Final = 0x20E3
_UNIFY: Final[dict[int, str | None]] = {
    **{code: None for first, last in IGNORABLE for code in range(first, last + 1)},
    **{ord(mark): "'" for mark in APOSTROPHES},
    _KEYCAP: None,
}

# The classes of UAX 29, table 3, as far as the rules below need them. An emoji is never part of another word.
_HEBREW = r"\p{WB=Hebrew_Letter}"
_LETTER = r"[[\p{WB=ALetter}\p{WB=Hebrew_Letter}]--\p{Extended_Pictographic}]"
_DIGIT = r"\p{WB=Numeric}"
_JOINED = r"[[\p{WB=ALetter}\p{WB=Hebrew_Letter}\p{WB=Numeric}\p{WB=ExtendNumLet}]--\p{Extended_Pictographic}]"
_MARK = r"[[\p{WB=Extend}\p{WB=Format}]--\p{Emoji_Modifier}]"
_SPACELESS = r"[[\p{L}\p{N}]&&[\p{WB=Other}\p{WB=Katakana}]]"
_BETWEEN_LETTERS = r"['\p{WB=MidLetter}--:]"
_BETWEEN_DIGITS = r"['.:\p{WB=MidNum}]"

_ANY: Final = regex.compile(
    rf"""(?: {_JOINED} [{_JOINED}{_MARK}]*+                                     # WB4, WB5, WB8-10, WB13a-b
           (?: (?: (?<={_LETTER}{_MARK}*) {_BETWEEN_LETTERS} {_MARK}* (?={_LETTER})   # WB6-7
                 | (?<={_HEBREW}{_MARK}*) " {_MARK}* (?={_HEBREW})                    # WB7b-c
                 | (?<={_DIGIT}{_MARK}*) {_BETWEEN_DIGITS} {_MARK}* (?={_DIGIT}) )    # WB11-12
               [{_JOINED}{_MARK}]++ )*+ )
       | (?P<run> {_SPACELESS} [{_SPACELESS}\p{{WB=Extend}}--\p{{Emoji_Modifier}}]*+ )
       | \p{{WB=Regional_Indicator}}{{1,2}}                                     # WB15-16
       | [\p{{Extended_Pictographic}}\p{{Emoji_Modifier}}]""",
    regex.VERSION1 | regex.VERBOSE,
)
"""A word, or a run of a script that writes no spaces."""

_SPACELESS_CHARACTER: Final = regex.compile(rf"[{_SPACELESS}\p{{WB=Extend}}--\p{{Emoji_Modifier}}]", regex.VERSION1)

# The same rules for the characters nearly all texts are made of, three to ten times as fast.
_SEPARATORS = "\u2010-\u2016\u201c-\u201f\u2020-\u2022\u20ac¡-¨«¬¯-±´¶¸»¿×÷"
_LATIN_LETTER = "a-zß-öø-\u024f"
_LATIN_ONLY: Final = re.compile(rf"[\x00-\x7f{_LATIN_LETTER}{_SEPARATORS}]*")
_LATIN: Final = re.compile(
    rf"[{_LATIN_LETTER}0-9_]+"
    rf"(?:(?:(?<=[{_LATIN_LETTER}])'(?=[{_LATIN_LETTER}])|(?<=[0-9])[.,;':](?=[0-9]))[{_LATIN_LETTER}0-9_]+)*"
)


def fold(text: str) -> str:
    """`text` as words are compared: NFKC, case-folded, apostrophes unified, without characters that show nothing."""
    if text.isascii():
        return text.lower().replace("`", "'")
    unified = unicodedata.normalize("NFKC", text.translate(_UNIFY)).casefold()
    if not unicodedata.is_normalized("NFKC", unified):
        unified = unicodedata.normalize("NFKC", unified)
    # NFKC makes an apostrophe of a few letters; case folding leaves a dot above the i of a Turkish İ.
    return unified.replace("ʼ", "'").replace("′", "'").replace("i̇", "i")


def words(text: str) -> list[str]:
    """The words of `text` in its order, repeated where they are repeated; none longer than `MAX_WORD` characters."""
    folded = fold(text)
    if _LATIN_ONLY.fullmatch(folded):
        found = _LATIN.findall(folded)
        if "_" in folded:
            found = [word for word in found if word.strip("_")]
    else:
        found = _words_of_any(folded)
    if len(folded) > MAX_WORD:
        return [word[:MAX_WORD] for word in found]
    return found


def sought(term: str, *, prefix: bool = False) -> tuple[tuple[str, ...], bool]:
    """The consecutive words that a text with `term` in it has, and whether the last is only the beginning of one.

    A run of a script without spaces is sought wherever it stands inside a longer run. Both are empty and false where
    `term` has no word.
    """
    found = words(term)
    if not found or not _SPACELESS_CHARACTER.fullmatch(found[-1]):
        return tuple(found), prefix and bool(found)
    if len(found) > 1 and len(found[-2]) == 2 and _SPACELESS_CHARACTER.match(found[-2]):
        return tuple(found[:-1]), False  # the pair before it ends in the same character
    return tuple(found), True


def _words_of_any(folded: str) -> list[str]:
    found = []
    for match in _ANY.finditer(folded):
        word = match[0]
        if match["run"]:
            found += [word[at : at + 2] for at in range(len(word) - 1)]
            found.append(word[-1])
        elif word.strip("_"):
            found.append(word)
    return found
