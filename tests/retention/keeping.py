"""A purge under legal holds: a house, the people who hold and release, and what was kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select

from tests.housing import House, event
from tests.retention.holding import ORG, Holders
from tests.retention.purging import Purging, evening
from textkeep.archive.papers import Paper
from textkeep.archive.rows import Opened, open_row
from textkeep.archive.shelf import Day, Generation
from textkeep.archive.text import HOUSE
from textkeep.ingest.quarantine import Quarantine
from textkeep.retention.holds.hold import Hold
from textkeep.retention.holds.keeping_over import CarryingOver
from textkeep.retention.purging.purge import RunResult
from textkeep.search.index import IndexDriver
from textkeep.store.bulk import TextRow
from textkeep.store.tables import papers_of, texts_of


@dataclass
class Keeping:
    """What is purged, and what holds keep of it."""

    purging: Purging
    holders: Holders = field(init=False)
    hold: Hold = field(init=False)
    numbers: int = 0

    def __post_init__(self) -> None:
        self.holders = Holders(self.purging.house)
        self.holders.batches = 1_000

    @classmethod
    @contextmanager
    def over(cls, house: House, folder: Path, index: IndexDriver | None = None) -> Iterator["Keeping"]:
        with Purging.over(house, folder, index) as purging:
            yield cls(purging)

    @property
    def house(self) -> House:
        return self.purging.house

    @property
    def in_force(self) -> CarryingOver:
        return self.holders.holds.carrying_over(self.house.papers)

    def quarantine(self) -> Quarantine:
        """The quarantine, in which a hold shows what it keeps."""
        house, held = self.house, self.holders.holds.in_quarantine()
        rooms = (house.store, house.shelves, house.papers, house.organisations, house.activity, house.clock)
        return Quarantine(*rooms, held)

    def run(self, **how: Any) -> RunResult:
        return self.purging.run(**{"holds": self.in_force, **how})

    def restart(self) -> None:
        """Everything again, as after a restart of the process."""
        self.purging.restart()
        self.holders = Holders(self.purging.house, self.holders.told)

    def take(self, day: Day, *bodies: str, org: str = ORG, **data: Any) -> list[str]:
        """Accept texts of a day's last hour as one batch; gives their ids."""
        wire = []
        for body in bodies:
            self.numbers += 1
            wire.append(event(self.numbers, org_id=org, sent_at=evening(day), body=body, **data))
        receipt = self.purging.take_records(wire)
        self.purging.index.create([day.shelf])
        return [str(item.text_id) for item in receipt.items]

    def set_aside(self, day: Day, body: str, **data: Any) -> str:
        """Quarantine a record of a day; gives its id."""
        self.numbers += 1
        wire = event(self.numbers, sent_at=evening(day), body=body, **data)
        before = set(self.ids(day.shelf, "quarantine"))
        self.purging.take_records([wire], verdict="quarantine", reason="mms")
        [new] = set(self.ids(day.shelf, "quarantine")) - before
        return new.hex()

    def purge(self, day: Day, **how: Any) -> RunResult:
        """Run when a day is due."""
        self.purging.until(day.due())
        return self.run(**how)

    def released(self, hold: Hold, **how: Any) -> RunResult:
        """Release a hold, let 24 hours pass, and run."""
        self.holders.release(hold)
        self.purging.until(self.house.clock() + timedelta(hours=24))
        return self.run(**how)

    def kept_shelf(self, org: str | None = ORG) -> str:
        """The newest open shelf of what is held of an organisation, or of nobody's."""
        handle = HOUSE if org is None else self.holders.org(org)
        with self.house.store.reading() as connection:
            found = self.house.shelves.kept_of(connection, handle)
        assert found is not None
        return found

    def generation(self, number: int, org: str = ORG) -> str:
        return Generation(self.holders.org(org), number).shelf

    def texts(self, shelf: str) -> list[Opened]:
        """Everything on a shelf, opened."""
        table = texts_of(shelf)
        with self.house.store.reading() as connection:
            rows = [TextRow(*row) for row in connection.execute(select(table).order_by(table.c.tag, table.c.version))]
        return [open_row(self.house.sealer, shelf, row) for row in rows]

    def bodies(self, shelf: str) -> list[str]:
        return sorted(each.event.data.body for each in self.texts(shelf))

    def papers(self, shelf: str, kind: Any = "quarantine") -> list[Paper]:
        with self.house.store.reading() as connection:
            return list(self.house.papers.of_kind(connection, shelf, kind))

    def ids(self, shelf: str, kind: str) -> list[bytes]:
        table = papers_of(shelf)
        with self.house.store.reading() as connection:
            return list(connection.scalars(select(table.c.id).where(table.c.kind == kind)))

    def state(self, shelf: str) -> str | None:
        with self.house.store.reading() as connection:
            return self.house.shelves.states(connection, [shelf]).get(shelf)

    def behind(self, *statements: Any) -> None:
        """Do what only the database's superuser may."""
        with self.house.behind.transaction() as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        return self.holders.rows(table)

    def told_at(self, wanted: str, work: Callable[[], object], shelf: str | None = None) -> Callable[[str, str], None]:
        """Do something once, when a step is done, of any shelf or of one."""
        left = [work]

        def told(of: str, state: str) -> None:
            if state == wanted and left and shelf in (None, of):
                left.pop()()

        return told


def later(moment: datetime, **by: float) -> datetime:
    return moment + timedelta(**by)
