"""`textkeep search`: find texts, in a table. It needs a token: access to the files is no right to read."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from textkeep.errors import Malformed
from textkeep.service.asking import asking
from textkeep.service.commands.output import DataOption, JsonOption, note, print_json, print_table, reported
from textkeep.service.settings import Settings

MOST: Final = 200
"""Results of one page; more are asked for page by page."""

QUERY_CHARACTERS: Final = 100_000


@reported
def search(
    query: Annotated[str, typer.Argument(metavar="'QUERY'|-", help="What to find; - reads it from standard input.")],
    org: Annotated[str | None, typer.Option("--org", help="The organisation; not needed with a token for one.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why: it is recorded with the search.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many texts at most.")] = 20,
    hold: Annotated[
        str | None, typer.Option("--hold", help="A legal hold: find what it covers, past its 400 days too.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find texts, newest first. With `-` the query stays out of the shell's history and the list of processes."""
    settings = Settings.load(Path(data) if data else None)
    asked = sys.stdin.read(QUERY_CHARACTERS).strip() if query == "-" else query
    if not reason.strip():
        raise Malformed("a search needs a reason, which is recorded", field="--reason")
    body: dict[str, Any] = {"query": asked, "reason": reason, **({"org_id": org} if org else {})}
    if hold is not None:
        body["hold_id"] = hold
    with asking(settings, "search", "officer") as client:
        found = client.call("POST", "/v1/searches", json={**body, "limit": min(limit, MOST)})
        while found["cursor"] and len(found["results"]) < limit:
            more = {**body, "limit": min(limit - len(found["results"]), MOST), "cursor": found["cursor"]}
            page = client.call("POST", "/v1/searches", json=more)
            found = {**page, "results": found["results"] + page["results"]}
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    columns = ("sent (UTC)", "from", "to", "text")
    print_table(columns, [_row(text) for text in found["results"]])
    more = " There are more: raise --limit." if found["cursor"] else ""
    note(f"{len(found['results'])} texts, findable up to what was received {found['indexed_up_to']}.{more}")


def _row(text: dict[str, Any]) -> tuple[object, ...]:
    marks = list(text["flags"])
    if text["disposition"] not in ("delivered", "sent"):
        marks.append(text["disposition"] + (f": {text['reason']}" if text["reason"] else ""))
    if text["version"] > 1:
        marks.append(f"version {text['version']}")
    marks += [f"held by {name}" for name in text["held"]]
    body = text["body"] + (f"  [{', '.join(marks)}]" if marks else "")
    return (text["sent_at"][:19].replace("T", " "), text["from"], text["to"], body)
