"""A directory and an intake over a house, as the service builds them, and what is sent through them."""

import json
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.housing import House
from textkeep.access.principal import Principal
from textkeep.archive.batch import Receipt
from textkeep.directory.directory import Directory
from textkeep.directory.records import Location, Org, User
from textkeep.ingest.intake import Intake
from textkeep.ingest.quarantine import Quarantine

OWN, PEER = "+12125550101", "+13125550102"
PERSON = b"\x01" * 8


@dataclass
class WaysIn:
    """Everything that a record passes on its way in."""

    house: House
    directory: Directory
    intake: Intake
    quarantine: Quarantine

    @classmethod
    def build(cls, house: House) -> "WaysIn":
        """Over a house whose directory is empty."""
        directory = Directory(house.store, house.sealer, house.organisations, house.clock)
        quarantine = Quarantine(
            house.store, house.shelves, house.papers, house.organisations, house.activity, house.clock
        )
        return cls(house, directory, Intake(directory, house.vault, house.clock), quarantine)

    def register(self, *orgs: str) -> "WaysIn":
        """Organisations with one location and one user each, all requirements met."""
        for org in orgs:
            self.directory.put_all(
                [
                    Org(
                        org_id=org,
                        customer_type="enterprise",
                        calling_plan="US",
                        add_on=True,
                        campaign_registered=True,
                        healthcare=False,
                    ),
                    Location(org_id=org, location_id="loc-1", country="US", pstn="cisco", texting=True),
                    User(
                        org_id=org,
                        user_id=f"{org}-user-0001",
                        location_id="loc-1",
                        number=OWN,
                        texting="default",
                        app_version="44.6",
                    ),
                ]
            )
        return self

    def principal(self, role: Any = "producer", orgs: Collection[str] | None = None) -> Principal:
        """Somebody with one role, in these organisations or in all."""
        handles = None if orgs is None else frozenset(self.house.organisations.register(org) for org in orgs)
        return Principal(PERSON, "t-1", frozenset({role}), handles)

    def take(self, *records: object, orgs: Collection[str] | None = None) -> Receipt:
        """The receipt of one request."""
        return self.intake.take(self.principal(orgs=orgs), [raws(*records)])[0]


def raws(*records: object) -> list[bytes]:
    """Records as bytes; what is bytes already stays as it is."""
    return [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]


def feed(shared: Path, house: House, *arguments: str) -> list[bytes]:
    """The lines that the feed tool prints, ending the day before the house's today."""
    until = (house.clock() - timedelta(days=1)).date().isoformat()
    command = [sys.executable, str(shared / "tools" / "feed.py"), "--until", until, *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout.splitlines()
