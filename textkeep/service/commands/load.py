"""`textkeep load`: push a feed, in batches that may be sent again."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from textkeep.errors import Malformed, Outage, TextkeepError
from textkeep.service.client import PATIENCE_SECONDS, Answered, Client
from textkeep.service.commands.output import (
    FAILED,
    DataOption,
    JsonOption,
    fail,
    note,
    print_facts,
    print_json,
    reported,
)
from textkeep.service.local import reach
from textkeep.service.settings import Settings

BATCH_RECORDS: Final = 1000
BATCH_BYTES: Final = 1024 * 1024
LOOK_AGAIN_SECONDS: Final = 0.1

COUNTS: Final = ("read", "accepted", "versions", "duplicates", "quarantined", "refused")
DIRECTORY_COUNTS: Final = ("read", "added", "changed", "unchanged", "refused")
STREAM: Final = "application/x-ndjson"


@dataclass(slots=True)
class Batch:
    """Some lines of a feed with their numbers, blank ones left out; `size` counts every byte read for them."""

    lines: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    size: int = 0

    def add(self, number: int, line: bytes) -> None:
        """Put a line in."""
        self.size += len(line)
        if not line.isspace():
            self.lines.append(line if line.endswith(b"\n") else line + b"\n")
            self.numbers.append(number)


@reported
def load(
    feed: Annotated[str | None, typer.Argument(metavar="FILE|-", help="One CloudEvent a line; - for stdin.")] = None,
    directory: Annotated[
        str | None, typer.Option("--directory", metavar="FILE|-", help="Directory records, one a line; loaded first.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return only when everything can be found.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Push a feed into the archive. It may be interrupted and run again: what is there already is not stored twice."""
    if feed is None and directory is None:
        raise Malformed("there is nothing to load: name a FILE, or - for standard input", field="FILE")
    if feed == directory == "-":
        raise Malformed("standard input can hold one feed only", field="--directory")
    settings = Settings.load(Path(data) if data else None)
    told: dict[str, Any] = {}
    totals: Counter[str] = Counter()
    unsendable: list[int] = []
    try:
        with ExitStack() as opened:
            files = {name: opened.enter_context(_open(name)) for name in (directory, feed) if name is not None}
            client = opened.enter_context(reach(settings, "load", create=True))
            if directory is not None:
                told["directory"] = _push_directory(client, files[directory])
            if feed is not None:
                unsendable = _push(client, files[feed], totals)
            if wait:
                _wait(client)
    except TextkeepError as error:
        kept = f"{totals['read']:,} records were acknowledged and are stored; run the same command again to go on."
        fail(error, as_json=as_json, kept=kept if totals else "")
    told = {**{name: totals[name] for name in COUNTS}, "batches": totals["batches"], **told}
    _print(told, as_json=as_json)
    if unsendable or told.get("directory", {}).get("refused"):
        raise typer.Exit(FAILED)


def batches(feed: BinaryIO) -> Iterator[Batch]:
    """The feed in batches of at most 1,000 lines and 1 MiB (a longer line is alone in its batch)."""
    batch = Batch()
    for number, line in enumerate(feed, 1):
        if batch.lines and (len(batch.lines) >= BATCH_RECORDS or batch.size + len(line) > BATCH_BYTES):
            yield batch
            batch = Batch()
        batch.add(number, line)
    if batch.lines:
        yield batch


def _push(client: Client, feed: BinaryIO, totals: Counter[str]) -> list[int]:
    """Send every batch and add its receipt to `totals`; gives the numbers of lines that no request can carry."""
    unsendable: list[int] = []
    with _progress(feed) as advance:
        for batch in batches(feed):
            try:
                receipt = client.call(
                    "POST", "/v1/texts", content=b"".join(batch.lines), media_type=STREAM, patience=PATIENCE_SECONDS
                )
            except Answered as error:
                if error.name != "too-large" or len(batch.lines) > 1:
                    raise
                unsendable += batch.numbers
                note(f"textkeep: line {batch.numbers[0]} is over the limit of one request and was NOT stored")
            else:
                totals.update({name: receipt[name] for name in COUNTS}, batches=1)
            advance(batch.size)
    return unsendable


def _push_directory(client: Client, feed: BinaryIO) -> dict[str, int]:
    totals: Counter[str] = Counter(dict.fromkeys(DIRECTORY_COUNTS, 0))
    for batch in batches(feed):
        told = client.call(
            "POST", "/v1/directory", content=b"".join(batch.lines), media_type=STREAM, patience=PATIENCE_SECONDS
        )
        totals.update({name: told[name] for name in DIRECTORY_COUNTS})
        for item in told["items"]:
            if item["outcome"] == "refused":
                where = f" ({item['field']})" if item["field"] else ""
                note(f"textkeep: directory line {batch.numbers[item['index']]}: {item['detail']}{where}")
    return dict(totals)


def _wait(client: Client) -> None:
    while (state := client.call("GET", "/local/state"))["unindexed_since"] is not None:
        if not state["following"]:
            raise Outage("everything is stored, and its index does not follow", remedy="Run `textkeep doctor`.")
        time.sleep(LOOK_AGAIN_SECONDS)
    if state["damaged"]:
        note(f"textkeep: {state['damaged']} slice(s) cannot be indexed; `textkeep doctor` says more")


def _open(name: str) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except OSError:
        raise Malformed("the file cannot be read", field=name) from None


@contextmanager
def _progress(feed: BinaryIO) -> Iterator[Any]:
    """A bar on standard error, where that is a terminal and the feed's size is known or not."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("loading"), BarColumn(), TextColumn("{task.completed:,.0f} bytes"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        size = Path(feed.name).stat().st_size if feed is not sys.stdin.buffer else None
        task = bar.add_task("", total=size)
        yield lambda done: bar.advance(task, done)


def _print(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    if "directory" in told:
        known = told["directory"]
        shown = ", ".join(f"{count:,} {name}" for name, count in known.items() if name != "read")
        print_facts({"directory": f"{known['read']:,} records read: {shown}"})
    if told["batches"] or "directory" not in told:
        print_facts({name: f"{told[name]:,}" for name in COUNTS})
