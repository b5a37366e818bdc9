"""Reading a text by its id, and the conversation around it: on record, with a reason, and only what may be seen."""

from collections.abc import Iterator
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
from textkeep.archive.shelf import expired
from textkeep.archive.text import Handle, TextId
from textkeep.archive.vault import Vault
from textkeep.clock import Clock
from textkeep.errors import Malformed, NotFound
from textkeep.search.finder import place_of
from textkeep.search.scan import Scans

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
        self, vault: Vault, scans: Scans, organisations: Organisations, activity: Activity, clock: Clock
    ) -> None:
        self._vault = vault
        self._scans = scans
        self._organisations = organisations
        self._activity = activity
        self._clock = clock

    def read(self, principal: Principal, text_id: str, *, reason: str) -> Opened:
        """One text. Raises Forbidden, ReasonRequired, and NotFound for what is absent, expired or another's."""
        require(principal, "texts.read", None)
        must_have_reason(reason)
        opened = self._found(principal, text_id, self._clock())
        self._activity.record(principal, "read", opened.org, {"text": str(opened.id), "reason": reason})
        return opened

    def conversation(
        self, principal: Principal, text_id: str, *, reason: str, before: int = 20, after: int = 20
    ) -> Conversation:
        """Up to so many texts before and after one, of the same two numbers in either direction, within the
        organisation and across days. Raises like `read`, and Malformed for numbers out of bounds."""
        require(principal, "texts.read", None)
        must_have_reason(reason)
        for name, count in (("before", before), ("after", after)):
            if not 0 <= count <= MAX_AROUND:
                raise Malformed(f"a conversation has 0 to {MAX_AROUND} texts on either side", field=name)
        now = self._clock()
        opened = self._found(principal, text_id, now)
        older = list(islice(self._beside(opened, before, now, oldest_first=False), before))[::-1]
        newer = list(islice(self._beside(opened, after, now, oldest_first=True), after))
        texts = (*older, opened, *newer)
        detail = {"text": str(opened.id), "reason": reason, "before": before, "after": after, "count": len(texts)}
        read_id = self._activity.record(principal, "conversation", opened.org, detail)
        return Conversation(read_id, opened, texts)

    def _found(self, principal: Principal, text_id: str, now: datetime) -> Opened:
        try:
            wanted = TextId.parse(text_id)
        except ValueError:
            raise NotFound("there is no such text") from None
        orgs = [org for org in self._organisations.all().values() if _may(principal, org)]
        opened = self._vault.read((org, wanted) for org in orgs).get(wanted)
        if opened is None or expired(opened.event.data.sent_at, now):
            raise NotFound("there is no such text")
        return opened

    def _beside(self, opened: Opened, count: int, now: datetime, *, oldest_first: bool) -> Iterator[Opened]:
        if count == 0:
            return
        data = opened.event.data
        pair = {data.from_, data.to}
        scan = self._scans.of_pair(
            opened.org, data.from_, data.to, first=count, now=now, after=place_of(opened), oldest_first=oldest_first
        )
        hits = scan.hits()
        while batch := list(islice(hits, count)):
            there = self._vault.read((opened.org, hit.id) for hit in batch)
            for hit in batch:
                text = there.get(hit.id)
                if text is None or expired(text.event.data.sent_at, now):
                    continue
                if {text.event.data.from_, text.event.data.to} == pair:
                    yield text


def _may(principal: Principal, org: Handle) -> bool:
    return isinstance(decide(principal, "texts.read", org), Allowed)
