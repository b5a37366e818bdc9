"""`textkeep ledger`: the entries, how they are signed, static copies, and what two persons change about it."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from textkeep.errors import Conflict, Malformed, NotFound
from textkeep.ledger.cosignature import Witness
from textkeep.ledger.note import NoteRefused
from textkeep.service.client import Client
from textkeep.service.commands.output import (
    DataOption,
    JsonOption,
    note,
    out,
    print_facts,
    print_json,
    print_table,
    reported,
)
from textkeep.service.local import reach
from textkeep.service.settings import Settings

WITNESS_COLUMNS: Final = ("name", "since", "until", "cosigned", "key")

OLD_KEY: Final = "Say --old KEY, the one that auditors verify with; or restore the keyring's store. See docs/ledger.md."

app = typer.Typer(help="The evidence ledger: without a command, its entries.")

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; the other person reads it.")]
ApprovalOption = Annotated[
    str | None, typer.Option("--approval", metavar="ID", help="Do it now, as another person has approved it.")
]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of the machine that keeps.")]


@app.callback(invoke_without_command=True)
@reported
def entries(
    context: typer.Context,
    shelf: Annotated[str | None, typer.Option("--shelf", help="Only the entries of this shelf.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the ledger's entries with their places in the signed log; those without one wait to be signed."""
    if context.invoked_subcommand is not None:
        return
    asked = {"shelf": shelf} if shelf else {}
    found: list[dict[str, Any]] = []
    after: int | None = 0
    with reach(_settings(data), "ledger") as client:
        while after is not None:
            told = client.call("GET", "/local/ledger", params={**asked, "after": str(after)})
            found += told["entries"]
            after = told["after"]
    if as_json:
        print_json({"entries": found})
        return
    rows = [(each["seq"], each["index"], each["time"], each["kind"], each["shelf"]) for each in found]
    print_table(("seq", "index", "time (UTC)", "kind", "shelf"), rows)


@app.command()
@reported
def status(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show what is signed, what waits, and what stands against signing."""
    with reach(_settings(data), "ledger status") as client:
        _print(client.call("GET", "/local/ledger/status"), as_json=as_json)


@app.command()
@reported
def key(
    rotate: Annotated[bool, typer.Option("--rotate", help="Change the key; two persons.")] = False,
    lost: Annotated[
        bool, typer.Option("--lost", help="The key is lost, with every copy: begin a new one; two persons.")
    ] = False,
    old: Annotated[
        str | None,
        typer.Option(
            "--old",
            metavar="KEY",
            help="With --lost, where the keyring's store has lost the ledger's state too: the key"
            " that auditors verify with.",
        ),
    ] = None,
    reason: ReasonOption = None,
    approval: ApprovalOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the verifier key, which auditors check everything with; change it; or begin a new one after a loss."""
    if rotate and lost:
        raise Malformed("a key that was lost cannot sign a change", field="--rotate", remedy="Say --lost alone.")
    if not (rotate or lost) and (reason is not None or approval is not None):
        raise Malformed("say what shall be done", field="--rotate", remedy="Add --rotate, or --lost after a loss.")
    with reach(_settings(data), "ledger key", destroys=rotate or lost) as client:
        told = client.call("GET", "/local/ledger/status")
        if not (rotate or lost):
            if told["key"] is None:
                raise NotFound("nothing is signed yet", remedy="Start the archive: `textkeep up`, or `keep`.")
            if as_json:
                print_json({"key": told["key"]})
            else:
                out().print(told["key"], markup=False)
        elif approval is not None:
            way = "rotate" if rotate else "replace"
            _print(client.call("POST", f"/local/ledger/{way}", json={"approval": approval}), as_json=as_json)
        elif rotate:
            request = {"old": told["key"]}
            _ask(client, "ledger-key", "ledger", request, reason, "textkeep ledger key --rotate", as_json=as_json)
        else:
            if old is not None:
                told = client.call("POST", "/local/ledger/recover", json={"key": old})
            if told["key"] is None:
                raise Malformed("it is not known which key was lost", field="--old", remedy=OLD_KEY)
            if told["key_missing"] is False:
                raise Malformed(
                    "the key is there; nothing was asked for", field="--lost", remedy="--rotate changes it."
                )
            request = {"lost": told["key"], "size": told["signed"], "root": told["root"]}
            _ask(client, "ledger-key", "ledger", request, reason, "textkeep ledger key --lost", as_json=as_json)


@app.command()
@reported
def witnesses(
    add: Annotated[str | None, typer.Option("--add", metavar="KEY", help="Take cosignatures of this key.")] = None,
    remove: Annotated[str | None, typer.Option("--remove", metavar="KEY", help="Take none of it any more.")] = None,
    reason: ReasonOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the witnesses; or ask to add or remove one, which is done when another person approves."""
    if add is not None and remove is not None:
        raise Malformed("one change at a time", field="--remove")
    with reach(_settings(data), "ledger witnesses") as client:
        if add is not None or remove is not None:
            _check_witness(client.call("GET", "/local/ledger/witnesses"), add, remove)
            request = {"add": add} if add is not None else {"remove": remove}
            subject = (add or remove or "").partition("+")[0] or "witness"
            _ask(client, "witness", subject, request, reason, None, as_json=as_json)
            return
        told = client.call("GET", "/local/ledger/witnesses")
    if as_json:
        print_json({"witnesses": told})
    else:
        print_table(WITNESS_COLUMNS, [[each[column] for column in WITNESS_COLUMNS] for each in told])


@app.command()
@reported
def export(folder: FolderArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Bring a static copy of the signed log in a folder up to date; any web server can serve it."""
    with reach(_settings(data), "ledger export") as client:
        _print(client.call("POST", "/local/ledger/export", json={"folder": str(folder.absolute())}), as_json=as_json)


@app.command("import")
@reported
def put_back(folder: FolderArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Put signed entries back that the database has lost, from a static copy with exactly the signed root."""
    with reach(_settings(data), "ledger import", destroys=True) as client:
        told = client.call("POST", "/local/ledger/import", json={"folder": str(folder.absolute())})
    _print(told, as_json=as_json)
    note("Nothing is signed yet: `textkeep ledger resume --reason ...` asks for it.")


@app.command()
@reported
def resume(
    reason: ReasonOption = None,
    approval: ApprovalOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign on after a restored database was refused, once every signed entry is there again; two persons."""
    with reach(_settings(data), "ledger resume", destroys=True) as client:
        if approval is not None:
            _print(client.call("POST", "/local/ledger/resume", json={"approval": approval}), as_json=as_json)
            return
        told = client.call("GET", "/local/ledger/status")
        if told["refused_at"] is None:
            raise Conflict("nothing is refused: the ledger is signed as usual", remedy="`textkeep ledger status`.")
        request = {"refused_at": told["refused_at"], "why": told["refused"], "size": told["signed"]}
        _ask(client, "resume", "ledger", request, reason, "textkeep ledger resume", as_json=as_json)


def _check_witness(known: list[dict[str, Any]], add: str | None, remove: str | None) -> None:
    """Raises Malformed for a change that nobody could approve; whoever approves is asked once more."""
    live = {each["key"] for each in known if each["until"] is None}
    if remove is not None and remove not in live:
        raise Malformed("that is no witness of this ledger", field="--remove", remedy="`textkeep ledger witnesses`.")
    if add is None:
        return
    try:
        name = Witness.parse(add).name
    except NoteRefused as refused:
        remedy = "`textkeep ledger witness --new-key` shows the key of a witness; it is one line, NAME+HASH+KEY."
        raise Malformed(f"that is no witness's key: {refused}", field="--add", remedy=remedy) from None
    if any(each["name"] == name and (each["key"] != add or each["until"] is None) for each in known):
        raise Malformed("a witness of that name is, or was, there", field="--add", remedy="A new key takes a new name.")


def _ask(
    client: Client,
    kind: str,
    subject: str,
    request: dict[str, Any],
    reason: str | None,
    then: str | None,
    *,
    as_json: bool,
) -> None:
    """Ask for what another person must approve, with access to the archive's files."""
    body = {"kind": kind, "subject": subject, "reason": reason or "", "request": request}
    told = client.call("POST", "/v1/approvals", json=body)
    if as_json:
        print_json(told)
        return
    note(f"Asked: {told['id']}. Another person approves it by {told['until']}, with the digest {told['digest']}.")
    if then is not None:
        note(f"Then: {then} --approval {told['id']}")


def _print(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        print_facts({name.replace("_", " "): value for name, value in told.items()})


def _settings(data: str | None) -> Settings:
    return Settings.load(Path(data) if data else None)
