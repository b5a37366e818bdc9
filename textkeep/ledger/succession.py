"""The chain of reports: each names the one before, and none is missing between the first and the last. Pure."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from .report_form import Document, day, name_of, parse_report
from .step import Failed

_KEPT: Final = re.compile(r"(kept-[0-9a-f]{16})-([1-9][0-9]*|0)", re.ASCII)


def check_chain(reports: Mapping[str, bytes], content: bytes, ledger: Mapping[int, Mapping[str, Any]] | None) -> str:
    """Follow the reports, by file name without `.json`, from the first to the last. `content` is the one verified.

    `ledger` are the entries that speak of reports, by index, or None. Raises Failed.
    """
    named = {name: _parsed(name, each) for name, each in reports.items()}
    order = _in_order(named, {name: hashlib.sha256(each).hexdigest() for name, each in reports.items()})
    if content not in reports.values():
        raise Failed("the report is not one of the folder's")
    _numbers(named[name] for name in order)
    _days(named[name] for name in order)
    _generations(named[name] for name in order)
    if ledger is not None:
        _as_the_ledger_says([(name, hashlib.sha256(reports[name]).hexdigest()) for name in order], ledger)
    return f"{len(order)} reports, from {order[0]} to {order[-1]}, none missing between them"


def _parsed(name: str, content: bytes) -> Document:
    try:
        document = parse_report(content)
        told = name_of(document)
    except Failed as failed:
        raise Failed(f"{name}: {failed}") from None
    if told != name:
        raise Failed(f"{name} is the report of {told}")
    return document


def _in_order(named: Mapping[str, Document], digests: Mapping[str, str]) -> list[str]:
    after: dict[str | None, str] = {}
    for name, document in named.items():
        previous = document.get("previous")
        if previous in after:
            raise Failed(f"{after[previous]} and {name} both follow the same report")
        after[previous] = name
    if None not in after:
        raise Failed("the first report, which follows none, is not in the folder")
    order = [after[None]]
    while (following := after.get(digests[order[-1]])) is not None:
        order.append(following)
    left = sorted(named.keys() - set(order))
    if left:
        raise Failed(f"the report that {left[0]} follows is not in the folder, or is another one than it names")
    return order


def _numbers(documents: Iterable[Document]) -> None:
    numbers = [document["number"] for document in documents if document["kind"] != "missed-run"]
    if sorted(numbers) != list(range(1, len(numbers) + 1)):
        missing = min(set(range(1, len(numbers) + 1)) - set(numbers))
        raise Failed(f"the reports' numbers have a gap or come twice: see number {missing}")


def _days(documents: Iterable[Document]) -> None:
    days = sorted(day(document["shelf"]) for document in documents if document["kind"] == "day")
    for earlier, later in pairwise(days):
        if (later - earlier).days != 1:
            raise Failed(f"between {earlier} and {later} there are days without a report")


def _generations(documents: Iterable[Document]) -> None:
    """The shelves of held texts go in the order of their generations, from the first."""
    last: dict[str, int] = {}
    for document in documents:
        if document["kind"] != "release":
            continue
        found = _KEPT.fullmatch(document["shelf"])
        if found is None:
            raise Failed("a release is of a shelf that holds no kept texts")
        generation = int(found[2])
        if found[1] in last and generation != last[found[1]] + 1:
            raise Failed(f"{found[1]}: generation {generation} was released after {last[found[1]]}")
        last[found[1]] = generation


def _as_the_ledger_says(order: list[tuple[str, str]], ledger: Mapping[int, Mapping[str, Any]]) -> None:
    """Each entry about a report, in its order, is of the next report; later reports may not be in the ledger yet."""
    told = [(str(body.get("name")), str(body.get("report"))) for _, body in sorted(ledger.items())]
    if len(told) > len(order):
        raise Failed(f"the ledger speaks of {len(told)} reports, the folder has {len(order)}")
    for said, there in zip(told, order, strict=False):
        if said != there:
            raise Failed(f"the ledger's entries speak of {said[0]} where the chain has {there[0]}, or of other bytes")
