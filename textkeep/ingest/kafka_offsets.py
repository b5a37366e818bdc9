"""How far each partition of a topic is archived: rows that move in the transaction that stores the records.

`next` is the offset of the first record that is not archived. It moves by comparing: whoever stores a batch says where
it begins, and where somebody else has stored that already nothing of the batch counts. So it does not matter who
believes to own a partition: a process that was thought dead and comes back late changes nothing.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from textkeep.errors import Conflict
from textkeep.ingest.kafka_places import Step
from textkeep.ledger import log
from textkeep.store.tables import notes, offsets

_IDENTITY: Final = "kafka-topic:"
"""Begins the name of the note that says which topic of a name the offsets are of."""

_MOVE: Final = (
    update(offsets)
    .where(
        offsets.c.topic == bindparam("of_topic"),
        offsets.c.partition == bindparam("of_partition"),
        offsets.c.next == bindparam("start"),
    )
    .values(next=bindparam("to"))
)


class MovedOn(Conflict):
    """Another consumer has archived these records already; nothing of the batch was stored."""


def stored(connection: Connection, topic: str) -> dict[int, int]:
    """The next offset of every partition that was ever begun."""
    rows = connection.execute(select(offsets.c.partition, offsets.c.next).where(offsets.c.topic == topic))
    return {row.partition: row.next for row in rows}


def begin(connection: Connection, topic: str, starts: Mapping[int, int]) -> None:
    """Say where partitions begin that were not begun before; what is begun already stays as it is."""
    for partition, start in sorted(starts.items()):
        row = {"topic": topic, "partition": partition, "next": start}
        connection.execute(_insert_where_none(connection, offsets).values(**row))


def move(connection: Connection, topic: str, steps: Mapping[int, Step]) -> None:
    """Move partitions on, in their order. Raises MovedOn where one does not stand where its step starts."""
    for partition, step in sorted(steps.items()):
        where = {"of_topic": topic, "of_partition": partition, "start": step.start, "to": step.next}
        if connection.execute(_MOVE, where).rowcount != 1:
            raise MovedOn("another consumer has archived these records already")


def skip(connection: Connection, topic: str, partition: int, step: Step, now: datetime) -> None:
    """Go on behind records that the topic no longer has, and say so in the ledger. Raises MovedOn like `move`."""
    move(connection, topic, {partition: step})
    body = {"partition": partition, "from": step.start, "to": step.next}
    log.append(connection, "unread", body, now=now)


def identity(connection: Connection, topic: str) -> str | None:
    """Which topic of that name the offsets are of; None before the first start."""
    wanted = select(notes.c.value).where(notes.c.name == _IDENTITY + topic)
    return connection.execute(wanted).scalar_one_or_none()


def begin_anew(connection: Connection, topic: str, found: str, now: datetime) -> None:
    """Count from the beginning of another topic of the same name, and say so in the ledger."""
    name = _IDENTITY + topic
    connection.execute(_insert_where_none(connection, notes).values(name=name, value=found))
    changed = update(notes).where(notes.c.name == name, notes.c.value != found).values(value=found)
    if connection.execute(changed).rowcount:
        connection.execute(update(offsets).where(offsets.c.topic == topic).values(next=0))
        log.append(connection, "unread", {"topic": found}, now=now)


def _insert_where_none(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()
