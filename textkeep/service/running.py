"""An archive that is open and answers: what `up` is for hours and a single command for a moment."""

import resource
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from textkeep.access.http import FileAccess
from textkeep.service.app import build
from textkeep.service.exposure import LOOPBACK, Tls
from textkeep.service.folder import Folder
from textkeep.service.listening import Listening
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive


@dataclass(frozen=True, slots=True)
class Running:
    """The archive, the app over it and the socket in front; `stop` closes them in the order that loses nothing."""

    folder: Folder
    archive: Archive
    listening: Listening
    secret: str = field(repr=False)

    @classmethod
    def start(
        cls,
        settings: Settings,
        folder: Folder,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        tls: Tls | None = None,
        schedule: bool = False,
    ) -> Self:
        """Open the archive in a folder that is held, and listen. The folder is given back where that fails."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with ExitStack() as undone:
            undone.callback(folder.release)
            archive = Archive.open(settings)
            undone.callback(archive.close)
            secret = secrets.token_urlsafe(32)
            listening = Listening(build(archive, FileAccess(secret, archive.local)), host, port, tls)
            archive.start(schedule=schedule)
            undone.pop_all()
        return cls(folder, archive, listening, secret)

    def announce(self) -> None:
        """Leave the address in the folder, so that commands come here."""
        certificate = self.listening.tls.certificate if self.listening.tls else None
        self.folder.announce(self.listening.near_url, self.secret, certificate)

    def stop(self) -> None:
        """Take no more requests, finish those there are, write what waits, stop the threads, give the folder back."""
        self.listening.close()
        self.archive.close()
        self.folder.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
