"""The partitions of one member of a consumer group: which they are, what comes next in each, what is missing."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Final, cast

import structlog
from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from textkeep.clock import Clock
from textkeep.errors import Outage, TextkeepError
from textkeep.ingest import kafka_offsets
from textkeep.ingest.kafka_ahead import PORTION, Ahead, Came
from textkeep.ingest.kafka_client import TIMEOUT, Brokers, ClientLog, Reading, heard, meaning_of, translated
from textkeep.ingest.kafka_offsets import MovedOn
from textkeep.ingest.kafka_places import STORED, Places, Step
from textkeep.ingest.kafka_records import Headers, records_of, untold
from textkeep.ingest.wire import Arrived
from textkeep.store.engine import Store

POLL_SECONDS: Final = 0.2
"""How long a poll waits for company; so long a single record may lie."""

GO_ON: Final = "--go-on-without-deleted-records"
"""The flag with which reading goes on behind records that the topic no longer has."""

_GAPS: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})

_headers_of: Final = methodcaller("headers")
"""Called so on purpose. For a name that is not UTF-8 the library returns a result and leaves an error behind: a call
from C finds that and raises SystemError there, while the interpreter, once warm, lets it appear lines later."""

_log = structlog.stdlib.get_logger("textkeep.kafka")


@dataclass(frozen=True, slots=True)
class Gap:
    """A partition whose log does not have the offset that comes next: `wanted`, and what it has, `first` to `last`."""

    wanted: int
    first: int
    last: int

    @property
    def deleted(self) -> int:
        """How many records went unread; 0 where the log is shorter than what was read of it."""
        return max(0, self.first - self.wanted)


@dataclass(slots=True)
class Poll:
    """What one poll brought: the records, and how far each partition comes with them."""

    arrived: list[Arrived] = field(default_factory=list)
    steps: dict[int, Step] = field(default_factory=dict)
    messages: int = 0


class Assignment:
    """What this member reads. Its methods are for one thread, which is also the one that the library calls back on.

    `gaps` are partitions that are stopped because records were deleted before they were read, `unread` counts what was
    passed over knowingly; `lag` is in messages.
    """

    def __init__(
        self,
        brokers: Brokers,
        reading: Reading,
        store: Store,
        clock: Clock,
        *,
        written: Callable[[], object],
        look_at_topic: Callable[[], object],
    ) -> None:
        """Join the group.

        `written` returns when no batch is on its way to the database, or after a while; `look_at_topic` raises a
        TextkeepError where the offsets in the database are not of this topic.
        """
        self.gaps: dict[int, Gap] = {}
        self.lag: dict[int, int] = {}
        self.unread = 0
        self._topic = reading.topic
        self._go_on = reading.go_on
        self._store = store
        self._clock = clock
        self._written = written
        self._look_at_topic = look_at_topic
        self._topic_known = True
        self._places = Places()
        self._ahead = Ahead()
        self._archived: dict[int, int] = {}
        self._resting = False
        with translated():
            config = {**brokers.config(), **reading.config(), "error_cb": heard}
            self._client = Client(config, logger=ClientLog())
            self._client.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def poll(self, most: int) -> Poll:
        """The messages that come next, at most so many, and no more than belong into a transaction.

        Raises Outage where this member is out for good.
        """
        self._read_ahead(most)
        poll = Poll()
        for came in self._ahead.next_batch(most):
            if isinstance(came.error, KafkaError):
                self._look_into(came.error, came.partition)
            else:
                self._take(poll, came)
        return poll

    def _read_ahead(self, most: int) -> None:
        """Read in portions what a batch takes. One message is asked for at least: what else happens is heard so."""
        deadline = time.monotonic() + POLL_SECONDS
        while True:
            wanted = 1 if self._ahead.full else max(1, min(PORTION, most - len(self._ahead)))
            patience = 0.0 if self._ahead.full else max(0.0, deadline - time.monotonic())
            with translated():
                messages = self._client.consume(wanted, patience)
            for message in messages:  # only now: what is called back within forgets what came before
                self._ahead.add(self._came(message))
            if len(messages) < wanted or len(self._ahead) >= most or self._ahead.full:
                return

    def _came(self, message: "Message[bytes, bytes]") -> Came:
        partition, offset, error = message.partition(), message.offset(), message.error()
        if error is not None or partition is None or offset is None:
            return Came(partition, offset, [], error)
        try:
            headers = cast("Headers | None", _headers_of(message))  # a list, always; its type covers what is sent
        except (SystemError, ValueError):  # the library makes a name text, whatever its bytes are
            return Came(partition, offset, [untold(self._topic, partition, offset, message.value())])
        found = records_of(self._topic, partition, offset, message.value(), headers, message.key())
        return Came(partition, offset, list(found))

    def keep_alive(self) -> None:
        """A poll while everything rests: the group goes on. What comes all the same is not taken."""
        with translated():
            self._client.consume(1, POLL_SECONDS)

    def rest(self, *, where_they_are: bool = False) -> None:
        """Read nothing until `place`: then from where the database says, or from where partitions stand now."""
        self._resting = True
        self._ahead.clear()
        if where_they_are:
            self._places.await_again()
        else:
            self._places.await_stored()
        with suppress(KafkaException):
            self._client.pause(self._at(dict.fromkeys(self._places.owned, 0)))

    def to_be_placed(self) -> bool:
        """Whether a partition waits to be read from where the database says."""
        return STORED in self._places.waiting.values() or bool(self.gaps and self._go_on)

    def place(self) -> None:
        """Put every partition that waits where it is to be read from. Raises Outage; then they wait on.

        No batch may be on its way where `to_be_placed`. Raises Unsound where the topic was made anew.
        """
        self._identify()
        if self._go_on:
            self._skip()
        waiting = self._places.waiting
        if waiting:
            stored = self._starts([partition for partition, at in waiting.items() if at == STORED])
            starts = {**waiting, **stored}
            at = self._at(starts)
            with translated():
                self._client.incremental_unassign(at)
                self._client.incremental_assign(at)
                self._client.resume(at)
            self._ahead.forget(starts)
            self._places.put(starts)
            self.show(stored)
        self._resting = False

    def show(self, reached: Mapping[int, int]) -> None:
        """Tell Kafka how far partitions are archived, for those who look at lag there; nothing depends on it."""
        self._archived |= reached
        if not reached:
            return
        with suppress(KafkaException):
            self._client.commit(offsets=self._at(reached), asynchronous=True)

    def measure(self) -> None:
        """Take the lag anew."""
        for partition in self._places.owned:
            with suppress(KafkaException):
                last = self._client.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)[1]
                if partition in self._archived and last >= 0:
                    self.lag[partition] = max(0, last - self._archived[partition])

    def tell_gaps(self) -> None:
        """Say again which partitions are stopped."""
        for partition, gap in self.gaps.items():
            _tell(partition, gap)

    def leave(self) -> None:
        """Leave the group, so that others take over at once."""
        self._client.close()

    def _at(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]

    def _take(self, poll: Poll, came: Came) -> None:
        partition, offset = came.partition, came.offset
        if partition is None or offset is None:
            return
        start = self._places.next.get(partition, offset)
        if not self._places.takes(partition, offset):
            return
        before = poll.steps.get(partition)
        poll.steps[partition] = Step(start if before is None else before.start, offset + 1)
        poll.messages += 1
        poll.arrived += came.records

    def _identify(self) -> None:
        """Look whether it is still the topic that the offsets are of, once for each assignment."""
        if not self._topic_known:
            self._look_at_topic()
            self._topic_known = True

    def _starts(self, partitions: Sequence[int]) -> dict[int, int]:
        """Where these partitions are archived up to. One that is new begins with the first record it still has."""
        if not partitions:
            return {}
        with self._store.reading() as connection:
            known = kafka_offsets.stored(connection, self._topic)
        unknown = {partition: self._watermarks(partition)[0] for partition in partitions if partition not in known}
        if unknown:
            with self._store.transaction() as connection:
                kafka_offsets.begin(connection, self._topic, unknown)
                known = kafka_offsets.stored(connection, self._topic)
        return {partition: known[partition] for partition in partitions}

    def _watermarks(self, partition: int) -> tuple[int, int]:
        with translated():
            found = self._client.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=TIMEOUT)
        if found is None:
            raise Outage("Kafka does not say which offsets a partition has")
        return found

    def _look_into(self, error: KafkaError, partition: int | None) -> None:
        """An error that stands where a message would. Raises Outage for one that this member does not survive."""
        if error.fatal():
            raise meaning_of(error)
        wanted = None if partition is None else self._places.next.get(partition)
        if error.code() not in _GAPS or partition is None or wanted is None:
            heard(error)
            return
        self._places.await_place([partition], wanted)
        try:
            first, last = self._watermarks(partition)
        except TextkeepError:
            return  # it is read again, and the same error comes again
        if not first <= wanted <= last:
            self._places.stop(partition)
            self.gaps[partition] = Gap(wanted, first, last)
            _tell(partition, self.gaps[partition])

    def _skip(self) -> None:
        """Go on behind what is deleted, on record."""
        for partition, gap in list(self.gaps.items()):
            step = Step(gap.wanted, gap.first)
            with suppress(MovedOn):
                with self._store.transaction() as connection:
                    kafka_offsets.skip(connection, self._topic, partition, step, self._clock())
                self.unread += gap.deleted
            del self.gaps[partition]
            self._places.stopped.discard(partition)
            self._places.await_place([partition])

    def _assigned(self, client: Client, partitions: list[TopicPartition]) -> None:
        """Called within a poll: these partitions are ours from here on."""
        named = [each.partition for each in partitions]
        starts: dict[int, int] = {}
        self._topic_known = False  # where a topic is made anew, its partitions go and come
        if not self._resting:
            self._written()
            with suppress(TextkeepError):
                self._identify()
                starts = self._starts(named)
        at = self._at({partition: starts.get(partition, 0) for partition in named})
        client.incremental_assign(at)
        self._forget(named)
        self._places.put(starts)
        rest = [each for each in at if each.partition not in starts]
        self._places.await_place(each.partition for each in rest)
        client.pause(rest)
        self.show(starts)
        _log.info("partitions came", partitions=named)

    def _revoked(self, client: Client, partitions: list[TopicPartition]) -> None:
        """Called within a poll: these go to somebody else, who reads on where the batch on its way ends."""
        self._written()
        self._lost(client, partitions)

    def _lost(self, _client: Client, partitions: list[TopicPartition]) -> None:
        """Called within a poll: these are somebody else's already."""
        named = [each.partition for each in partitions]
        self._forget(named)
        _log.info("partitions went", partitions=named)

    def _forget(self, partitions: Iterable[int]) -> None:
        named = list(partitions)
        self._places.forget(named)
        self._ahead.forget(named)
        for partition in named:
            self.gaps.pop(partition, None)
            self.lag.pop(partition, None)
            self._archived.pop(partition, None)


def _tell(partition: int, gap: Gap) -> None:
    _log.error(
        "a partition no longer has the record that comes next: it is stopped, the others go on",
        partition=partition,
        wanted=gap.wanted,
        first=gap.first,
        last=gap.last,
        deleted=gap.deleted,
        remedy=f"Find out who deleted them. {GO_ON} reads on behind them.",
    )
