"""Words, against the vectors, against the rules as they are written and against another implementation of UAX 29."""

import json
import unicodedata
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from textkeep.search.words import APOSTROPHES, IGNORABLE, MAX_WORD, fold, sought, words

VECTORS = json.loads(Path(__file__).with_name("vectors").joinpath("words.json").read_text("utf-8"))["cases"]

LETTER_OR_NUMBER = regex.compile(r"[\p{L}\p{N}\p{Alphabetic}--\p{M}]", regex.V1)
SPACELESS = "東京都タワーひらがなภาษาไทยສະບາຍសួស្တីမင်္ဂ"


@pytest.mark.parametrize("case", VECTORS, ids=[case["name"] for case in VECTORS])
def test_the_words_of_a_text_are_those_of_the_vectors(case: dict[str, object]) -> None:
    assert words(str(case["text"])) == case["words"]


@pytest.mark.parametrize("case", VECTORS, ids=[case["name"] for case in VECTORS])
def test_a_text_is_found_by_itself(case: dict[str, object]) -> None:
    phrase, prefix = sought(str(case["text"]))
    assert bool(phrase) == bool(case["words"])
    if phrase:
        assert stands_in(phrase, prefix, str(case["text"]))


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_every_word_is_its_own_word(text: str) -> None:
    for word in words(text):
        assert 0 < len(word) <= MAX_WORD
        if LETTER_OR_NUMBER.match(word):  # a pair may begin with a mark, which nobody can ask for by itself
            assert words(word)[0] == word


@given(st.text(), st.text())
def test_what_stands_apart_is_cut_apart(one: str, other: str) -> None:
    assert words(f"{one} / {other}") == words(one) + words(other)


@given(st.text())
def test_upper_and_lower_case_are_alike(text: str) -> None:
    plain = fold(text)
    assert words(plain) == words(text)
    assert words(plain.casefold()) == words(text)


@given(st.text(st.sampled_from("abZ059 .,:;'’_-éñÀ£“…\n")))
def test_the_fast_way_and_the_long_way_agree(text: str) -> None:
    assert words(text + " \U00010400")[:-1] == words(text)


@given(st.text(st.one_of(st.characters(), st.sampled_from("abc012_'’,;·םהא\u0301\u05b0\u0600 -"))))
def test_untailored_boundaries_are_those_of_uax_29(text: str) -> None:
    folded = regex.sub(r"[\p{Extended_Pictographic}\p{Emoji_Modifier}\p{RI}.:]", " ", fold(text))
    folded = regex.sub(r"[[\p{L}\p{N}]&&[\p{WB=Other}\p{WB=Katakana}]]\p{WB=Extend}*", " ", folded, flags=regex.V1)
    folded = regex.sub(r"(?<=\p{WB=Hebrew_Letter}[\p{WB=Extend}\p{WB=Format}]*)'", " ", folded)
    folded = regex.sub(r"'(?=[aeiouàáâèéêìíîòóôùúû])", " ", folded)  # the flag parts l'été, which UAX 29 leaves open
    folded = regex.sub(r"(?<![\p{L}\p{N}_\p{M}])[\p{WB=Extend}\p{WB=Format}]+", " ", folded)  # marks on nothing
    pieces = regex.split(r"(?w)\b", folded)
    assert words(folded) == [piece[:MAX_WORD] for piece in pieces if LETTER_OR_NUMBER.search(piece)]


@given(st.text(st.sampled_from(SPACELESS), min_size=1, max_size=12), st.data())
def test_any_part_of_a_run_without_spaces_is_found(run: str, data: st.DataObject) -> None:
    run = unicodedata.normalize("NFKC", run)
    start = data.draw(st.integers(0, len(run) - 1))
    part = run[start : data.draw(st.integers(start + 1, len(run)))]
    phrase, prefix = sought(part)
    if phrase:
        assert stands_in(phrase, prefix, f"hello {run} 12")


def test_a_single_character_without_spaces_is_the_beginning_of_a_word() -> None:
    assert sought("京") == (("京",), True)
    assert sought("東京") == (("東京",), False)
    assert sought("東京*", prefix=True) == (("東京",), False)
    assert sought("👍🏽") == (("👍", "🏽"), False)
    assert sought("東京 tower") == (("東京", "京", "tower"), False)


def test_a_prefix_is_folded_and_cut_like_a_word() -> None:
    assert sought("APPOINT", prefix=True) == (("appoint",), True)
    assert sought("don’t-kn", prefix=True) == (("don't", "kn"), True)
    assert sought("x" * 99, prefix=True) == (("x" * MAX_WORD,), True)
    assert sought("...", prefix=True) == ((), False)


def test_what_shows_nothing_is_what_unicode_says_shows_nothing() -> None:
    ours = {code for first, last in IGNORABLE for code in range(first, last + 1)}
    every = "".join(map(chr, range(0x110000)))
    assert ours == {match.start() for match in regex.finditer(r"\p{Default_Ignorable_Code_Point}", every)}


def test_no_letter_and_no_number_is_passed_over() -> None:
    every = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    for match in regex.finditer(r"[\p{L}\p{N}]--\p{Default_Ignorable_Code_Point}", every, flags=regex.V1):
        character = match[0]
        if regex.search(r"[\p{L}\p{N}]", fold(character)) and character not in APOSTROPHES:
            assert words(character), hex(ord(character))


def stands_in(phrase: tuple[str, ...], prefix: bool, text: str) -> bool:
    there = words(text)
    for at in range(len(there) - len(phrase) + 1):
        window = there[at : at + len(phrase)]
        if window[:-1] == list(phrase[:-1]) and (
            window[-1].startswith(phrase[-1]) if prefix else window[-1] == phrase[-1]
        ):
            return True
    return False
