"""Chores that one keeper does for all: whoever wakes first does it, and the others leave it be until the next hour."""

import secrets
from collections.abc import Callable
from typing import Final

from textkeep.errors import TextkeepError
from textkeep.store.leases import Leases

AT_MOST_EVERY: Final = 50 * 60.0
"""Seconds for which a chore that was begun is nobody else's; keepers wake every hour, each at its own minute."""


def by_one(leases: Leases, name: str, work: Callable[[], object]) -> Callable[[], object]:
    """`work`, begun by one keeper at most every 50 minutes; where it fails, whoever wakes next tries again.

    `work` must stand being done twice at once: a keeper may be slower than that.
    """

    def chore() -> object:
        holder = secrets.token_hex(8)
        if not leases.take(name, holder, AT_MOST_EVERY):
            return None
        try:
            return work()
        except TextkeepError:
            leases.release(name, holder)
            raise

    return chore
