"""A program that kills archives: python -m tests.whole.killing PREPARED FOLDER KILLS SEED

It imports everything once and forks a child for each kill. A child opens the archive that the one before it left,
catches up, holds it against what the source was told, then loads, indexes, registers organisations and purges, all at
once, until SIGKILL comes, at an instant of chance. After some kills a last child does all of that and ends by itself,
and the next ones begin on a fresh copy. What happened is printed as JSON; the first archive that breaks a promise is
left where it is, and the seed is named.
"""

import gc
import json
import os
import random
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NoReturn

from tests.housing import NOON, SetClock
from tests.whole.living import organisation, register
from tests.whole.promises import DAYS, Journal, Promises, Sent, batch_of, check_answers
from tests.whole.reckoning import Reckoned, bounds_of, catch_up, check_findable, copy_of, reckon
from textkeep.errors import TooBusy
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive

CHAIN: Final = 20
"""Kills of one archive before the next one is begun."""

STARTING: Final = 0.3
"""The share of kills that come at any moment after the start; the others come after the promises were checked."""

WITHIN: Final = 0.3
"""Seconds within which a kill comes."""

PATIENCE: Final = 300
"""Seconds after which a child that does nothing is taken to hang."""


@dataclass
class Child:
    """One life of an archive."""

    archive: Archive
    clock: SetClock
    promises: Promises
    journal: Journal
    chance: random.Random

    @classmethod
    def open(cls, folder: Path, chance: random.Random) -> "Child":
        """Open what the child before has left; nothing but the start itself puts it in order."""
        journal = folder / "journal"
        promises = Promises.read(journal, NOON)
        clock = SetClock(promises.clock)
        archive = Archive.open(Settings(data=folder / "archive"), clock)
        return cls(archive, clock, promises, Journal(journal), chance)

    def check(self, *, thoroughly: bool) -> Reckoned:
        """Catch up, and hold the archive against its promises."""
        catch_up(self.archive)
        found = reckon(self.archive, self.promises, reports=None if thoroughly else 3)
        if thoroughly:
            check_findable(self.archive, self.promises, found, self.promises.orgs)
        else:
            orgs = {self.promises.orgs[0], self.promises.orgs[-1]}
            check_findable(self.archive, self.promises, found, orgs, *bounds_of(self.archive, DAYS + 2))
        return found

    def work(self) -> NoReturn:
        """Everything at once, until it is killed."""
        self.archive.start(schedule=False)
        for work in (self._load, self._keep):
            threading.Thread(target=_or_die, args=(work,), daemon=True).start()
        while True:
            signal.pause()

    def _load(self) -> None:
        for number, records in list(self.promises.waiting.items()):
            self._send(number, records)
        while True:
            number = self.promises.batches
            self.promises.batches += 1
            records = batch_of(number, self.promises.orgs, self.clock(), self.chance)
            self.journal.sends(number, records)
            self._send(number, records)

    def _send(self, number: int, records: Sequence[Sent]) -> None:
        raw = [json.dumps(record.record()).encode() for record in records]
        while True:
            try:
                batch = self.archive.intake.prepare(self.archive.local, raw)
                receipt = self.archive.door.submit(batch).result()
                break
            except TooBusy:
                continue
        answers = [(item.outcome, item.reason) for item in receipt.items]
        self.journal.receives(number, check_answers(records, answers, self.clock()))

    def _keep(self) -> None:
        while True:
            org = f"org-{len(self.promises.orgs) + 1:03d}"
            register(self.archive, [organisation(org)])
            self.journal.registers(org)
            self.promises.orgs.append(org)
            tomorrow = self.clock() + timedelta(days=1)
            self.journal.sets_clock(tomorrow)
            self.clock.now = tomorrow
            self.archive.shelves.ensure(tomorrow)
            result = self.archive.purge.run(tomorrow)
            assert result.stopped is None, result.stopped


def _or_die(work: Callable[[], None]) -> None:
    try:
        work()
    finally:
        traceback.print_exc()
        os._exit(1)


def live(folder: Path, seed: str, checked: int) -> None:
    """A child's whole life; `checked` is where it says that the promises hold."""
    child = Child.open(folder, random.Random(seed))
    child.check(thoroughly=False)
    os.write(checked, b"!")
    child.work()


def conclude(folder: Path, seed: str, told: int) -> None:
    """The last child of an archive: check everything, end cleanly, and say how much there was."""
    child = Child.open(folder, random.Random(seed))
    found = child.check(thoroughly=True)
    child.archive.close()
    outcomes = Counter(child.promises.told.values())
    counts = {"stored": len(found.stored), "purged": len(found.reported), "organisations": len(child.promises.orgs)}
    os.write(told, json.dumps({**counts, **outcomes}).encode())


def fork(life: Callable[[Path, str, int], None], folder: Path, seed: str) -> tuple[int, int]:
    """Start a child; gives its process and the end of the pipe on which it speaks."""
    hears, speaks = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(hears)
        code = 1
        try:
            life(folder, seed, speaks)
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    os.close(speaks)
    return process, hears


def kill_once(folder: Path, seed: str, chance: random.Random) -> None:
    """Kill one child at an instant of chance. Raises AssertionError where it had ended before, on a broken promise."""
    process, hears = fork(live, folder, seed)
    if chance.random() >= STARTING:
        ready, _, _ = select.select([hears], [], [], PATIENCE)
        assert ready, "a child has neither caught up nor ended"
    time.sleep(chance.uniform(0, WITHIN))
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    os.close(hears)
    if not os.WIFSIGNALED(status):
        raise AssertionError("a promise was broken: see above")


def kill_chain(prepared: Path, folder: Path, kills: int, seed: str) -> Counter[str]:
    """Kill one archive again and again, and look at what is left."""
    folder.mkdir()
    copy_of(prepared, folder)
    first = {"org": organisation()["org_id"]}
    (folder / "journal").write_text(json.dumps(first) + "\n")
    chance = random.Random(seed)
    for kill in range(kills):
        kill_once(folder, f"{seed}-{kill}", chance)
    process, hears = fork(conclude, folder, seed)
    with os.fdopen(hears, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(process, 0)
    if status != 0:
        raise AssertionError("a promise was broken: see above")
    return Counter(json.loads(told))


def warm_up(folder: Path) -> None:
    """Open an archive once in this process, so that the children find compiled what they would each compile."""
    child = Child.open(folder, random.Random(0))
    child.check(thoroughly=False)
    child.archive.close()


def main(prepared: Path, base: Path, kills: int, seed: str) -> None:
    """Kill `kills` children, over as many archives as it takes."""
    began = datetime.now(NOON.tzinfo)
    total = kill_chain(prepared, base / "warm", 0, seed)
    warm_up(base / "warm")
    gc.collect()
    gc.freeze()  # else each child's collector touches, and so copies, all that was imported
    for start in range(0, kills, CHAIN):
        folder = base / f"chain-{start}"
        try:
            total += kill_chain(prepared, folder, min(CHAIN, kills - start), f"{seed}-{start}")
        except BaseException:
            print(f"seed {seed!r}, after {start} kills; what is left lies in {folder}", file=sys.stderr, flush=True)
            raise
        shutil.rmtree(folder)
    total["kills"] = kills
    total["seconds"] = round((datetime.now(NOON.tzinfo) - began).total_seconds())
    print(json.dumps(total))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
