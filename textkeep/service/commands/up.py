"""`textkeep up` and `textkeep api`: the archive, or its API alone, until it is told to stop."""

import logging
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import structlog
import typer

from textkeep.errors import Unsound
from textkeep.service import logs
from textkeep.service.commands.output import DataOption, JsonOption, note, out, print_json, reported
from textkeep.service.commands.serving import (
    LOOK_SECONDS,
    PORT,
    CertificateOption,
    HostOption,
    InsecureOption,
    KeyOption,
    MetricsOption,
    PortOption,
    place_of,
    stopping,
    tls_of,
)
from textkeep.service.exposure import LOOPBACK
from textkeep.service.folder import TOKEN, keep_files_private
from textkeep.service.local import hold
from textkeep.service.settings import DATA, Settings

if TYPE_CHECKING:
    from textkeep.service.running import Running

API: Final = "api"

_log = structlog.stdlib.get_logger("textkeep.up")


@reported
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Fill an empty archive with made-up texts; no other.")] = False,
    host: HostOption = LOOPBACK,
    port: PortOption = PORT,
    tls_cert: CertificateOption = None,
    tls_key: KeyOption = None,
    insecure_public_http: InsecureOption = False,
    metrics: MetricsOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the archive: API, follower and schedule in one process. Ctrl-C or SIGTERM stops it, and loses nothing."""
    # Only whoever opens the archive pays for loading all of it; the other commands begin in a third of the time.
    from textkeep.service.own_token import DEMO_ROLES, ROLES, leave_own
    from textkeep.service.running import Running
    from textkeep.service.waiting import patiently

    logs.configure(level=logging.INFO)
    tls, place = tls_of(host, tls_cert, tls_key, insecure=insecure_public_http), place_of(metrics)
    settings = Settings.load(Path(data) if data else None)
    folder = hold(settings.folder, "up")
    with (
        stopping() as stop,
        Running.start(
            settings,
            folder,
            host=host,
            port=port,
            tls=tls,
            schedule=True,
            metrics=place,
            patience=lambda work: patiently(work, stop.wait),
        ) as running,
    ):
        if demo:
            _fill(running, stop)
        leave_own(running.archive.tokens, settings.folder, running.archive.local, DEMO_ROLES if demo else ROLES)
        running.announce()
        _log.info("listening", url=running.listening.url)
        if not stop.is_set():
            _greet(running, settings, demo=demo, as_json=as_json)
        _wait(running, stop)
    _log.info("stopped")


@reported
def api(
    host: HostOption = LOOPBACK,
    port: PortOption = PORT,
    tls_cert: CertificateOption = None,
    tls_key: KeyOption = None,
    insecure_public_http: InsecureOption = False,
    metrics: MetricsOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the API alone, one of any number: on PostgreSQL and OpenSearch, beside `follow` and `keep`."""
    from textkeep.service.running import Running
    from textkeep.service.waiting import patiently

    logs.configure(level=logging.INFO)
    tls, place = tls_of(host, tls_cert, tls_key, insecure=insecure_public_http), place_of(metrics)
    settings = Settings.load(Path(data) if data else None)
    settings.check_many(API)
    keep_files_private()
    with (
        stopping() as stop,
        Running.start(
            settings,
            None,
            host=host,
            port=port,
            tls=tls,
            parts=frozenset({"api"}),
            kind=API,
            metrics=place,
            patience=lambda work: patiently(work, stop.wait),
        ) as running,
    ):
        _log.info("listening", url=running.listening.url)
        if as_json:
            told = {"kind": API, "url": running.listening.url, "pid": os.getpid(), "metrics": _watched(running)}
            print_json(told)
        else:
            out().print(f"Textkeep's API listens at {running.listening.url}", markup=False)
            sys.stdout.flush()
        _wait(running, stop)
    _log.info("stopped")


def _wait(running: "Running", stop: threading.Event) -> None:
    while not stop.wait(LOOK_SECONDS):
        if not running.listening.alive():
            raise Unsound("the service no longer listens", remedy="Look into the log, then start it again.")
    _log.info("stopping")


def _watched(running: "Running") -> str | None:
    return running.watch.url if running.watch is not None else None


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
        told = {"url": running.listening.url, "pid": os.getpid(), "data": str(settings.folder)}
        print_json({**told, "metrics": _watched(running)})
        return
    command = "textkeep" if shutil.which("textkeep") else sys.argv[0]
    where = "" if settings.folder == Path(DATA).absolute() else f" --data {settings.folder}"
    org, own = "org-001" if demo else "ORG", settings.folder / TOKEN
    lines = (
        f"Textkeep listens at {running.listening.url}",
        f"  data     {'PostgreSQL' if settings.on_server else settings.folder}",
        f"  keyring  {'PostgreSQL' if settings.keyring_in_database else settings.keyring_folder}",
        *([f"  token    {own} (yours; `search` finds it)"] if own.exists() else []),
        f"Search:    {command} search 'appointment' --org {org} --reason 'trying it out'{where}",
        f"Stop:      Ctrl-C, or SIGTERM to process {os.getpid()}",
    )
    for line in lines:
        out().print(line, markup=False)
    sys.stdout.flush()
