"""The releases that the report of held texts names: two persons agreed on each, 24 hours before. Pure."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from .recount import Entries
from .report_form import UNKNOWN, Document, items, moment, number, text
from .step import Failed, NotShown

WAIT: Final = timedelta(hours=24)
"""How long after its approval a release takes effect."""

WRITING: Final = timedelta(minutes=1)
"""How long after it was decided when a hold ends the entry about that may have been written."""

Body = Mapping[str, Any]


def check_agreed(document: Document) -> str:
    """Whether, as the report says it, two persons agreed on each release 24 hours before the decision.

    Raises Failed, and NotShown for what the report does not know.
    """
    releases = items(document, "responsible.releases")
    if not releases:
        raise NotShown("the report names no release")
    for release in releases:
        hold = text(release, "hold")
        persons = text(release, "asked_by"), text(release, "approved_by")
        if UNKNOWN in persons:
            raise NotShown(f"{hold}: the report does not know who asked and who approved")
        if persons[0] == persons[1]:
            raise Failed(f"{hold}: one person asked for its release and approved it")
        effective = moment(text(release, "effective_at"))
        if effective - moment(text(release, "approved_at")) < WAIT:
            raise Failed(f"{hold}: its release took effect within 24 hours of its approval")
        if moment(str(document.get("committed_at"))) < effective:
            raise Failed(f"{hold}: it was decided what goes before its release took effect")
    return f"{len(releases)} releases, each by two persons, and 24 hours before"


def check_told(document: Document, entries: Entries) -> str:
    """Whether the ledger says the same of them. Raises Failed, and NotShown where the report does not know an entry."""
    releases = items(document, "responsible.releases")
    for release in releases:
        _told(release, entries.decisions, number(release, "entry"))
    return f"as {len(releases)} entries of releases and those of their approvals say"


def _told(release: Body, decisions: Mapping[int, Body], at: int) -> None:
    hold, said = text(release, "hold"), decisions.get(at, {})
    wanted = {name: release[name] for name in ("hold", "approval", "asked_by", "approved_by")}
    wanted |= {"kind": "release", "ends": release["effective_at"]}
    if any(said.get(name) != value for name, value in wanted.items()):
        raise Failed(f"{hold}: entry {at} does not say that it was released so")
    if moment(text(said, "ends")) - moment(text(said, "time")) < WAIT - WRITING:
        raise Failed(f"{hold}: entry {at} ends it within 24 hours")
    steps = {
        str(body.get("did")): body
        for index, body in sorted(decisions.items())
        if index <= at and body.get("kind") == "approval" and body.get("id") == release["approval"]
    }
    for did, by in (("asked", "asked_by"), ("approved", "approved_by")):
        body = steps.get(did, {})
        if (body.get("what"), body.get("subject"), body.get("by")) != ("release", hold, release[by]):
            raise Failed(f"{hold}: no entry says that {release[by]} {did} it")
