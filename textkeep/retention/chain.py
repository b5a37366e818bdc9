"""The chain of reports: each is written, and its digest goes into the ledger, in one transaction with the step."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection

from textkeep.errors import NotFound, Unsound
from textkeep.ledger import log
from textkeep.ledger.log import Entry
from textkeep.retention.folder import ReportFolder
from textkeep.retention.report import Document, canonical, digest
from textkeep.store.engine import Store

KINDS: Final = ("purge", "missed-run")
"""The ledger entries that speak of a report, in the order of the chain."""


class Chain:
    """The reports, each of which names the digest of the one before."""

    def __init__(self, store: Store, folder: ReportFolder) -> None:
        self._store = store
        self._folder = folder

    def put(self, connection: Connection, name: str, make: Callable[[str | None], Document]) -> dict[str, Any]:
        """Write the report that `make` gives for the digest before it, and give what its ledger entry says of it.

        The file is there when the caller's transaction commits. Where that fails, the next attempt writes it anew: a
        file without an entry is no report.
        """
        written = log.entries(connection, kinds=KINDS)
        previous = written[-1].body["report"] if written else None
        document = make(previous)
        content = canonical(document)
        self._folder.write(name, content)
        return {"name": name, "report": digest(content), "previous": previous, "verdict": document["verdict"]}

    def read(self, name: str) -> bytes:
        """The bytes of a report. Raises NotFound, and Unsound where they are not those that the ledger speaks of."""
        entry = self.entry(name)
        if entry is None:
            raise NotFound("there is no report of that name", remedy="`GET /v1/purges` lists the reports.")
        content = self._folder.read(name)
        if digest(content) != entry.body["report"]:
            raise Unsound(
                "the file of this report is not the one whose digest the ledger holds",
                remedy="Restore the folder of reports; the ledger entry names the digest of the true one.",
            )
        return content

    def entry(self, name: str) -> Entry | None:
        """The ledger entry that speaks of a report, the newest where there are several; None where there is none."""
        return next((entry for entry in reversed(self.entries()) if entry.body["name"] == name), None)

    def entries(self) -> list[Entry]:
        """The ledger entries of all reports, oldest first."""
        with self._store.reading() as connection:
            return log.entries(connection, kinds=KINDS)
