"""Signed checkpoints as they are published, what witnesses have added to them, and who is a witness."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from textkeep.errors import Conflict, Malformed, NotFound
from textkeep.ledger import log
from textkeep.ledger.cosignature import Witness
from textkeep.ledger.note import NoteRefused, Signature, parse
from textkeep.store.evidence import checkpoints, cosignatures, witnesses
from textkeep.store.once import insert_once

KEPT_FOR: Final = timedelta(days=7)
"""How long a checkpoint that no witness has signed is kept; a witness that comes later signs a newer one."""

AHEAD: Final = timedelta(minutes=5)
"""How far a witness's clock may be ahead of ours."""


_NEWEST: Final = select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)
_LARGEST: Final = select(func.max(checkpoints.c.size))
_LARGEST_COSIGNED: Final = (
    select(cosignatures.c.size)
    .join(witnesses, witnesses.c.name == cosignatures.c.witness)
    .where(witnesses.c.until.is_(None))
    .order_by(cosignatures.c.size.desc())
    .limit(1)
)
_BEST: Final = (
    select(checkpoints, cosignatures.c.witness, cosignatures.c.line)
    .outerjoin(cosignatures, cosignatures.c.size == checkpoints.c.size)
    .where(checkpoints.c.size.in_([_LARGEST_COSIGNED.scalar_subquery(), _LARGEST.scalar_subquery()]))
    .order_by(checkpoints.c.size)
)
_ADDED: Final = select(cosignatures.c.witness, cosignatures.c.line).where(cosignatures.c.size == bindparam("signed"))
_ACTIVE: Final = select(witnesses.c.name).where(witnesses.c.until.is_(None))


@dataclass(frozen=True, slots=True)
class Published:
    """A signed checkpoint: the size of its tree, when it was signed, its note, and what witnesses have added."""

    size: int
    at: datetime
    note: bytes
    cosigned: Mapping[str, str]
    """Cosignature lines by the witness's name."""

    def served(self) -> bytes:
        """The note with the cosignatures behind the ledger's own signature."""
        return self.note + "".join(f"{line}\n" for _, line in sorted(self.cosigned.items())).encode()


def newest(connection: Connection) -> Published | None:
    """The checkpoint of the largest tree, or None."""
    row = connection.execute(_NEWEST).one_or_none()
    return None if row is None else _published(connection, row)


def largest(connection: Connection) -> int | None:
    """The size of the newest checkpoint's tree, or None."""
    size: int | None = connection.execute(_LARGEST).scalar_one()
    return size


def best(connection: Connection, place: int) -> Published | None:
    """The newest checkpoint that somebody who is a witness now has signed, else, for a later place, the newest of all.

    None where the place is in neither.
    """
    rows = [row for row in connection.execute(_BEST) if place < row.size]
    if not rows:
        return None
    first = rows[0]
    lines = {row.witness: row.line for row in rows if row.size == first.size and row.witness is not None}
    return Published(first.size, first.at, bytes(first.note), lines)


def beyond(connection: Connection, size: int) -> list[Published]:
    """The checkpoints of larger trees, the smallest first; without cosignatures."""
    wanted = select(checkpoints).where(checkpoints.c.size > size).order_by(checkpoints.c.size)
    return [Published(row.size, row.at, bytes(row.note), {}) for row in connection.execute(wanted)]


def publish(connection: Connection, size: int, at: datetime, note: bytes) -> None:
    """Put a checkpoint where it is served, unless it is there."""
    insert_once(connection, checkpoints, {"size": size, "at": at, "note": note})


def forget_old(connection: Connection, size: int, at: datetime) -> None:
    """Take out the checkpoints that are old at a moment and that nobody needs; that of a tree of `size` stays."""
    old = select(checkpoints.c.size).where(
        checkpoints.c.at < at - KEPT_FOR,
        checkpoints.c.size < size,
        checkpoints.c.size.not_in(select(cosignatures.c.size)),
    )
    connection.execute(delete(checkpoints).where(checkpoints.c.size.in_(old)))


def cosign(connection: Connection, size: int, line: str, now: datetime) -> str:
    """Take a witness's cosignature of a known checkpoint, and give the witness's name.

    A newer one of the same witness adds nothing: the first stays. Raises Malformed where the line is none, NotFound for
    a checkpoint that is not known, Conflict where nobody who is a witness has signed it so.
    """
    known = connection.execute(select(checkpoints.c.note).where(checkpoints.c.size == size)).scalar_one_or_none()
    if known is None:
        raise NotFound("there is no checkpoint of that size", field="size", remedy="Cosign `GET /ledger/checkpoint`.")
    try:
        signature = Signature.parse(line.rstrip("\n"))
    except NoteRefused:
        raise Malformed("that is no cosignature line", field="line") from None
    row = _active(connection, signature.name)
    witness = None if row is None else Witness.parse(row.key)
    if witness is None or witness.key_id != signature.key_id:
        raise Conflict("no witness of this ledger has that name and key", remedy="`textkeep ledger witnesses`.")
    told = witness.time_of(parse(bytes(known)).text, signature.raw)
    if told is None:
        raise Conflict("the cosignature is not one of that checkpoint", remedy="Cosign `GET /ledger/checkpoint`.")
    if told > now.timestamp() + AHEAD.total_seconds():
        raise Conflict("the cosignature is dated in the future", remedy="Set the witness's clock right.")
    at = datetime.fromtimestamp(told, UTC)
    written = {"size": size, "witness": signature.name, "at": at, "line": signature.line.rstrip("\n")}
    insert_once(connection, cosignatures, written)
    return signature.name


def listed(connection: Connection) -> list[dict[str, object]]:
    """Who is or was a witness, and the largest tree that each has signed."""
    largest = dict(
        connection.execute(
            select(cosignatures.c.witness, func.max(cosignatures.c.size)).group_by(cosignatures.c.witness)
        )
        .tuples()
        .all()
    )
    rows = connection.execute(select(witnesses).order_by(witnesses.c.name))
    return [
        {
            "name": row.name,
            "key": row.key,
            "since": log.moment(row.since),
            "until": log.moment(row.until) if row.until else None,
            "cosigned": largest.get(row.name),
        }
        for row in rows
    ]


def active(connection: Connection) -> list[str]:
    """The names of the witnesses of now."""
    return list(connection.scalars(_ACTIVE))


def check_change(connection: Connection, key: str, *, remove: bool) -> Witness:
    """The witness of a verifier key who may be added or removed. Raises Malformed or Conflict where not."""
    try:
        witness = Witness.parse(key)
    except NoteRefused as refused:
        raise Malformed(f"that is no witness's key: {refused}", field="key") from None
    row = connection.execute(select(witnesses).where(witnesses.c.name == witness.name)).one_or_none()
    if remove and (row is None or row.until is not None or row.key != str(witness)):
        raise Conflict("that is no witness of this ledger", remedy="`textkeep ledger witnesses` lists them.")
    if not remove and row is not None and (row.until is None or row.key != str(witness)):
        raise Conflict("a witness of that name is, or was, there", remedy="A new key takes a new name.")
    return witness


def change_witness(
    connection: Connection, key: str, *, remove: bool, approval: str, now: datetime
) -> dict[str, object]:
    """Add or remove a witness, with its entry, in the caller's transaction. Raises like `check_change`."""
    witness = check_change(connection, key, remove=remove)
    mine = witnesses.c.name == witness.name
    if remove:
        connection.execute(update(witnesses).where(mine).values(until=now))
    elif not connection.execute(update(witnesses).where(mine).values(since=now, until=None)).rowcount:
        connection.execute(insert(witnesses).values(name=witness.name, key=str(witness), since=now))
    told = {"did": "removed" if remove else "added", "witness": str(witness), "approval": approval}
    log.append(connection, "witness-change", told, now=now)
    return {"did": told["did"], "witness": witness.name}


def _active(connection: Connection, name: str) -> Row[tuple[str, str]] | None:
    wanted = select(witnesses.c.name, witnesses.c.key).where(witnesses.c.name == name, witnesses.c.until.is_(None))
    return connection.execute(wanted).one_or_none()


def _published(connection: Connection, row: Row[tuple[int, datetime, bytes]]) -> Published:
    lines = connection.execute(_ADDED, {"signed": row.size}).tuples().all()
    return Published(row.size, row.at, bytes(row.note), dict(lines))
