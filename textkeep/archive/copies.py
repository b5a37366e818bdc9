"""The copies of the keyring that are known: its backups, on record in the keyring's own store.

Document `copies`: canonical JSON `{v, copies, ends}`. It holds names, times and places, and no secret.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import rfc8785

from textkeep.archive.confirmed import ATTEMPTS, Changed, KeyringStore
from textkeep.errors import Outage, Unsound

COPIES: Final = "copies"
KEPT_FOR: Final = timedelta(days=400)
"""How long after its expiry a copy stays on record."""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """One backup: what of the keyring it holds, where it was put, and how long it can be opened.

    `folder` and `file` say where the sealed ring was written, `keys` in which folder the file of its key was (`local`
    only; people may have taken either elsewhere). `ended_at` is set once its root was destroyed here: the moment from
    which nobody can use that root any more.
    """

    id: str
    made_at: datetime
    expires_at: datetime
    generation: int
    root_kind: str
    root: str
    folder: str
    file: str
    keys: str = ""
    by_hand: bool = False
    ended_at: datetime | None = None


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on record. `ends` has the moment at which a ring's own root is gone for good, where it waits."""

    v: int = 1
    copies: tuple[Copy, ...] = ()
    ends: dict[str, datetime] = {}


class Copies:
    """The record, for one process; each change is made again where another one was quicker."""

    def __init__(self, store: KeyringStore) -> None:
        self._store = store

    def known(self) -> Known:
        """What is on record. Raises Outage, and Unsound where it cannot be read."""
        return _read(self._store.read(COPIES))

    def add(self, copy: Copy) -> None:
        """Put a copy on record. Those that ended or expired more than 400 days before go from it."""
        old = copy.made_at - KEPT_FOR

        def change(known: Known) -> Known:
            kept = tuple(each for each in known.copies if max(each.expires_at, each.ended_at or each.expires_at) > old)
            ends = {root: at for root, at in known.ends.items() if at > old}
            return Known(copies=(*kept, copy), ends=ends)

        self._change(change)

    def ended(self, copy_id: str, at: datetime) -> None:
        """Say from when on nobody can use a copy's root any more; said once, it stays."""

        def change(known: Known) -> Known:
            ended = tuple(
                msgspec.structs.replace(each, ended_at=at) if each.id == copy_id and each.ended_at is None else each
                for each in known.copies
            )
            return Known(copies=ended, ends=known.ends)

        self._change(change)

    def root_ends(self, root: str, at: datetime) -> None:
        """Say when a root of the ring that was forgotten is gone for good; said once, it stays."""
        self._change(lambda known: Known(copies=known.copies, ends={root: at, **known.ends}))

    def _change(self, change: Callable[[Known], Known]) -> None:
        for _ in range(ATTEMPTS):
            was = self._store.read(COPIES)
            known = _read(was)
            new = change(known)
            if new == known:
                return
            try:
                self._store.swap(COPIES, was, rfc8785.dumps(msgspec.to_builtins(new)))
            except Changed:
                continue
            return
        raise Outage("the record of the keyring's copies is being changed all the time", retry_after=1)


def _read(document: bytes | None) -> Known:
    if document is None:
        return Known()
    try:
        return msgspec.json.decode(document, type=Known)
    except msgspec.MsgspecError:
        raise Unsound(
            "the record of the keyring's copies cannot be read",
            field="TEXTKEEP_KEYRING_URL",
            remedy="It is the document `copies` of the keyring's store: restore it from its newest backup. Until then"
            " no report can say when a secret is gone for good.",
        ) from None


def utc(at: datetime) -> datetime:
    """A moment as the record writes it: UTC, whole seconds."""
    return at.astimezone(UTC).replace(microsecond=0)
