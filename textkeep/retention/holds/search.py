"""Legal holds as finding and reading ask for them: which of them hold a text, and what one that was named covers."""

from collections.abc import Iterable

from textkeep.access.principal import Principal
from textkeep.access.rules import require
from textkeep.archive.rows import Opened
from textkeep.archive.text import Handle
from textkeep.errors import NotFound
from textkeep.ingest.quarantine import NamedHold as HoldOnRecords
from textkeep.retention.holds.hold import Hold, covers, covers_record, covers_unreadable
from textkeep.retention.holds.holding import Holding
from textkeep.retention.holds.undecided import read
from textkeep.search.held import NamedHold
from textkeep.store.engine import Store


class HeldInSearch:
    """`search.held.HeldBy`, over the holds of this archive."""

    def __init__(self, store: Store, holding: Holding) -> None:
        self._store = store
        self._holding = holding

    def held_by(self, org: Handle, opened: Iterable[Opened]) -> list[list[str]]:
        """For each text of an organisation the ids of the holds that cover it."""
        return self._holding.held_by(org, opened)

    def named(self, principal: Principal, hold_id: str) -> NamedHold:
        """A hold in force that the principal may know of. Raises Forbidden, and NotFound for any other."""
        hold = _in_force(self._store, self._holding, principal, hold_id)

        def covered(opened: Opened) -> bool:
            return covers(hold, opened.event, opened.org, frozenset(opened.flags))

        return NamedHold(hold.id, hold.org, covered, hold.scope.span)


class HeldInQuarantine:
    """`ingest.quarantine.HeldRecords`, over the holds of this archive."""

    def __init__(self, store: Store, holding: Holding) -> None:
        self._store = store
        self._holding = holding

    def named(self, principal: Principal, hold_id: str) -> HoldOnRecords:
        """A hold in force that the principal may know of. Raises Forbidden, and NotFound for any other."""
        hold = _in_force(self._store, self._holding, principal, hold_id)

        def undecided(plain: bytes) -> bytes | None:
            header, opened = read(plain)
            owner = None if header.handle is None else Handle(header.handle)
            return opened if covers_unreadable(hold, owner, first=header.first, last=header.last) else None

        return HoldOnRecords(hold.org, lambda org, raw, at: covers_record(hold, raw, org, at), undecided)


def _in_force(store: Store, holding: Holding, principal: Principal, hold_id: str) -> Hold:
    hold = holding.get(principal, hold_id)
    require(principal, "holds.read", hold.org)
    with store.reading() as connection:
        now = holding.earliest(connection)
    if not hold.in_force(now):
        raise NotFound(
            "that hold has ended: what only it held cannot be read any more",
            remedy="`textkeep hold list` shows which holds are in force.",
        )
    return hold
