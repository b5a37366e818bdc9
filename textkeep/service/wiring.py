"""The one place where rooms and drivers meet: opens an archive's folder and builds everything by its constructors."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from logging import INFO, WARNING
from pathlib import Path
from typing import Any, Final, Self

import structlog
from filelock import FileLock, Timeout
from sqlalchemy import Connection, inspect, literal, make_url, select

from textkeep.access.principal import LOCAL, Principal
from textkeep.access.rules import FILE_ACCESS_ROLES
from textkeep.access.tokens import Tokens
from textkeep.archive.activity import Activity
from textkeep.archive.batch import Batch, Receipt
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.handles import Persons
from textkeep.archive.keyring import HOUSE_SECRET, RING, Keyring, keyring_missing
from textkeep.archive.organisations import Organisations
from textkeep.archive.papers import Papers
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelves import Shelves
from textkeep.archive.tags import Tags
from textkeep.archive.vault import Vault
from textkeep.clock import Clock, system_clock
from textkeep.directory.directory import Directory
from textkeep.errors import TextkeepError, Unsound
from textkeep.ingest.door import Door
from textkeep.ingest.intake import Intake
from textkeep.ingest.quarantine import Quarantine
from textkeep.ledger import log
from textkeep.retention import days, policy
from textkeep.retention.chain import Chain
from textkeep.retention.clockmark import ClockMark
from textkeep.retention.folder import ReportFolder
from textkeep.retention.holds import NoHolds
from textkeep.retention.purge import Purge, RunResult
from textkeep.retention.schedule import Schedule
from textkeep.search.cursor import Cursors
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.search.finder import Finder
from textkeep.search.follower import Follower
from textkeep.search.reader import Reader
from textkeep.search.scan import Scans
from textkeep.search.tokens import Tokens as SearchTokens
from textkeep.search.vocabulary import Vocabulary
from textkeep.service import doctor
from textkeep.service.doctor import Finding
from textkeep.service.folder import LOCK, PRIVATE_FILE, PRIVATE_FOLDER, Held
from textkeep.service.own_token import os_user
from textkeep.service.settings import Settings
from textkeep.store import schema
from textkeep.store.engine import Store
from textkeep.store.tables import notes, orgs, persons, shelves

EVERY: Final = 2**31
"""More texts than wait at once."""

PURGE: Final = "purge"
"""The part whose lateness does not keep texts out."""

DEMO_NOTE: Final = "demo"
"""The note that marks an archive of made-up texts."""

_log = structlog.stdlib.get_logger("textkeep.service")


def is_demo(connection: Connection) -> bool:
    """Whether the archive is one of made-up texts."""
    return connection.execute(select(notes.c.name).where(notes.c.name == DEMO_NOTE)).first() is not None


class Archive:
    """Everything of one archive, built and checked. `start` sets its threads going, `close` ends them in order.

    The caller holds the archive's folder (`service/folder.py`).
    """

    def __init__(
        self, settings: Settings, clock: Clock, store: Store, keyring: Keyring, *, migrated: bool = False
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.store = store
        self.keyring = keyring
        self.migrated = migrated
        self._opened = ExitStack()
        self._started: list[Callable[[], None]] = []
        self._build_vault()
        self._build_search()
        self._build_ways_in()
        self._build_retention()

    @classmethod
    def open(cls, settings: Settings, clock: Clock = system_clock) -> Self:
        """The archive in `settings.folder`, migrated; a new one with its keyring where there is none.

        Raises Held where another process has database or keyring, and Unsound where the two do not belong together;
        then neither of them was made.
        """
        with ExitStack() as undone:
            keyring = _open_keyring(settings, undone)
            store = Store.open(settings.database)
            undone.callback(store.close)
            migrated = schema.migrate(store)
            archive = cls(settings, clock, store, keyring, migrated=migrated)
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
        self.vault = Vault(self.store, self.shelves, self.sealer, Tags(self.keyring), self.papers, self.clock)
        self.tokens = Tokens(
            self.store,
            self.persons,
            self.clock,
            lambda connection, body: log.append(connection, "token", body, now=self.clock()),
            demo=is_demo,
        )

    def _build_search(self) -> None:
        self.index = EmbeddedIndex.open(self.settings.folder)
        tokens, vocabulary = SearchTokens(self.keyring), Vocabulary(self.papers)
        self.follower = Follower(
            self.store,
            self.shelves,
            self.vault,
            vocabulary,
            tokens,
            self.index,
            self.clock,
            failed=_report_failure,
        )
        self._stop = threading.Event()
        self._following = threading.Thread(target=self.follower.run, args=(self._stop,), name="follower", daemon=True)
        scans = Scans(self.store, tokens, vocabulary, self.index)
        self.finder = Finder(self.vault, scans, Cursors(self.keyring), self.activity, self.clock)
        self.reader = Reader(self.vault, scans, self.organisations, self.activity, self.clock)

    def _build_ways_in(self) -> None:
        self.directory = Directory(self.store, self.sealer, self.organisations, self.clock)
        self.intake = Intake(self.directory, self.vault, self.clock)
        self.door = Door(self._take)
        self.quarantine = Quarantine(
            self.store, self.shelves, self.papers, self.organisations, self.activity, self.clock
        )

    def _build_retention(self) -> None:
        self.mark = ClockMark(self.store, self.clock)
        self.chain = Chain(self.store, ReportFolder(self.settings.folder / "reports"))
        self.purge = Purge(
            self.store, self.shelves, self.keyring, self.index, NoHolds(), self.chain, self.mark, self.clock
        )
        self.schedule = Schedule(
            self.mark,
            self.shelves,
            self.purge,
            self.clock,
            chores=(self._drop_ended, self.follower.reconcile),
            ran=_report_run,
            failed=_report_failure,
        )

    def _take(self, batches: Sequence[Batch]) -> list[Receipt]:
        receipts = self.intake.store(batches)
        self.follower.wake()
        return receipts

    def _check(self) -> None:
        """Raises Unsound where data and keyring do not belong together; then opens what is served from memory."""
        with self.store.reading() as connection:
            self.shelves.check(connection)
            self.organisations.load(connection)
            self.directory.load(connection)
        self.keyring.finish()
        self.shelves.ensure(self.clock())
        self.follower.reconcile()
        with self.store.transaction() as connection:
            person = self.persons.handle_of(connection, os_user())
        self.local = Principal(person, LOCAL, FILE_ACCESS_ROLES, None)

    def _drop_ended(self) -> None:
        """Nothing personal outlives 400 days: intervals of the directory that ended then go, from the log too."""
        if self.directory.drop_ended():
            self.store.settle()

    def start(self, *, schedule: bool) -> None:
        """Set the writer of the door and the follower going, and with `schedule` the clock mark and the purge."""
        self._begin(self.door.start, self.door.stop)
        self._begin(self._follow, self._stop_following)
        if schedule:
            self._begin(self.schedule.start, self.schedule.stop)

    def close(self) -> None:
        """End every thread, the last one started first, then give index, database and keyring back."""
        while self._started:
            self._started.pop()()
        self._opened.close()

    def unindexed_since(self) -> datetime | None:
        """Since when a text has been waiting to be findable; None where none is but those that do not open."""
        if not self.follower.damaged:
            return self.vault.oldest_unindexed()
        with self.store.reading() as connection:
            waiting = self.vault.unindexed(connection, EVERY)
        return waiting[0].received_at if len(waiting) > self.follower.damaged else None

    def rebuild(self, shelf: str | None) -> dict[str, Any]:
        """Make the index of a shelf, or of all open ones with texts, anew. Raises NotFound for one that is not open."""
        with self.store.reading() as connection:
            named = [row.name for row in self.shelves.list(connection) if row.state == "open"]
            wanted = [name for name in named if self.vault.slices_of(connection, name)] if shelf is None else [shelf]
        return {"shelves": len(wanted), "texts": sum(self.follower.rebuild(name) for name in wanted)}

    def examine(self) -> list[Finding]:
        """What the doctor finds."""
        now = self.clock()
        with self.store.reading() as connection:
            last_seen = self.mark.last_seen(connection)
            standing = days.standing(connection)
        due, overdue = policy.due_days(standing, now), policy.overdue_days(standing, now)
        return [
            *doctor.check_machine(self.settings.folder, self.settings.keyring_folder),
            doctor.check_schema(schema.version(self.store), schema.newest()),
            doctor.check_clock(now, last_seen),
            doctor.check_index(
                self.unindexed_since(),
                now,
                damaged=self.follower.damaged,
                missing=self.follower.missing(),
                dead=not self.following,
            ),
            doctor.check_purge(len(due), len(overdue)),
        ]

    @property
    def following(self) -> bool:
        """Whether what is accepted is being made findable."""
        return self._following.is_alive()

    def readiness(self) -> dict[str, str | None]:
        """For each part why it is not ready, or None."""
        return {
            "database": _why(self.vault.oldest_unindexed),
            "keyring": None if self.keyring.has(HOUSE_SECRET) else "it does not hold the house's secret",
            "index": None if self.following else "its follower has stopped: new texts are not findable",
            PURGE: self._why_not_purged(),
        }

    def _follow(self) -> None:
        self._following.start()

    def _stop_following(self) -> None:
        self._stop.set()
        self.follower.wake()
        self._following.join()

    def _why_not_purged(self) -> str | None:
        with self.store.reading() as connection:
            overdue = policy.overdue_days(days.standing(connection), self.clock())
        return f"{len(overdue)} day(s) overdue: `textkeep purge` says what stops them" if overdue else None

    def _begin(self, start: Callable[[], None], stop: Callable[[], None]) -> None:
        start()
        self._started.append(stop)


def _why(ask: Callable[[], object]) -> str | None:
    try:
        ask()
    except TextkeepError as error:
        return error.detail
    return None


def _report_run(result: RunResult) -> None:
    closed = sum(day.state == "reported" for day in result.days)
    stopped = result.stopped.reason if result.stopped else None
    _log.log(WARNING if stopped else INFO, "purge run", due=len(result.days), closed=closed, stopped=stopped)


def _report_failure(error: TextkeepError) -> None:
    _log.warning("background work was put off", error=type(error).__qualname__, detail=error.detail)


def _lock_keyring(settings: Settings) -> FileLock:
    """Keep the keyring for this process: two archives on one would lose each other's secrets."""
    return _lock(settings.keyring_folder / LOCK, "keyring", "TEXTKEEP_KEYRING_URL")


def _lock_database(settings: Settings, file: Path) -> Iterator[FileLock]:
    """Keep the database for this process; one in the archive's own folder is kept with the folder."""
    if settings.database_url is not None:
        yield _lock(file.with_name(f"{file.name}.{LOCK}"), "database", "TEXTKEEP_DATABASE_URL")


def _lock(path: Path, what: str, setting: str) -> FileLock:
    lock = FileLock(path, mode=PRIVATE_FILE, thread_local=False)
    try:
        path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise Held(
            f"another process has this {what} open; nothing was done",
            field=setting,
            remedy=f"Stop it, or give each archive a {what} of its own.",
        ) from None
    except OSError as exc:
        raise Unsound(
            f"the folder of the {what} cannot be used",
            field=setting,
            remedy="Name a folder that this user alone can read and write.",
        ) from exc
    return lock


def _open_keyring(settings: Settings, undone: ExitStack) -> Keyring:
    """The archive's keyring; a new one only where there is no data, and an old one only where its data is.

    Keyring and database are kept for this process until `undone`. It looks before it makes anything: a folder or a
    database made on the way to a refusal would stand where a backup is to be restored. Rows tell whether there is
    data, and not the file, which a start that was killed leaves behind without any.
    """
    folder, file = settings.keyring_folder, Path(make_url(settings.database).database or "")
    ring_there, data_there = (folder / RING).exists(), file.exists()
    if ring_there:
        _keep(undone, [_lock_keyring(settings)])
    if data_there:
        _keep(undone, _lock_database(settings, file))
    empty = not data_there or _has_no_rows(settings.database)
    if not empty and not (folder / RING).exists():
        raise keyring_missing()
    if not ring_there:
        _keep(undone, [_lock_keyring(settings)])
    keyring = Keyring.open(FolderStore(folder), LocalRoot(folder / "roots"), create=empty)
    if empty and (keyring.tombstones() or any(name.startswith("org:") for name in keyring.names())):
        raise Unsound(
            "there is a keyring here, and the data it belongs to is missing",
            field="--data",
            remedy="Restore the data of this keyring, or name another folder for a new archive. No data was made.",
        )
    if not data_there:
        _keep(undone, _lock_database(settings, file))
    return keyring


def _keep(undone: ExitStack, locks: Iterable[FileLock]) -> None:
    for lock in locks:
        undone.callback(lock.release)


def _has_no_rows(database: str) -> bool:
    """Whether a database holds nothing that a keyring would have to open; it may have no tables yet."""
    store = Store.open(database)
    try:
        with store.reading() as connection:
            made = set(inspect(connection).get_table_names())
            held = [table for table in (shelves, orgs, persons) if table.name in made]
            return not any(connection.execute(select(literal(1)).select_from(t).limit(1)).first() for t in held)
    finally:
        store.close()
