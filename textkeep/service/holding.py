"""Legal holds, put together: their rows, their copies in the keyring's store, and who places and releases them."""

from collections.abc import Callable

import structlog
from fastapi import APIRouter

from textkeep.archive.activity import Activity
from textkeep.archive.handles import Persons
from textkeep.archive.keyring import Keyring
from textkeep.archive.organisations import Organisations
from textkeep.archive.papers import Papers
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelves import Shelves
from textkeep.clock import Clock
from textkeep.retention.approvals.approvals import Approvals
from textkeep.retention.holds import http as holds_http
from textkeep.retention.holds.agreement import Agreed, Agreement
from textkeep.retention.holds.copies import HoldCopies
from textkeep.retention.holds.holding import Holding, Step
from textkeep.retention.holds.keeping_over import CarryingOver
from textkeep.retention.holds.preview import Preview
from textkeep.retention.holds.release import Releasing
from textkeep.retention.holds.rows import HoldRows
from textkeep.retention.holds.search import HeldInQuarantine, HeldInSearch
from textkeep.store.engine import Store

_log = structlog.stdlib.get_logger("textkeep.service")


class Holds:
    """Everything about legal holds over one archive."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        sealer: Sealer,
        shelves: Shelves,
        organisations: Organisations,
        approvals: Approvals,
        clock: Clock,
        *,
        told: Callable[[Step], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._approvals = approvals
        self._sealer = sealer
        self._shelves = shelves
        self._organisations = organisations
        self._clock = clock
        rows, copies = HoldRows(keyring, sealer, organisations), HoldCopies(keyring.documents, sealer)
        self.holding = Holding(store, rows, copies, shelves, organisations, approvals.attempts, clock, told=told)
        self.releasing = Releasing(store, self.holding, copies, approvals, clock)
        self.agreement = Agreement(store, self.holding, rows, copies, organisations, clock)

    def carrying_over(self, papers: Papers) -> CarryingOver:
        """The holds in force, as the purge asks them; it carries over what they cover."""
        return CarryingOver(self.holding, self.agreement, self._shelves, self._sealer, papers, self._clock)

    def in_search(self) -> HeldInSearch:
        """The holds as searching asks for them."""
        return HeldInSearch(self._store, self.holding)

    def in_quarantine(self) -> HeldInQuarantine:
        """The holds as reading the quarantine asks for them."""
        return HeldInQuarantine(self._store, self.holding)

    def agree(self) -> Agreed:
        """Repair what ledger, database and keyring do not agree about, and say so in the log."""
        agreed = self.agreement.agree()
        for each in (*agreed.repaired, *agreed.beyond_repair):
            _log.warning("legal hold", hold=each.hold, found=each.what, repaired=each in agreed.repaired)
        return agreed

    def tidy(self) -> None:
        """Drop what was released or asked for 400 days ago, from the write-ahead log too."""
        if self.holding.drop_ended() + self._approvals.forget():
            self._store.settle()

    def router(self, papers: Papers, activity: Activity, persons: Persons) -> APIRouter:
        """The routes under `/v1/holds`."""
        shelves, sealer = self._shelves, self._sealer
        preview = Preview(self._store, self.holding, shelves, sealer, papers, activity, self._clock)
        shown = holds_http.Shown(self._store, self.holding, self._organisations, persons)
        return holds_http.router(self.holding, preview, self.releasing, shown, self._organisations)
