"""The one place where rooms and drivers meet: opens an archive's folder and builds everything by its constructors."""

import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Final, Self

from textkeep.access.principal import LOCAL, Principal
from textkeep.access.rules import FILE_ACCESS_ROLES
from textkeep.archive.activity import Activity
from textkeep.archive.batch import Batch, Receipt
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.keyring_sql import SqlStore, place_of
from textkeep.archive.drivers.ledger_key import LedgerKeyFile
from textkeep.archive.drivers.root_local import LocalRoot, shared_folder
from textkeep.archive.drivers.roots import BackupPlaces, in_token
from textkeep.archive.handles import Persons
from textkeep.archive.keyring import Keyring, KeyringStore, Root, identity
from textkeep.archive.nodes import Nodes
from textkeep.archive.organisations import Organisations
from textkeep.archive.papers import Papers
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelf import Day
from textkeep.archive.shelves import Shelves
from textkeep.archive.tags import Tags
from textkeep.archive.vault import Vault
from textkeep.clock import Clock, system_clock
from textkeep.directory.directory import Directory
from textkeep.errors import TextkeepError, Unsound
from textkeep.ingest.door import Door
from textkeep.ingest.intake import Intake
from textkeep.ingest.quarantine import Quarantine
from textkeep.retention.approvals.approvals import Approvals
from textkeep.retention.latest import Latest
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.search.index import IndexDriver
from textkeep.service import opening
from textkeep.service.alone import Alone, check_shared
from textkeep.service.credentials import entry_marks, mark_earlier, tokens_of
from textkeep.service.deciding import Decisions
from textkeep.service.doctor import Finding
from textkeep.service.evidence import Evidence, authority_of
from textkeep.service.holding import Holds
from textkeep.service.keeping import Keeper
from textkeep.service.keys import keys_of
from textkeep.service.memory import keep_memory_private
from textkeep.service.metrics import Metrics
from textkeep.service.own_token import os_user
from textkeep.service.parts import EVERY, SERVING, Beating, Following, Part, quietly, report_failure
from textkeep.service.probing import Probe
from textkeep.service.searching import Searching
from textkeep.service.settings import LOCAL_ROOT, Settings, in_one_database
from textkeep.service.state import State
from textkeep.store import schema
from textkeep.store.engine import Store


class Archive:
    """Everything of one archive, built and checked. `start` sets its threads going, `close` ends them in order.

    `parts` are those that this process does; `kind` is the command it runs as. Unless the archive is shared, the
    caller holds its folder (`service/folder.py`).
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        store: Store,
        keyring: Keyring,
        *,
        parts: Collection[Part] = EVERY,
        kind: str = "up",
        migrated: bool = False,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.store = store
        self.keyring = keyring
        self.parts = frozenset(parts)
        self.kind = kind
        self.migrated = migrated
        self.nodes = Nodes(store, keyring, secrets.token_hex(8), kind, clock) if settings.shared else None
        """The processes of a shared archive; None where there is one."""
        self.serves = Latest(store, clock)
        store.mark_with(entry_marks(keyring))
        self._opened = ExitStack()
        self._started: list[Callable[[], None]] = []
        self._build_vault()
        self._build_evidence()
        self._build_search()
        self._build_ways_in()
        self._build_retention()
        self._build_state()

    @classmethod
    def open(
        cls, settings: Settings, clock: Clock = system_clock, *, parts: Collection[Part] = EVERY, kind: str = "up"
    ) -> Self:
        """The archive that the settings name; a new one with its keyring where there is none.

        One in a folder is migrated; one on a server must have been. Raises Held where another process has what serves
        one only, Unsound where database and keyring do not belong together or the tables are not the newest; then
        nothing was made. Raises Outage where an engine does not answer.
        """
        keep_memory_private()
        with ExitStack() as undone:
            if settings.index_url is not None:
                _open_index(settings).close()  # an address that is none is told before anything is made
            if settings.on_server:
                store = Store.open(settings.database)
                undone.callback(store.close)
                schema.check(store)
                keyring, migrated = (
                    opening.keyring_of_server(settings, DRIVERS, store, clock, undone, keeps="keep" in parts),
                    False,
                )
            else:
                keyring = opening.keyring_of_file(settings, DRIVERS, clock, undone)
                store = Store.open(settings.database)
                undone.callback(store.close)
                migrated = schema.migrate(store)
            archive = cls(settings, clock, store, keyring, parts=parts, kind=kind, migrated=migrated)
            archive._join(undone)
            undone.callback(archive.index.close)
            archive._check()
            archive._opened = undone.pop_all()
        return archive

    def _build_vault(self) -> None:
        self.sealer = Sealer(self.keyring)
        self.shelves = Shelves(self.store, self.keyring)
        self.organisations = Organisations(self.store, self.keyring, self.sealer, self.clock)
        self.persons = Persons(self.keyring, self.sealer)
        self.papers = Papers(self.sealer)
        self.activity = Activity(self.store, self.shelves, self.papers, self.clock)
        self.approvals = Approvals(self.store, self.sealer, self.clock)
        self.holds = Holds(
            self.store, self.keyring, self.sealer, self.shelves, self.organisations, self.approvals, self.clock
        )
        held, tags = self.holds.holding.covering, Tags(self.keyring)
        self.vault = Vault(self.store, self.shelves, self.sealer, tags, self.papers, self.clock, held)
        self.tokens = tokens_of(self.store, self.persons, self.keyring, self.clock)

    def _build_evidence(self) -> None:
        self.keys = keys_of(DRIVERS, self.settings, self.keyring, self.store, self.approvals, self.clock)
        key = LedgerKeyFile(lambda: self.settings.ledger_key_folder(self.keyring.identity()))
        authority = authority_of(self.settings)
        self.evidence = Evidence(
            self.store, self.keyring, key, self.approvals, self.clock, authority=authority, failed=self._failed
        )

    def _build_search(self) -> None:
        self.index = _open_index(self.settings, self.keyring)
        searching = Searching(
            self.store,
            self.keyring,
            self.shelves,
            self.vault,
            self.papers,
            self.organisations,
            self.activity,
            self.index,
            self.holds.in_search(),
            self.clock,
            self.serves,
            self._failed,
        )
        self.follower, self.reconciler = searching.follower, searching.reconciler
        self.finder, self.reader = searching.finder, searching.reader
        self._following = Following(self.follower)

    def _build_ways_in(self) -> None:
        self.directory = Directory(self.store, self.sealer, self.organisations, self.clock)
        self.intake = Intake(self.directory, self.vault, self.clock)
        self.door = Door(self._take, writers=2 if self.store.shared else 1)
        held = self.holds.in_quarantine()
        self.quarantine = Quarantine(
            self.store, self.shelves, self.papers, self.organisations, self.activity, self.serves, held
        )

        parts = (self.store, self.shelves, self.keyring, self.papers, self.vault, self.directory)
        resumed = self.keys.resuming.check
        self.decisions = Decisions(*parts, self.approvals, self.holds, self.clock, resumed, self.follower.wake)

    def _build_retention(self) -> None:
        self.keeper = Keeper(
            self.settings,
            self.store,
            self.keyring,
            self.shelves,
            self.index,
            self.directory,
            self.reconciler,
            self.nodes,
            self.clock,
            self._failed,
            self.keys,
            self.evidence,
            self.holds.carrying_over(self.papers),
            self.holds.tidy,
        )
        self.mark, self.chain = self.keeper.mark, self.keeper.chain
        self.purge, self.schedule = self.keeper.purge, self.keeper.schedule

    def _build_state(self) -> None:
        self.state = State(
            self.settings,
            self.parts,
            self.store,
            self.keyring,
            self.vault,
            self.index,
            self.follower,
            self.mark,
            self.clock,
            self._follows,
            Probe(lambda: self.index.exists(Day.of(self.clock()).shelf)),
            self.evidence.standing,
            self.tokens.doubtful,
            *_engines(self.settings, self.index),
        )
        self.metrics = Metrics(self.state, self.door, self.sealer)

    def _join(self, undone: ExitStack) -> None:
        """Be one of the archive's processes from here on, or the only one: say so every second.

        What another process destroys is let go here within that second.
        """
        if not self.store.shared:
            return
        if self.nodes is not None:
            check_shared(self.store, self.clock)
            self.nodes.beat()
            undone.callback(quietly, self.nodes.leave)
            heart = Beating(self.nodes.beat)
        else:
            alone = Alone(self.settings, self.store, self.keyring, self.clock)
            alone.take()
            undone.callback(quietly, alone.release)
            heart = Beating(alone.renew)
        heart.start()
        undone.callback(heart.stop)

    def _check(self) -> None:
        """Raises Unsound where data and keyring do not belong together; then opens what is served from memory."""
        self.shelves.confirm()
        with self.store.reading() as connection:
            self.organisations.load(connection)
            if self.parts & SERVING:
                self.directory.load(connection)
        self.keyring.finish()
        self.shelves.ensure(self.clock())
        if not self.store.shared:
            self.keeper.leases.clear()
        if not self.settings.shared:
            self.follower.reconcile()
        with self.store.transaction() as connection:
            person = self.persons.handle_of(connection, os_user())
        self.local = Principal(person, LOCAL, FILE_ACCESS_ROLES, None)
        mark_earlier(self.tokens, self.store, self.keyring, self.clock)
        self.holds.agree()
        self.keys.resuming.record(person.hex())

    def start(self, *, schedule: bool = True) -> None:
        """Set the threads of this process's parts going; without `schedule` not the clock mark and the purge."""
        if "api" in self.parts:
            self._begin(self.door.start, self.door.stop)
        if "follow" in self.parts:
            self._begin(self._following.start, self._following.stop)
        if "keep" in self.parts and schedule:
            self._begin(self.evidence.start, self.evidence.stop)
            self._begin(self.keeper.start, self.keeper.stop)

    def close(self) -> None:
        """End every thread, the last one started first, then give index, database and keyring back."""
        while self._started:
            self._started.pop()()
        self.evidence.signer.close()
        self._opened.close()

    def unindexed_since(self) -> datetime | None:
        """Since when a text has been waiting to be findable; None where none is but those that do not open."""
        return self.state.unindexed_since()

    def rebuild(self, shelf: str | None) -> dict[str, Any]:
        """Make the index of a shelf, or of all open ones with texts, anew. Raises NotFound for one that is not open."""
        with self.store.reading() as connection:
            named = [row.name for row in self.shelves.list(connection) if row.state == "open"]
            wanted = [name for name in named if self.vault.slices_of(connection, name)] if shelf is None else [shelf]
        return {"shelves": len(wanted), "texts": sum(self.follower.rebuild(name) for name in wanted)}

    def examine(self) -> list[Finding]:
        """What the doctor finds."""
        return self.state.examine()

    @property
    def following(self) -> bool:
        """Whether what is accepted is being made findable, here or by another process."""
        return self.state.following()

    def readiness(self) -> dict[str, str | None]:
        """For each part why it is not ready, or None."""
        return self.state.readiness()

    def _take(self, batches: Sequence[Batch]) -> list[Receipt]:
        receipts = self.intake.store(batches)
        self.metrics.took(receipts)
        self.follower.wake()
        return receipts

    def _failed(self, error: TextkeepError) -> None:
        self.metrics.failed(error)
        report_failure(error)

    def _follows(self) -> bool | None:
        return self._following.alive() if "follow" in self.parts else None

    def _begin(self, start: Callable[[], None], stop: Callable[[], None]) -> None:
        start()
        self._started.append(stop)


def migrate(settings: Settings, service_role: str | None) -> dict[str, Any]:
    """Bring the tables on a server to the newest version, and prepare the keyring's; gives what is there then.

    Run as the owner of both databases; `service_role` gets what the service needs. Raises Unsound where that role
    could help itself, and where the two databases lie in one.
    """
    with ExitStack() as undone:
        store = Store.open(settings.database)
        undone.callback(store.close)
        if settings.keyring_in_database:
            keyring = SqlStore(settings.keyring_url or "")
            undone.callback(keyring.close)
            _check_apart(settings, keyring)
            keyring.prepare(service_role)
        migrated = schema.migrate(store, service_role=service_role)
        return {"version": schema.version(store), "newest": schema.newest(), "migrated": migrated}


def _keyring_store(settings: Settings, undone: ExitStack) -> KeyringStore:
    if not settings.keyring_in_database:
        return FolderStore(settings.keyring_folder, leased=settings.on_server)
    store = SqlStore(settings.keyring_url or "")
    undone.callback(store.close)
    _check_apart(settings, store)
    return store


def _check_apart(settings: Settings, keyring: SqlStore) -> None:
    """Raises Unsound where keyring and data are in one database, by whichever addresses."""
    if settings.on_server and place_of(settings.database).same_database(keyring.place()):
        raise in_one_database()


def _root(settings: Settings, kept: KeyringStore) -> Root:
    """The roots of a keyring; in a folder of its own wherever several keyrings could come to share one."""
    if settings.root_key == LOCAL_ROOT and not settings.keyring_in_database:
        return LocalRoot(settings.roots_folder)
    name = identity(kept)
    return in_token(settings.root_key, name, "ring") or LocalRoot(shared_folder(settings.roots_folder, name))


def _open_index(settings: Settings, keyring: Keyring | None = None) -> IndexDriver:
    """The index of an archive, which its keyring names; without one only to see whether it can be opened."""
    if settings.index_url is None:
        return EmbeddedIndex.open(settings.folder)
    try:
        from textkeep.search.drivers.opensearch import OpenSearchIndex
    except ModuleNotFoundError as exc:  # its client is an extra
        raise Unsound(
            "the client of OpenSearch is not installed; nothing was started",
            field="TEXTKEEP_INDEX_URL",
            remedy="Install textkeep[opensearch].",
        ) from exc
    return OpenSearchIndex.open(settings.index_url, keyring.identity() if keyring is not None else None)


def _engines(settings: Settings, index: IndexDriver) -> tuple[Callable[[], Collection[str]], Callable[[], bool] | None]:
    """What only the drivers can tell the doctor: warnings of the index, and whether keyring and data are neighbours."""
    warnings: Callable[[], Collection[str]] = getattr(index, "warnings", tuple)
    if not (settings.on_server and settings.keyring_in_database):
        return warnings, None
    return warnings, lambda: place_of(settings.database).same_server(place_of(settings.keyring_url or ""))


DRIVERS: Final = opening.Drivers(_keyring_store, _root, lambda settings, name: BackupPlaces(settings.root_key, name))
