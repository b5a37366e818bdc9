"""An archive that answers in this process, by a clock that is set: typed commands find it, as they find `up`."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.housing import SetClock
from tests.service.conftest import Cli, as_before
from textkeep.service.folder import Folder
from textkeep.service.running import Running
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive

ME = getpass.getuser()
"""Whoever has the archive's files here."""


@contextmanager
def served(cli: Cli, clock: SetClock) -> Iterator[Running]:
    """The archive of a command, open and announced, without a schedule: what it does it does when it is told."""
    settings = Settings(data=cli.data)
    with (
        as_before(),
        Running.start(
            settings, Folder.hold(cli.data, "up"), patience=lambda _open: Archive.open(settings, clock)
        ) as running,
    ):
        running.announce()
        yield running


def tokens(cli: Cli) -> dict[str, str]:
    """Tokens of an approver and an auditor, and of the OS user as an approver, once their own was revoked."""
    made = {
        role: cli.json("token", "create", "--role", role, "--for", name)["token"]
        for role, name in (("approver", "Anna"), ("auditor", "Ada"))
    }
    [own] = [each["id"] for each in cli.json("token", "list")["tokens"] if each["person"] == ME]
    cli("token", "revoke", own)
    made["me"] = cli.json("token", "create", "--role", "approver", "--for", ME)["token"]
    return made


def approved(cli: Cli, asked: str, token: str) -> dict[str, Any]:
    """Have somebody look at what was asked for, and approve it as shown."""
    shown = cli.json("approvals", "show", asked, token=token)
    done: dict[str, Any] = cli.json("approvals", "approve", asked, "--digest", shown["digest"], token=token)
    return done


def refused_to_me(cli: Cli, asked: dict[str, Any], token: str) -> bool:
    """Whether who asked for something cannot approve it, and the attempt is on record."""
    said = cli("approvals", "approve", asked["id"], "--digest", asked["digest"], code=1, token=token)
    attempts = [each["body"] for each in cli.json("ledger")["entries"] if each["kind"] == "approval"]
    on_record = [each for each in attempts if each["did"] == "attempt" and each.get("id") == asked["id"]]
    return b"nobody decides their own request" in said.stderr and [each["why"] for each in on_record] == ["own-request"]


def days_back(days: float, now: datetime) -> SetClock:
    """A clock that stands some days before a moment."""
    clock = SetClock(now)
    clock.forward(days=-days)
    return clock


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but locks."""
    files = [each for each in sorted(folder.rglob("*")) if each.is_file() and each.suffix != ".lock"]
    return {str(each.relative_to(folder)): each.read_bytes() for each in files if each.name != "lock"}
