"""`textkeep keyring`: what the keyring holds, its backups, and how it comes back from one."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from textkeep.archive.backup import LIFE
from textkeep.errors import Conflict
from textkeep.service.commands.output import (
    DataOption,
    JsonOption,
    note,
    print_facts,
    print_json,
    print_table,
    reported,
)
from textkeep.service.local import reach
from textkeep.service.settings import Settings

COLUMNS: Final = ("id", "made_at", "expires_at", "ended_at", "generation", "root_kind", "file")

LOOK: Final = "`textkeep keyring status` shows what was restored, and whether it waits."

app = typer.Typer(no_args_is_help=True, help="The keyring: what it holds, without showing it; its backups.")

KeysOption = Annotated[
    Path | None,
    typer.Option("--keys", metavar="DIR", help="Root keys that are files: the folder of the backup's own key."),
]


@app.command()
@reported
def status(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Count the secrets and the tombstones, name the root and the backups. No secret is shown."""
    with reach(Settings.load(Path(data) if data else None), "keyring status") as client:
        told = client.call("GET", "/local/keyring")
    if as_json:
        print_json(told)
        return
    backups = told.pop("backups")
    _print(told)
    print_table(COLUMNS, [[backup[column] for column in COLUMNS] for backup in backups])


@app.command()
@reported
def backup(
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="The folder it goes to. Default: where backups are set.")
    ] = None,
    keys: KeysOption = None,
    days: Annotated[float, typer.Option("--days", help="How long it lives: 7 at most.")] = LIFE.days,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back the keyring up, sealed under a key of its own, for 7 days at most."""
    asked: dict[str, Any] = {"days": days}
    asked |= {name: str(path.absolute()) for name, path in (("to", to), ("keys", keys)) if path is not None}
    with reach(Settings.load(Path(data) if data else None), "keyring backup") as client:
        made = client.call("POST", "/local/keyring/backups", json=asked)
    if as_json:
        print_json(made)
        return
    _print(made)
    if made["root_kind"] == "local":
        note("Keep the key apart from the backup, and from the data. Delete both when the backup has expired.")
    note("The ledger's own key is in no backup: keep a copy of `ledger-key` for itself (docs/ledger.md).")


@app.command()
@reported
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")],
    keys: KeysOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the keyring back from a backup that is not older than 7 days. Every process must be stopped.

    What was purged since stays destroyed. Where there is data, nothing is destroyed with the restored keyring until
    two persons have resumed (`textkeep keyring resume`).
    """
    from textkeep.service import wiring
    from textkeep.service.restoring import restore as work

    done = work(Settings.load(Path(data) if data else None), wiring.DRIVERS, file, keys).document()
    if as_json:
        print_json(done)
        return
    _print({**done, "stay_destroyed": ", ".join(done["stay_destroyed"]) or "-"})
    note("The ledger's own key is in no backup: where it is gone too, put `ledger-key` back first (docs/ledger.md).")
    if done["waits_for_two_persons"]:
        note("Start the archive and look whether it is right; then `textkeep keyring resume --reason ...` asks for it.")


@app.command()
@reported
def resume(
    reason: Annotated[str | None, typer.Option("--reason", help="Why, in a sentence; it goes on record.")] = None,
    approval: Annotated[str | None, typer.Option("--approval", metavar="ID", help="What was approved.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on after a restore: one person asks, another one approves, then it is done with --approval."""
    with reach(Settings.load(Path(data) if data else None), "keyring resume", destroys=True) as client:
        if approval is not None:
            told = client.call("POST", "/local/keyring/resume", json={"approval": approval})
        else:
            waiting = client.call("GET", "/local/keyring")["restored"]
            if waiting is None:
                raise Conflict("no restored keyring waits to be resumed; nothing was asked for", remedy=LOOK)
            request = {"restore": waiting["id"], "backup": waiting["backup"], "made_at": waiting["made_at"]}
            body = {"kind": "resume", "subject": "keyring", "reason": reason or "", "request": request}
            told = client.call("POST", "/v1/approvals", json=body)
    if as_json:
        print_json(told)
        return
    if approval is not None:
        _print(told)
        return
    note(f"Asked: {told['id']}. Another person approves it by {told['until']}, with the digest {told['digest']}.")
    note(f"Then: textkeep keyring resume --approval {told['id']}")


def _print(told: dict[str, Any]) -> None:
    print_facts({name.replace("_", " "): value for name, value in told.items()})
