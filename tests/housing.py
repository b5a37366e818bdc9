"""The vault and all it stands on, a clock that is set by hand, and a wire record to begin with."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from textkeep.archive.activity import Activity
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.handles import Persons
from textkeep.archive.keyring import Keyring
from textkeep.archive.organisations import Organisations
from textkeep.archive.papers import Papers
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelves import Shelves
from textkeep.archive.tags import Tags
from textkeep.archive.vault import Vault
from textkeep.store.engine import Store


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class House:
    """The vault and all it stands on, built as the service builds it.

    `behind` is the same database for who may do everything in it: what the service's own role may not (altering what
    is sealed, say) happens behind its back.
    """

    folder: Path
    store: Store
    clock: SetClock
    keyring: Keyring
    sealer: Sealer
    shelves: Shelves
    organisations: Organisations
    persons: Persons
    papers: Papers
    vault: Vault
    activity: Activity
    behind: Store

    @classmethod
    def build(cls, store: Store, folder: Path, clock: SetClock, *, behind: Store | None = None) -> "House":
        """Open the keyring in `folder` (a new one where there is none) over a migrated store, and run the checks."""
        behind = behind or store
        keyring = Keyring.open(FolderStore(folder), LocalRoot(folder / "roots"), create=True)
        sealer = Sealer(keyring)
        shelves = Shelves(store, keyring)
        organisations = Organisations(store, keyring, sealer, clock)
        with store.reading() as connection:
            shelves.check(connection)
            organisations.load(connection)
        keyring.finish()
        shelves.ensure(clock())
        papers = Papers(sealer)
        vault = Vault(store, shelves, sealer, Tags(keyring), papers, clock)
        activity = Activity(store, shelves, papers, clock)
        persons = Persons(keyring, sealer)
        rooms = (keyring, sealer, shelves, organisations, persons, papers, vault, activity)
        return cls(folder, store, clock, *rooms, behind)

    def reopened(self) -> "House":
        """The same house after a restart over the same store and keyring."""
        return House.build(self.store, self.folder, self.clock, behind=self.behind)


def event(number: int = 1, **data: Any) -> dict[str, Any]:
    """A wire record as a messaging backend sends it; keyword arguments replace members of `data`."""
    body = {
        "org_id": "org-001",
        "user_id": "org-001-user-0001",
        "direction": "outbound",
        "channel": "sms",
        "from": "+12125550101",
        "to": "+13125550102",
        "body": f"Text number {number}",
        "sent_at": "2026-11-20T10:00:00.000Z",
        "disposition": "delivered",
        **data,
    }
    return {
        "specversion": "1.0",
        "type": "textkeep.text.v1",
        "datacontenttype": "application/json",
        "id": f"txt-{number:010d}",
        "source": f"/messaging/{body['org_id']}",
        "time": body["sent_at"],
        "data": body,
    }
