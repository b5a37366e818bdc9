"""An archive that is open and answers: what `up` and `api` are for hours and a single command for a moment."""

import secrets
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from textkeep.access.http import FileAccess
from textkeep.service.app import build, build_watch
from textkeep.service.exposure import LOOPBACK, Place, Tls
from textkeep.service.folder import Folder
from textkeep.service.listening import Listening
from textkeep.service.memory import keep_memory_private
from textkeep.service.parts import EVERY, Part
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive


@dataclass(frozen=True, slots=True)
class Running:
    """The archive, the app over it and the socket in front; `stop` closes them in the order that loses nothing.

    `folder` is held, unless the archive is shared and this process is not the folder's own.
    """

    folder: Folder | None
    archive: Archive
    listening: Listening
    watch: Listening | None
    secret: str = field(repr=False)

    @classmethod
    def start(
        cls,
        settings: Settings,
        folder: Folder | None,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        tls: Tls | None = None,
        schedule: bool = False,
        parts: Collection[Part] = EVERY,
        kind: str = "up",
        metrics: Place | None = None,
        patience: Callable[[Callable[[], Archive]], Archive] = lambda work: work(),
    ) -> Self:
        """Open the archive, and listen. The folder, where one is held, is given back where that fails.

        `patience` calls what opens the archive, again where it likes.
        """
        keep_memory_private()
        with ExitStack() as undone:
            if folder is not None:
                undone.callback(folder.release)
            archive = patience(lambda: Archive.open(settings, parts=parts, kind=kind))
            undone.callback(archive.close)
            secret = secrets.token_urlsafe(32)
            listening = Listening(build(archive, FileAccess(secret, archive.local)), host, port, tls)
            undone.callback(listening.close)
            watch = watching(archive, metrics)
            if watch is not None:
                undone.callback(watch.close)
            archive.start(schedule=schedule)
            undone.pop_all()
        return cls(folder, archive, listening, watch, secret)

    def announce(self) -> None:
        """Leave the address in the folder, so that commands come here."""
        certificate = self.listening.tls.certificate if self.listening.tls else None
        if self.folder is not None:
            self.folder.announce(self.listening.near_url, self.secret, certificate)

    def stop(self) -> None:
        """Take no more requests, finish those there are, write what waits, stop the threads, give the folder back."""
        self.listening.close()
        if self.watch is not None:
            self.watch.close()
        self.archive.close()
        if self.folder is not None:
            self.folder.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def watching(archive: Archive, place: Place | None) -> Listening | None:
    """Health and metrics of an archive, answering at a place of their own, if there is one."""
    return None if place is None else Listening(build_watch(archive), place.host, place.port, setting="--metrics")
