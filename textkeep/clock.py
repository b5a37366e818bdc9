"""The time, handed in from outside so that tests and purges can say which one they mean."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the present moment, with a zone."""


def system_clock() -> datetime:
    """The host's own clock, in UTC."""
    return datetime.now(UTC)
