"""The chain of reports: each is written, and its digest goes into the ledger, in one transaction with the step.

The bytes lie in the database, in that same transaction, and in the keeper's folder. Which of the two is served does
not matter: either must have the digest that the ledger holds. The proof of a report is made of the log once its entry
is signed, and lies in the folder beside it (`proofs.py`).
"""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from textkeep.errors import NotFound, Outage, Unsound
from textkeep.ledger import log
from textkeep.ledger.log import Entry
from textkeep.retention.reports.folder import ReportFolder
from textkeep.retention.reports.parts import Document
from textkeep.retention.reports.proofs import Proofs
from textkeep.retention.reports.report import canonical, digest
from textkeep.retention.signing import Signed, Unsigned
from textkeep.store.engine import Store
from textkeep.store.tables import reports

KINDS: Final = ("purge", "missed-run")
"""The ledger entries that speak of a report, in the order of the chain."""


class Chain:
    """The reports, each of which names the digest of the one before."""

    def __init__(self, store: Store, folder: ReportFolder, signed: Signed | None = None) -> None:
        self._store = store
        self._folder = folder
        self._proofs = Proofs(store, folder, signed or Unsigned())

    def put(
        self,
        connection: Connection,
        name: str,
        make: Callable[[str | None], Document],
        write: Callable[[dict[str, Any]], object],
    ) -> None:
        """Write the report that `make` gives for the digest before it; `write` writes its ledger entry.

        The caller's transaction holds the lease of purges, so that the chain has one end. The file is there when it
        commits. Where that fails, the next attempt writes it anew: a file without an entry is no report.
        """
        last = log.newest(connection, KINDS)
        previous = last.body["report"] if last else None
        document = make(previous)
        content = canonical(document)
        self._folder.write(name, content)
        connection.execute(insert(reports).values(name=name, document=content))
        said = {"name": name, "report": digest(content), "previous": previous, "verdict": document["verdict"]}
        write(said)

    def read(self, name: str) -> bytes:
        """The bytes of a report, from the folder or, where it is not there as it was, from the database.

        Raises NotFound, and Unsound where neither has those that the ledger speaks of.
        """
        with self._store.reading() as connection:
            entry = _entry(connection, name)
            wanted = select(reports.c.document).where(reports.c.name == name)
            copy = connection.execute(wanted).scalar_one_or_none()
        if entry is None:
            raise _none_such()
        content = next((each for each in (self._file(name), copy) if _is(each, entry)), None)
        if content is None:
            raise Unsound(
                "neither the file of this report nor its copy in the database is the one whose digest the ledger holds",
                remedy="Restore the folder of reports; the ledger entry names the digest of the true one.",
            )
        return content

    def keep(self) -> list[str]:
        """Write the files that are missing, reports from the database's copies, proofs from the log; gives the reports.

        A file that is there stays as it is: one that was altered is evidence too. Only a proof without cosignatures
        gives way to one of the same entry that has some. Raises Outage, and Unsound where the log is refused.
        """
        there = self._folder.names()
        with self._store.reading() as connection:
            missing = sorted(set(connection.scalars(select(reports.c.name))) - there)
        written = []
        for name in missing:
            with self._store.reading() as connection:
                entry = _entry(connection, name)
                copy = connection.execute(select(reports.c.document).where(reports.c.name == name)).scalar_one()
            if entry is not None and _is(copy, entry):
                self._folder.write(name, copy)
                written.append(name)
        self._proofs.keep({entry.body["name"]: entry.seq for entry in self.entries()})
        return written

    def proof(self, name: str) -> bytes:
        """The C2SP tlog-proof of a report's entry, from the folder or the log, whichever has cosignatures.

        Raises NotFound where there is no report of that name, or its entry is not signed yet; Unsound where the log
        is refused and there is no file.
        """
        return self._proofs.read(name, self._known(name).seq)

    def prove(self, name: str) -> None:
        """Write a report's proof beside it where it can be had. Raises NotFound, Outage and Unsound."""
        self._proofs.keep({name: self._known(name).seq})

    def _known(self, name: str) -> Entry:
        entry = self.entry(name)
        if entry is None:
            raise _none_such()
        return entry

    def entry(self, name: str) -> Entry | None:
        """The ledger entry that speaks of a report, the newest where there are several; None where there is none."""
        with self._store.reading() as connection:
            return _entry(connection, name)

    def entries(self) -> list[Entry]:
        """The ledger entries of all reports, oldest first."""
        with self._store.reading() as connection:
            return log.entries(connection, kinds=KINDS)

    def _file(self, name: str) -> bytes | None:
        try:
            return self._folder.read(name)
        except (NotFound, Outage):  # another machine's folder, or a broken one: the database has it as well
            return None


def _none_such() -> NotFound:
    return NotFound("there is no report of that name", remedy="`GET /v1/purges` lists the reports.")


def _is(content: bytes | None, entry: Entry) -> bool:
    return content is not None and digest(content) == entry.body["report"]


def _entry(connection: Connection, name: str) -> Entry | None:
    """By the shelf it speaks of, which is quick, else among those of days without a run."""
    of_shelf = log.entries(connection, shelf=name, kinds=("purge",))
    found = of_shelf or log.entries(connection, kinds=("missed-run",))
    return next((entry for entry in reversed(found) if entry.body["name"] == name), None)
