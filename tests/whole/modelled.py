"""A small archive under legal holds beside a dictionary that says what must be in it.

The archive is real: vault, keyring in files, signed ledger, holds, purge. It lives on SQLite in memory, with shelves
for a few days only, and is killed, backed up and put back in this process.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Connection, select

from tests.housing import NOON, House, SetClock, event
from tests.ledger.signing import Secret
from tests.retention.holding import Holders
from tests.retention.keeping import Keeping
from tests.retention.purging import Purging, evening
from tests.retention.test_purge_crash import Fate, Killed
from tests.whole.concluding import check_log, check_reports
from tests.whole.dictionary import Held, Saved, Text
from tests.whole.opening import Opening
from tests.whole.template import IN_MEMORY, ORGS, Template, copied, load, raw_of
from textkeep.access.principal import Principal, Role
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.shelf import Day
from textkeep.errors import Unsound
from textkeep.ledger import log
from textkeep.ledger.state import DOCUMENT, Forked
from textkeep.retention.approvals.approval import Approval, NotApproved, TwoPersons
from textkeep.retention.purging.purge import RunResult, Told
from textkeep.retention.reports.folder import ReportFolder
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.service.evidence import Evidence
from textkeep.store.columns import ticks
from textkeep.store.evidence import approvals

WORDS: Final = ("merger", "lunch", "merger and lunch")
MOST_HOLDS: Final = 12
PAST: Final = ("committed", "shredded", "dropped", "verified", "reported")
"""The states of a shelf for which a hold comes too late."""

RETENTION: Final = timedelta(days=400)
RELEASE: Final = timedelta(hours=24)


class World:
    """The archive and its dictionary."""

    def __init__(self, template: Template) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.clock = SetClock(NOON)
        self.secret, self.fate = Secret(), Fate()
        self.texts: dict[str, Text] = {}
        self.holds: dict[str, Held] = {}
        self.asked: dict[str, Approval] = {}
        self.signed: set[tuple[int, str]] = set()
        self.saved: Saved | None = None
        self.number = 0
        self.days: Sequence[Day] = template.days
        self.seen: tuple[int, datetime, bytes | None] | None = None
        shutil.copytree(template.keyring, self.folder / "keyring")
        self.store = template.store
        load(self.store, template.database)
        self.raw = raw_of(self.store)
        self.opening = Opening(self.raw)
        self.index = EmbeddedIndex.open(self.folder / "index")
        self.open()
        self.purging.mark().tick()

    def open(self) -> None:
        """Open everything as a process does that starts; nothing of the one before is left. Raises Unsound."""
        house = House.build(self.store, self.folder / "keyring", self.clock)
        self.purging = Purging(house, self.folder, self.index)
        self.purging.leases.clear()
        self.keeping = Keeping(self.purging)
        self.holders: Holders = self.keeping.holders
        self.holders.batches = self.number * 100
        self.evidence = Evidence(house.store, house.keyring, self.secret, self.holders.approvals, self.clock)
        for each in self.holders.holds.agree().repaired:
            if each.what == "in-force-again":
                self.holds[each.hold].ends = None
        self.seen = None

    def close(self) -> None:
        self.index.close()
        shutil.rmtree(self.folder)

    def person(self, name: str, *roles: Role) -> Principal:
        return self.holders.person(name, *roles, orgs=ORGS)

    def dies_at(self, point: int | None, work: Callable[[], Any]) -> Any:
        """Do something; where `point` is given, the process is gone at that point, if there is one, and starts anew."""
        if point is None:
            return work()
        fate, keyring = self.fate, self.keeping.house.keyring
        fate.at, fate.passed = point, 0
        transaction = self.store.transaction

        @contextmanager
        def mortal() -> Iterator[Connection]:
            with transaction() as connection:
                yield connection
                fate.point()
            fate.point()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.store, "transaction", mortal)
            patch.setattr(ReportFolder, "write", fate.around(ReportFolder.write))
            patch.setattr(FolderStore, "swap", fate.around(FolderStore.swap))
            patch.setattr(keyring, "destroy", fate.around(keyring.destroy))
            patch.setattr(self.index, "drop", fate.around(self.index.drop))
            try:
                return work()
            except Killed:
                pass
            finally:
                fate.at = None
        self.open()
        return None

    # What happens

    def ingest(self, day: Day, org: str, *, aside: bool, point: int | None) -> None:
        """A text with each of the words comes, as one batch."""
        sent_at, now, state = datetime.fromisoformat(evening(day)), self.clock(), self.keeping.state(day.shelf)
        in_time = sent_at + RETENTION > now and state == "open"
        if in_time:
            self.index.create([day.shelf])
        texts, wires = [], []
        for words in WORDS:
            self.number += 1
            texts.append(Text(f"text {self.number}, {words}", org, sent_at, acknowledged=False))
            wires.append(event(self.number, org_id=org, sent_at=evening(day), body=texts[-1].body))
        said: dict[str, Any] = {}
        if aside and in_time:  # ingest looks at the age of a record first
            said = {"verdict": "quarantine", "reason": "mms"}
        receipt = self.dies_at(point, lambda: self.holders.take(*wires, **said))
        if receipt is None:  # nobody knows: they are there, or they never were
            self.texts |= {text.body: text for text in texts}
            return
        for item in receipt.items:
            text = texts[item.index]
            if item.outcome == "refused":
                assert not in_time, item
                assert not self.covering(text), "an expired record that a hold covers was refused"
                continue
            assert in_time == (item.reason != "expired-under-hold"), item
            text.acknowledged = True
            self.texts[text.body] = text
        there = self.opening.found(self.keeping.house)
        for text in texts:
            text.lies_on(there.get(text.body, ()))

    def place(self, org: str, word: str | None, point: int | None) -> None:
        if len(self.holds) >= MOST_HOLDS:
            return
        officer, where = self.person("Olivia", "officer"), self.check()  # what is gone by now, no hold can keep
        placed = self.dies_at(point, lambda: self.holders.place(by=officer, org_id=org, query=word))
        if placed is not None:
            held = self.holds[placed.hold.id] = Held(org, word)
            late = set(placed.reach.too_late)
            held.late = {body for body, shelves in where.items() if shelves <= late}
            for shelf in late:
                assert self.keeping.state(shelf) in PAST, shelf
        for hold_id in set(self.holders.in_force()) - self.holds.keys():  # one whose answer did not come
            late = {shelf for shelf in set().union(*where.values()) if self.keeping.state(shelf) in PAST}
            self.holds[hold_id] = Held(org, word, late={body for body, shelves in where.items() if shelves <= late})

    def ask(self, number: int) -> None:
        if not self.holds:
            return
        hold_id = [*self.holds][number % len(self.holds)]
        held, now = self.holds[hold_id], self.clock()
        waiting = self.asked.get(hold_id)
        if held.ends is not None or (waiting is not None and waiting.until > now):
            return
        self.asked[hold_id] = self.holders.holds.releasing.ask(self.person("Carol", "counsel"), hold_id, "settled")

    def decide(self, number: int, outcome: str, *, same: bool, point: int | None) -> None:
        if not self.asked:
            return
        hold_id = [*self.asked][number % len(self.asked)]
        asked, held, now = self.asked.pop(hold_id), self.holds[hold_id], self.clock()
        by = self.person("Carol" if same else "Anna", "approver")
        decided = None
        try:
            decide = self.holders.approvals.decide
            decided = self.dies_at(point, lambda: decide(by, asked.id, outcome, asked.digest))  # type: ignore[arg-type]
        except TwoPersons:
            assert same
            self.asked[hold_id] = asked  # it waits for somebody else
        except NotApproved:
            assert asked.until <= now
        else:
            if decided is None and self._waits(asked):
                self.asked[hold_id] = asked
        if decided is not None:
            assert not same
            assert now < asked.until
        if outcome == "approved" and not same and asked.until > now:
            with self.store.reading() as connection:
                row = self.holders.holds.holding.find(connection, hold_id)
            assert row is not None
            if row.ends_at is not None:
                assert row.ends_at >= now + RELEASE
                held.ends = held.ends or row.ends_at
            else:
                assert decided is None

    def _waits(self, asked: Approval) -> bool:
        """Whether a request is still undecided after a crash."""
        wanted = select(approvals.c.outcome).where(approvals.c.id == asked.id)
        with self.store.reading() as connection:
            return connection.execute(wanted).scalar_one() is None

    def wait(self, hours: int) -> None:
        """Time passes, as the minute's ticking sees it."""
        until = self.clock() + timedelta(hours=hours)
        while self.clock() < until:
            self.clock.now = min(until, self.clock() + timedelta(hours=24))
            self.purging.mark().tick()
        self.keeping.house.shelves.ensure(until)

    def run(self, **how: Any) -> RunResult:
        return self.keeping.run(signed=self.evidence, signing_patience=5.0, witness_patience=0.0, **how)

    def purge(self, point: int | None = None, told: Told = lambda _shelf, _state: None) -> None:
        """A run; where more days are due than may go without a person's word, that word is given."""

        def work() -> RunResult:
            result = self.run(told=told)
            if result.stopped is not None and result.stopped.reason == "too-many-days":
                return self.run(confirm_days=len(result.days), told=told)
            return result

        result = self.dies_at(point, work)
        assert result is None or result.stopped is None, result.stopped

    def purge_and_place(self, step: str, org: str, word: str | None) -> None:
        """A run during which a hold is placed, after some step of the first shelf that comes to it."""
        left = [step]

        def told(_shelf: str, state: str) -> None:
            if state in left:
                left.clear()
                self.place(org, word, None)

        self.purge(told=told)

    def jump(self, hours: int) -> None:
        """The clock jumps, a run is tried, and the clock is set right."""
        right, before = self.clock(), set(self.keeping.house.keyring.tombstones())
        self.clock.now += timedelta(hours=hours)
        assert not self.purging.mark().tick()
        result = self.run()
        assert result.stopped is not None
        assert result.stopped.reason == ("clock-ahead" if hours > 0 else "clock-behind")
        self.clock.now = right
        assert set(self.keeping.house.keyring.tombstones()) == before

    # Backups

    def back_up(self) -> None:
        to = self.folder / "saved"
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder / "keyring", to)
        self.saved = Saved(copied(self.store), to, self.entries())

    def entries(self) -> int:
        with self.store.reading() as connection:
            return len(log.entries(connection))

    def restore_database(self) -> None:
        """Put the older database back, see that it is noticed and that nothing comes of it, and put the newest back."""
        self.sign()
        if self.saved is None or self.saved.entries == self.entries():
            return  # nothing has happened since
        newest = copied(self.store)
        before = self.evidence.signer.state()
        stones = set(self.keeping.house.keyring.tombstones())
        load(self.store, self.saved.database)
        noticed = ""
        try:
            self.open()
            with suppress(Forked):
                self.evidence.signer.keep_up()
            self.run()
            self.evidence.signer.keep_up()
        except Unsound as refused:
            noticed = refused.problem
        assert noticed, "a database older than its ledger was not noticed"
        after = self.evidence.signer.state()
        assert before is not None
        assert after is not None
        assert (after.size, after.root) == (before.size, before.root), "a fork was signed"
        load(self.store, newest)
        self.open()
        assert set(self.keeping.house.keyring.tombstones()) == stones, "something was destroyed over an older database"
        self.resume()

    def resume(self) -> None:
        """Two persons say that the ledger may be signed again."""
        state = self.evidence.signer.state()
        if state is None or state.refused is None:
            return
        operator = self.holders.person("Olga", "operator", orgs=None)
        asked = self.holders.approvals.put(operator, "resume", "ledger", {"refused_at": state.refused.at}, None)
        self.holders.approvals.decide(
            self.holders.person("Anna", "approver", orgs=None), asked.id, "approved", asked.digest
        )
        self.evidence.resume(asked.id)

    def restore_keyring(self) -> None:
        """Put the older keyring back. One older than a purge is refused; else what it lacks is put back into it."""
        if self.saved is None:
            return
        now, newest = self.folder / "keyring", self.folder / "newest"
        stones = set(self.keeping.house.keyring.tombstones())
        now.rename(newest)
        shutil.copytree(self.saved.keyring, now)
        try:
            self.open()
            assert set(self.keeping.house.keyring.tombstones()) >= stones, "a keyring older than a purge was accepted"
            shutil.rmtree(newest)
        except Unsound:
            shutil.rmtree(now)
            newest.rename(now)
            self.open()

    # What must be

    def covering(self, text: Text) -> list[str]:
        now = self.clock()
        return [hold_id for hold_id, held in self.holds.items() if held.covers(text, now)]

    def check(self, *, anew: bool = False) -> dict[str, set[str]]:
        """Nothing is gone too early or under a hold, nothing that is gone is there, every other text is.

        Gives what is there, by body the shelves. What was opened before is opened again with `anew` only.
        """
        there = self.opening.found(self.keeping.house, anew=anew)
        assert there.keys() <= self.texts.keys(), "something is there that nobody sent"
        for body, text in list(self.texts.items()):
            if body in there:
                assert not text.gone, f"{body}: purged, and there again"
                if not text.acknowledged:
                    text.acknowledged = True
                    text.lies_on(there[body])
            elif not text.acknowledged:
                del self.texts[body]
            elif not text.gone:
                assert text.due() <= self.clock(), f"{body}: destroyed early"
                assert not self.covering(text), f"{body}: destroyed under a hold"
                text.gone = True
        now = self.clock()
        in_force = {each for each, held in self.holds.items() if held.in_force(now)}
        rows = self.raw.execute("SELECT id FROM holds WHERE ends_at IS NULL OR ends_at > ?", (ticks(now),))
        assert {hold_id for (hold_id,) in rows} == in_force
        assert not anew or set(self.holders.in_force()) == in_force
        return there

    def look(self) -> None:
        """Check everything where anything has changed since it was checked, and remember what was signed."""
        document = self.keeping.house.keyring.documents.read(DOCUMENT)
        seen = (self.raw.total_changes, self.clock(), document)
        if seen == self.seen:
            return
        self.check()
        self.seen = seen
        if document is not None:
            state = json.loads(document)
            self.signed.add((state["size"], state["root"]))

    def sign(self, point: int | None = None) -> None:
        """The signer takes up what waits, as it does every second."""
        self.dies_at(point, lambda: self.evidence.signer.keep_up())

    def conclude(self, *, by_day: bool) -> None:
        """Everything that is due goes, and what is left is what holds keep; every checkpoint is of one line.

        The days that are left go one `by_day`, or all at once.
        """
        for hours in [24] * (len(self.days) + 1) if by_day else [(len(self.days) + 1) * 24]:
            self.wait(hours)
            self.purge()
        self.check(anew=True)
        for text in self.texts.values():
            is_due = text.due() <= self.clock()
            assert text.gone or not is_due or self.covering(text), f"{text.body} is still there"
        self.sign()
        self.look()
        self.evidence.signer.check()
        check_log(self.store, self.signed)
        check_reports(self.purging, self.days)
