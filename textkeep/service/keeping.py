"""The keeper of an archive: the clock mark, the purge, and what else is done every hour."""

from collections.abc import Callable
from logging import INFO, WARNING

import structlog

from textkeep.archive.keyring import Keyring
from textkeep.archive.nodes import Nodes
from textkeep.archive.shelves import Shelves
from textkeep.clock import Clock, system_clock
from textkeep.directory.directory import Directory
from textkeep.errors import TextkeepError
from textkeep.retention.chores import by_one
from textkeep.retention.clockmark import ClockMark, clocks_of
from textkeep.retention.counting.survey import Survey
from textkeep.retention.holds.in_force import HoldsInForce
from textkeep.retention.purging.purge import Purge, RunResult
from textkeep.retention.reports.chain import Chain
from textkeep.retention.reports.erasing import Erasing
from textkeep.retention.reports.folder import ReportFolder
from textkeep.retention.schedule import Schedule
from textkeep.retention.signing import Signed
from textkeep.search.compacting import Compacting
from textkeep.search.index import IndexDriver
from textkeep.search.reconciling import Reconciler
from textkeep.service.keys import Keys
from textkeep.service.settings import Settings
from textkeep.store.engine import Store
from textkeep.store.leases import Leases

_log = structlog.stdlib.get_logger("textkeep.service")


class Keeper:
    """Everything that destroys, compares and tidies, and the schedule that wakes it."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keyring: Keyring,
        shelves: Shelves,
        index: IndexDriver,
        directory: Directory,
        reconciler: Reconciler,
        nodes: Nodes | None,
        clock: Clock,
        failed: Callable[[TextkeepError], None],
        keys: Keys,
        signed: Signed,
        holds: HoldsInForce,
        tidy: Callable[[], object],
    ) -> None:
        self._store = store
        self._directory = directory
        self._tidy = tidy
        self._reconciler = reconciler
        self._compacting = Compacting(store, shelves, index, clock, failed=failed)
        self.leases = Leases(store, clock)
        # A clock that was handed in is the only one there is.
        self.mark = ClockMark(store, clock, clocks_of(store) if clock is system_clock else {})
        self.chain = Chain(store, ReportFolder(settings.folder / "reports"), signed)
        self.purge = Purge(
            store,
            shelves,
            keyring,
            index,
            holds,
            self.chain,
            self.mark,
            clock,
            nodes=nodes,
            signed=signed,
            resumed=keys.resuming.check,
            erasures=keys.erasures,
        )
        dropping: Callable[[], object] = self._drop_ended
        comparing: Callable[[], object] = reconciler.run
        tending: Callable[[], object] = keys.tend
        compacting: Callable[[], object] = self._compacting.run
        erasing: Callable[[], object] = Erasing(store, shelves, keys.erasures, clock).run
        if settings.shared:
            tending = by_one(self.leases, "keyring-backups", tending)
            erasing = by_one(self.leases, "erased", erasing)
            dropping = by_one(self.leases, "drop-ended", dropping)
            comparing = by_one(self.leases, "compare", comparing)
            compacting = by_one(self.leases, "compact", compacting)
        self.schedule = Schedule(
            self.mark,
            shelves,
            self.purge,
            clock,
            survey=Survey(store, shelves, clock),
            # On SQLite a comparison beside a purge would read what the purge wants to see emptied.
            chores=[self.chain.keep, tending, erasing, dropping, *([] if store.shared else [comparing])],
            aside=[*([comparing] if store.shared else []), compacting],
            ran=_report_run,
            failed=failed,
        )

    def start(self) -> None:
        """Begin waking."""
        self.schedule.start()

    def stop(self) -> None:
        """Wake no more; returns when what is at work has ended the step it is in."""
        self._reconciler.interrupt()
        self._compacting.interrupt()
        self.schedule.stop()

    def _drop_ended(self) -> None:
        """Nothing personal outlives 400 days: what ended then of directory, holds and approvals, from the log too."""
        if self._directory.drop_ended():
            self._store.settle()
        self._tidy()


def _report_run(result: RunResult) -> None:
    closed = sum(day.state == "reported" for day in result.days)
    stopped = result.stopped.reason if result.stopped else None
    _log.log(WARNING if stopped else INFO, "purge run", due=len(result.days), closed=closed, stopped=stopped)
