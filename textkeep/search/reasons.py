"""The reason: nothing is searched and nothing is read without one. Pure."""

from typing import Final

from textkeep.errors import ReasonRequired

MAX_REASON: Final = 1_000
"""Characters a reason may have."""


def must_have_reason(reason: str) -> None:
    """Raises ReasonRequired where nothing is said, or more than a reason."""
    if not any(character.isalnum() for character in reason):
        raise ReasonRequired("no reason was given", field="reason")
    if len(reason) > MAX_REASON:
        raise ReasonRequired(f"the reason is longer than {MAX_REASON} characters", field="reason")
