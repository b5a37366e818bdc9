"""An archive that is killed at each point at which something becomes durable, in a child forked from this process.

One archive is prepared: a day is due, and so is a release. A first child does its work and says by which points it
came. Each further child works on a fresh copy until SIGKILL comes, at such a point or milliseconds after it. The next
process has only what is on the disk, and needs nobody's hand.
"""

import json
import os
import random
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Connection

from tests.housing import NOON, House, SetClock
from tests.retention.holding import ORG
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST, Purging
from textkeep.archive.drivers import keyring_file, root_local
from textkeep.archive.drivers.ledger_key import LedgerKeyFile
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.shelf import Generation
from textkeep.ledger import checkpoints, log, tree
from textkeep.ledger.keys import Keys
from textkeep.ledger.note import Checkpoint, Verifier, parse
from textkeep.ledger.signer import Signer
from textkeep.ledger.step import verified
from textkeep.ledger.verify import verify
from textkeep.retention.purging.purge import RunResult
from textkeep.retention.reports.folder import ReportFolder
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.service.evidence import ORIGIN, Evidence, KeyringState
from textkeep.store.engine import Store
from textkeep.store.schema import migrate

FIRST: Final = OLDEST
DAY: Final = OLDEST.plus(1)
WAITING: Final = 300
"""Entries that wait to be signed."""

PORTION: Final = 64
"""How many of them are signed at once, so that there are several checkpoints."""

FILES: Final = {
    keyring_file: ("write_durably", "sync_folder", "remove_durably"),
    root_local: ("write_durably", "sync_folder", "blank_durably"),
}
"""What writes a ring and its roots."""


@dataclass
class Point:
    """Where something becomes durable: what, and in which step of which shelf."""

    what: str
    shelf: str
    step: str


class Points:
    """Passes the points of a child, and ends it at one of them, or `after` seconds later."""

    def __init__(self, at: int | None = None, after: float | None = None) -> None:
        self.at, self.after = at, after
        self.passed: list[Point] = []
        self.shelf, self.step = "", "open"

    def told(self, shelf: str, step: str) -> None:
        self.shelf, self.step = shelf, step

    def pass_by(self, what: str) -> None:
        self.passed.append(Point(what, self.shelf, self.step))
        if len(self.passed) - 1 != self.at:
            return
        if self.after is None:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            threading.Timer(self.after, os.kill, (os.getpid(), signal.SIGKILL)).start()

    def around(self, what: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any, **how: Any) -> Any:
            self.pass_by(what)
            result = work(*args, **how)
            self.pass_by(what)
            return result

        return done


class Living:
    """The archive of a folder, open."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self.folder = folder
        self.store = Store.open(f"sqlite:///{folder / 'textkeep.db'}")
        self.house = House.build(self.store, folder / "keyring", SetClock(now))
        self.purging = Purging(self.house, folder, EmbeddedIndex.open(folder / "index"))
        self.purging.leases.clear()
        self.keeping = Keeping(self.purging)
        self.key = LedgerKeyFile(lambda: folder / "keys")
        approvals = self.keeping.holders.approvals
        self.evidence = Evidence(self.store, self.house.keyring, self.key, approvals, self.house.clock)
        self.keeping.holders.holds.agree()

    def close(self) -> None:
        self.purging.index.close()
        self.store.close()

    def run(self, **how: Any) -> RunResult:
        return self.keeping.run(signed=self.evidence, signing_patience=5.0, witness_patience=0.0, **how)

    def signer(self) -> Signer:
        """One that signs in portions."""
        keyring = self.house.keyring
        states = KeyringState(keyring.documents)
        origin = ORIGIN + keyring.identity()
        return Signer(self.store, states, Keys(self.key), self.house.clock, origin=lambda: origin, portion=PORTION)

    @contextmanager
    def watched(self, points: Points) -> Iterator[None]:
        """Everything durable goes by the points."""
        transaction = self.store.transaction

        @contextmanager
        def passing() -> Iterator[Connection]:
            with transaction() as connection:
                yield connection
                points.pass_by("transaction")
            points.pass_by("transaction")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.store, "transaction", passing)
            patch.setattr(self.purging.index, "drop", points.around("index", self.purging.index.drop))
            patch.setattr(ReportFolder, "write", points.around("report", ReportFolder.write))
            patch.setattr(KeyringState, "swap", points.around("state", KeyringState.swap))
            for module, names in FILES.items():
                for name in names:
                    patch.setattr(module, name, points.around("file", getattr(module, name)))
            yield


Work = Callable[[Living, Points], object]


def purge(living: Living, points: Points) -> None:
    """The day, then the release."""
    result = living.run(told=points.told)
    assert result.stopped is None, result.stopped


def sign(living: Living, _points: Points) -> None:
    """All that waits."""
    with living.store.transaction() as connection:
        for number in range(WAITING):
            log.append(connection, "token", {"number": number}, now=living.house.clock(), shelf=None)
    living.signer().keep_up()


@dataclass
class Prepared:
    """An archive with a day and a release that are due, and the points that each work comes by."""

    folder: Path
    now: datetime
    org: bytes
    known: dict[Work, list[Point]] = field(default_factory=dict)

    @classmethod
    def build(cls, folder: Path) -> "Prepared":
        (folder / "keys").mkdir()
        store = Store.open(f"sqlite:///{folder / 'textkeep.db'}")
        migrate(store)
        store.close()
        living = Living(folder, NOON)
        keeping, clock = living.keeping, living.house.clock
        keeping.take(FIRST, "merger", "merger and lunch", "lunch", "neither")
        keeping.take(DAY, "merger", "lunch", "dinner")
        keeping.set_aside(DAY, "merger")
        released = keeping.holders.place(query="merger").hold
        keeping.holders.place(query="lunch")
        keeping.purging.until(FIRST.due())
        assert living.run().stopped is None
        keeping.holders.release(released)
        keeping.purging.until(clock() + timedelta(hours=24))
        prepared = cls(folder, clock(), keeping.holders.org(ORG))
        living.store.settle()
        living.close()
        return prepared

    @property
    def kept(self) -> str:
        """The shelf that the release makes go."""
        return Generation(self.org, 1).shelf

    def copied(self, to: Path) -> Path:
        shutil.copytree(self.folder, to)
        return to

    def points(self, to: Path, work: Work) -> list[Point]:
        """By which points a child comes that nobody kills."""
        if work in self.known:
            return self.known[work]
        told = to.with_suffix(".points")

        def live(living: Living) -> None:
            points = Points()
            with living.watched(points):
                work(living, points)
            told.write_text(json.dumps([[each.what, each.shelf, each.step] for each in points.passed]))

        assert self._forked(self.copied(to), live) == 0
        shutil.rmtree(to)
        self.known[work] = [Point(*each) for each in json.loads(told.read_text())]
        return self.known[work]

    def killed(self, to: Path, work: Work, at: int, after: float | None) -> Living:
        """Kill a child there, and open what it has left."""

        def live(living: Living) -> None:
            points = Points(at, after)
            with living.watched(points):
                work(living, points)
            if len(points.passed) > at:
                time.sleep(60)  # the kill is under way

        status = self._forked(self.copied(to), live)
        assert os.WIFSIGNALED(status), f"the child came to its end without passing point {at}"
        return Living(to, self.now)

    def _forked(self, folder: Path, live: Callable[[Living], object]) -> int:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                live(Living(folder, self.now))
                code = 0
            except BaseException:  # noqa: BLE001  a child must not go on as its parent
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        return status


def kill_each(
    prepared: Prepared,
    folder: Path,
    work: Work,
    places: Sequence[int],
    kills: int,
    seed: str,
    check: Callable[[Living], None],
) -> None:
    """So many kills at some of the points, or a moment later; each is followed by `check`."""
    chance = random.Random(seed)
    for kill in range(kills):
        at, after = chance.choice(places), chance.choice([None, chance.uniform(0, 0.004)])
        to = folder / f"{kill}"
        living = prepared.killed(to, work, at, after)
        try:
            check(living)
        except BaseException:
            print(f"KILL_SEED={seed}: kill {kill}, at point {at}, after {after}; what is left lies in {to}")
            raise
        living.close()
        shutil.rmtree(to)


def check_closed(living: Living, prepared: Prepared) -> None:
    """The next run ends what was begun: each shelf has one true report, whose proof verifies."""
    keeping, purging = living.keeping, living.purging
    assert living.run().stopped is None
    for shelf, totals in ((DAY.shelf, (3, 1, 2, 0)), (prepared.kept, (4, 3, 1, 0))):
        assert keeping.state(shelf) == "reported"
        kinds = ("intent", "committed", "key-destroyed", "purge")
        assert [entry.kind for entry in purging.entries(*kinds, shelf=shelf)] == list(kinds)
        report = purging.report(shelf)
        said = report["totals"]
        found = tuple(said[part] for part in ("taken", "kept", "destroyed", "lost"))
        assert report["verdict"] == "pass"
        assert found == totals
        check_proof(living, shelf)
    assert keeping.bodies(Generation(prepared.org, 2).shelf) == ["lunch", "lunch", "merger and lunch"]
    assert not any(living.house.keyring.has(f"shelf:{shelf}") for shelf in (DAY.shelf, prepared.kept))
    check_line(living)


def check_proof(living: Living, shelf: str) -> None:
    entry = living.purging.chain.entry(shelf)
    assert entry is not None
    report = ReportFolder(living.folder / "reports").read(shelf)
    steps = verify(report, living.evidence.proof(entry.seq), [Verifier.parse(living.evidence.key())])
    assert verified(steps), [(step.name, step.reason) for step in steps if not step.good]


def check_line(living: Living) -> None:
    """Everything is signed, every checkpoint is of one line, and one root is left under the ring."""
    living.evidence.signer.keep_up()
    living.evidence.signer.check()
    with living.store.reading() as connection:
        entries = log.entries(connection)
        assert all(entry.index is not None for entry in entries)
        hashes = [
            tree.leaf_hash(log.canonical(connection, each.seq) or b"")
            for each in sorted(entries, key=lambda each: each.index or 0)
        ]
        for each in checkpoints.beyond(connection, -1):
            said = Checkpoint.parse(parse(each.note).text)
            assert said.root == tree.root(hashes[: said.size])
    keyring = living.house.keyring
    assert LocalRoot(living.folder / "keyring" / "roots").known() == {keyring.status().root}
