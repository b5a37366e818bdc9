"""What somebody does to OpenSearch behind Textkeep's back is found and undone, and a late write revives nothing."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg
import pytest

from tests.engines import need
from tests.engines.indices import client, prefixed
from tests.housing import SetClock
from tests.search.indexes import TamperedOpenSearch, altered, document
from tests.search.misbehaving import Exchange, misbehaving
from tests.service.many import Many, Shared, sharing
from tests.whole import living
from tests.whole.many_archives import in_index, in_vault, until, until_equal
from textkeep.archive.shelf import Day
from textkeep.archive.text import TextId
from textkeep.errors import Outage
from textkeep.service.parts import Part
from textkeep.service.wiring import Archive

NOW: Final = datetime.now(UTC)
RECENT: Final = [Day.of(NOW).plus(-number) for number in range(1, 6)]
PURGED: Final = "2001-02-03"
"""A day of which an index stands there, and that no archive ever had."""

THEN: Final = datetime.combine(NOW.date(), datetime.min.time(), UTC).replace(hour=12)
GOING: Final = Day.of(THEN).plus(-400)
"""The day that is due at the next midnight of THEN."""

KEEPING: Final[tuple[Part, ...]] = ("keep",)
FOLLOWING: Final[tuple[Part, ...]] = ("follow",)


@pytest.fixture
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shared]:
    """An archive without content, whose index is on a node that others use too."""
    with (
        prefixed(need(request, "opensearch").address) as index,
        sharing(request, tmp_path / "archive", index) as made,
    ):
        yield made


def load(archive: Archive, moments: list[datetime]) -> list[TextId]:
    """Texts sent at these moments, not yet findable."""
    living.register(archive, [living.organisation(), living.location(), living.user("u-1", "+12125550101")])
    records = [living.text(f"t-{at}", each, body=f"heron number{at}") for at, each in enumerate(moments)]
    (receipt,) = archive.intake.take(archive.local, [[json.dumps(each).encode() for each in records]])
    assert receipt.accepted == len(moments), receipt
    return [TextId.parse(str(item.text_id)) for item in receipt.items]


def tamper(index: TamperedOpenSearch, ids: list[TextId]) -> None:
    """Take out, put in and alter documents of several days, remove an index, and bring one back."""
    by_day: dict[str, list[TextId]] = {}
    for each in ids:
        by_day.setdefault(each.day.isoformat(), []).append(each)
    lacking, stray, other, gone, _ = sorted(by_day)
    for each in by_day[lacking][:3]:
        index.delete(lacking, each)
    for number in range(3):
        index.insert(stray, document(TextId(date.fromisoformat(stray), bytes([number]) * 16, 1)))
    for each in by_day[other][:2]:
        altered(index, other, each)
    index.drop(gone)
    index.create([PURGED])
    index.insert(PURGED, document(TextId(date.fromisoformat(PURGED), bytes(16), 1)))


def test_the_keeper_finds_what_was_done_to_five_days_and_makes_it_right(shared: Shared) -> None:
    with closing(Archive.open(shared.service)) as archive:
        ids = load(archive, [day.start() + timedelta(hours=1 + hour) for day in RECENT for hour in range(8)])
        while archive.follower.step():
            continue
    with closing(TamperedOpenSearch(str(shared.service.index_url))) as index, ExitStack() as opened:
        assert in_index(index.where) == in_vault(shared.owner.database)
        right = found(index, ids)
        assert set(right) == {1}
        tamper(index, ids)
        assert in_index(index.where) != in_vault(shared.owner.database)
        assert 0 in found(index, ids)
        many = Many(shared, opened)
        many.start("keep").greeted()
        many.start("follow").greeted()  # what lies in no index at all is the follower's to write again
        until_equal(shared)
        until(lambda: found(index, ids) == right, "an altered document is still there")
        until(lambda: len(coverage(shared)) == len(RECENT) + 1, "not every day was compared")
    assert PURGED not in in_index(str(shared.service.index_url))
    assert sorted(coverage(shared).values()) == sorted(
        [(0, 0, 0), (0, 0, 2), (0, 1, 0), (0, 3, 0), (3, 0, 0), (8, 0, 0)]
    )


def found(index: TamperedOpenSearch, ids: list[TextId]) -> list[int]:
    """For each text, how many documents of it there are that a search could find."""
    asked = {"size": 1000, "query": {"term": {"terms": "direction:outbound"}}, "docvalue_fields": ["text"]}
    address, _, prefix = index.where.rpartition("/")
    there: Counter[str] = Counter()
    with client(address) as node:
        for day in sorted({each.day for each in ids}):
            told = node.post(f"/{prefix}-{day}/_search", params={"ignore_unavailable": "true"}, json=asked)
            there.update(hit["fields"]["text"][0] for hit in told.raise_for_status().json()["hits"]["hits"])
    return [there[f"{each.day:%Y%m%d}{each.tag.hex()}{each.version:08x}"] for each in ids]


def coverage(shared: Shared) -> dict[str, tuple[int, int, int]]:
    """What the keeper has published of each day: missing, strays, altered."""
    with psycopg.connect(shared.owner.database) as connection:
        rows = connection.execute("SELECT shelf, missing, strays, altered FROM coverage").fetchall()
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


@dataclass
class Late:
    """A bulk that is on its way for as long as it is wanted; `answer` is what the engine said in the end."""

    held: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)
    answer: tuple[int, bytes] = (0, b"")

    def __call__(self, exchange: Exchange) -> tuple[int, bytes]:
        self.held.set()
        self.released.wait()
        self.answer = exchange.forward()
        self.answered.set()
        return self.answer


@pytest.mark.parametrize("purged_before", [True, False])
def test_a_bulk_that_arrives_after_the_purge_revives_nothing(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, purged_before: bool
) -> None:
    """With the purge left out the same bulk is written: what keeps it out otherwise is the purge."""
    monkeypatch.setattr("textkeep.search.drivers.opensearch_http.READ_SECONDS", 2.0)
    clock, late = SetClock(THEN), Late()
    with misbehaving(str(shared.service.index_url)) as proxy, ExitStack() as opened:
        keeper = opened.enter_context(closing(Archive.open(shared.service, clock)))
        keeper.mark.tick()
        load(keeper, [GOING.end() - timedelta(minutes=minute) for minute in range(1, 40)])
        keeper.index.create([GOING.shelf])
        slow = shared.service.model_copy(update={"index_url": proxy.url})
        follower = opened.enter_context(closing(Archive.open(slow, clock, parts=FOLLOWING, kind="follow")))
        opened.callback(late.released.set)
        proxy.next("_bulk", late)
        with pytest.raises(Outage):
            follower.follower.step()
        assert late.held.is_set()
        if purged_before:
            clock.now = GOING.due() + timedelta(minutes=1)
            result = keeper.purge.run()
            assert [(day.day, day.state, day.destroyed) for day in result.days] == [(GOING.shelf, "reported", 39)]
        late.released.set()
        assert late.answered.wait(60)
        items = json.loads(late.answer[1])["items"]
        written = [item for item in items if 200 <= item["index"]["status"] < 300]
        assert (len(items), len(written)) == (39, 0 if purged_before else 39)
        assert keeper.index.exists(GOING.shelf) is not purged_before
        if purged_before:
            assert GOING.shelf not in keeper.index.shelves()
            assert follower.follower.step() == 0
            assert keeper.index.shelves() == set()
