"""`textkeep report`: a report, as JSON, page, PDF or proof, by access to the archive's files."""

import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from textkeep.errors import Malformed, Outage
from textkeep.service.commands.output import DataOption, note, reported
from textkeep.service.local import reach
from textkeep.service.settings import Settings


@reported
def report(
    shelf: Annotated[
        str,
        typer.Argument(metavar="SHELF", help="A day, a shelf of held texts, or missed-run-DAY: as `purges` names it."),
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
    with reach(Settings.load(Path(data) if data else None), "report") as client:
        content = client.content(f"/local/reports/{quote(shelf, safe='')}/{asked[0] if asked else 'json'}")
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    try:
        output.write_bytes(content)
    except OSError as exc:
        raise Outage("the report cannot be written there") from exc
    note(f"{len(content)} bytes written to {output}")
