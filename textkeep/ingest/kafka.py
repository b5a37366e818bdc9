"""The consumer: what lies in a topic to the vault, each record once, whoever dies at whatever moment.

How far a partition is archived stands in the vault's own database and moves in the transaction that stores the records
(`kafka_offsets`). Offsets in Kafka only show lag. On assignment a partition is read from the stored offset; a batch
that begins elsewhere is undone. So membership of the group decides who does the work, and never what counts.

One batch is written by a thread while the next one is read and parsed. Whatever keeps records from being stored (the
database, the token, the keyring) pauses the partitions: the group goes on, nothing is dropped, and after a while they
are read again from where the database says.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from logging import ERROR, WARNING
from threading import Event
from typing import Final

import structlog
from sqlalchemy import Connection

from textkeep.access import rules
from textkeep.access.principal import Principal
from textkeep.archive.batch import Batch, Receipt
from textkeep.clock import Clock
from textkeep.errors import Outage, TextkeepError, Unsound
from textkeep.ingest import kafka_offsets
from textkeep.ingest.intake import Intake
from textkeep.ingest.kafka_assignment import GO_ON, Assignment, Gap, Poll
from textkeep.ingest.kafka_client import Brokers, Reading
from textkeep.ingest.kafka_offsets import MovedOn
from textkeep.ingest.kafka_topic import TopicAdmin, must_not_keep
from textkeep.ingest.splitting import MAX_RECORDS
from textkeep.store.engine import Store

PATIENCE: Final = 5.0
"""Seconds after which partitions are paused behind a transaction that does not end."""

REVOKE_SECONDS: Final = 10.0
"""How long partitions that go to somebody else wait for the transaction with their records."""

FIRST_BACKOFF: Final = 0.5
LAST_BACKOFF: Final = 30.0
"""Seconds after which a pause ends; twice as many each time, until something was stored."""

TOKEN_SECONDS: Final = 30.0
TOPIC_SECONDS: Final = 3600.0
LAG_SECONDS: Final = 5.0
"""How often token, topic and lag are looked at."""

IDENTITY_SECONDS: Final = 60.0
"""How often it is asked whether it is still the same topic: a client reads on in a new one without a word."""

SLOW: Final = "slow"
"""The name of the pause behind a database that takes long."""

COUNTS: Final = ("read", "accepted", "versions", "duplicates", "quarantined", "refused")

_log = structlog.stdlib.get_logger("textkeep.kafka")


@dataclass(frozen=True, slots=True)
class _Writing:
    """A batch on its way to the database."""

    poll: Poll
    receipts: "Future[list[Receipt]]"


class Consumer:
    """One member of a consumer group. `run` and `close` are for one thread; the figures may be looked at by others.

    `counts` are of records by outcome, `messages` of what lay in the topic; `overtaken` batches were another's already;
    `paused` is the name of the problem that nothing is read for, or None. `wrote` is told of each batch that is stored.
    """

    def __init__(
        self,
        brokers: Brokers,
        reading: Reading,
        store: Store,
        intake: Intake,
        authenticate: Callable[[], Principal],
        clock: Clock,
        *,
        wrote: Callable[[Sequence[Receipt]], None] = lambda _: None,
    ) -> None:
        """Join the group. Raises Unsound where the topic must not be read, Unauthenticated for a bad token, Outage."""
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self.messages = 0
        self.overtaken = 0
        self.paused: str | None = None
        self._reading = reading
        self._store = store
        self._intake = intake
        self._authenticate = authenticate
        self._clock = clock
        self._wrote = wrote
        self._topic = TopicAdmin(brokers, reading.topic)
        self._writing: _Writing | None = None
        self._backoff = FIRST_BACKOFF
        self._due = {"token": time.monotonic() + TOKEN_SECONDS, "topic": 0.0, "same": 0.0, "lag": 0.0, "again": 0.0}
        self._principal = authenticate()
        rules.require(self._principal, "texts.write", None)
        self._look_at_topic(starting=True)
        self._assignment = Assignment(
            brokers, reading, store, clock, written=self._written, look_at_topic=self._look_who
        )
        self._writer = ThreadPoolExecutor(1, "kafka-writer")

    @property
    def lag(self) -> Mapping[int, int]:
        """By partition, how many messages wait; as of a few seconds ago."""
        return dict(self._assignment.lag)

    @property
    def gaps(self) -> Mapping[int, Gap]:
        """Partitions that are stopped, because records were deleted before they were read."""
        return dict(self._assignment.gaps)

    @property
    def unread(self) -> int:
        """How many deleted records were passed over knowingly."""
        return self._assignment.unread

    def run(self, stop: Event) -> None:
        """Read and store until `stop` is set or the messages asked for are stored; the batch in hand is finished.

        Raises Outage where Kafka has put this member out for good; whatever was not stored is read again by the next.
        """
        while not stop.is_set() and (self._reading.most is None or self.messages < self._reading.most):
            self.step()
        self.finish()

    def step(self) -> None:
        """One poll: what it brings is being written when this returns."""
        self.look_around()
        left = self._left()
        poll = self._assignment.poll(left) if left else Poll()
        batches = self._prepare(poll) if poll.steps else None
        if self._settle(waiting=batches is not None or not left) and batches is not None:
            self._write(batches, poll)

    @property
    def in_hand(self) -> int:
        """How many messages are on their way to the database."""
        return 0 if self._writing is None else self._writing.poll.messages

    def finish(self) -> None:
        """Return when the batch in hand is stored, or was not."""
        self._settle(waiting=True)

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        self._writer.shutdown()
        self._assignment.leave()

    def _left(self) -> int:
        """How many messages may be polled now."""
        if self._reading.most is None:
            return self._reading.together
        return min(self._reading.together, self._reading.most - self.messages - self.in_hand)

    def _prepare(self, poll: Poll) -> list[Batch] | None:
        """The batches of a poll; one at least, because the partitions move even where nothing lay in a message."""
        starts = range(0, len(poll.arrived) or 1, MAX_RECORDS)
        try:
            return [self._intake.gather(self._principal, poll.arrived[at : at + MAX_RECORDS]) for at in starts]
        except TextkeepError as error:
            self.hold(error)
            return None

    def _write(self, batches: Sequence[Batch], poll: Poll) -> None:
        def move(connection: Connection) -> None:
            kafka_offsets.move(connection, self._reading.topic, poll.steps)

        self._writing = _Writing(poll, self._writer.submit(self._intake.store, batches, move))

    def _settle(self, *, waiting: bool) -> bool:
        """Whether nothing is being written and the last batch was stored; where it was not, everything rests."""
        writing = self._writing
        if writing is None:
            return True
        if waiting:
            self._wait(writing.receipts)
        if not writing.receipts.done():
            return False
        self._writing = None
        try:
            receipts = writing.receipts.result()
        except MovedOn:
            self.overtaken += 1
            self._assignment.rest()
            _log.warning("another consumer was faster", partitions=sorted(writing.poll.steps))
            return False
        except TextkeepError as error:
            self.hold(error)
            return False
        self._count(writing.poll, receipts)
        return True

    def _count(self, poll: Poll, receipts: Sequence[Receipt]) -> None:
        self.messages += poll.messages
        for receipt in receipts:
            self.counts.update({name: getattr(receipt, name) for name in COUNTS})
        self._backoff = FIRST_BACKOFF
        self._assignment.show({partition: step.next for partition, step in poll.steps.items()})
        self._wrote(receipts)

    def _wait(self, receipts: "Future[list[Receipt]]") -> None:
        """Return when a batch is written or was not; behind a slow one everything rests, and the group is kept."""
        wait([receipts], PATIENCE)
        if receipts.done():
            return
        _log.warning("the database takes long: nothing is read meanwhile")
        self.paused = self.paused or SLOW
        self._assignment.rest(where_they_are=True)
        while not receipts.done():
            self._assignment.keep_alive()

    def _written(self) -> None:
        """Return when no batch is on its way, or after a while."""
        if self._writing is not None:
            wait([self._writing.receipts], REVOKE_SECONDS)

    def hold(self, error: TextkeepError) -> None:
        """Read nothing for a while; then everything from where the database says."""
        self.paused = error.problem
        self._assignment.rest()
        self._due["again"] = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, LAST_BACKOFF)
        level = WARNING if isinstance(error, Outage) else ERROR
        _log.log(level, "nothing is read for now", problem=error.problem, detail=error.detail)

    def look_around(self) -> None:
        """What is looked at now and then; then partitions that wait for a place get it."""
        now = time.monotonic()
        if now < self._due["again"]:
            return
        try:
            if now >= self._due["token"]:
                self._principal = self._authenticate()
                self._due["token"] = now + TOKEN_SECONDS
            if now >= self._due["topic"]:
                self._look_at_topic()
                self._assignment.tell_gaps()
            if now >= self._due["same"]:
                self._look_who()
            if self._assignment.to_be_placed() and not self._settle(waiting=True):
                return
            self._assignment.place()
        except TextkeepError as error:
            self.hold(error)
            return
        if self.paused is not None:
            self.paused = None
            _log.warning("it goes on")
        if now >= self._due["lag"]:
            self._assignment.measure()
            self._due["lag"] = now + LAG_SECONDS

    def _look_at_topic(self, *, starting: bool = False) -> None:
        """Which topic it is, and how long it keeps what. Raises Unsound where it must not be read (later: warns)."""
        found = self._topic.describe()
        must_not_keep(found, knowingly=self._reading.keeps_longer or not starting)
        self._identify(found.id)
        self._due["topic"] = time.monotonic() + TOPIC_SECONDS

    def _look_who(self) -> None:
        """Which topic it is, and nothing else."""
        self._identify(self._topic.id())

    def _identify(self, found: str | None) -> None:
        """Begin anew where it is another topic of the name. Raises Unsound where nobody said that this is known."""
        if found is not None:
            with self._store.reading() as connection:
                known = kafka_offsets.identity(connection, self._reading.topic)
            if known not in (None, found) and not self._reading.go_on:
                raise Unsound(
                    "the topic was made anew since it was last read: what lay in it before and was not read is lost",
                    field="TEXTKEEP_KAFKA_TOPIC",
                    remedy=f"Find out who did that. {GO_ON} reads the new one from its beginning.",
                )
            if known != found:
                with self._store.transaction() as connection:
                    kafka_offsets.begin_anew(connection, self._reading.topic, found, self._clock())
        self._due["same"] = time.monotonic() + IDENTITY_SECONDS
