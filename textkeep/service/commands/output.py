"""What a command prints: results to standard output, everything else to standard error."""

import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, NoReturn, ParamSpec

import structlog
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from textkeep.errors import Malformed, TextkeepError
from textkeep.service import logs
from textkeep.service.client import exit_code

ZWJ: Final = "\u200d"
"""Joins emoji; the only invisible character that is shown as it came."""

WIDE: Final = 100_000
"""Columns of an output that is no terminal."""

USAGE: Final = 2
FAILED: Final = 1

DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR", help="The archive's folder. Default: TEXTKEEP_DATA, else ./textkeep-data."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

_P = ParamSpec("_P")
_log = structlog.stdlib.get_logger("textkeep.command")


def out() -> Console:
    """Standard output; where it is no terminal every row is a line, however long."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)


def err() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output. No cell is taken for markup, and no control character reaches a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*(escape(plain("-" if cell is None else str(cell))) for cell in row))
    out().print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values, one a line."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        out().print(f"{name:<{width}}  {plain(str(value))}", markup=False)


def print_request(told: Mapping[str, Any]) -> None:
    """What somebody asked for: who and when, one a line, and then its exact words as they are decided about."""
    print_facts({name: value for name, value in told.items() if name != "request" and value is not None})
    out().print(plain(json.dumps(told["request"], ensure_ascii=False, sort_keys=True)), markup=False)


def note(line: str) -> None:
    """A line for the person at the terminal."""
    err().print(plain(line), markup=False)


def plain(text: str) -> str:
    """Text without control characters, which could move a terminal's cursor or rewrite what it shows."""
    return "".join(" " if char in "\n\r\t" else char if char.isprintable() or char == ZWJ else "�" for char in text)


def fail(error: TextkeepError, *, as_json: bool, kept: str = "") -> NoReturn:
    """Say what happened, what was kept safe and what to do next; end with the error's exit code."""
    if as_json:
        told: dict[str, Any] = {"error": getattr(error, "name", None) or getattr(error, "problem", "failed")}
        told.update(detail=error.detail, field=error.field, remedy=error.remedy, kept=kept or None)
        sys.stderr.write(json.dumps({name: value for name, value in told.items() if value}) + "\n")
    else:
        where = f" ({error.field})" if error.field else ""
        note(f"textkeep: {error.detail}{where}")
        if kept:
            note(f"  {kept}")
        if error.remedy:
            note(f"  {error.remedy}")
    raise typer.Exit(USAGE if isinstance(error, Malformed) else exit_code(error))


def reported(command: Callable[_P, None]) -> Callable[_P, None]:
    """Give a command its ends: every error in words, none with a traceback, none that quotes what was handled."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        as_json = bool(kwargs.get("as_json"))
        logs.configure()
        try:
            command(*args, **kwargs)
        except TextkeepError as error:
            fail(error, as_json=as_json)
        except KeyboardInterrupt:
            note("textkeep: interrupted. What was acknowledged is stored; run the command again to go on.")
            raise typer.Exit(FAILED) from None
        except BrokenPipeError:
            raise typer.Exit(FAILED) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception:  # noqa: BLE001  the outermost edge: no traceback, and no message that might quote
            _log.exception("the command ended on an unforeseen error")
            note(
                "textkeep: this is a fault of Textkeep. What was acknowledged is stored. Report it with the line above."
            )
            raise typer.Exit(FAILED) from None

    return run
