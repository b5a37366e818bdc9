"""The one signer: takes entries into the tree, signs what the tree is then, and never signs a fork.

A step is: give waiting entries their places and tiles (one transaction), sign, swap the state in the keyring's store,
publish the checkpoint. The new tree is grown from the state's own right edge, not from what the database says of it. So
whatever a crash leaves in between, the next step signs the same line on: what was integrated and not signed is signed
first, and what was signed and not published is published.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from textkeep.clock import Clock
from textkeep.errors import Conflict, Outage, TextkeepError, Unsound
from textkeep.ledger import checkpoints, key_lost, log
from textkeep.ledger.edge import EMPTY, Edge
from textkeep.ledger.examining import Examined, demand, examine, older
from textkeep.ledger.integrating import PORTION, Part, has_edge, integrate, not_signed, reached, remake, settled
from textkeep.ledger.key_change import KeyChange, signed_change
from textkeep.ledger.keys import Keys, becomes
from textkeep.ledger.log import moment
from textkeep.ledger.note import Checkpoint
from textkeep.ledger.note import Signer as NoteSigner
from textkeep.ledger.passing import brought_forward, told_forward
from textkeep.ledger.published import Source
from textkeep.ledger.restoring import PutBack, copied, put_back, told_resumed
from textkeep.ledger.state import Forked, KeyMissing, Refused, State, StateStore, noted, read_state, state_of
from textkeep.ledger.tiles import Stored
from textkeep.store.engine import Store
from textkeep.store.leases import LeaseLost, Leases

LEASE: Final = "signer"
"""The name of the signer's lease."""

LEASE_SECONDS: Final = 30.0
"""How long a signer that was killed keeps the others waiting."""

PATIENCE: Final = 5.0
"""Seconds, beyond a lease's end, for which somebody waits who wants to do more than sign."""

ASK_EVERY: Final = 0.1
"""Seconds between two questions for the lease."""

HOUR: Final = len("2026-11-20T09")
"""How much of a written moment names its hour: old checkpoints go with the first signature of each."""

Grant = Callable[[Connection], Mapping[str, Any]]
"""Uses an approval in the caller's transaction, and gives what the entry says of it."""


@dataclass(frozen=True, slots=True)
class Known:
    """The state, and the document it was read from."""

    state: State
    document: bytes


class Signer:
    """Integrates and signs. Any number may run; one works at a time. Its key is read when it is first needed."""

    def __init__(
        self,
        store: Store,
        states: StateStore,
        keys: Keys,
        clock: Clock,
        *,
        origin: Callable[[], str],
        portion: int = PORTION,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._store = store
        self._states = states
        self._keys = keys
        self._clock = clock
        self._origin = origin
        self._portion = portion
        self._seconds = lease_seconds
        self._leases = Leases(store, clock)
        self._holder = secrets.token_hex(8)
        self._alone = threading.RLock()
        self._examined = False
        self._has_lease = False
        self._more = False

    def state(self) -> State | None:
        """What was signed last, or None where nothing was. Raises Unsound where it cannot be read."""
        document = self._states.read()
        return None if document is None else read_state(document)

    def idle(self) -> bool:
        """Whether everything that is committed is signed and published, as far as the database tells."""
        with self._store.reading() as connection:
            return settled(connection)

    def step(self) -> Checkpoint | None:
        """Sign the next portion of entries, and give the checkpoint; None where none waits or another one is signing.

        Raises Forked where the database does not hold what was signed, KeyMissing, Unsound, Outage.
        """
        with self._alone:
            try:
                known = self._allowed()
                with self._refusing(known):
                    if not self._examined:
                        self._examine(known.state)
                        self._examined = True
                    return self._signed(known)
            except LeaseLost:
                return None

    def keep_up(self, leaving: Callable[[], bool] = lambda: False, *, stays: bool = False) -> int:
        """Sign until nothing waits, another one is signing, or it is time to leave; gives the last checkpoint's size.

        0 where none was signed. Where other processes sign too, the lease is given back then, unless the caller `stays`
        and is soon back. Raises like `step`.
        """
        size = 0
        with self._alone:
            try:
                while not leaving() and (signed := self.step()) is not None:
                    size = signed.size
                    if not self._more:
                        break
            finally:
                if self._store.shared and not stays:
                    self.close()
        return size

    def check(self) -> Examined:
        """Look at every signed entry and every tile again; gives what was found. Tiles that differ are made anew.

        Raises Forked where the signed entries are not all there as they were signed; then nothing is signed any more.
        """
        with self._alone:
            known = self._allowed()
            with self._refusing(known):
                seen = self._examine(known.state)
            self._examined = True
            return seen

    def resume(self, approval: str, grant: Grant) -> Checkpoint | None:
        """Go on after a refusal, once every signed entry is there again; gives the checkpoint with the `restore` entry.

        `grant` uses the approval of two persons in the transaction of that entry. Raises Conflict where nothing is
        refused, Forked where entries still differ, and what `grant` raises.
        """
        with self._turn():
            known = self._known()
            if (refused := known.state.refused) is None:
                raise Conflict("nothing is refused: the ledger is signed as usual")
            self._examine(known.state)
            begun = msgspec.structs.replace(known.state, refused=msgspec.structs.replace(refused, approval=approval))
            with self._working() as connection:
                agreed = grant(connection)  # first: the state names no approval but one that counts
                known = self._swapped(known, begun)
                told_resumed(connection, begun, agreed, self._clock())
            self._swapped(known, msgspec.structs.replace(begun, refused=None))
            return self.step()

    def put_back(self, source: Source, beside: Callable[[Connection], None] = lambda _: None) -> PutBack:
        """Put signed entries back that the database has lost, from a copy of the published log; gives what was done.

        Nothing is signed by that: `resume` goes on. A newer checkpoint of the copy counts as signed. `beside` works in
        the same transaction. Raises Conflict where the copy does not have the signed root.
        """
        with self._turn():
            known = self._known()
            copy, state = copied(source, known.state, self._keys.own())
            self._swapped(known, state)
            with self._working() as connection:
                done = put_back(connection, known.state, state, copy, self._clock())
                beside(connection)
                return done

    def rotate(self, approval: str, grant: Grant) -> str:
        """Change the key, and give the new verifier key. `grant` is as for `resume`.

        When it returns, a checkpoint that both keys have signed holds the entry, and the old private key is destroyed.
        """
        with self._turn():
            while self.step() is not None:
                continue
            known = self._allowed()
            old, new = self._key(known.state.key), self._keys.next(known.state.key)
            with self._working() as connection:
                note = signed_change(known.state.origin, old, new)
                body = {"note": note, "approval": approval, **grant(connection)}
                log.append(connection, "key-change", body, now=self._clock())
            while self.step() is not None:
                continue
            return str(new.verifier)

    def replace(self, approval: str, grant: Grant) -> str:
        """Go on with a new key where the one in use was lost, and give the new verifier key; `grant` as for `resume`.

        The new key alone signs the entry that says so, and the checkpoint that holds it. Raises Conflict where the key
        is there, Forked where the database does not hold what was signed.
        """
        with self._turn():
            known = self._caught_up(self._known())
            key_lost.check(known.state, self._keys)
            with self._refusing(known):
                self._examine(known.state)
            with self._working() as connection:
                agreed = grant(connection)
                made = key_lost.begun(connection, known.state, self._keys, approval, agreed, self._clock())
                self._swapped(known, made)
            while self.step() is not None:
                continue
            return self._allowed().state.key

    def close(self) -> None:
        """Give the lease back, if it is had; where the database does not answer, it runs out by itself."""
        with self._alone:
            if self._has_lease:
                self._has_lease = False
                with suppress(TextkeepError):
                    self._leases.release(LEASE, self._holder)

    def _known(self) -> Known:
        """The state; that of the empty tree, signed by a new key, where there is neither state nor anything signed."""
        document = self._states.read()
        if document is None:
            origin = self._origin()
            if not self._keys.all():
                with self._store.reading() as connection:
                    if reached(connection) != (None, 0):
                        raise KeyMissing("entries were signed, and neither key nor state of the ledger are here")
            key = self._keys.make(origin)
            note = noted(Checkpoint(origin, 0, EMPTY.root()), [key])
            state = state_of(origin, EMPTY, note, str(key.verifier), moment(self._clock()))
            self._states.swap(None, state.written())
            document = self._states.read()
        if document is None:
            raise Unsound("the keyring's store does not keep what the ledger has signed")
        return Known(read_state(document), document)

    def _key(self, key: str) -> NoteSigner:
        signer = self._keys.signer(key)
        if signer is None:
            raise KeyMissing("this machine does not have the key that the ledger is signed with")
        return signer

    def _examine(self, state: State) -> Examined:
        signed = state.tree()
        with self._store.reading() as connection:
            if (there := reached(connection)[1]) < signed.size:
                raise older(there, signed.size)
            seen = examine(connection, signed)
        demand(seen, signed)
        if seen.tiles_differ:
            with self._working() as connection:
                remake(connection, reached(connection)[1])
        return seen

    def _signed(self, known: Known) -> Checkpoint | None:
        with self._working() as connection:
            forward = self._agreed(connection, known)
            part = self._integrated(connection, known.state.tree()) if forward is None else None
        self._more = part is None or part.more
        if forward is not None:
            self._swapped(known, forward)
            return Checkpoint(forward.origin, forward.size, bytes.fromhex(forward.root))
        if part is None or part.edge.size == known.state.size:
            return None
        signed = self._swapped(known, self._sign(known.state, part)).state
        self._publish(signed, known.state.time)
        return Checkpoint(signed.origin, signed.size, bytes.fromhex(signed.root))

    def _agreed(self, connection: Connection, known: Known) -> State | None:
        """See that the database goes with the state; gives a newer state where that is behind the database.

        What was signed and not published is published on the way. Raises Forked and LeaseLost.
        """
        state, (newest, there) = known.state, reached(connection)
        if newest is not None and newest > state.size:
            if self._states.read() != known.document:  # read before the lease was had, and another one has signed since
                raise LeaseLost("another signer was quicker; nothing of this step was done")
            forward = brought_forward(connection, state, self._keys.own())
            told_forward(connection, state, forward, self._clock())
            return forward
        if there < state.size:
            raise older(there, state.size)
        if newest is None or newest < state.size:
            self._put(connection, state)
        return None

    def _integrated(self, connection: Connection, signed: Edge) -> Part:
        """What the next portion makes of the signed tree. Tiles that were damaged are made anew. Raises Forked."""
        found, stored = not_signed(connection, signed.size, self._portion), Stored(connection)
        if not has_edge(stored, signed, found.last):
            demand(examine(connection, signed), signed)
            remake(connection, signed.size + len(found.placed))
            stored = Stored(connection)
        return integrate(connection, signed, found, stored)

    def _sign(self, state: State, part: Part) -> State:
        keys = [self._key(state.key)]
        for body in part.changes:
            if (new := becomes(KeyChange, body, str(keys[-1].verifier), state.origin)) is not None:
                keys.append(self._key(new))
        note = noted(Checkpoint(state.origin, part.edge.size, part.edge.root()), keys)
        return state_of(state.origin, part.edge, note, str(keys[-1].verifier), moment(self._clock()))

    def _publish(self, state: State, before: str) -> None:
        with self._working() as connection:
            self._put(connection, state)
            if before[:HOUR] != state.time[:HOUR]:
                checkpoints.forget_old(connection, state.size, datetime.fromisoformat(state.time))
        self._keys.forget_before(state.key)

    def _put(self, connection: Connection, state: State) -> None:
        checkpoints.publish(connection, state.size, datetime.fromisoformat(state.time), state.note.encode())

    def _swapped(self, known: Known, becomes: State) -> Known:
        document = becomes.written()
        if not self._states.swap(known.document, document):
            raise LeaseLost("another signer was quicker; nothing of this step was signed")
        return Known(becomes, document)

    @contextmanager
    def _refusing(self, known: Known) -> Iterator[None]:
        """Put down why nothing is signed any more, where a database that is put back does not take it away."""
        try:
            yield
        except Forked as forked:
            why = Refused(reason=forked.detail, at=moment(self._clock()))
            self._states.swap(known.document, msgspec.structs.replace(known.state, refused=why).written())
            raise

    def _allowed(self) -> Known:
        """The state, where signing is not refused. Where somebody had begun to end a refusal, that is finished.

        Raises Forked, and KeyMissing where this process could not sign.
        """
        known = self._known()
        if self._keys.signer(known.state.key) is None:
            known = self._with_a_key(known)
            self._key(known.state.key)
        if (refused := known.state.refused) is None:
            return known
        if refused.approval is not None:
            with self._store.reading() as connection:
                ended = log.says(connection, "restore", approval=refused.approval, since=refused.at)
            if ended:
                return self._swapped(known, msgspec.structs.replace(known.state, refused=None))
        raise Forked(f"nothing has been signed since {refused.at}: {refused.reason}")

    def _caught_up(self, known: Known) -> Known:
        """The state, brought forward where a keyring's store that was put back left it behind. Raises Forked."""
        with self._store.reading() as connection:
            newest = checkpoints.largest(connection)
        if newest is None or newest <= known.state.size:
            return known
        with self._refusing(known), self._working() as connection:
            forward = self._agreed(connection, known)
        return known if forward is None else self._swapped(known, forward)

    def _with_a_key(self, known: Known) -> Known:
        """The state whose key this machine has, where the database leads there from one that it does not have."""
        known = self._caught_up(known)
        with self._store.reading() as connection:
            made = key_lost.taken_over(connection, known.state, self._keys)
        return self._swapped(known, made) if made else known

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The lease, for more than one step, waited for where another signer has it. Raises Outage."""
        until = time.monotonic() + self._seconds + PATIENCE
        with self._alone:
            while not self._leases.take(LEASE, self._holder, self._seconds):
                if time.monotonic() >= until:
                    raise Outage("another signer is at work", retry_after=5)
                time.sleep(ASK_EVERY)
            self._has_lease = True
            try:
                yield
            finally:
                if self._store.shared:
                    self.close()

    @contextmanager
    def _working(self) -> Iterator[Connection]:
        """A transaction under the signer's lease, taken or renewed by it. Raises LeaseLost where another one has it."""
        with self._store.transaction() as connection:
            self._has_lease = self._leases.taken(connection, LEASE, self._holder, self._seconds)
            if not self._has_lease:
                raise LeaseLost("another signer is at work")
            yield connection
