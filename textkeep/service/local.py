"""One way through for every command: the service that runs on the folder, or the same app in this very process.

An archive that many processes share is opened here, beside whatever runs: whoever can read its settings can open it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from textkeep.errors import Malformed, Unsound
from textkeep.service.client import Client, only
from textkeep.service.folder import WAIT_SECONDS, Address, Folder, Held, address, held, keep_files_private
from textkeep.service.parts import Part
from textkeep.service.settings import Settings

LOOK_AGAIN_SECONDS = 0.05

READING: Final[frozenset[Part]] = frozenset({"api"})
KEEPING: Final[frozenset[Part]] = frozenset({"api", "keep"})

COMMAND = "command"
"""What a single command is, among the processes of a shared archive."""


@contextmanager
def reach(settings: Settings, command: str, *, create: bool = False, destroys: bool = False) -> Iterator[Client]:
    """A client of the archive in `settings.folder`, which is opened here where no service runs on it.

    Without `destroys`, one that is opened beside others of a shared archive destroys nothing and forgets no root.

    Raises Malformed where the settings name an archive elsewhere, for which a token is needed (`asking`), Unsound where
    there is no archive and `create` is not set, Held where another command has the folder for longer than WAIT_SECONDS,
    Outage where an engine does not answer.
    """
    if settings.url is not None:
        raise Malformed(
            f"`textkeep {command}` works on the archive's own files and settings, and TEXTKEEP_URL names one elsewhere",
            field="TEXTKEEP_URL",
            remedy="Run it on the archive's machine, without TEXTKEEP_URL.",
        )
    if not create and not (settings.folder / "textkeep.db").exists() and settings.database_url is None:
        raise Unsound(
            "there is no archive in this folder",
            field="--data",
            remedy="Name the archive's folder with --data or TEXTKEEP_DATA; `textkeep up` or `load` make a new one.",
        )
    # Only whoever opens the archive pays for loading all of it.
    if settings.shared:
        from textkeep.service.running import Running

        keep_files_private()
        opened = Running.start(settings, None, parts=KEEPING if destroys else READING, kind=COMMAND)
    else:
        found = _hold_or_find(settings.folder, command)
        if isinstance(found, Client):
            with found:
                yield found
            return
        from textkeep.service.running import Running

        opened = Running.start(settings, found)
    with opened as running, Client(running.listening.near_url, running.secret) as client:
        yield client


def hold(path: Path, command: str) -> Folder:
    """Hold a folder for a service. Raises Held, at once where a service runs on it, else after WAIT_SECONDS."""
    found = _hold_or_find(path, command)
    if isinstance(found, Client):
        found.close()
        raise held(path)
    return found


def _hold_or_find(path: Path, command: str) -> Folder | Client:
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return Folder.hold(path, command, wait=0)
        except Held:
            client = _answering(address(path))
            if client is not None:
                return client
            if time.monotonic() >= until:
                raise
        time.sleep(LOOK_AGAIN_SECONDS)


def _answering(holder: Address | None) -> Client | None:
    """A client of the holder, where it is a service and does answer: the address may be that of a holder before."""
    if holder is None or holder.url is None:
        return None
    client = Client(holder.url, holder.secret, verify=only(Path(holder.certificate)) if holder.certificate else True)
    if client.answers():
        return client
    client.close()
    return None
