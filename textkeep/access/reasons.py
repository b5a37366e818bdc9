"""The reason: nothing is searched and nothing is read without one, and it goes on record as it was meant. Pure."""

from typing import Final
from urllib.parse import unquote

from textkeep.errors import ReasonRequired

MAX_REASON: Final = 1_000
"""Characters a reason may have."""


def must_have_reason(reason: str) -> None:
    """Raises ReasonRequired where nothing is said, or more than a reason."""
    if not any(character.isalnum() for character in reason):
        raise ReasonRequired("no reason was given", field="reason")
    if len(reason) > MAX_REASON:
        raise ReasonRequired(f"the reason is longer than {MAX_REASON} characters", field="reason")


def as_meant(header: str) -> str:
    """A header's value as it was meant: percent-encoded (RFC 3986), or UTF-8 that came as bytes, or both."""
    try:
        said = header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        said = header
    return unquote(said, errors="replace")
