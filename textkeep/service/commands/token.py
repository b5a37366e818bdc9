"""`textkeep token`: make, list and revoke credentials, by access to the archive's files."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from textkeep.service.commands.output import DataOption, JsonOption, note, out, print_json, print_table, reported
from textkeep.service.local import reach
from textkeep.service.settings import Settings

EVERY: Final = "*"
"""Names every organisation, where somebody wants to say so."""

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke tokens.")


@app.command()
@reported
def create(
    role: Annotated[list[str], typer.Option("--role", help="What it may be used for; may be given several times.")],
    org: Annotated[
        list[str] | None, typer.Option("--org", help="Where; several times for several. Left out: every organisation.")
    ] = None,
    person: Annotated[str | None, typer.Option("--for", help="Whose it is. Default: the OS user.")] = None,
    days: Annotated[int | None, typer.Option("--days", help="How long it is valid: 90, at most 400.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and show it: once, because only its hash is kept."""
    settings = Settings.load(Path(data) if data else None)
    orgs = None if not org or EVERY in org else org
    wanted: dict[str, Any] = {"roles": role, "orgs": orgs, "person": person, **({} if days is None else {"days": days})}
    with reach(settings, "token create", create=True) as client:
        made = client.call("POST", "/local/tokens", json=wanted)
    if as_json:
        print_json(made)
        return
    out().print(made["token"], markup=False)
    where = "every organisation" if orgs is None else ", ".join(orgs)
    note(f"{', '.join(made['roles'])} of {where}, for {made['person']}, until {made['expires_at'][:10]}.")
    note("It is not shown again. Send it as `Authorization: Bearer TOKEN`.")
    if made["left"]:
        note(f"{settings.folder / 'token'} now holds one of your own, which `textkeep search` finds.")


@app.command("list")
@reported
def list_tokens(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show every token there is or was: never the token itself."""
    with reach(Settings.load(Path(data) if data else None), "token list") as client:
        told = client.call("GET", "/local/tokens")
    if as_json:
        print_json(told)
        return
    columns = ("id", "person", "roles", "organisations", "created", "expires", "state")
    print_table(columns, [_row(token) for token in told["tokens"]])


@app.command()
@reported
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `token list` shows it.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a token now."""
    with reach(Settings.load(Path(data) if data else None), "token revoke") as client:
        told = client.call("POST", f"/local/tokens/{token_id}/revoke")
    if as_json:
        print_json(told)
    else:
        note("The token is revoked: the next request with it is refused.")


def _row(token: dict[str, object]) -> tuple[object, ...]:
    roles, orgs = token["roles"], token["orgs"]
    return (
        token["id"],
        token["person"],
        " ".join(roles) if isinstance(roles, list) else "",
        " ".join(orgs) if isinstance(orgs, list) else "every",
        str(token["created_at"])[:10],
        str(token["expires_at"])[:10],
        token["state"],
    )
