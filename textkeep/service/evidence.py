"""The ledger of a running archive: the signer and its thread, what a purge waits for, what two persons change."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, select

from textkeep.archive.keyring import Changed, Keyring, KeyringStore
from textkeep.clock import Clock
from textkeep.errors import Conflict, Malformed, NotFound, Outage, TextkeepError
from textkeep.ledger import checkpoints, key_lost, proving
from textkeep.ledger.examining import Examined, examine
from textkeep.ledger.export import Exported, export
from textkeep.ledger.integrating import integrated
from textkeep.ledger.keys import KeyFile, Keys
from textkeep.ledger.published import Folder
from textkeep.ledger.restoring import PutBack
from textkeep.ledger.signer import Grant, Signer
from textkeep.ledger.standing import Standing, standing
from textkeep.ledger.state import DOCUMENT, State
from textkeep.ledger.timestamp import TimeAuthority
from textkeep.retention.approvals.approval import Approval, Kind
from textkeep.retention.approvals.approvals import Approvals
from textkeep.retention.holds.entries import name_again
from textkeep.retention.signing import Signature
from textkeep.service.settings import Settings
from textkeep.store.engine import Store
from textkeep.store.evidence import approvals as approvals_table
from textkeep.store.tables import ledger_entries

ORIGIN: Final = "textkeep/"
"""What a log's origin begins with; the id of the keyring follows."""

LOOK_EVERY: Final = 1.0
"""Seconds after which the signer looks for entries that wait; nobody has to tell it."""

ASK_EVERY: Final = 0.05
"""Seconds between two questions whether entries are signed by now."""


class KeyringState:
    """`ledger.state.StateStore` over the document `ledger` of the keyring's store."""

    def __init__(self, documents: KeyringStore) -> None:
        self._documents = documents
        self._alone = threading.Lock()  # a folder is read and written by one thread at a time

    def read(self) -> bytes | None:
        """The document, or None."""
        with self._alone:
            return self._documents.read(DOCUMENT)

    def swap(self, was: bytes | None, now: bytes) -> bool:
        """Put `now` in the place of `was`; False where it is not `was` any more."""
        try:
            with self._alone:
                self._documents.swap(DOCUMENT, was, now)
        except Changed:
            return False
        return True


def authority_of(settings: Settings) -> TimeAuthority | None:
    """The time authority that the settings name, if any. Raises Unsound where its client is not installed."""
    if settings.time_authority is None:
        return None
    return TimeAuthority(settings.time_authority, settings.time_authority_ca)


class Evidence:
    """The ledger, as the rest of the service uses it; to a purge it is `retention.signing.Signed`.

    Only a process that keeps signs. Others wait until it has.
    """

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        key_file: KeyFile,
        approvals: Approvals,
        clock: Clock,
        *,
        authority: TimeAuthority | None = None,
        failed: Callable[[TextkeepError], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._keeps = keyring.keeps
        self._approvals = approvals
        self._clock = clock
        self._authority = authority
        self._states, self._keys = KeyringState(keyring.documents), Keys(key_file)
        self._origin: Callable[[], str] = lambda: ORIGIN + keyring.identity()
        self._failed = failed
        self._told: str | None = None
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="signer", daemon=True)
        self.signer = Signer(
            store,
            self._states,
            self._keys,
            clock,
            origin=self._origin,
        )
        approvals.on_approved("witness", self._change_witness)

    def start(self) -> None:
        """Sign from here on, within 2 seconds of each commit."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the step that is at work has ended."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def through(self, seqs: Collection[int], patience: float) -> Signature:
        """The newest signed checkpoint that holds these entries; one that a witness has signed, where there is one.

        Where none does yet this process signs by itself, if it may. Raises Outage where it takes longer than `patience`
        seconds, Forked and KeyMissing where nothing is signed.
        """
        until = time.monotonic() + patience
        signature = self._covering(seqs)
        while signature is None:
            if self._keeps:
                self.signer.keep_up(stays=True)
            signature = self._covering(seqs)
            if signature is not None:
                break
            if time.monotonic() >= until:
                raise Outage(
                    "not signed yet",
                    retry_after=5,
                    remedy="`textkeep ledger status` says whether a process that keeps is signing, and what stands"
                    " against it.",
                )
            self._wake.set()
            time.sleep(ASK_EVERY)
        return signature

    def _covering(self, seqs: Collection[int]) -> Signature | None:
        with self._store.reading() as connection:
            found = proving.covering(connection, seqs)
        if found is None:
            return None
        published = found.checkpoint
        return Signature(
            published.size, published.served(), published.at, tuple(sorted(published.cosigned)), found.indices
        )

    def proof(self, seq: int) -> bytes:
        """The tlog-proof of an entry. Raises NotFound while it is not signed."""
        try:
            with self._store.reading() as connection:
                return proving.proof(connection, seq)
        except proving.Pending as pending:
            raise NotFound(pending.detail, remedy=pending.remedy) from pending

    def time_token(self, note: bytes) -> str | None:
        """A time token over a note, in base64; None where no authority is set. Raises Outage and Unsound."""
        return None if self._authority is None else self._authority.stamp(note).text()

    def sign(self) -> None:
        """Sign what is committed by now, where this process keeps. Raises Forked and KeyMissing."""
        if self._keeps:
            self.signer.keep_up()

    def check(self) -> None:
        """Look at the whole log again, once what is committed by now is signed. Raises Forked and KeyMissing."""
        self.sign()
        if self._keeps:
            self.signer.check()

    def examine(self) -> Examined | None:
        """What is found of the signed log now, without a verdict; None where nothing was ever signed."""
        state = self.signer.state()
        if state is None:
            return None
        with self._store.reading() as connection:
            return examine(connection, state.tree())

    def key(self) -> str:
        """The verifier key. Raises NotFound where nothing was ever signed."""
        return self._state().key

    def status(self) -> dict[str, Any]:
        """What is signed, what waits, and what stands against signing."""
        state = self.signer.state()
        with self._store.reading() as connection:
            waiting = select(func.count()).select_from(ledger_entries).where(ledger_entries.c.leaf_index.is_(None))
            newest = checkpoints.newest(connection)
            told = {
                "waiting": int(connection.execute(waiting).scalar_one()),
                "integrated": integrated(connection),
                "published": newest.size if newest else None,
                "cosigned_by": sorted(newest.cosigned) if newest else [],
                "witnesses": checkpoints.active(connection),
                "key_missing": self._key_missing(connection, state),
            }
        return {
            "origin": state.origin if state else None,
            "key": state.key if state else None,
            "signed": state.size if state else None,
            "root": state.root if state else None,
            "signed_at": state.time if state else None,
            "refused": state.refused.reason if state and state.refused else None,
            "refused_at": state.refused.at if state and state.refused else None,
            **told,
            "time": "host clock only" if self._authority is None else "time authority",
        }

    def standing(self) -> Standing:
        """How it stands, for the doctor and the metrics. Raises Outage and Unsound where the state cannot be read."""
        state = self.signer.state()
        with self._store.reading() as connection:
            return standing(connection, state, key_missing=self._key_missing(connection, state))

    def witnesses(self) -> list[dict[str, Any]]:
        """Who is or was a witness, and the largest tree that each has signed."""
        with self._store.reading() as connection:
            return checkpoints.listed(connection)

    def export(self, folder: Path) -> Exported:
        """Bring a static copy of the log in a folder up to date."""
        return export(self._store, folder, self.key())

    def put_back(self, folder: Path) -> PutBack:
        """Put entries back that the database has lost, from a static copy. Nothing is signed by that."""
        self._demand_keeps()
        return self.signer.put_back(Folder(folder), name_again)

    def resume(self, approval: str) -> dict[str, Any]:
        """Sign on after a refusal, as two persons have agreed; gives how the ledger stands."""
        self._demand_keeps()
        since = self._state().refused
        self.signer.resume(approval, self._grant(approval, "resume", {} if since is None else {"refused_at": since.at}))
        self.signer.keep_up()
        return self.status()

    def rotate(self, approval: str) -> dict[str, Any]:
        """Change the ledger's key, as two persons have agreed; gives the new verifier key."""
        self._demand_keeps()
        old = self.key()
        return {"old": old, "key": self.signer.rotate(approval, self._grant(approval, "ledger-key", {"old": old}))}

    def recover(self, key: str) -> dict[str, Any]:
        """Read what was signed last from the database's own checkpoint, where the keyring's store has lost it.

        `key` is the verifier key that signed it. Nothing is signed by that. Raises Conflict where the state is there.
        """
        self._demand_keeps()
        if self.signer.state() is not None:
            raise Conflict("what was signed last is known; nothing was changed", field="--old", remedy="Leave it out.")
        with self._store.reading() as connection:
            state = key_lost.recovered(connection, self._origin(), key)
        self._states.swap(None, state.written())
        return self.status()

    def replace(self, approval: str) -> dict[str, Any]:
        """Go on with a new key where the one in use was lost, as two persons have agreed; gives both verifier keys."""
        self._demand_keeps()
        state = self._state()
        lost = {"lost": state.key, "size": state.size, "root": state.root}
        return {"lost": state.key, "key": self.signer.replace(approval, self._grant(approval, "ledger-key", lost))}

    def _grant(self, approval: str, kind: Kind, must_say: Mapping[str, object]) -> Grant:
        """Uses an approval whose request says exactly what is about to be done."""

        def grant(connection: Connection) -> dict[str, str]:
            wanted = select(approvals_table.c.digest).where(approvals_table.c.id == approval)
            digest = bytes(connection.execute(wanted).scalar_one_or_none() or b"")
            used = self._approvals.use(connection, approval, kind, digest)
            said = used.request or {}
            if any(said.get(name) != value for name, value in must_say.items()):
                raise Conflict(
                    "what was approved is not what would be done now; nothing was changed",
                    remedy="Ask anew: `textkeep ledger status` says how the ledger stands.",
                )
            return {"asked_by": used.asked_by.hex(), "approved_by": (used.decided_by or b"").hex()}

        return grant

    def _change_witness(self, connection: Connection, approval: Approval) -> Mapping[str, Any]:
        """Add or remove a witness in the transaction of the approval: `request` is {"add": KEY} or {"remove": KEY}."""
        said = {name: value for name, value in (approval.request or {}).items() if name in ("add", "remove")}
        if len(said) != 1 or not isinstance(next(iter(said.values())), str):
            raise Malformed("a request about a witness says `add` or `remove` and the verifier key", field="request")
        ((what, key),) = said.items()
        self._approvals.use(connection, approval.id, "witness", approval.digest)
        now = self._approvals.now(connection)
        return checkpoints.change_witness(connection, key, remove=what == "remove", approval=approval.id, now=now)

    def _state(self) -> State:
        state = self.signer.state()
        if state is None:
            raise NotFound("nothing is signed yet", remedy="Start the archive: `textkeep up`, or `keep`.")
        return state

    def _key_missing(self, connection: Connection, state: State | None) -> bool | None:
        """Whether the key that signed is not on this machine; None where this process must not read it."""
        if not self._keeps:
            return None
        try:
            if state is None:
                return not self._keys.all() and checkpoints.largest(connection) is not None
            return self._keys.signer(state.key) is None
        except TextkeepError:
            return True

    def _demand_keeps(self) -> None:
        if not self._keeps:
            raise Conflict(
                "only a process that keeps has the ledger's key; nothing was done",
                remedy="Run it on the machine that keeps.",
            )

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._sign()
            except TextkeepError as error:
                if self._told != error.detail:
                    self._failed(error)
                self._told = error.detail
            else:
                self._told = None
            self._wake.wait(LOOK_EVERY)
            self._wake.clear()

    def _sign(self) -> None:
        if not self.signer.idle():
            self.signer.keep_up(self._stop.is_set)
