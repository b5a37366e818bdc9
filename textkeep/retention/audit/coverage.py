"""Audit of the index: what it holds of each open shelf, compared with the texts now and not read from what is noted."""

from typing import Final

from sqlalchemy import Connection, func, select

from textkeep.errors import NotFound, Outage
from textkeep.retention.audit.findings import Finding, Line
from textkeep.search.comparing import Comparing
from textkeep.store.tables import shelves, slices

LOOKS: Final = 2
"""How often a difference is looked at: an index that is being put in another's place looks like one for a moment."""

MEND: Final = "the hourly comparison mends it, `textkeep rebuild --shelf {shelf}` at once"


def shelves_with_texts(connection: Connection) -> dict[str, int]:
    """The open shelves that have texts, and how many by their slices."""
    number = func.sum(slices.c.accepted + slices.c.versions)
    wanted = (
        select(slices.c.shelf, number)
        .join(shelves, shelves.c.name == slices.c.shelf)
        .where(shelves.c.state == "open")
        .group_by(slices.c.shelf)
        .order_by(slices.c.shelf)
    )
    return {shelf: int(count) for shelf, count in connection.execute(wanted).tuples() if count}


def coverage(comparing: Comparing | None, shelf: str, number: int) -> list[Finding]:
    """What the index holds of a shelf of so many texts. Without an index, or an answer of it, that is `unknown`."""
    line = Line("index coverage", shelf)
    if comparing is None:
        line.doubt("no index was at hand to compare with")
        return line.findings("")
    try:
        found = comparing.compare(shelf)
        for _ in range(LOOKS - 1):
            if found.missing or found.strays or found.altered:
                found = comparing.compare(shelf)
    except NotFound:
        return []  # its purge has begun since
    except Outage:
        line.doubt("the index did not answer; run this again when `textkeep doctor` says that it does")
        return line.findings("")
    if found.missing or found.strays or found.altered:
        line.fail(
            f"{found.missing} of {found.expected} texts cannot be found, {found.strays} are there that are none,"
            f" {found.altered} of a sample are not what was indexed; {MEND.format(shelf=shelf)}"
        )
    elif found.expected < number:
        line.doubt(f"{number - found.expected} of {number} texts wait to be indexed: a follower does that")
    return line.findings(f"the index holds exactly the {found.expected} texts of the shelf")
