"""A source that does what docs/ingest.md asks of one: it sends a batch again until a receipt says that it is safe."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from types import TracebackType
from typing import Final, Self

import httpx

from tests.whole.living import STREAM, stream, text
from tests.whole.many_archives import PATIENCE, until

BATCH: Final = 20
PAUSE: Final = 0.04
"""Seconds between two batches: how fast it all goes is not the question here."""

WORD: Final = "pelican"
"""A word of every text."""

TURNED_AWAY: Final = frozenset({429, 503})


@dataclass
class Source:
    """Pushes texts of some days, one batch after the other, until the block ends; then its last batch is answered.

    `acknowledged` are the texts that receipts called accepted, or duplicates of what was sent before, by message id;
    `told` counts the statuses of all answers, and `newest` is the last of them; `without_delay` counts those that asked
    to come again and did not say when.
    """

    url: str
    token: str
    name: str
    days: Sequence[datetime]
    acknowledged: dict[str, str] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    told: Counter[int] = field(default_factory=Counter)
    without_delay: int = 0
    newest: int = 0
    failure: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(PATIENCE)
        if error is None:
            assert not self._thread.is_alive(), "a batch was never answered with a receipt"
            assert self.failure is None, self.failure

    def more(self, texts: int) -> None:
        """Wait until so many texts more are acknowledged."""
        wanted = len(self.acknowledged) + texts
        until(lambda: len(self.acknowledged) >= wanted or self.failure is not None, "no text is acknowledged any more")
        assert self.failure is None, self.failure

    def turned_away(self) -> int:
        """How often it was asked to come again."""
        return sum(self.told[status] for status in TURNED_AWAY)

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": STREAM}
        try:
            with httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE) as client:
                for number in count():
                    if self._stop.wait(PAUSE):
                        return
                    self._push(client, number)
        except BaseException as exc:  # noqa: BLE001 - told by whoever waits
            self.failure = exc

    def _push(self, client: httpx.Client, number: int) -> None:
        ids = [f"{self.name}-{number}-{place}" for place in range(BATCH)]
        body = stream(self._text(each, number * BATCH + place) for place, each in enumerate(ids))
        attempts = 0
        while True:
            answer = client.post("/v1/texts", content=body)
            attempts += 1
            self.newest = answer.status_code
            self.told[self.newest] += 1
            if answer.status_code not in TURNED_AWAY:
                break
            after = answer.headers.get("Retry-After")
            self.without_delay += after is None
            threading.Event().wait(float(after or 1))
        assert answer.status_code == 200, answer.text
        for each, item in zip(ids, answer.json()["items"], strict=True):
            self.outcomes[item["outcome"]] += 1
            # What came of an attempt without an answer was stored, or was not.
            assert item["outcome"] == "accepted" or (item["outcome"] == "duplicate" and attempts > 1), item
            self.acknowledged[each] = item["text_id"]

    def _text(self, message_id: str, number: int) -> dict[str, object]:
        sent_at = self.days[number % len(self.days)] - timedelta(milliseconds=number)
        return text(message_id, sent_at, body=f"{WORD} {message_id}")
