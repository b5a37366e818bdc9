"""`textkeep approvals`: what waits for another person's word, and giving it. It needs a token."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from textkeep.errors import Malformed
from textkeep.service.asking import asking
from textkeep.service.commands.output import (
    DataOption,
    JsonOption,
    note,
    print_facts,
    print_json,
    print_request,
    print_table,
    reported,
)
from textkeep.service.local import reach
from textkeep.service.settings import Settings

COLUMNS: Final = ("id", "what", "about", "organisation", "asked by", "until (UTC)", "state")

app = typer.Typer(no_args_is_help=True, help="What one person asks for and another one decides.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `approvals list` shows it.")]
DigestOption = Annotated[
    str, typer.Option("--digest", metavar="HEX", help="The digest of what you were shown: `approvals show ID`.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]


@app.command("list")
@reported
def list_approvals(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show what waits for you to decide, what you asked for, what you decided."""
    told = _call(data, "GET", "/v1/approvals")
    if as_json:
        print_json(told)
        return
    for title, part in (("Waits for you", "waiting"), ("You asked for", "asked"), ("You decided", "decided")):
        if told[part]:
            note(f"{title}:")
            print_table(COLUMNS, [_row(each) for each in told[part]])
    if not any(told.values()):
        note("Nothing waits for you, and you asked for nothing.")


@app.command()
@reported
def show(approval_id: IdArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one request in its exact words, and the digest that a decision names."""
    told = _call(data, "GET", f"/v1/approvals/{approval_id}")
    if as_json:
        print_json(told)
        return
    print_request(told)
    if told["state"] == "waiting":
        note(f"To decide: textkeep approvals approve|refuse {told['id']} --digest {told['digest']}")


@app.command()
@reported
def approve(
    approval_id: IdArgument,
    digest: DigestOption,
    reason: ReasonOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve what another person asked for, in the words you were shown."""
    _decide(data, approval_id, "approved", digest, reason, as_json=as_json)


@app.command()
@reported
def refuse(
    approval_id: IdArgument,
    digest: DigestOption,
    reason: ReasonOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse what another person asked for."""
    _decide(data, approval_id, "refused", digest, reason, as_json=as_json)


@app.command()
@reported
def ask(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="resume, ledger-key or witness.")],
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="What it is about.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; the other person reads it.")],
    request: Annotated[str, typer.Option("--request", metavar="JSON", help="What shall be done, in full.")] = "{}",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for what two persons must decide. Needs the role operator, or access to the archive's files."""
    body = {"kind": kind, "subject": subject, "reason": reason, "request": _object(request)}
    told = _call(data, "POST", "/v1/approvals", json=body, files=True)
    if as_json:
        print_json(told)
    else:
        note(f"Asked: {told['id']}. Another person approves it by {told['until']}, with the digest {told['digest']}.")


def _decide(data: str | None, approval_id: str, outcome: str, digest: str, reason: str, *, as_json: bool) -> None:
    body = {"outcome": outcome, "digest": digest.strip().lower(), "reason": reason}
    told = _call(data, "POST", f"/v1/approvals/{approval_id}", json=body)
    if as_json:
        print_json(told)
        return
    note(f"{told['id']} is {told['outcome']}.")
    if told["effect"]:
        print_facts(told["effect"])


def _call(data: str | None, method: str, path: str, *, json: object = None, files: bool = False) -> Any:
    """The answer to a call with the caller's token; with `files`, where none is set, with access to the files.

    Whoever has the files is an operator; the token they lie beside is an officer's.
    """
    settings = Settings.load(Path(data) if data else None)
    by_files = files and settings.token is None and settings.url is None
    with reach(settings, "approvals") if by_files else asking(settings, "approvals", "approver") as client:
        return client.call(method, path, json=json)


def _object(written: str) -> dict[str, Any]:
    try:
        found = json.loads(written)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Malformed("that is no JSON object", field="--request")
    return found


def _row(each: dict[str, Any]) -> tuple[object, ...]:
    until = each["until"][:16].replace("T", " ")
    return (each["id"], each["kind"], each["subject"], each["org_id"], each["asked_by"], until, each["state"])
