"""Looking into an archive: what lies on its shelves and opens."""

import json
import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field

from tests.housing import House
from textkeep.archive.keyring import shelf_secret
from textkeep.archive.rows import open_row
from textkeep.archive.text import Handle
from textkeep.store.bulk import TextRow
from textkeep.store.tables import papers_name, texts_name


@dataclass
class Opening:
    """Opens texts and quarantined records; each sealed one once, while both secrets that it was sealed by are there.

    `raw` is the one connection of a store in memory. It is read past SQLAlchemy, which would take longer than the rest.
    """

    raw: sqlite3.Connection
    bodies: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def found(self, house: House, *, anew: bool = False) -> dict[str, set[str]]:
        """By body, the shelves on which a text or a record opens; with `anew` everything is opened again."""
        if anew:
            self.bodies.clear()
        there: dict[str, set[str]] = defaultdict(set)
        tables = {name for (name,) in self.raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for (shelf,) in self.raw.execute("SELECT name FROM shelves").fetchall():
            if not house.keyring.has(shelf_secret(shelf)):
                continue
            if (name := texts_name(shelf)) in tables:
                for each in self.raw.execute(f"SELECT * FROM {name}").fetchall():  # noqa: S608  a shelf's own table
                    there[self._text(house, shelf, TextRow(*each))].add(shelf)
            if (name := papers_name(shelf)) in tables:
                wanted = f"SELECT id, org, sealed FROM {name} WHERE kind = 'quarantine'"  # noqa: S608
                for paper_id, org, sealed in self.raw.execute(wanted).fetchall():
                    there[self._record(house, shelf, paper_id, org, sealed)].add(shelf)
        return there

    def _text(self, house: House, shelf: str, row: TextRow) -> str:
        body = self.bodies.get((shelf, row.sealed))
        if body is None or not house.keyring.opens(shelf, Handle(row.org)):
            body = self.bodies[shelf, row.sealed] = open_row(house.sealer, shelf, row).event.data.body
        return body

    def _record(self, house: House, shelf: str, paper_id: bytes, org: bytes, sealed: bytes) -> str:
        body = self.bodies.get((shelf, sealed))
        if body is None or not house.keyring.opens(shelf, Handle(org)):
            with house.store.reading() as connection:
                paper = house.papers.get(connection, shelf, paper_id)
            assert paper is not None
            body = self.bodies[shelf, sealed] = str(json.loads(paper.plain.split(b"\n", 1)[1])["data"]["body"])
        return body
