"""The port to legal holds, as searching needs them: which hold what, and what one of them covers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from textkeep.access.principal import Principal
from textkeep.archive.rows import Opened
from textkeep.archive.text import Handle
from textkeep.errors import NotFound
from textkeep.search.match import Span


@dataclass(frozen=True, slots=True)
class NamedHold:
    """A hold in force that somebody named: its organisation, whether it covers a text, and a time outside of which it
    covers none."""

    id: str
    org: Handle
    covers: Callable[[Opened], bool]
    span: Span = (None, None)


class HeldBy(Protocol):
    """Legal holds.

    `held_by` MUST be exact and MUST name holds in force only. `named` MUST give a hold only to a principal who may read
    the holds of its organisation, and only while it is in force.
    """

    def held_by(self, org: Handle, opened: Iterable[Opened]) -> list[list[str]]:
        """For each text of an organisation the ids of the holds that cover it."""

    def named(self, principal: Principal, hold_id: str) -> NamedHold:
        """A hold by its id. Raises Forbidden, and NotFound for one that has ended or that is not to be known of."""


class NothingHeld:
    """The holds of an archive in which none can be placed."""

    def held_by(self, _org: Handle, opened: Iterable[Opened]) -> list[list[str]]:
        """None."""
        return [[] for _ in opened]

    def named(self, _principal: Principal, _hold_id: str) -> NamedHold:
        """There is none."""
        raise NotFound("there is no such hold")
