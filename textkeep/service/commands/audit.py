"""`textkeep audit`: recompute everything that the archive says of itself, by access to its files."""

from pathlib import Path
from typing import Annotated, Final

import typer

from textkeep.service.client import Answered
from textkeep.service.commands.output import (
    FAILED,
    DataOption,
    JsonOption,
    note,
    print_json,
    print_table,
    reported,
)
from textkeep.service.local import reach
from textkeep.service.settings import Settings

MARKS: Final = {"pass": "pass", "fail": "FAIL", "unknown": "unknown"}
COLUMNS: Final = ("verdict", "line", "shelf", "entry", "what was found")


@reported
def audit(
    shelf: Annotated[str | None, typer.Option("--shelf", metavar="SHELF", help="Only this shelf, like a day.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute what the archive says of itself: texts, sets, entries, holds, reports. Nothing is changed.

    Ends with 0 where no line fails, with 1 where any does, with 3 where it could not be carried through. `unknown` is
    no failure: it says what could not be shown.
    """
    asked = {"shelf": shelf} if shelf else {}
    with reach(Settings.load(Path(data) if data else None), "audit") as client:
        told = client.call("GET", "/local/audit", params=asked)
    if "problem" in told:
        raise Answered(told["problem"]["status"], told["problem"], None)
    counts = told["counts"]
    if as_json:
        print_json(told)
    else:
        rows = [
            (MARKS[each["verdict"]], each["name"], each["shelf"], each["entry"], each["said"])
            for each in told["findings"]
        ]
        print_table(COLUMNS, rows)
        note(f"{counts['pass']} lines pass, {counts['fail']} fail, {counts['unknown']} are unknown.")
    if counts["fail"]:
        raise typer.Exit(FAILED)
