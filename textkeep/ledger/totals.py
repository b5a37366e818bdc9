"""Whether a report agrees with itself: totals, roots, times, verdict. Pure; each check gives a reason or raises."""

from itertools import pairwise
from typing import Final

from .report_form import UNKNOWN, Document, counts, day, digest, due, indices, items, member, moment, number, text
from .step import Failed, NotShown
from .tree import EMPTY

_PARTS: Final = ("kept", "destroyed", "lost")


def check_totals(document: Document) -> str:
    """taken = kept + destroyed + lost; organisations add up; roots that must be equal are. Raises Failed, NotShown."""
    if document["kind"] == "missed-run":
        return "a day without a run has no totals: nothing was destroyed"
    taken = number(document, "totals.taken")
    kept, destroyed, lost = (number(document, f"totals.{part}") for part in _PARTS)
    if taken != kept + destroyed + lost:
        raise Failed(f"taken {taken} is not kept {kept} + destroyed {destroyed} + lost {lost}")
    if number(document, "totals.versions") > taken:
        raise Failed("there are more versions than texts and versions together")
    _organisations(document, taken)
    _roots(document)
    _quarantine(document)
    for part in ("slices", "quarantine", "refusals"):
        indices(document, f"{part}.entries")
    return f"taken {taken} = kept {kept} + destroyed {destroyed} + lost {lost}"


def _organisations(document: Document, taken: int) -> None:
    organisations = items(document, "organisations")
    if len({text(each, "org") for each in organisations}) != len(organisations):
        raise Failed("an organisation is named twice")
    wanted = {"taken_texts": taken - number(document, "totals.versions")}
    wanted |= {"taken_versions": number(document, "totals.versions"), "found": number(document, "totals.found")}
    told = [part for part in _PARTS if any(each.get(part, UNKNOWN) != UNKNOWN for each in organisations)]
    wanted |= {part: number(document, f"totals.{part}") for part in told}
    for part, whole in wanted.items():
        added = sum(number(each, part) for each in organisations)
        if added != whole:
            raise Failed(f"the organisations' {part} add up to {added}, the total says {whole}")
    if len(told) == len(_PARTS):
        for each in organisations:
            if number(each, "taken_texts") + number(each, "taken_versions") != sum(number(each, p) for p in _PARTS):
                raise Failed("of one organisation, taken is not kept + destroyed + lost")


def _roots(document: Document) -> None:
    told = member(document, "roots")
    if not isinstance(told, dict):
        raise Failed("roots is no object")
    lost = number(document, "totals.lost")
    # of a part of what was lost nobody can tell the root; the report may say so of that, and of nothing else
    names = [name for name in ("taken", "found", "kept", "destroyed") if not (lost and told.get(name) == UNKNOWN)]
    roots = {name: digest(document, f"roots.{name}") for name in names}
    if not lost and roots["found"] != roots["taken"]:
        raise Failed("nothing was lost, and what was found has another root than what was taken")
    for name in ("taken", "kept", "destroyed"):
        if not number(document, f"totals.{name}") and roots.get(name, EMPTY.hex()) != EMPTY.hex():
            raise Failed(f"nothing was {name}, and its root is not that of nothing")
    if not number(document, "totals.kept") + lost and roots["destroyed"] != roots["taken"]:
        raise Failed("all that was taken was destroyed, and the two have different roots")


def _quarantine(document: Document) -> None:
    taken = number(document, "quarantine.taken")
    if document["kind"] == "day" and sum(counts(document, "quarantine.reasons").values()) != taken:
        raise Failed("the reasons of quarantined records do not add up")
    parts = ("waiting", "returned", "kept", "destroyed", "lost")
    if all(part in member(document, "quarantine") for part in parts[:-1]):
        told = sum(number(document, f"quarantine.{part}") for part in parts if part in document["quarantine"])
        if told != taken:
            raise Failed(f"quarantined {taken} is not waiting + returned + kept + destroyed, {told}")
    for part in ("reasons", "producers"):
        if sum(counts(document, f"refusals.{part}").values()) != number(document, "refusals.count"):
            raise Failed(f"the {part} of refusals do not add up")


def check_times(document: Document) -> str:
    """Opened, committed, closed and reported follow each other, and a day is closed when it is due, no earlier.

    Raises Failed, and NotShown for a moment that the report does not know.
    """
    if document["kind"] == "missed-run":
        if moment(str(member(document, "reported_at"))).date() <= day(document["day"]):
            raise Failed("the day was reported as one without a run before it was over")
        return "a day without a run closes nothing"
    named = ("opened_at", "committed_at", "closed_at", "reported_at")
    known = [(name, moment(str(document.get(name)))) for name in named if document.get(name) != UNKNOWN]
    for (earlier, first), (later, second) in pairwise(known):
        if first > second:
            raise Failed(f"{later} is before {earlier}")
    missing = [name for name in ("opened_at", "committed_at") if name not in dict(known)]
    if missing:
        raise NotShown(f"the report does not know {missing[0]}")
    if document["kind"] != "day":
        return f"opened {document['opened_at']}, committed {document['committed_at']}"
    when = due(day(document["shelf"]))
    if moment(str(member(document, "cutoff.due_at"))) != when:
        raise Failed("the moment it names as due is not 400 days after the end of the day")
    if dict(known)["opened_at"] < when:
        raise Failed("the purge was opened before the day's last text was 400 days old")
    return f"due {document['cutoff']['due_at']}, opened {document['opened_at']}, committed {document['committed_at']}"


def check_verdict(document: Document) -> str:
    """The verdict is no better than the worst of the report's own lines. Raises Failed."""
    if document["kind"] == "missed-run":
        if document["verdict"] != "fail":
            raise Failed("a day without a run is reported as anything but `fail`")
        return "the report itself says: fail (no run was made on that day)"
    lines = [*items(document, "steps"), *(items(document, "readback") if document.get("readback") != UNKNOWN else [])]
    found = {text(each, "verdict") for each in lines}
    if document.get("readback") == UNKNOWN:
        found.add("unknown")
    if not found <= {"pass", "fail", "unknown", "none"}:
        raise Failed("a line of the report has no verdict")
    lost = 0
    for name in ("totals.lost", "totals.strays", "quarantine.lost"):
        try:
            lost += number(document, name)
        except NotShown:
            found.add("unknown")
    worst = "fail" if "fail" in found or lost else "unknown" if "unknown" in found else "pass"
    order = ("pass", "unknown", "fail")
    if order.index(document["verdict"]) < order.index(worst):
        raise Failed(f"it says {document['verdict']} of itself, and its own lines say {worst}")
    return f"the report itself says: {document['verdict']}"
