"""What two persons do over one archive, put together: approvals, and returning from quarantine."""

from collections.abc import Callable

from fastapi import APIRouter

from textkeep.archive.handles import Persons
from textkeep.archive.keyring import Keyring
from textkeep.archive.organisations import Organisations
from textkeep.archive.papers import Papers
from textkeep.archive.shelves import Shelves
from textkeep.archive.vault import Vault
from textkeep.clock import Clock
from textkeep.directory.directory import Directory
from textkeep.ingest.returning import Returning
from textkeep.retention import returns_http
from textkeep.retention.approvals import http as approvals_http
from textkeep.retention.approvals.approvals import Approvals
from textkeep.retention.purging.destruction import Destruction, Resumed
from textkeep.retention.returns import Returns
from textkeep.service.holding import Holds
from textkeep.store.engine import Store


class Decisions:
    """Who asks for what, who approves it, and what is done then.

    `resumed` raises where a restored keyring waits for two persons; `returned` hears of each record that came back.
    """

    def __init__(
        self,
        store: Store,
        shelves: Shelves,
        keyring: Keyring,
        papers: Papers,
        vault: Vault,
        directory: Directory,
        approvals: Approvals,
        holds: Holds,
        clock: Clock,
        resumed: Resumed,
        returned: Callable[[], None],
    ) -> None:
        self._store = store
        self._approvals = approvals
        returning = Returning(shelves, papers, vault, directory, clock)
        permits = Destruction(shelves, keyring, holds.carrying_over(papers), resumed)
        self.returns = Returns(store, approvals, returning, permits, holds.holding, returned=returned)

    def router(self, organisations: Organisations, persons: Persons) -> APIRouter:
        """The routes under `/v1/approvals`, and `POST /v1/quarantine/{shelf}/{id}/return`."""
        shown = approvals_http.Shown(self._store, self._approvals, organisations, persons)
        routes = APIRouter()
        routes.include_router(approvals_http.router(self._approvals, shown))
        routes.include_router(returns_http.router(self.returns, shown))
        return routes
