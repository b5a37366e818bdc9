"""`textkeep up`: API, follower and schedule in one process, until it is told to stop."""

import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import structlog
import typer

from textkeep.errors import Malformed, Unsound
from textkeep.service import logs
from textkeep.service.commands.output import DataOption, JsonOption, note, out, print_json, reported
from textkeep.service.exposure import LOOPBACK, Tls, loopback
from textkeep.service.folder import TOKEN
from textkeep.service.local import hold
from textkeep.service.settings import DATA, Settings

if TYPE_CHECKING:
    from textkeep.service.running import Running

PORT: Final = 8400
LOOK_SECONDS: Final = 0.2

_log = structlog.stdlib.get_logger("textkeep.up")


@reported
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Fill an empty archive with made-up texts; no other.")] = False,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = LOOPBACK,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = PORT,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.")] = None,
    insecure_public_http: Annotated[
        bool,
        typer.Option("--insecure-public-http", help="Send texts and tokens unencrypted over a network. Dangerous."),
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the archive: API, follower and schedule in one process. Ctrl-C or SIGTERM stops it, and loses nothing."""
    # Only whoever opens the archive pays for loading all of it; the other commands begin in a third of the time.
    from textkeep.service.own_token import DEMO_ROLES, ROLES, leave_own
    from textkeep.service.running import Running

    logs.configure(level=logging.INFO)
    tls = _tls(host, tls_cert, tls_key, insecure=insecure_public_http)
    settings = Settings.load(Path(data) if data else None)
    folder = hold(settings.folder, "up")
    with _stopping() as stop, Running.start(settings, folder, host=host, port=port, tls=tls, schedule=True) as running:
        if demo:
            _fill(running, stop)
        leave_own(running.archive.tokens, settings.folder, running.archive.local, DEMO_ROLES if demo else ROLES)
        running.announce()
        _log.info("listening", url=running.listening.url)
        if not stop.is_set():
            _greet(running, settings, demo=demo, as_json=as_json)
        while not stop.wait(LOOK_SECONDS):
            if not running.listening.alive():
                raise Unsound("the service no longer listens", remedy="Look into the log, then start it again.")
        _log.info("stopping")
    _log.info("stopped")


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that the first SIGTERM or SIGINT sets; a second one ends the process at once, as kill would."""
    stop = threading.Event()
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tls(host: str, certificate: Path | None, key: Path | None, *, insecure: bool) -> Tls | None:
    if (certificate is None) != (key is None):
        raise Malformed("a certificate and its key come together", field="--tls-cert and --tls-key")
    if certificate is not None and key is not None:
        return Tls(certificate.absolute(), key.absolute())
    if not loopback(host) and not insecure:
        raise Unsound(
            "other machines could reach that address, and texts and tokens would pass unencrypted; nothing was started",
            field="--host",
            remedy="Give --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy that does TLS."
            " --insecure-public-http starts it all the same.",
        )
    return None


def _fill(running: "Running", stop: threading.Event) -> None:
    from textkeep.service import demo as made_up

    mark = made_up.claim(running.archive)
    if mark.state == "loading":
        note("Loading some thousand made-up texts ...")
    if made_up.fill(running.archive, mark, stopped=stop.is_set):
        while running.archive.unindexed_since() is not None and not stop.wait(LOOK_SECONDS):
            continue


def _greet(running: "Running", settings: Settings, *, demo: bool, as_json: bool) -> None:
    if as_json:
        print_json({"url": running.listening.url, "pid": os.getpid(), "data": str(settings.folder)})
        return
    command = "textkeep" if shutil.which("textkeep") else sys.argv[0]
    where = "" if settings.folder == Path(DATA).absolute() else f" --data {settings.folder}"
    org, own = "org-001" if demo else "ORG", settings.folder / TOKEN
    lines = (
        f"Textkeep listens at {running.listening.url}",
        f"  data     {settings.folder}",
        f"  keyring  {settings.keyring_folder}",
        *([f"  token    {own} (yours; `search` finds it)"] if own.exists() else []),
        f"Search:    {command} search 'appointment' --org {org} --reason 'trying it out'{where}",
        f"Stop:      Ctrl-C, or SIGTERM to process {os.getpid()}",
    )
    for line in lines:
        out().print(line, markup=False)
    sys.stdout.flush()
