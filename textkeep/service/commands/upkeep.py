"""Upkeep, by access to the archive's files: purge, days, doctor, migrate, rebuild, ledger."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from textkeep.errors import Malformed, Outage, Unsound
from textkeep.service.asking import looking
from textkeep.service.commands.output import (
    FAILED,
    DataOption,
    JsonOption,
    note,
    out,
    print_facts,
    print_json,
    print_table,
    reported,
)
from textkeep.service.commands.serving import stopping
from textkeep.service.doctor import KEYRING_PERMISSIONS, Finding, check_machine
from textkeep.service.folder import Held
from textkeep.service.local import reach
from textkeep.service.settings import Settings

DAY_COLUMNS: Final = ("day", "state", "taken", "versions", "kept", "destroyed", "lost", "due")
MARKS: Final = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


@reported
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which days are due.")] = False,
    confirm_days: Annotated[
        int | None, typer.Option("--confirm-days", metavar="N", min=0, help="Say that N days at once are right.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Destroy the days whose last text is 400 days old, oldest first, with a report for each."""
    asked = {"dry_run": dry_run, "confirm_days": confirm_days}
    with reach(Settings.load(Path(data) if data else None), "purge", destroys=not dry_run) as client:
        told = client.call("POST", "/v1/purges", json=asked)
    if as_json:
        print_json(told)
    else:
        _print_days(told["days"])
        closed = sum(day["state"] == "reported" for day in told["days"])
        note(
            f"{len(told['days'])} day(s) due" + ("; nothing was changed." if dry_run else f", {closed} of them closed.")
        )
    for each in told["released"]:
        note(f"held texts that were released, {each['shelf']}: {each['state']}")
    if told["stopped"] is not None:
        note(f"textkeep: the run stopped ({told['stopped']}): {told['detail']}")
        note(f"  {told['remedy']}")
        raise typer.Exit(FAILED)


@reported
def days(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show every day that holds or held texts, and how far it is."""
    with looking(Settings.load(Path(data) if data else None), "days", "auditor") as client:
        told = client.call("GET", "/v1/days")
    if as_json:
        print_json(told)
    else:
        _print_days([day for day in told if day["taken"] or day["state"] != "open"])


@reported
def doctor(
    reset_clock: Annotated[
        bool, typer.Option("--reset-clock", help="Set a last-seen time that is ahead of the clock to the clock.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name each thing that is wrong, and its remedy. Ends with 1 where anything fails."""
    settings = Settings.load(Path(data) if data else None)
    try:
        with reach(settings, "doctor") as client:
            if reset_clock:
                note(f"The last time seen is now {client.call('POST', '/local/clock-reset')['last_seen']}.")
            found = [Finding(**finding) for finding in client.call("GET", "/local/doctor")["findings"]]
    except Held:
        raise
    except (Unsound, Outage) as error:
        found = [Finding("start", "fail", error.detail, error.remedy)]
        if settings.on_server or settings.folder.is_dir():
            machine = check_machine(
                settings.folder, settings.secrets_folder, on_server=settings.on_server, pin=settings.pin_file
            )
            # With the keyring on a server its roots are made by the first start, which has not been yet.
            secrets = settings.secrets_folder
            not_yet = settings.keyring_in_database and secrets is not None and not secrets.is_dir()
            found += [each for each in machine if not (not_yet and each.check == KEYRING_PERMISSIONS)]
    if as_json:
        print_json({"findings": [_plainly(finding) for finding in found]})
    else:
        for finding in found:
            out().print(f"{MARKS[finding.verdict]}  {finding.check}: {finding.what}", markup=False)
            if finding.remedy:
                out().print(f"      {finding.remedy}", markup=False)
    if any(finding.verdict == "fail" for finding in found):
        raise typer.Exit(FAILED)


@reported
def migrate(
    service_role: Annotated[
        str | None,
        typer.Option("--service-role", metavar="NAME", help="PostgreSQL: the role that gets what the service needs."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the tables to the version this program works with.

    On PostgreSQL it runs as the owner of both databases, before anything else does; a folder is also migrated when it
    is opened. Doing it twice changes nothing.
    """
    settings = Settings.load(Path(data) if data else None)
    if settings.on_server:
        _print_one(_migrate_server(settings, service_role), as_json=as_json)
        return
    if service_role is not None:
        raise Malformed("an SQLite file has no roles", field="--service-role")
    with reach(settings, "migrate", create=True) as client:
        _print_one(client.call("GET", "/local/schema"), as_json=as_json)


def _migrate_server(settings: Settings, service_role: str | None) -> dict[str, Any]:
    from textkeep.service import wiring
    from textkeep.service.waiting import patiently

    with stopping() as stop:
        return patiently(lambda: wiring.migrate(settings, service_role), stop.wait)


@reported
def rebuild(
    shelf: Annotated[str | None, typer.Option("--shelf", help="Only this shelf, like 2026-11-22.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the search index anew from the texts: of every shelf, or of one."""
    with reach(Settings.load(Path(data) if data else None), "rebuild") as client:
        _print_one(client.call("POST", "/local/rebuild", json={"shelf": shelf}), as_json=as_json)


def _print_one(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        print_facts({name.replace("_", " "): value for name, value in told.items()})


def _print_days(told: list[dict[str, Any]]) -> None:
    print_table(DAY_COLUMNS, [[day.get(column) for column in DAY_COLUMNS] for day in told])


def _plainly(finding: Finding) -> dict[str, str]:
    return {"check": finding.check, "verdict": finding.verdict, "what": finding.what, "remedy": finding.remedy}
