"""Segments, against the examples that every operator's page gives."""

import pytest

from textkeep.search.segments import segments

CASES = {
    "": 1,
    "a" * 160: 1,
    "a" * 161: 2,
    "a" * 306: 2,
    "a" * 307: 3,
    "€" * 80: 1,
    "€" * 81: 2,
    "[" * 152 + "a": 2,
    "a" * 152 + "€" + "a" * 152: 3,
    "é" * 160: 1,
    "ê": 1,
    "ê" * 70: 1,
    "ê" * 71: 2,
    "ê" * 134: 2,
    "ê" * 135: 3,
    "😀" * 35: 1,
    "😀" * 36: 2,
    "😀" * 66: 2,
    "😀" * 67: 3,
    "\\^{}~|": 1,
    "`" + "a" * 70: 2,
}


@pytest.mark.parametrize("body", CASES, ids=[f"{len(body)} of {body[:1]!a}" for body in CASES])
def test_a_body_is_counted_as_its_segments(body: str) -> None:
    assert segments(body) == CASES[body]
