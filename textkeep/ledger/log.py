"""The evidence ledger: entries written in the transaction they speak of.

An entry is canonical JSON (RFC 8785) of at most 4 KiB, holds handles and counts and no personal data, and waits in
`ledger_entries` without a `leaf_index` until the signer integrates it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import rfc8785
from sqlalchemy import Connection, Row, Select, insert, or_, select

from textkeep.store.marks import carried
from textkeep.store.tables import ledger_entries

ENTRY_BYTES: Final = 4096
"""The largest entry, in bytes of its canonical form."""

KINDS: Final = frozenset(
    {"slice", "refusals", "quarantine", "returned", "hold", "release", "approval", "intent", "committed"}
    | {"key-destroyed", "erased", "purge", "kept", "activity", "capability", "token", "restore", "missed-run"}
    | {"clock-reset", "unread", "key-change", "witness-change"}
)
"""What an entry can speak of."""


_C: Final = ledger_entries.c

_STANDING: Final = select(_C.seq, _C.kind, _C.shelf, _C.entry, _C.made_at, _C.leaf_index).where(
    or_(_C.leaf_index.is_(None), _C.leaf_index >= 0)
)

_BODY: Final = msgspec.json.Decoder()

_OWN: Final = frozenset({"v", "kind", "time", "shelf"})
"""The members that every entry has and no body may replace."""

_INSERT: Final = insert(ledger_entries)

IN_ORDER: Final = (ledger_entries.c.leaf_index.is_(None), ledger_entries.c.leaf_index, ledger_entries.c.seq)
"""The log's order, and behind it what waits, in the order in which the signer takes it."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An entry as it was written, and where it is in the database and in the log.

    `seq` is given once. On SQLite it is the order of commits, from 1 without a gap. On PostgreSQL it is the order of
    writing: of two transactions at the same time the later number may be committed first, and one that was undone
    leaves a gap. The order that evidence rests on is the signer's: `index`, from 0, None until it is integrated. An
    entry that was put back after a loss has its `index` again and another `seq`: nothing that must last names a `seq`.
    """

    seq: int
    kind: str
    shelf: str | None
    body: dict[str, Any]
    made_at: datetime
    index: int | None = None


def moment(at: datetime) -> str:
    """A moment as entries and reports write it: RFC 3339, UTC, milliseconds, `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def append(
    connection: Connection, kind: str, body: Mapping[str, Any], *, now: datetime, shelf: str | None = None
) -> int:
    """Write an entry in the caller's transaction and give its `seq`.

    Raises ValueError for an unknown kind, for a body that would replace kind, time or shelf, and for an entry over
    4 KiB: all are faults of the house, not of a caller.
    """
    made = connection.execute(_INSERT, marked(connection, [_row(kind, body, now, shelf)])[0])
    key = made.inserted_primary_key
    if key is None:
        raise RuntimeError("the database gave no sequence number")
    return int(key[0])


def append_all(
    connection: Connection, wanted: Sequence[tuple[str, Mapping[str, Any], str | None]], now: datetime
) -> None:
    """Write many entries, each of a kind, a body and a shelf, in their order. Raises like `append`."""
    if wanted:
        rows = [_row(kind, body, now, shelf) for kind, body, shelf in wanted]
        connection.execute(_INSERT, marked(connection, rows))


def marked(connection: Connection, rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Rows of entries with this service's mark, by what the connection carries; as they are where that is nothing."""
    marks = carried(connection)
    return rows if marks is None else [{**row, "mark": marks.of_entry(row["entry"])} for row in rows]


def _row(kind: str, body: Mapping[str, Any], now: datetime, shelf: str | None) -> dict[str, Any]:
    if kind not in KINDS:
        raise ValueError(f"no entry is of kind {kind}")
    if _OWN & body.keys():
        raise ValueError(f"the body of an entry of kind {kind} names a member of every entry")
    entry = {"v": 1, "kind": kind, "time": moment(now), **({"shelf": shelf} if shelf else {}), **body}
    written = rfc8785.dumps(entry)
    if len(written) > ENTRY_BYTES:
        raise ValueError(f"an entry of kind {kind} is over {ENTRY_BYTES} bytes")
    batch = body.get("batch")
    return {"kind": kind, "shelf": shelf, "entry": written.decode("utf-8"), "made_at": now, "batch": batch}


def standing() -> Select[Any]:
    """Every entry but those that were found altered and set aside: the columns that `Entry` is read from."""
    return _STANDING


def entries(connection: Connection, *, shelf: str | None = None, kinds: Collection[str] = ()) -> list[Entry]:
    """The entries of a shelf, of some kinds, or all, in the log's order: by place, and behind those what waits."""
    wanted = standing().order_by(*IN_ORDER)
    if shelf is not None:
        wanted = wanted.where(ledger_entries.c.shelf == shelf)
    if kinds:
        wanted = wanted.where(ledger_entries.c.kind.in_(kinds))
    return _entries(connection.execute(wanted).all())


def page(connection: Connection, *, shelf: str | None = None, after: int = 0, limit: int) -> list[Entry]:
    """The entries with a `seq` beyond `after`, of a shelf or all, in the order of their numbers."""
    wanted = standing().where(ledger_entries.c.seq > after).order_by(ledger_entries.c.seq).limit(limit)
    if shelf is not None:
        wanted = wanted.where(ledger_entries.c.shelf == shelf)
    return _entries(connection.execute(wanted).all())


def entry_at(connection: Connection, seq: int) -> Entry | None:
    """The entry with that `seq`, or None."""
    row = connection.execute(standing().where(ledger_entries.c.seq == seq)).one_or_none()
    return None if row is None else _entry(row)


def of_batch(connection: Connection, batch: str) -> list[Entry]:
    """The entries that speak of a batch: its slices, what was quarantined, what came too late."""
    wanted = standing().where(ledger_entries.c.batch == batch).order_by(*IN_ORDER)
    return _entries(connection.execute(wanted).all())


def of_batches(connection: Connection, batches: Collection[str], kinds: Collection[str]) -> list[Entry]:
    """The entries of some kinds that speak of these batches, in the log's order."""
    c = ledger_entries.c
    wanted = standing().where(c.batch.in_(batches), c.kind.in_(kinds)).order_by(*IN_ORDER)
    return _entries(connection.execute(wanted).all())


def canonical(connection: Connection, seq: int) -> bytes | None:
    """The bytes of an entry as they are in the log, or None."""
    row = connection.execute(standing().where(ledger_entries.c.seq == seq)).one_or_none()
    return None if row is None else row.entry.encode()


def says(connection: Connection, kind: str, **members: str) -> bool:
    """Whether an entry of that kind says all of that."""
    return any(members.items() <= each.body.items() for each in entries(connection, kinds=[kind]))


def names_approval(connection: Connection, kinds: Collection[str], approval: str) -> bool:
    """Whether an entry of one of these kinds, waiting or signed, speaks of what was done with that approval."""
    c = ledger_entries.c
    named = c.entry.contains(f'"approval":"{approval}"', autoescape=True)
    return connection.execute(select(c.seq).where(c.kind.in_(kinds), named).limit(1)).first() is not None


def newest(connection: Connection, kinds: Collection[str]) -> Entry | None:
    """The last entry of these kinds in the log's order, or None."""
    wanted = standing().where(ledger_entries.c.kind.in_(kinds))
    row = connection.execute(wanted.order_by(*(each.desc() for each in IN_ORDER)).limit(1)).one_or_none()
    return None if row is None else _entry(row)


def _entry(row: Row[Any]) -> Entry:
    return _entries([row])[0]


def _entries(rows: Iterable[Row[Any]]) -> list[Entry]:
    read = _BODY.decode
    try:
        return [Entry(seq, kind, shelf, read(entry), at, place) for seq, kind, shelf, entry, at, place in rows]
    except msgspec.MsgspecError:
        raise ValueError("an entry of the ledger is no JSON") from None
