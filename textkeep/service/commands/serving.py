"""What every command has in common that runs until it is told to stop."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import structlog
import typer

from textkeep.errors import Malformed, Unsound
from textkeep.service import logs
from textkeep.service.commands.output import out, print_json
from textkeep.service.exposure import LOOPBACK, Place, Tls, loopback
from textkeep.service.folder import keep_files_private
from textkeep.service.parts import Part
from textkeep.service.settings import Settings

if TYPE_CHECKING:
    from textkeep.service.listening import Listening
    from textkeep.service.wiring import Archive

PORT: Final = 8400
LOOK_SECONDS: Final = 0.2

HostOption = Annotated[str, typer.Option("--host", help="Where to listen.")]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")]
CertificateOption = Annotated[Path | None, typer.Option("--tls-cert", help="Certificate chain, PEM.")]
KeyOption = Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.")]
InsecureOption = Annotated[
    bool,
    typer.Option("--insecure-public-http", help="Send texts and tokens unencrypted over a network. Dangerous."),
]
MetricsOption = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="[HOST:]PORT",
        help="Answer /healthz, /readyz and /metrics there, unencrypted: they tell counts only. HOST: 127.0.0.1.",
    ),
]

_log = structlog.stdlib.get_logger("textkeep.service")


@dataclass(frozen=True, slots=True)
class Serving:
    """An archive that was opened for one part of it; `stop` is set when the process is told to end."""

    archive: "Archive"
    settings: Settings
    stop: threading.Event
    watch: "Listening | None"


@contextmanager
def serving(part: Part, data: str | None, metrics: str | None) -> Iterator[Serving]:
    """The archive of the settings, opened for one part, its threads not started yet; closed when the block ends.

    Raises Unsound where the archive is not one that several processes can share, Outage where an engine does not
    answer for too long.
    """
    # Only whoever opens the archive pays for loading all of it.
    from textkeep.service.memory import keep_memory_private
    from textkeep.service.running import watching
    from textkeep.service.waiting import patiently
    from textkeep.service.wiring import Archive

    logs.configure(level=logging.INFO)
    place = place_of(metrics)
    settings = Settings.load(Path(data) if data else None)
    settings.check_many(part)
    keep_files_private()
    keep_memory_private()
    with stopping() as stop, ExitStack() as opened:
        archive = patiently(lambda: Archive.open(settings, parts=(part,), kind=part), stop.wait)
        opened.callback(archive.close)
        watch = watching(archive, place)
        if watch is not None:
            opened.callback(watch.close)
        yield Serving(archive, settings, stop, watch)
        _log.info("stopping")
    _log.info("stopped")


def greet(served: Serving, *, as_json: bool) -> None:
    """Say that a part runs."""
    url = served.watch.url if served.watch is not None else None
    if as_json:
        print_json({"kind": served.archive.kind, "pid": os.getpid(), "metrics": url})
        return
    out().print(f"textkeep {served.archive.kind} runs as process {os.getpid()}; SIGTERM stops it", markup=False)
    if url is not None:
        out().print(f"  health and metrics  {url}", markup=False)


def wait(served: Serving) -> None:
    """Return when the process is told to end. Raises Unsound where what it is there for has ended by itself."""
    while not served.stop.wait(LOOK_SECONDS):
        if "follow" in served.archive.parts and not served.archive.following:
            raise Unsound("the follower has ended", remedy="Look into the log, then start it again.")


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that the first SIGTERM or SIGINT sets; a second one ends the process at once, as kill would.

    The handler itself takes no lock: it runs in the thread that waits for the event, perhaps while that has its lock.
    """
    stop = threading.Event()
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    hearing, telling = os.pipe()

    def ask(number: int, _frame: object) -> None:
        os.write(telling, b"!")
        signal.signal(number, before[number])

    def hear() -> None:
        if os.read(hearing, 1):
            stop.set()

    listener = threading.Thread(target=hear, name="signals", daemon=True)
    listener.start()
    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(telling)
        listener.join()
        os.close(hearing)


def tls_of(host: str, certificate: Path | None, key: Path | None, *, insecure: bool) -> Tls | None:
    """What protects the API. Raises Unsound where it would be reached by others without, unless `insecure`."""
    if (certificate is None) != (key is None):
        raise Malformed("a certificate and its key come together", field="--tls-cert and --tls-key")
    if certificate is not None and key is not None:
        return Tls(certificate.absolute(), key.absolute())
    if not loopback(host) and not insecure:
        raise Unsound(
            "other machines could reach that address, and texts and tokens would pass unencrypted; nothing was started",
            field="--host",
            remedy=f"Give --tls-cert and --tls-key, or listen on {LOOPBACK} behind a proxy that does TLS."
            " --insecure-public-http starts it all the same.",
        )
    return None


def place_of(written: str | None) -> Place | None:
    """Where health and metrics are to answer. Raises Malformed."""
    return None if written is None else Place.read(written, "--metrics")
