"""After a restored keyring: nothing is destroyed until two persons have said that the restore is right.

The keyring's store says that it was restored, the ledger says that two persons have resumed. So neither a database that
is put back once more, nor a keyring that is, takes that word from the restore before it.
"""

from contextlib import nullcontext
from typing import Any, Final

from sqlalchemy import Connection, select

from textkeep.archive import restoring
from textkeep.archive.confirmed import KeyringStore
from textkeep.clock import Clock
from textkeep.errors import Conflict
from textkeep.ledger import log
from textkeep.retention.approvals.approvals import Approvals
from textkeep.store.engine import Store
from textkeep.store.evidence import approvals

RESTORE: Final = "restore"


class Restored(Conflict):
    """The keyring came from a backup, and two persons have not resumed yet. Nothing was destroyed."""

    problem = "restored"
    title = "The keyring was restored"
    remedy = (
        "Look whether it is the right one (`textkeep keyring status`, `textkeep audit`); then one person asks for it"
        " (`textkeep keyring resume`), another one approves."
    )


class Resuming:
    """Tells whether a restore waits to be resumed, and resumes."""

    def __init__(self, store: Store, documents: KeyringStore, approvals: Approvals, clock: Clock) -> None:
        self._store = store
        self._documents = documents
        self._approvals = approvals
        self._clock = clock

    def waiting(self, connection: Connection | None = None) -> dict[str, Any] | None:
        """The restore that nobody has resumed, or None; asked in the caller's transaction, where one is given."""
        found = restoring.restored(self._documents)
        if found is None:
            return None
        with nullcontext(connection) if connection is not None else self._store.reading() as inside:
            return None if self._said(inside, "resumed", found["id"]) else found

    def check(self, connection: Connection | None = None) -> None:
        """Raises Restored where a restore waits to be resumed. Whatever destroys anything asks in its transaction."""
        found = self.waiting(connection)
        if found is not None:
            raise Restored(f"the keyring was restored from the backup of {found['made_at']}, and nobody has resumed")

    def record(self, by: str) -> None:
        """Put a restore on record in the ledger, once; `by` is the handle (hex) of whoever did it."""
        found = restoring.restored(self._documents)
        if found is None:
            return
        with self._store.transaction() as connection:
            if not self._said(connection, "keyring", found["id"]):
                body = {"what": "keyring", "restore": found["id"], "by": by}
                body |= {name: found[name] for name in ("backup", "made_at", "generation", "gone")}
                log.append(connection, RESTORE, body, now=self._clock())

    def resume(self, approval: str) -> dict[str, Any]:
        """Go on with the restored keyring, as two persons have agreed; gives who they are, as handles.

        Raises Conflict where nothing waits, or where what was approved is not this restore; what `Approvals.use` does.
        """
        found = self.waiting()
        if found is None:
            raise Conflict("no restored keyring waits to be resumed; nothing was changed")
        with self._store.transaction() as connection:
            wanted = select(approvals.c.digest).where(approvals.c.id == approval)
            digest = bytes(connection.execute(wanted).scalar_one_or_none() or b"")
            used = self._approvals.use(connection, approval, "resume", digest)
            if (used.request or {}).get("restore") != found["id"]:
                raise Conflict("what was approved is not this restore; nothing was changed", remedy="Ask anew.")
            agreed = {"asked_by": used.asked_by.hex(), "approved_by": (used.decided_by or b"").hex()}
            body = {"what": "resumed", "restore": found["id"], "approval": approval, **agreed}
            log.append(connection, RESTORE, body, now=self._clock())
        return {"restore": found["id"], **agreed}

    def _said(self, connection: Connection, what: str, restore: str) -> bool:
        said = log.entries(connection, kinds={RESTORE})
        return any(entry.body.get("what") == what and entry.body.get("restore") == restore for entry in said)
