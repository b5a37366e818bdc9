"""Audit of what is called erased: the keyring's tombstone, and the end of each known copy that had the secret."""

from datetime import datetime

from sqlalchemy import Connection

from textkeep.archive.copies import Copies
from textkeep.archive.erasure import holds
from textkeep.archive.keyring import Keyring, shelf_secret
from textkeep.errors import Outage, Unsound
from textkeep.ledger import log
from textkeep.ledger.log import Entry, moment
from textkeep.retention.audit.findings import Finding, Line
from textkeep.retention.reports import facts as found


class ErasedAudit:
    """Every entry `erased`, against the record of copies that lies with the keyring."""

    def __init__(self, connection: Connection, keyring: Keyring) -> None:
        self._connection = connection
        self._keyring = keyring
        self._line = Line("erased")

    def findings(self) -> list[Finding]:
        """What was found."""
        entries = log.entries(self._connection, kinds=("erased",))
        for entry in entries:
            with self._line.reading("what it says", entry):
                self._check(entry)
        return self._line.findings(f"{len(entries)} secrets are called erased, and every known copy of them has ended")

    def _check(self, entry: Entry) -> None:
        line, body, shelf = self._line, entry.body, str(entry.shelf)
        stone = self._keyring.tombstone(shelf_secret(shelf))
        if body["secret"] != shelf_secret(shelf) or stone is None:
            line.fail("the keyring has no tombstone of the secret that it names", entry)
            return
        line.demand(body["commitment"] == stone.commitment.hex(), "it names another secret than the tombstone", entry)
        purge = found.load(self._connection, shelf)
        sealed = None if purge is None else purge.facts.ring_before
        as_file = sealed is not None and sealed.root == stone.root and sealed.root_kind == "local"
        line.demand(not as_file, "the root was a file: nobody can know that there is no copy of it", entry)
        told = body["erased_at"]
        late = told is None or told > moment(entry.made_at) or told < moment(datetime.fromisoformat(stone.destroyed_at))
        line.demand(not late, "it was erased at no time it could be", entry)
        try:
            known = Copies(self._keyring.documents).known()
        except (Outage, Unsound):
            line.doubt("the record of the keyring's copies could not be read", entry)
            return
        for copy in (each for each in known.copies if holds(each, stone)):
            ended = copy.ended_at is not None and copy.root_kind != "local" and moment(copy.ended_at) <= (told or "")
            line.demand(ended, f"copy {copy.id} of the keyring has the secret, and had not ended", entry)
        ring = known.ends.get(stone.root)
        line.demand(ring is None or moment(ring) <= (told or ""), "the root of the ring had not ended", entry)
