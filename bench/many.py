"""An archive on PostgreSQL and OpenSearch under the stopwatch: fed and followed by processes of their own."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.archives import Ours
from bench.children import Child, written
from bench.engines import Engines
from textkeep.clock import Clock, system_clock

LOOK_SECONDS = 0.05


class Many:
    """One archive with the feed's directory in it."""

    def __init__(self, there: Engines, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.engines = there
        self.settings = there.archive(folder, name)
        Ours(folder / name, settings=self.settings).close()
        self.resident: dict[str, float] = {}

    def load(self, lines: Sequence[bytes]) -> float:
        """Take a feed in one process and make it findable in another; seconds until everything is."""
        follower = Child("follow", settings=self.settings)
        writer = Child("accept", settings=self.settings, feed=written(self.folder, f"{self.name}-feed", lines))
        follower.go()
        begun = time.perf_counter()
        writer.go()
        taken = writer.result()
        if taken["accepted"] != len(lines):
            raise RuntimeError(f"{taken['accepted']} of {len(lines)} texts were accepted")
        with psycopg.connect(self.settings["database_url"], autocommit=True) as connection:
            while connection.execute("SELECT 1 FROM slices WHERE NOT indexed LIMIT 1").fetchone():
                time.sleep(LOOK_SECONDS)
        took = time.perf_counter() - begun
        self.resident = {"api": taken["resident"], "follow": follower.end()["resident"]}
        writer.close()
        return took

    @contextmanager
    def opened(self, clock: Clock = system_clock) -> Iterator[Ours]:
        """The archive in this process."""
        ours = Ours(self.folder / self.name, clock, settings=self.settings)
        try:
            yield ours
        finally:
            ours.close()


def shelves(settings: dict[str, Any]) -> list[str]:
    """The days that hold texts, oldest first."""
    with psycopg.connect(settings["database_url"]) as connection:
        return [row[0] for row in connection.execute("SELECT DISTINCT shelf FROM slices ORDER BY shelf")]
