"""Agreement: the ledger, the database and the keyring's store know the same holds, or nothing is purged.

A hold ends only where database and keyring both say so. Whichever of them was restored from an older copy, what the
other one still knows is put back, and a release that only one of them knows counts for nothing: it is asked for again.
Each repair is a `restore` entry. What no copy can repair is named, and stops every purge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, insert, select, update

from textkeep.archive.keyring import SecretDestroyed, SecretMissing
from textkeep.archive.organisations import Organisations
from textkeep.archive.sealing import CannotOpen
from textkeep.archive.shelf import RETENTION
from textkeep.archive.text import Handle
from textkeep.clock import Clock
from textkeep.errors import Unsound
from textkeep.ledger import log
from textkeep.ledger.log import moment
from textkeep.retention.holds.copies import Copy, Held, HoldCopies
from textkeep.retention.holds.hold import ENDS_AFTER, Hold
from textkeep.retention.holds.holding import Holding
from textkeep.retention.holds.release import held_of
from textkeep.retention.holds.rows import LOCK, HoldRows
from textkeep.store import advisory
from textkeep.store.engine import Store
from textkeep.store.evidence import holds, releases

What = Literal[
    "placed-again",
    "copied-again",
    "in-force-again",
    "set-right",
    "entry-again",
    "lost",
    "unreadable",
    "no-organisation",
]
"""What is amiss with one hold. The first five are repaired; the last three need a newer backup.

- `placed-again`: the keyring's store has it and the database has not.
- `copied-again`: the database has it and the keyring's store has not, or not so that it opens.
- `in-force-again`: only one of them says that it was released.
- `set-right`: its row is not what was sealed.
- `entry-again`: the ledger has no entry of its start.
- `lost`: the ledger alone knows it.
- `unreadable`: it opens in neither.
- `no-organisation`: its organisation is not registered, and its name stands for another one by now.
"""

BEYOND_REPAIR: Final[frozenset[What]] = frozenset({"lost", "unreadable", "no-organisation"})


_UNDOING: Final = frozenset({"hold-placed-again", "hold-in-force-again"})
"""What a `restore` entry says where a release before it counts for nothing."""


class HoldsDisagree(Unsound):
    """Ledger, database and keyring do not know the same legal holds: one of them is older than the others, or was
    altered. Nothing is purged until they agree."""

    problem = "holds-disagree"
    title = "Ledger, database and keyring do not agree about legal holds"
    remedy = "Restore the newer of the two, database or keyring; see docs/holds.md."


@dataclass(frozen=True, slots=True)
class Difference:
    """One hold about which they disagree. `held` is what is known of it, None where nothing opens."""

    hold: str
    what: What
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Agreed:
    """What was found and repaired, and what no copy can repair."""

    repaired: tuple[Difference, ...] = ()
    beyond_repair: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    """What all three know of the holds, at one moment."""

    rows: Mapping[str, Row[Any]]
    copies: Mapping[str, Copy]
    started: Mapping[str, str]
    """By hold the digest that the newest entry of its start names."""
    released: Mapping[str, str]
    """By hold when it ends, as the newest entry of its release says it; not where that was undone since."""
    effective: Mapping[str, datetime]
    """By hold the same of the table of releases."""
    now: datetime


class Agreement:
    """Compares, and repairs what can be."""

    def __init__(
        self,
        store: Store,
        holding: Holding,
        rows: HoldRows,
        copies: HoldCopies,
        organisations: Organisations,
        clock: Clock,
    ) -> None:
        self._store = store
        self._holding = holding
        self._rows = rows
        self._copies = copies
        self._organisations = organisations
        self._clock = clock
        self.mended: list[Difference] = []
        """What this process has repaired, for an audit."""

    def agree(self) -> Agreed:
        """Repair what can be repaired, in one transaction under the lock of the holds, and give what was found."""
        with self._store.transaction() as connection:
            advisory.hold(connection, LOCK)
            found = self._differences(connection)
            repaired = tuple(each for each in found if each.what not in BEYOND_REPAIR)
            for each in repaired:
                self._repair(connection, each)
        self.mended += repaired
        if any(each.what == "placed-again" for each in repaired):
            with self._store.reading() as connection:
                self._organisations.refresh(connection)
        return Agreed(repaired, tuple(each for each in found if each.what in BEYOND_REPAIR))

    def guard(self) -> Agreed:
        """Repair what can be repaired, before a run of the purge. Raises HoldsDisagree for what cannot."""
        agreed = self.agree()
        if agreed.beyond_repair:
            raise _disagree(agreed.beyond_repair)
        return agreed

    def check(self, connection: Connection) -> None:
        """Raises HoldsDisagree unless all three agree now, in the transaction of whoever is about to destroy."""
        advisory.hold(connection, LOCK)
        found = self._differences(connection)
        if found:
            raise _disagree(found)

    def differences(self, connection: Connection) -> list[Difference]:
        """What they do not agree about, for an audit: nothing is locked, repaired or refused."""
        return self._differences(connection)

    def _differences(self, connection: Connection) -> list[Difference]:
        known = self._known(connection)
        every = sorted(known.rows.keys() | known.copies.keys() | known.started.keys())
        return [each for hold_id in every for each in self._of_hold(hold_id, known)]

    def _known(self, connection: Connection) -> _Known:
        started: dict[str, str] = {}
        released: dict[str, str] = {}
        for entry in log.entries(connection, kinds=("hold", "release", "restore")):
            hold_id = entry.body.get("hold")
            if hold_id is None:
                continue
            if entry.kind == "release":
                released[hold_id] = entry.body["ends"]
                continue
            started[hold_id] = entry.body["digest"]
            if entry.body.get("what") in _UNDOING:
                released.pop(hold_id, None)
        self._organisations.refresh(connection)
        return _Known(
            {row.id: row for row in connection.execute(select(holds))},
            self._copies.all(),
            started,
            released,
            {row.hold: row.effective_at for row in connection.execute(select(releases))},
            self._holding.earliest(connection),
        )

    def _of_hold(self, hold_id: str, known: _Known) -> list[Difference]:
        row, copy = known.rows.get(hold_id), known.copies.get(hold_id)
        if row is None:
            return self._without_row(hold_id, copy, known)
        opened = self._opened(hold_id, Handle(bytes(row.org)), bytes(row.sealed))
        kept = copy.held if copy is not None else None
        if opened is None:
            if kept is None or self._opened(hold_id, kept.org, kept.sealed) is None:
                return [Difference(hold_id, "unreadable")]
            return [Difference(hold_id, "set-right", replace(kept, ends_at=None))]
        there = _held(row, opened)
        shown = known.effective.get(hold_id) == row.ends_at and known.released.get(hold_id) == _told(row.ends_at)
        dropped = copy is not None and copy.state == "gone" and _is_over(row.ends_at, known.now)
        ended = row.ends_at is not None and shown and (dropped or kept == there)
        held = there if ended else replace(there, ends_at=None)
        found: list[Difference] = []
        if not _is_as_sealed(row, opened):
            found.append(Difference(hold_id, "set-right", held))
        if known.started.get(hold_id) != opened.digest.hex():
            found.append(Difference(hold_id, "entry-again", held))
        if row.ends_at is not None and not ended:
            found.append(Difference(hold_id, "in-force-again", held))
        elif row.ends_at is None and kept != there:
            told = copy is not None and copy.state != "damaged" and (kept is None or kept.ends_at is not None)
            found.append(Difference(hold_id, "in-force-again" if told else "copied-again", held))
        return found

    def _without_row(self, hold_id: str, copy: Copy | None, known: _Known) -> list[Difference]:
        if copy is None:
            released = known.released.get(hold_id)
            over = released is not None and _is_over(datetime.fromisoformat(released), known.now)
            return [] if over else [Difference(hold_id, "lost")]
        if copy.state == "gone":
            return []
        kept = copy.held
        opened = None if kept is None else self._opened(hold_id, kept.org, kept.sealed)
        if kept is None or opened is None:
            return [Difference(hold_id, "unreadable")]
        named = self._organisations.find(opened.scope.org_id)
        if not self._organisations.knows(kept.org) and named is not None:
            return [Difference(hold_id, "no-organisation")]
        return [Difference(hold_id, "placed-again", replace(kept, ends_at=None))]

    def _opened(self, hold_id: str, org: Handle, sealed: bytes) -> Hold | None:
        try:
            return self._rows.open(hold_id, org, sealed)
        except (CannotOpen, SecretMissing, SecretDestroyed):
            return None

    def _repair(self, connection: Connection, found: Difference) -> None:
        held = found.held
        if held is None:
            raise ValueError("nothing is known of it that could be put back")
        hold = self._rows.open(held.id, held.org, held.sealed)
        body = {"what": f"hold-{found.what}", "hold": held.id, "org": held.org.hex(), "digest": hold.digest.hex()}
        entry = log.append(connection, "restore", body, now=self._clock())
        columns: dict[str, object] = {
            "org": held.org,
            "placed_by": hold.placed_by,
            "placed_at": hold.placed_at,
            "review_at": hold.review_at,
            "ends_at": held.ends_at,
            "sealed": held.sealed,
        }
        if found.what == "placed-again":
            if not self._organisations.knows(held.org):
                self._organisations.put_back(connection, hold.scope.org_id, held.org)
            connection.execute(insert(holds).values(id=held.id, entry=entry, **columns))
        else:
            if found.what == "entry-again":
                columns["entry"] = entry
            connection.execute(update(holds).where(holds.c.id == held.id).values(columns))
        self._copies.write(held_of(connection, held.id))


def _held(row: Row[Any], opened: Hold) -> Held:
    """What the copy of a row must say: what was sealed, and the row's end."""
    return Held(
        opened.id,
        opened.org,
        opened.placed_by,
        opened.placed_at,
        opened.review_at,
        bytes(row.sealed),
        row.ends_at,
    )


def _is_as_sealed(row: Row[Any], opened: Hold) -> bool:
    return (bytes(row.placed_by), row.placed_at, row.review_at) == (
        opened.placed_by,
        opened.placed_at,
        opened.review_at,
    )


def _told(ends_at: datetime | None) -> str | None:
    return None if ends_at is None else moment(ends_at)


def _is_over(ends_at: datetime | None, now: datetime) -> bool:
    """Whether a definition may be gone: 400 days after its release was approved."""
    return ends_at is not None and ends_at - ENDS_AFTER + RETENTION <= now


def _disagree(found: Sequence[Difference]) -> HoldsDisagree:
    named = ", ".join(f"{each.hold} ({each.what})" for each in found[:10])
    return HoldsDisagree(f"{len(found)} legal holds are not the same everywhere: {named}; nothing was destroyed")
