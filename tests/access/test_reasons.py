"""The reason: what is one, and how it is read from a header."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkeep.access.reasons import MAX_REASON, as_meant, must_have_reason
from textkeep.errors import ReasonRequired


@pytest.mark.parametrize("reason", ["", "   ", "...", "\x00", "x" * (MAX_REASON + 1)], ids=len)
def test_what_says_nothing_or_too_much_is_no_reason(reason: str) -> None:
    with pytest.raises(ReasonRequired):
        must_have_reason(reason)


def test_a_reason_may_have_its_full_length() -> None:
    must_have_reason("ü" * MAX_REASON)


@given(st.text())
def test_whatever_was_percent_encoded_is_read_as_it_was_meant(said: str) -> None:
    assert as_meant(quote(said)) == said


def test_utf8_beside_a_percent_sign_is_read_too() -> None:
    assert as_meant("café, 50% done".encode().decode("latin-1")) == "café, 50% done"
