"""An archive of our own under the stopwatch: opened, fed and followed in this process."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import feeds
from textkeep.access.principal import LOCAL, Principal
from textkeep.archive.text import Handle
from textkeep.clock import Clock, system_clock
from textkeep.directory import feed as directory_feed
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive

REASON = "benchmark"


class Ours:
    """Textkeep on the embedded default, or on what `settings` name, with the feed's directory in it."""

    def __init__(self, folder: Path, clock: Clock = system_clock, *, settings: Mapping[str, Any] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.archive = Archive.open(Settings(**(settings or {"data": folder})), clock)
        someone = self.archive.local.person
        self._registrar = Principal(someone, LOCAL, frozenset({"registrar"}), None)
        self._producer = Principal(someone, LOCAL, frozenset({"producer"}), None)
        self.officer = Principal(someone, LOCAL, frozenset({"officer"}), None)
        lines = b"\n".join(feeds.directory())
        directory_feed.take(self.archive.directory, self.archive.organisations, self._registrar, lines)

    def load(self, batch: Sequence[bytes]) -> int:
        """Store one batch durably and make it findable; gives how many texts were accepted."""
        accepted = self.archive.intake.take(self._producer, [batch])[0].accepted
        while self.archive.follower.step():
            pass
        return accepted

    def org(self, name: str = "org-001") -> Handle:
        """The handle of an organisation of the feed."""
        found = self.archive.organisations.find(name)
        if found is None:
            raise LookupError(name)
        return found

    def token(self, role: str) -> str:
        """A new token of that role, for every organisation."""
        made, _ = self.archive.tokens.create(person=f"bench-{role}", roles=[role], orgs=None, by=self.archive.local)
        return made

    def close(self) -> None:
        """Give the folder back."""
        self.archive.close()
