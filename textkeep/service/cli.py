"""`textkeep`: the commands."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from textkeep.service.commands import approvals, hold, keyring, ledger, parts, token, upkeep
from textkeep.service.commands.audit import audit
from textkeep.service.commands.auditing import verify, witness
from textkeep.service.commands.consume import consume
from textkeep.service.commands.load import load
from textkeep.service.commands.output import out
from textkeep.service.commands.report import report, reports
from textkeep.service.commands.search import search
from textkeep.service.commands.up import api, up

app = typer.Typer(
    name="textkeep",
    help="A compliance archive for business text messages: sealed, searchable, kept 400 days, provably destroyed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    up,
    api,
    parts.follow,
    consume,
    parts.keep,
    load,
    search,
    upkeep.purge,
    report,
    reports,
    upkeep.days,
    upkeep.doctor,
    upkeep.migrate,
    upkeep.rebuild,
    parts.healthcheck,
    audit,
    verify,
):
    app.command()(command)
app.add_typer(hold.app, name="hold")
app.add_typer(approvals.app, name="approvals")
ledger.app.command()(witness)
app.add_typer(ledger.app, name="ledger")
app.add_typer(token.app, name="token")
app.add_typer(keyring.app, name="keyring")


def _show_version(wanted: bool) -> None:
    if wanted:
        out().print(f"textkeep {version('textkeep')}")
        raise typer.Exit


@app.callback()
def _all(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 refused or failed, 2 usage, 3 unavailable."""
    sys.exit(app())
