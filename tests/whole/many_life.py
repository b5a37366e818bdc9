"""An archive of four processes on PostgreSQL, OpenSearch and Kafka, and all that lies on a disk because of it."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select

from tests.engines.opensearch import OpenSearchNodes
from tests.engines.postgres import PostgresServer
from tests.engines.topics import Topics
from tests.ingest.reading_topics import Sent, send
from tests.service.conftest import Cli
from tests.service.many import Many, Process, Shared
from tests.whole.canaries import Sighting, scan, sightings
from tests.whole.many_archives import API, until, until_equal
from textkeep.archive.shelf import Day
from textkeep.archive.tags import Tags
from textkeep.archive.text import TextId, read_event
from textkeep.service.wiring import Archive
from textkeep.store.engine import Store
from textkeep.store.tables import batches

PARTS: Final = (("api", "--port", "0"), ("follow",), ("consume",), ("keep",))


@dataclass(frozen=True)
class Streaming(Shared):
    """An archive with a topic; `more` is what its processes are told besides."""

    more: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self.more}


@dataclass
class Life:
    """The engines and processes of one archive; `folder` holds all that the processes leave."""

    folder: Path
    server: PostgresServer
    nodes: OpenSearchNodes
    topics: Topics
    topic: str
    many: Many
    token: str
    processes: list[Process] = field(default_factory=list)
    seen: dict[str, list[Sighting]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def shared(self) -> Shared:
        return self.many.shared

    @property
    def api(self) -> Process:
        return self.processes[0]

    def start(self) -> None:
        """All four processes."""
        self.processes = [each.greeted() for each in [self.many.start(*words) for words in PARTS]]

    def stop(self) -> list[bytes]:
        """Stop them in order, then the engines; gives the processes' logs."""
        logs = [each.stop() for each in self.processes]
        self.server.stop()
        self.nodes.stop()
        return logs

    def look(self, moment: str) -> None:
        """Look at every byte of the engines' folders, and of what the processes leave."""
        places = [self.folder, self.server.folder, self.nodes.folder]
        self.seen[moment] = [each for place in places for each in scan(place)]
        self.sizes[moment] = sum(each.stat().st_size for place in places for each in _files(place))

    def produce(self, records: Sequence[bytes]) -> None:
        """Put records into the topic, and wait until the archive has taken them and everything is findable."""
        wanted = self.read() + len(records)
        send(self.topics.address, self.topic, [Sent(each, partition=at % 2) for at, each in enumerate(records)])
        until(lambda: self.read() >= wanted, "the consumer does not take what lies in the topic")
        assert self.read() == wanted
        self.findable()

    def findable(self) -> None:
        """Wait until index and vault hold the same texts."""
        until_equal(self.shared)

    def read(self) -> int:
        """How many records the receipts of all batches count."""
        return self.receipts()["read"]

    def receipts(self) -> dict[str, int]:
        """The sums over every stored receipt."""
        names = ("read", "accepted", "versions", "duplicates", "quarantined", "refused")
        with closing(Store.open(self.shared.owner.database)) as store, store.reading() as connection:
            sums = connection.execute(select(*(func.coalesce(func.sum(batches.c[name]), 0) for name in names))).one()
        return dict(zip(names, map(int, sums), strict=True))

    def search(self, query: str, org: str, limit: int = 200) -> list[dict[str, Any]]:
        """Every page of a search."""
        asked = {"query": query, "reason": "a test of one text's life", "org_id": org, "limit": limit}
        found: list[dict[str, Any]] = []
        with self.api.client(self.token) as client:
            while True:
                page = client.post("/v1/searches", json=asked).raise_for_status().json()
                found += page["results"]
                assert len(page["results"]) == limit or page["cursor"] is None
                if page["cursor"] is None:
                    return found
                asked["cursor"] = page["cursor"]

    def ids_of(self, lines: Sequence[bytes]) -> list[str]:
        """The id that each text must have as its first version; a topic gives no receipts."""
        archive = Archive.open(self.shared.service, parts=API, kind="api")
        try:
            tags, orgs, ids = Tags(archive.keyring), archive.organisations.all(), []
            for line in lines:
                event = read_event(line)
                day = Day.of(event.data.sent_at)
                tag = tags.tag(day.shelf, orgs[event.data.org_id], event.source, event.id)
                ids.append(str(TextId(day.date, tag, 1)))
            return ids
        finally:
            archive.close()

    def purge(self) -> dict[str, Any]:
        """What `textkeep purge` says once a person has confirmed the number of days."""
        command = Cli(self.shared.service.folder)
        foreseen = json.loads(command("purge", "--dry-run", "--json", code=1, **self.shared.given()).stdout)
        assert foreseen["stopped"] == "clock-ahead", "nobody has been here for two days"
        told: dict[str, Any] = self.many.run("purge", "--confirm-days", str(len(foreseen["days"])))
        return told

    def report(self, shelf: str) -> dict[str, Any]:
        """The report of a day, from the archive's folder."""
        found: dict[str, Any] = json.loads((self.shared.service.folder / "reports" / f"{shelf}.json").read_bytes())
        return found


def _files(place: Path) -> list[Path]:
    return [each for each in place.rglob("*") if each.is_file()]


def in_logs(logs: Sequence[bytes]) -> list[Sighting]:
    """Every canary in the logs of processes."""
    return [each for log in logs for each in sightings(log, "a log")]
