"""`textkeep-verify`, and what `textkeep verify` does: read the files, make the steps, say what came out. No network.

Exit codes: 0 verified, 1 a step failed or what was asked for could not be shown, 2 usage, 3 a file could not be read.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from .cosignature import Witness
from .note import NoteRefused, Verifier
from .paths import CHECKPOINT
from .published import Folder
from .step import Step, Verdict, verified
from .verify import PolicyRefused, verify

VERIFIED: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNREADABLE: Final = 3

CLAIM: Final = (
    "A verified report shows: this key signed it, the log contains it, it has not changed since a witness (or the"
    " holder of an earlier checkpoint) saw it, and its sets and totals agree. It does not show that no copy of a key"
    " exists, that the source sent everything, or that what a producer sent is true; without a witness the log binds"
    " only those who lack its key."
)
"""What may be claimed, and what not; said with every result."""

MARKS: Final[dict[Verdict, str]] = {"pass": "pass   ", "fail": "FAIL   ", "unknown": "unknown"}

_Key = TypeVar("_Key")


class UsageRefused(Exception):
    """What was asked for is not of its form."""


class FileUnreadable(Exception):
    """A file that is needed cannot be read; the message names it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to verify and by what; keys are verifier keys, or names of files that hold one."""

    report: Path
    keys: Sequence[str]
    proof: Path | None = None
    checkpoint: Path | None = None
    witnesses: Sequence[str] = ()
    chain: Path | None = None
    ledger: Path | None = None


def run(asked: Asked, *, as_json: bool, write: Callable[[str], object], complain: Callable[[str], object]) -> int:
    """Verify and print; gives the exit code. `write` gets the result, `complain` why there is none."""
    try:
        steps = steps_of(asked)
    except (UsageRefused, PolicyRefused) as refused:
        complain(f"textkeep verify: {refused}\n")
        return USAGE
    except FileUnreadable as missing:
        complain(f"textkeep verify: {missing}\n")
        return UNREADABLE
    write(in_json(steps) if as_json else in_words(steps))
    return VERIFIED if verified(steps) else FAILED


def steps_of(asked: Asked) -> list[Step]:
    """Read what is asked for and make the steps. Raises UsageRefused, PolicyRefused, FileUnreadable."""
    keys = [_key(each, "--key", Verifier.parse) for each in asked.keys]
    witnesses = [_key(each, "--witness", Witness.parse) for each in asked.witnesses]
    if not keys:
        raise PolicyRefused("no key was given: without one nothing can be verified. Name the log's with --key")
    if asked.ledger is not None:
        _read(asked.ledger / CHECKPOINT)
    return verify(
        _read(asked.report),
        _read(asked.proof or asked.report.with_suffix(".tlog-proof")),
        keys,
        old_checkpoint=None if asked.checkpoint is None else _read(asked.checkpoint),
        witnesses=witnesses,
        chain=None if asked.chain is None else _reports(asked.chain),
        ledger=None if asked.ledger is None else Folder(asked.ledger),
    )


def in_words(steps: Sequence[Step]) -> str:
    """A numbered list for people, and the result."""
    lines = []
    for step in steps:
        lines.append(f"{step.number:>2}. {MARKS[step.verdict]}  {step.name}: {_plain(step.reason)}")
        if step.verdict == "pass":
            lines.append(f"      shows: {step.shows}")
            lines.append(f"      does not show: {step.does_not_show}")
    amiss = [step for step in steps if not step.good]
    if amiss:
        named = ", ".join(f"{step.number} ({step.name})" for step in amiss)
        lines.append(f"NOT VERIFIED: see step {named}.")
        lines.append("Keep the report, its proof and every checkpoint you have as they are: they are evidence.")
    else:
        lines.append(f"VERIFIED. {_plain(steps[-1].reason).capitalize()}.")
        left = [step.name for step in steps if step.verdict == "unknown"]
        if left:
            lines.append(f"Not asked for, so not shown: {', '.join(left)}.")
    return "".join(f"{line}\n" for line in [*lines, CLAIM])


def in_json(steps: Sequence[Step]) -> str:
    """One JSON document for machines."""
    told = [
        {
            "number": step.number,
            "name": step.name,
            "verdict": step.verdict,
            "asked": step.asked,
            "reason": step.reason,
            "shows": step.shows,
            "does_not_show": step.does_not_show,
        }
        for step in steps
    ]
    return json.dumps({"verified": verified(list(steps)), "steps": told, "claim": CLAIM}) + "\n"


def parser() -> argparse.ArgumentParser:
    """The command line of the verifier on its own."""
    made = argparse.ArgumentParser(
        prog="textkeep-verify",
        description="Verify a purge report of a Textkeep archive, offline.",
        epilog="Exit codes: 0 verified, 1 not verified, 2 usage, 3 a file could not be read.",
    )
    made.add_argument("report", type=Path, metavar="REPORT", help="the report, SHELF.json")
    made.add_argument("--key", action="append", default=[], help="a key of the log that you trust, or a file with one")
    made.add_argument("--proof", type=Path, metavar="FILE", help="default: SHELF.tlog-proof beside the report")
    made.add_argument("--checkpoint", type=Path, metavar="OLD", help="a checkpoint of another time, to compare with")
    made.add_argument("--witness", action="append", default=[], metavar="KEY", help="a witness that must have cosigned")
    made.add_argument("--chain", type=Path, metavar="DIR", help="the folder of all reports")
    made.add_argument("--ledger", type=Path, metavar="DIR", help="the folder that `textkeep ledger export` wrote")
    made.add_argument("--json", action="store_true", help="print one JSON document")
    return made


def main() -> None:
    """`textkeep-verify`."""
    told = parser().parse_args()
    asked = Asked(told.report, told.key, told.proof, told.checkpoint, told.witness, told.chain, told.ledger)
    sys.exit(run(asked, as_json=told.json, write=sys.stdout.write, complain=sys.stderr.write))


def _key(written: str, option: str, parse: Callable[[str], _Key]) -> _Key:
    try:
        return parse(written)
    except NoteRefused as refused:
        why = str(refused)
    if written.count("+") < 2:
        try:
            return parse(_read(Path(written)).decode("utf-8", "replace"))
        except NoteRefused as refused:
            why = str(refused)
    raise UsageRefused(f"{option}: {why}")


def _reports(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise FileUnreadable(f"{folder} is no folder")
    return {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no file"
        raise FileUnreadable(f"{path} cannot be read: {why}") from None


def _plain(text: str) -> str:
    """Without control characters, which could rewrite what a terminal shows."""
    return "".join(char if char.isprintable() else "?" for char in text)


if __name__ == "__main__":
    main()
