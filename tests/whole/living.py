"""A whole archive in this process, behind real HTTP, under a clock that is set by hand."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx

from tests.housing import SetClock
from textkeep.access.principal import Role
from textkeep.directory.records import read_line
from textkeep.service.app import build
from textkeep.service.listening import Listening
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive

STREAM: Final = "application/x-ndjson"
WHY: Final = {"Textkeep-Reason": "a test of the whole"}
ORG: Final = "org-001"


@dataclass
class Life:
    """An archive that answers, and clients for whoever is wanted."""

    archive: Archive
    clock: SetClock
    url: str
    open: ExitStack

    def client(self, role: Role) -> httpx.Client:
        """A client with one role, for every organisation."""
        archive = self.archive
        token, _ = archive.tokens.create(person=f"the {role}", roles=[role], orgs=None, by=archive.local)
        headers = {"Authorization": f"Bearer {token}"}
        return self.open.enter_context(httpx.Client(base_url=self.url, headers=headers, timeout=60))

    def follow(self) -> None:
        """Make everything findable."""
        while self.archive.unindexed_since() is not None:
            self.archive.follower.step()

    def set(self, now: datetime) -> None:
        """Set the clock, and open the shelves of the days ahead as every hour does."""
        self.clock.now = now
        self.archive.shelves.ensure(now)


@contextmanager
def living(data: Path, clock: SetClock) -> Iterator[Life]:
    """Open the archive in `data`, or a new one, and let it answer until the block ends. Nothing is purged by itself."""
    data.mkdir(mode=0o700, exist_ok=True)
    archive = Archive.open(Settings(data=data), clock)
    with ExitStack() as opened:
        opened.callback(archive.close)
        listening = Listening(build(archive))
        opened.callback(listening.close)
        archive.start(schedule=False)
        yield Life(archive, clock, listening.url, opened)


def register(archive: Archive, records: Iterable[dict[str, Any]]) -> None:
    """Put directory records."""
    archive.directory.put_all([read_line(json.dumps(record).encode()) for record in records])


def organisation(org: str = ORG) -> dict[str, Any]:
    """The directory record of an organisation in whose texts nothing is amiss."""
    return {
        "kind": "org",
        "org_id": org,
        "customer_type": "enterprise",
        "calling_plan": "US",
        "add_on": True,
        "campaign_registered": True,
        "healthcare": False,
    }


def location(org: str = ORG) -> dict[str, Any]:
    """Its location."""
    return {
        "kind": "location",
        "org_id": org,
        "location_id": "l-1",
        "country": "US",
        "pstn": "cisco",
        "texting": True,
    }


def user(user_id: str, number: str, org: str = ORG) -> dict[str, Any]:
    """A user there."""
    return {
        "kind": "user",
        "org_id": org,
        "user_id": user_id,
        "location_id": "l-1",
        "number": number,
        "texting": "default",
        "app_version": "44.6",
    }


def text(message_id: str, sent_at: datetime, **data: Any) -> dict[str, Any]:
    """A text as it comes over the wire, sent at `sent_at` to the microsecond."""
    body = {
        "org_id": ORG,
        "user_id": "u-1",
        "direction": "outbound",
        "channel": "sms",
        "from": "+12125550101",
        "to": "+13125550102",
        "body": "A pelican",
        "sent_at": sent_at.isoformat(),
        "disposition": "delivered",
        **data,
    }
    return {
        "specversion": "1.0",
        "type": "textkeep.text.v1",
        "id": message_id,
        "source": f"/messaging/{body['org_id']}",
        "data": body,
    }


def stream(records: Iterable[dict[str, Any]]) -> bytes:
    """Records as NDJSON."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)
