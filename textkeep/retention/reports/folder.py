"""The folder of reports: `SHELF.json` and `missed-run-DATE.json`, and beside each its proof, `.tlog-proof`.

Each file is there whole or not at all.
"""

import os
import re
from pathlib import Path
from typing import Final

from textkeep.errors import NotFound, Outage

REPORT: Final = ".json"
PROOF: Final = ".tlog-proof"

_NAME: Final = re.compile(r"[0-9a-z][0-9a-z-]{0,99}")
_RETRY_AFTER: Final = 30


class ReportFolder:
    """Writes and reads reports and their proofs by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, content: bytes, suffix: str = REPORT) -> None:
        """Put a file in place, durably: a temporary one, synced, renamed, the folder synced. Raises Outage."""
        whole = self._path(name, suffix)
        half = self._folder / f".{name}{suffix}.new"
        try:
            self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            with half.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            half.replace(whole)
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise Outage("a report cannot be written", retry_after=_RETRY_AFTER) from exc

    def read(self, name: str, suffix: str = REPORT) -> bytes:
        """The bytes of a file. Raises NotFound, and Outage where it is there and cannot be read."""
        path = self._path(name, suffix)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise NotFound("there is no report of that name", remedy="`GET /v1/purges` lists the reports.") from None
        except OSError as exc:
            raise Outage("a report cannot be read", retry_after=_RETRY_AFTER) from exc

    def names(self, suffix: str = REPORT) -> set[str]:
        """The names of the files there are. Raises Outage where the folder is there and cannot be read."""
        try:
            return {path.stem for path in self._folder.glob(f"*{suffix}") if _NAME.fullmatch(path.stem)}
        except OSError as exc:
            raise Outage("the folder of reports cannot be read", retry_after=_RETRY_AFTER) from exc

    def _path(self, name: str, suffix: str) -> Path:
        if not _NAME.fullmatch(name):
            raise NotFound("there is no report of that name", remedy="`GET /v1/purges` lists the reports.")
        return self._folder / f"{name}{suffix}"
