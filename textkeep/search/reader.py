"""Reading a text by its id, and the conversation around it: on record, with a reason, and only what may be seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from textkeep.access.principal import Principal
from textkeep.access.reasons import must_have_reason
from textkeep.access.rules import Allowed, decide, require
from textkeep.archive.activity import Activity
from textkeep.archive.organisations import Organisations
from textkeep.archive.rows import Opened
from textkeep.archive.text import Handle, TextId
from textkeep.archive.vault import Vault
from textkeep.clock import Clock
from textkeep.errors import Malformed, NotFound
from textkeep.search.finder import place_of, visible
from textkeep.search.held import HeldBy, NamedHold, NothingHeld
from textkeep.search.held_scan import HeldScan, HeldScans
from textkeep.search.scan import Scan, Scans

MAX_AROUND: Final = 200
"""Texts of a conversation on either side."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What two numbers wrote each other around a text, in the order it was sent; the text itself is among them."""

    read_id: str
    text: Opened
    texts: tuple[Opened, ...]


class Reader:
    """Opens single texts and conversations."""

    def __init__(
        self,
        vault: Vault,
        scans: Scans,
        organisations: Organisations,
        activity: Activity,
        clock: Clock,
        held_scans: HeldScans,
        holds: HeldBy | None = None,
    ) -> None:
        self._vault = vault
        self._scans = scans
        self._held_scans = held_scans
        self._holds = holds or NothingHeld()
        self._organisations = organisations
        self._activity = activity
        self._clock = clock

    def read(self, principal: Principal, text_id: str, *, reason: str, hold: str | None = None) -> Opened:
        """One text; with the id of a `hold` one that it covers, however old.

        Raises Forbidden, ReasonRequired, and NotFound for what is absent, expired, another's, or not covered.
        """
        require(principal, "texts.read", None)
        must_have_reason(reason)
        opened, _ = self._found(principal, text_id, self._clock(), hold)
        said = {"text": str(opened.id), "reason": reason, **({} if hold is None else {"hold": hold})}
        self._activity.record(principal, "read", opened.org, said)
        return opened

    def held_by(self, texts: Sequence[Opened]) -> list[list[str]]:
        """For each of some texts of one organisation the holds that cover it."""
        return self._holds.held_by(texts[0].org, texts) if texts else []

    def conversation(
        self,
        principal: Principal,
        text_id: str,
        *,
        reason: str,
        before: int = 20,
        after: int = 20,
        hold: str | None = None,
    ) -> Conversation:
        """Up to so many texts before and after one, of the same two numbers in either direction, within the
        organisation and across days; with a `hold` those that it covers. Raises like `read`, and Malformed for numbers
        out of bounds."""
        require(principal, "texts.read", None)
        must_have_reason(reason)
        for name, count in (("before", before), ("after", after)):
            if not 0 <= count <= MAX_AROUND:
                raise Malformed(f"a conversation has 0 to {MAX_AROUND} texts on either side", field=name)
        now = self._clock()
        opened, named = self._found(principal, text_id, now, hold)
        older = list(islice(self._beside(opened, before, now, named, oldest_first=False), before))[::-1]
        newer = list(islice(self._beside(opened, after, now, named, oldest_first=True), after))
        texts = (*older, opened, *newer)
        detail = {"text": str(opened.id), "reason": reason, "before": before, "after": after, "count": len(texts)}
        if hold is not None:
            detail["hold"] = hold
        read_id = self._activity.record(principal, "conversation", opened.org, detail)
        return Conversation(read_id, opened, texts)

    def _found(
        self, principal: Principal, text_id: str, now: datetime, hold: str | None
    ) -> tuple[Opened, NamedHold | None]:
        try:
            wanted = TextId.parse(text_id)
        except ValueError:
            raise NotFound("there is no such text") from None
        orgs = [org for org in self._organisations.all().values() if _may(principal, org)]
        named = None
        if hold is not None:
            require(principal, "holds.read", None)
            named = self._holds.named(principal, hold)
            orgs = [org for org in orgs if org == named.org]
        opened = self._vault.read(((org, wanted) for org in orgs), held=named is not None).get(wanted)
        if opened is None or not visible(opened, now, named):
            raise NotFound("there is no such text")
        return opened, named

    def _beside(
        self, opened: Opened, count: int, now: datetime, named: NamedHold | None, *, oldest_first: bool
    ) -> Iterator[Opened]:
        if count == 0:
            return
        data = opened.event.data
        pair = {data.from_, data.to}
        hits = self._scan(opened, count, now, named, oldest_first).hits()
        while batch := list(islice(hits, count)):
            there = self._vault.read(((opened.org, hit.id) for hit in batch), held=named is not None)
            for hit in batch:
                text = there.get(hit.id)
                if text is None or not visible(text, now, named):
                    continue
                if {text.event.data.from_, text.event.data.to} == pair:
                    yield text

    def _scan(
        self, opened: Opened, count: int, now: datetime, named: NamedHold | None, oldest_first: bool
    ) -> Scan | HeldScan:
        one, other, after = opened.event.data.from_, opened.event.data.to, place_of(opened)
        if named is not None:
            return self._held_scans.of_pair(opened.org, one, other, first=count, after=after, oldest_first=oldest_first)
        return self._scans.of_pair(opened.org, one, other, first=count, now=now, after=after, oldest_first=oldest_first)


def _may(principal: Principal, org: Handle) -> bool:
    return isinstance(decide(principal, "texts.read", org), Allowed)
