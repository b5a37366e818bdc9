"""`textkeep report`: a report, as JSON, page, PDF or proof; by access to the archive's files, else with a token."""

import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from textkeep.errors import Malformed, Outage
from textkeep.service.asking import looking
from textkeep.service.commands.output import DataOption, JsonOption, note, print_json, print_table, reported
from textkeep.service.settings import Settings


@reported
def report(
    shelf: Annotated[
        str,
        typer.Argument(metavar="SHELF", help="A day, a shelf of held texts, or missed-run-DAY, as `reports` names it."),
    ],
    html: Annotated[bool, typer.Option("--html", help="As a page that needs nothing else.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="As PDF (the extra `pdf`).")] = False,
    proof: Annotated[bool, typer.Option("--proof", help="Its .tlog-proof.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write there, not to the screen.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Give a purge report exactly as it was written: its SHA-256 is what the ledger holds."""
    asked = [form for form, wanted in (("html", html), ("pdf", pdf), ("proof", proof)) if wanted]
    if len(asked) > 1:
        raise Malformed("one form at a time", field=f"--{asked[1]}")
    if pdf and output is None and sys.stdout.isatty():
        raise Malformed("PDF is nothing for a terminal", field="--output", remedy="Name a file with --output.")
    settings = Settings.load(Path(data) if data else None)
    start = "/local" if settings.url is None else "/v1"
    form = asked or (["json"] if settings.url is None else [])
    with looking(settings, "report", "auditor") as client:
        content = client.content("/".join([start, "reports", quote(shelf, safe=""), *form]))
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    try:
        output.write_bytes(content)
    except OSError as exc:
        raise Outage("the report cannot be written there") from exc
    note(f"{len(content)} bytes written to {output}")


@reported
def reports(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show every report there is: of days, of releases, of days without a run."""
    settings = Settings.load(Path(data) if data else None)
    with looking(settings, "reports", "auditor") as client:
        told = client.call("GET", "/local/reports" if settings.url is None else "/v1/purges")
    if as_json:
        print_json(told)
        return
    rows = [[each["name"], each["kind"], each["verdict"], each["reported_at"][:19], each["digest"]] for each in told]
    print_table(("name", "kind", "verdict", "reported (UTC)", "SHA-256"), rows)
    note(f"{len(told)} reports. `textkeep report NAME` gives one.")
