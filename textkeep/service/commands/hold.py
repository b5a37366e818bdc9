"""`textkeep hold`: place, preview, list, show and release legal holds, and approve a release. It needs a token."""

import json
import sys
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from textkeep.errors import Malformed, NotFound
from textkeep.service.asking import asking
from textkeep.service.client import Client
from textkeep.service.commands.output import (
    DataOption,
    JsonOption,
    note,
    out,
    plain,
    print_facts,
    print_json,
    print_request,
    print_table,
    reported,
)
from textkeep.service.settings import Settings

COLUMNS: Final = ("hold", "organisation", "matter", "placed by", "placed (UTC)", "review", "state")
QUERY_CHARACTERS: Final = 100_000
NAMED: Final = 20
"""How many days, and how many users, a preview shows; `--json` gives all."""

app = typer.Typer(no_args_is_help=True, help="Legal holds: what they cover is kept until two persons release them.")

Org = Annotated[str | None, typer.Option("--org", help="The organisation; not needed with a token for one.")]
Users = Annotated[list[str] | None, typer.Option("--user", help="A user's id; several times for any of several.")]
Numbers = Annotated[list[str] | None, typer.Option("--number", help="A number, as sender or receiver; several too.")]
Pairs = Annotated[
    list[str] | None, typer.Option("--conversation", metavar="A,B", help="What two numbers wrote each other.")
]
After = Annotated[str | None, typer.Option("--after", metavar="DAY", help="Sent from this UTC day or instant on.")]
Before = Annotated[str | None, typer.Option("--before", metavar="DAY", help="Sent before this UTC day or instant.")]
Asked = Annotated[
    str | None, typer.Option("--query", metavar="'QUERY'|-", help="A search query; - reads it from standard input.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes on record.")]
HoldId = Annotated[str, typer.Argument(metavar="ID", help="As `hold list` shows it.")]


@app.command()
@reported
def place(
    matter: Annotated[str, typer.Option("--matter", help="The matter's reference.")],
    reason: Reason,
    review: Annotated[str, typer.Option("--review", metavar="DAY", help="When it is reviewed: 180 days at most.")],
    org: Org = None,
    user: Users = None,
    number: Numbers = None,
    conversation: Pairs = None,
    after: After = None,
    before: Before = None,
    query: Asked = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Place a hold on what fits every option given. It never changes; look first with `hold preview`."""
    scope = _scope(org, user, number, conversation, after, before, query)
    body = {"matter": matter, "reason": reason, "review_at": review, "scope": scope}
    told = _call(data, "POST", "/v1/holds", json=body)
    if as_json:
        print_json(told)
        return
    hold = told["hold"]
    out().print(hold["hold_id"], markup=False)
    note(f"In force since {hold['placed_at']}, to be reviewed by {hold['review_at'][:10]}. Proof: {hold['proof']}.")
    _print_reach(told)


@app.command()
@reported
def preview(
    reason: Reason,
    org: Org = None,
    user: Users = None,
    number: Numbers = None,
    conversation: Pairs = None,
    after: After = None,
    before: Before = None,
    query: Asked = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count what a hold would cover now, by day and user. Every text in question is opened, so it takes a while."""
    scope = _scope(org, user, number, conversation, after, before, query)
    body: dict[str, Any] = {"scope": scope, "reason": reason}
    with _asking(data) as client:
        told = client.call("POST", "/v1/holds/preview", json=body)
        while told["cursor"]:
            more = client.call("POST", "/v1/holds/preview", json={**body, "cursor": told["cursor"]})
            sums = {
                name: told[name] + more[name]
                for name in ("shelves", "texts", "records", "undecided", "opened", "shelves_looked_at")
            }
            told = {**more, **sums}
    if as_json:
        print_json(told)
        return
    users: Counter[str] = Counter()
    days: Counter[str] = Counter()
    for shelf in told["shelves"]:
        users.update(shelf["users"])
        days.update(shelf["days"])
    columns = ("shelf", "state", "texts", "quarantined", "undecided")
    shown = told["shelves"][:NAMED]
    print_table(columns, [(s["shelf"], s["state"], s["texts"], s["records"], s["undecided"]) for s in shown])
    if days:
        print_table(("sent, of what is held already", "texts"), sorted(days.items())[:NAMED])
    print_table(("user", "texts"), users.most_common(NAMED))
    left = len(told["shelves"]) - len(shown), max(len(users) - NAMED, 0)
    note(
        f"{told['texts']} texts, {told['records']} records in quarantine, {told['undecided']} that do not open;"
        f" {told['opened']} texts were opened. Not shown: {left[0]} shelves, {left[1]} users (--json)."
    )
    _print_reach(told)


@app.command("list")
@reported
def list_holds(org: Org = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the holds of your organisations, newest first."""
    told = _call(data, "GET", "/v1/holds", params={"org_id": org} if org else None)
    if as_json:
        print_json(told)
        return
    print_table(COLUMNS, [_row(each) for each in told])
    overdue = sum(each["review_overdue"] for each in told)
    if overdue:
        note(f"The review of {overdue} is overdue. They keep all the same, until they are released.")


@app.command()
@reported
def show(hold_id: HoldId, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one hold."""
    told = _call(data, "GET", f"/v1/holds/{hold_id}")
    if as_json:
        print_json(told)
        return
    scope = told.pop("scope")
    print_facts({name: value for name, value in told.items() if value is not None})
    out().print(plain(json.dumps(scope, ensure_ascii=False, sort_keys=True)), markup=False)


@app.command()
@reported
def release(hold_id: HoldId, reason: Reason, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Ask that a hold be released. Another person approves it; 24 hours after that it keeps nothing any more."""
    told = _call(data, "POST", f"/v1/holds/{hold_id}/release", json={"reason": reason})
    if as_json:
        print_json(told)
        return
    out().print(told["approval_id"], markup=False)
    note(f"Another person approves it by {told['until']}: textkeep hold approve {hold_id} --digest {told['digest']}")


@app.command()
@reported
def approve(
    hold_id: HoldId,
    digest: Annotated[
        str | None, typer.Option("--digest", metavar="HEX", help="The digest of the request you were shown.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve the release of a hold that another person asked for; without --digest show the request."""
    listed = _call(data, "GET", "/v1/approvals")
    own = [each for each in listed["asked"] if each["state"] == "waiting"]  # refused by the archive, and on record
    waiting = (each for each in (*listed["waiting"], *own) if each["kind"] == "release")
    found = next((each for each in waiting if each["subject"] == hold_id), None)
    if found is None:
        raise NotFound("no release of that hold waits for you", remedy="`textkeep approvals list` shows what does.")
    if digest is None:
        told = _call(data, "GET", f"/v1/approvals/{found['id']}")
    else:
        body = {"outcome": "approved", "digest": digest.strip().lower()}
        told = _call(data, "POST", f"/v1/approvals/{found['id']}", json=body)
    if as_json:
        print_json(told)
    elif digest is None:
        print_request(told)
        note(f"To approve exactly this: textkeep hold approve {hold_id} --digest {told['digest']}")
    else:
        note(f"Released. {hold_id} keeps until {told['effect']['ends_at']}.")


def _scope(
    org: str | None,
    users: list[str] | None,
    numbers: list[str] | None,
    pairs: list[str] | None,
    after: str | None,
    before: str | None,
    query: str | None,
) -> dict[str, Any]:
    """What was asked for, as the service takes it; a query from standard input stays out of the shell's history."""
    split = [pair.split(",") for pair in pairs or ()]
    if any(len(pair) != 2 for pair in split):
        raise Malformed("a conversation is two numbers with a comma between them", field="--conversation")
    asked = sys.stdin.read(QUERY_CHARACTERS).strip() if query == "-" else query
    said = {
        "org_id": org,
        "users": users,
        "numbers": numbers,
        "conversations": split or None,
        "after": after,
        "before": before,
        "query": asked,
    }
    return {name: value for name, value in said.items() if value is not None}


def _call(data: str | None, method: str, path: str, **how: Any) -> Any:
    with _asking(data) as client:
        return client.call(method, path, **how)


def _asking(data: str | None) -> AbstractContextManager[Client]:
    return asking(Settings.load(Path(data) if data else None), "hold", "officer")


def _row(hold: dict[str, Any]) -> tuple[object, ...]:
    review = hold["review_at"][:10] + (" OVERDUE" if hold["review_overdue"] else "")
    state = hold["state"] + (f" until {hold['ends_at'][:16]}" if hold["ends_at"] else "")
    placed = hold["placed_at"][:19].replace("T", " ")
    return hold["hold_id"], hold["org_id"], hold["matter"], hold["placed_by"], placed, review, state


def _print_reach(told: dict[str, Any]) -> None:
    if told["too_late"]:
        first, last = told["too_late"][0], told["too_late"][-1]
        note(f"Too late for {len(told['too_late'])} shelves, {first} to {last}: they were destroyed before.")
    if told["in_purge"]:
        note(f"In purge, and still kept from: {', '.join(told['in_purge'])}.")
