"""How an open archive is doing: what readiness, the doctor and the metrics are told."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from textkeep.archive.keyring import HOUSE_SECRET, Keyring
from textkeep.archive.vault import Vault
from textkeep.clock import Clock
from textkeep.errors import TextkeepError, Unsound
from textkeep.ledger.standing import Standing
from textkeep.retention import policy
from textkeep.retention.clockmark import ClockMark
from textkeep.retention.purging import days
from textkeep.search import damaged
from textkeep.search.follower import Follower
from textkeep.search.index import IndexDriver
from textkeep.service import doctor, doctor_engines, doctor_ledger
from textkeep.service.doctor import Finding
from textkeep.service.parts import Part
from textkeep.service.probing import Probe
from textkeep.service.settings import Settings
from textkeep.store import schema
from textkeep.store.engine import Store
from textkeep.store.tables import nodes

PURGE: Final = "purge"
"""The part whose lateness does not keep texts out."""

FOLLOWER: Final = "follower"
INDEX: Final = "index"

NODE_ALIVE: Final = timedelta(seconds=60)
"""How long after its last beat a process counts as there."""

FOLLOWING_KINDS: Final = ("follow", "up")


@dataclass(frozen=True, slots=True)
class State:
    """Looks at an archive. `follows` tells whether this process's follower runs; None where it has none."""

    settings: Settings
    parts: frozenset[Part]
    store: Store
    keyring: Keyring
    vault: Vault
    index: IndexDriver
    follower: Follower
    mark: ClockMark
    clock: Clock
    follows: Callable[[], bool | None]
    probe: Probe
    """Of the index, which may not answer at all."""
    ledger: Callable[[], Standing]
    doubtful: Callable[[], Collection[str]]
    """The tokens whose rows the service did not write so."""
    index_warnings: Callable[[], Collection[str]] = tuple
    same_server: Callable[[], bool] | None = None
    """Whether keyring and data lie on one server; None where one of them lies on none."""

    def unindexed_since(self) -> datetime | None:
        """Since when a text has been waiting to be findable; None where none is but those that do not open."""
        return self.vault.oldest_unindexed(apart_from=self.damaged())

    def damaged(self) -> set[int]:
        """The slices that wait for ever because a text of theirs does not open, as any follower has found them."""
        with self.store.reading() as connection:
            return damaged.published(connection)

    def ledger_stands(self) -> Standing | TextkeepError:
        """How the ledger stands, or why that cannot be told."""
        try:
            return self.ledger()
        except TextkeepError as error:
            return error

    def engines_now(self) -> datetime:
        """What the database's clock says, by which processes are seen; the host's where it has none of its own."""
        return self.store.clock() or self.clock()

    def following(self) -> bool:
        """Whether what is accepted is being made findable: here, or by another process."""
        here = self.follows()
        return self._followed_elsewhere() if here is None and self.settings.shared else bool(here)

    def readiness(self) -> dict[str, str | None]:
        """For each part why it is not ready, or None."""
        found = {"database": _why(self.vault.oldest_unindexed), "keyring": _why(self._require_house)}
        if "follow" in self.parts:
            found[FOLLOWER] = None if self.follows() else "it has stopped: new texts are not made findable here"
        if self.parts & {"api", "follow"}:
            found[INDEX] = self.probe.why_not()
        found[PURGE] = found["database"] or self._why_not_purged()
        return found

    def needed(self) -> frozenset[str]:
        """The parts without which this process is of no use.

        The index is none of them where texts are taken: with one index for all, a load balancer would take every
        process out of use at once, and nothing could be handed in any more.
        """
        return frozenset({"database", "keyring", FOLLOWER} | ({INDEX} if self.parts == {"follow"} else set()))

    def examine(self) -> list[Finding]:
        """What the doctor finds."""
        now = self.clock()
        with self.store.reading() as connection:
            last_seen = self.mark.last_seen(connection)
            standing = days.standing(connection)
        due, overdue = policy.due_days(standing, now), policy.overdue_days(standing, now)
        return [
            *doctor.check_machine(
                self.settings.folder,
                self.settings.secrets_folder,
                on_server=self.settings.on_server,
                pin=self.settings.pin_file,
            ),
            doctor.check_schema(schema.version(self.store), schema.newest()),
            doctor.check_clock(now, last_seen),
            doctor.check_index(
                self.unindexed_since(),
                now,
                damaged=len(self.damaged()),
                missing=0 if self.settings.shared else self.follower.missing(),
                dead=not self.following(),
            ),
            doctor.check_purge(len(due), len(overdue)),
            *doctor_ledger.check_ledger(self.ledger_stands(), now),
            doctor.check_tokens(self.doubtful()),
            *self._examine_engines(now),
        ]

    def _examine_engines(self, now: datetime) -> Iterator[Finding]:
        theirs = self.store.clock()
        if theirs is not None:
            yield doctor_engines.check_server_clock(self.clock(), theirs)
            with self.store.reading() as connection:
                server = doctor_engines.asking(connection)
            yield doctor_engines.check_version(server)
            yield doctor_engines.check_role(server)
            yield doctor_engines.check_durable(server)
        if self.same_server is not None:
            yield doctor_engines.check_servers_apart(same=self.same_server())
        if self.settings.index_url is not None:
            why = self.probe.why_not()
            yield from doctor_engines.check_index_engine([why] if why else self.index_warnings())
        if self.settings.shared:
            with self.store.reading() as connection:
                yield from doctor_engines.check_shared(connection, theirs or now)

    def _require_house(self) -> None:
        if not self.keyring.has(HOUSE_SECRET):
            raise Unsound("it does not hold the house's secret")

    def _followed_elsewhere(self) -> bool:
        alive = nodes.c.seen_at > self.engines_now() - NODE_ALIVE
        with self.store.reading() as connection:
            found = connection.execute(select(nodes.c.id).where(alive, nodes.c.kind.in_(FOLLOWING_KINDS)).limit(1))
            return found.first() is not None

    def _why_not_purged(self) -> str | None:
        try:
            with self.store.reading() as connection:
                overdue = policy.overdue_days(days.standing(connection), self.clock())
        except TextkeepError as error:
            return error.detail
        return f"{len(overdue)} day(s) overdue: `textkeep purge` says what stops them" if overdue else None


def _why(ask: Callable[[], object]) -> str | None:
    try:
        ask()
    except TextkeepError as error:
        return error.detail
    return None
