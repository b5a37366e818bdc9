"""Waiting until a destroyed secret is out of every process, and saying which ones have shown it.

A process confirms the generation of the ring that it has read; one that does not may work with what it has for as long
as its lease lasts, and not longer. So after that time nothing is left to wait for, but something may be left to say.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from textkeep.archive.keyring import LEASE
from textkeep.archive.nodes import MARGIN
from textkeep.retention.reports.facts import Evicted, Line
from textkeep.retention.turn import Turn

PATIENCE_SECONDS: Final = (LEASE + MARGIN).total_seconds() + 5
"""How long a report waits for processes to confirm: until the lease of one that is gone has run out for certain."""

ASK_EVERY: Final = 0.1
"""Seconds between two questions; a process confirms every second."""

NODES: Final = "processes"
"""The name of the line about them."""

NAMED: Final = 10
"""How many processes a reason names; the report lists all of them."""


class Eviction(Protocol):
    """Processes by id: which confirmed, whose lease ran out, which may still have a secret of before."""

    @property
    def confirmed(self) -> Sequence[str]:
        """They have read this generation of the ring, or a later one, and dropped what it no longer holds."""

    @property
    def expired(self) -> Sequence[str]:
        """They have not been seen for longer than their lease lasts."""

    @property
    def waiting(self) -> Sequence[str]:
        """Nothing is known of them yet."""


class Nodes(Protocol):
    """The processes of this archive.

    `confirmed` MUST look, and MUST count a process as waiting unless it is shown that it holds nothing derived from
    what a ring of this generation has lost. It need not know that of the process that asks, whose own id is `id`.
    """

    @property
    def id(self) -> str:
        """The process that asks."""

    def confirmed(self, generation: int) -> Eviction:
        """How each process stands to a generation of the ring."""


@dataclass(frozen=True, slots=True)
class _Nobody:
    confirmed: Sequence[str] = ()
    expired: Sequence[str] = ()
    waiting: Sequence[str] = ()


class Alone:
    """The processes of an archive that only one may open."""

    @property
    def id(self) -> str:
        """The only one."""
        return "this process"

    def confirmed(self, _generation: int) -> Eviction:
        """There is nobody else to ask."""
        return _Nobody()


def wait(nodes: Nodes, generation: int, turn: Turn, patience: float = PATIENCE_SECONDS) -> Evicted | None:
    """Wait until no process may have a secret that went with this generation, or until `patience` seconds have passed.

    The process that asks has read a ring without it. No transaction is open meanwhile, and the turn is kept. None where
    the run is to end. Raises LeaseLost and Outage.
    """
    until = time.monotonic() + patience
    while True:
        found = nodes.confirmed(generation)
        waiting = sorted(set(found.waiting) - {nodes.id})
        if not waiting or time.monotonic() >= until:
            confirmed = {*found.confirmed, nodes.id}
            return Evicted(generation, sorted(confirmed), sorted(set(found.expired) - confirmed), waiting)
        if turn.pause(ASK_EVERY):
            return None


def line_of(evicted: Evicted) -> Line:
    """What the report says of it: `unknown` where a process was never heard of again."""
    if evicted.waiting:
        named = ", ".join(evicted.waiting[:NAMED])
        return Line(NODES, "unknown", f"{len(evicted.waiting)} have not shown that they dropped the secret: {named}")
    said = f"{len(evicted.confirmed)} confirmed that they dropped the secret"
    if evicted.expired:
        said += f"; of {len(evicted.expired)} the lease had run out, without which none opens anything"
    return Line(NODES, "pass", said)
