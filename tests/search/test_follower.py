"""The follower: what the vault took becomes findable, once, whatever happens in between."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from sqlalchemy import select, update

from tests.housing import House, event
from tests.search.followed import SHELF, damage, ids, mend, segments, text_ids
from tests.search.indexes import Tampered
from tests.search.searching import Searching
from tests.search.wrapping import Wrapped
from textkeep.archive.shelf import State
from textkeep.errors import Outage
from textkeep.search import damaged
from textkeep.search import follower as follower_module
from textkeep.search import vocabulary as vocabulary_module
from textkeep.search.follower import Follower
from textkeep.search.index import Addition, IndexDriver
from textkeep.search.vocabulary import LOOK_EVERY, MAX_SEGMENTS
from textkeep.store.tables import papers_of, slices

pytestmark = pytest.mark.parametrize(
    ("house", "index"),
    [("sqlite", "embedded"), ("memory", "embedded"), ("postgresql", "embedded"), ("postgresql", "opensearch")],
    indirect=True,
)


@pytest.fixture
def searching(house: House, index: Tampered) -> Searching:
    return Searching.build(house, index)


def test_what_was_taken_is_not_findable_until_the_follower_came(searching: Searching) -> None:
    receipt = searching.take(event(1, body="tea"))
    assert searching.bodies("tea") == []
    assert searching.house.vault.oldest_unindexed() == searching.house.clock()
    assert searching.follower.step() == 1
    assert searching.bodies("tea") == ["tea"]
    assert ids(searching) == text_ids(receipt)
    assert searching.house.vault.oldest_unindexed() is None
    assert searching.follower.step() == 0


def test_every_text_of_every_day_and_organisation_is_indexed(searching: Searching) -> None:
    records = [
        event(number, org_id=f"org-{number % 3}", sent_at=f"2026-11-{1 + number % 7:02d}T10:00:00Z")
        for number in range(120)
    ]
    receipts = [searching.take(*records[start : start + 30]) for start in range(0, 120, 30)]
    assert searching.follow() == 120
    indexed = {each for day in range(1, 8) for each in ids(searching, f"2026-11-{day:02d}")}
    assert indexed == text_ids(*receipts)


def test_a_step_is_bounded(searching: Searching, index: Tampered) -> None:
    index.step_texts = 10
    for start in range(0, 40, 4):
        searching.take(*(event(number) for number in range(start, start + 4)))
    steps = []
    while step := searching.follower.step():
        steps.append(step)
    assert steps == [8, 8, 8, 8, 8]


def test_the_vocabulary_holds_distinct_words_and_numbers_sorted(searching: Searching) -> None:
    searching.take(event(1, body="Tea, tea & Coffee"), event(2, body="more tea"), event(3, org_id="org-002"))
    searching.follow()
    assert segments(searching) == [(["coffee", "more", "tea"], ["+12125550101", "+13125550102"])]


def test_many_segments_become_one(searching: Searching) -> None:
    for number in range(MAX_SEGMENTS + LOOK_EVERY):
        searching.take(event(number, body=f"word{number:03d} tea"))
        searching.follower.step()
    assert len(segments(searching)) == 1 + (MAX_SEGMENTS + LOOK_EVERY) % LOOK_EVERY
    expected = sorted([*(f"word{number:03d}" for number in range(MAX_SEGMENTS + LOOK_EVERY)), "tea"])
    assert segments(searching)[0][0] == expected
    assert len(searching.bodies("word00*")) == 10
    assert len(segments(searching)) <= MAX_SEGMENTS


def test_an_earlier_version_is_found_as_rewritten(searching: Searching) -> None:
    first = event(1, body="the first tea")
    searching.take(first)
    searching.follow()
    assert searching.bodies("flag:rewritten") == []
    searching.take(event(1, body="the second tea"))
    searching.follow()
    assert sorted(searching.bodies("flag:rewritten")) == ["the first tea", "the second tea"]
    assert searching.bodies("flag:rewritten first") == ["the first tea"]
    assert len(ids(searching)) == 2


def test_versions_that_are_taken_together_are_found_as_rewritten(searching: Searching) -> None:
    searching.take(event(1, body="one"), event(1, body="two"), event(1, body="two", disposition="failed"))
    searching.follow()
    assert sorted(searching.bodies("flag:rewritten")) == ["one", "two"]
    assert searching.bodies("flag:updated") == ["two"]


class Failing(Wrapped):
    """An index that fails after it wrote, as a crash between two commits does."""

    def __init__(self, index: IndexDriver) -> None:
        super().__init__(index)
        self.fails = False
        self.failed = threading.Event()

    def add(self, additions: Sequence[Addition]) -> None:
        self.index.add(additions)
        if self.fails:
            self.failed.set()
            raise Outage("the index went away")


def test_a_step_that_was_cut_off_is_done_again_and_adds_nothing_twice(house: House, index: Tampered) -> None:
    failing = Failing(index)
    searching = Searching.build(house, failing)
    receipt = searching.take(event(1, body="tea"), event(2, body="coffee"))
    failing.fails = True
    with pytest.raises(Outage):
        searching.follower.step()
    assert segments(searching) == []
    failing.fails = False
    more = searching.take(event(3, body="milk"))
    assert searching.follow() == 3
    assert ids(searching) == text_ids(receipt, more)
    assert sorted(searching.bodies("t* OR c* OR m*")) == ["coffee", "milk", "tea"]


def test_the_thread_waits_out_failures_and_goes_on(
    house: House, index: Tampered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "BACK_OFF", (0.001,))
    heard: list[str] = []
    failing = Failing(index)
    searching = Searching.build(house, failing)
    running = Follower(
        house.store,
        house.shelves,
        house.vault,
        searching.vocabulary,
        searching.tokens,
        failing,
        house.clock,
        failed=lambda error: heard.append(error.problem),
    )
    searching.take(event(1, body="tea"))
    failing.fails = True
    with following(running):
        assert failing.failed.wait(30)
        failing.fails = False
        while house.vault.oldest_unindexed() is not None:
            running.wake()
    assert searching.bodies("tea") == ["tea"]
    assert "outage" in heard


def test_the_thread_is_woken_and_stops(searching: Searching) -> None:
    with following(searching.follower):
        searching.take(event(1, body="tea"))
        searching.follower.wake()
        while searching.house.vault.oldest_unindexed() is not None:
            threading.Event().wait(0.001)
    searching.take(event(2, body="tea"))
    assert searching.bodies("tea") == ["tea"]


@contextmanager
def following(follower: Follower) -> Iterator[None]:
    """The follower in a thread of its own, as the service runs it."""
    stop = threading.Event()
    thread = threading.Thread(target=follower.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        follower.wake()
        thread.join()


def test_a_shelf_whose_purge_has_begun_is_left_alone(searching: Searching) -> None:
    searching.take(event(1, body="tea"))
    with searching.house.store.transaction() as connection:
        searching.house.shelves.set_state(connection, SHELF, "intent")
    assert searching.follower.step() == 0
    assert not searching.index.exists(SHELF)


def test_a_damaged_text_holds_up_nothing_but_its_slice(searching: Searching, index: Tampered) -> None:
    index.step_texts = 2
    bad = searching.take(event(1, body="tea"), event(2, body="tea"))
    damage(searching.house, sorted(text_ids(bad))[0])
    for number in range(3, 8):
        searching.take(event(number, body=f"coffee {number}"))
    assert searching.follow() == 5
    assert searching.follower.damaged == 1
    assert len(searching.bodies("coffee")) == 5
    assert searching.house.vault.oldest_unindexed() is not None, "what cannot be found yet is never called findable"


def published(house: House) -> set[int]:
    with house.store.reading() as connection:
        return damaged.published(connection)


def test_every_process_knows_what_does_not_become_findable_until_it_does(searching: Searching) -> None:
    house = searching.house
    bad = searching.take(event(1, body="tea"))
    whole = damage(house, next(iter(text_ids(bad))))
    assert searching.follow() == 0
    house.clock.forward(seconds=1)
    searching.take(event(2, body="coffee"))
    known = published(house)
    assert len(known) == 1
    assert house.vault.oldest_unindexed(apart_from=known) == house.clock()
    assert Searching.build(house, searching.index).follow() == 1
    assert house.vault.oldest_unindexed(apart_from=known) is None
    assert published(house) == known, "another follower finds the same"
    mend(house, next(iter(text_ids(bad))), whole)
    assert Searching.build(house, searching.index).follow() == 1
    assert published(house) == set()


def test_followers_that_find_different_slices_damaged_publish_all_of_them(searching: Searching) -> None:
    house = searching.house
    for number in (1, 2):
        bad = searching.take(event(number, body="tea"))
        damage(house, next(iter(text_ids(bad))))
        assert Searching.build(house, searching.index).follow() == 0
        assert len(published(house)) == number
    set_state(house, "intent")
    assert published(house) == set(), "a day that is being purged waits for nothing"


def set_state(house: House, state: State) -> None:
    with house.store.transaction() as connection:
        house.shelves.set_state(connection, SHELF, state)


def test_thin_slices_over_many_days_are_taken_by_the_shelf_and_the_oldest_is_never_passed_over(
    searching: Searching, index: Tampered
) -> None:
    index.step_texts = 8
    for number in range(8):  # a backfill: each batch has one text of each of 8 days
        searching.house.clock.forward(seconds=1)
        searching.take(*(event(100 * number + day, sent_at=f"2026-11-{day:02d}T10:00:00Z") for day in range(1, 9)))
    waited, touched = [], []
    while (oldest := searching.house.vault.oldest_unindexed()) is not None:
        waited.append(oldest)
        before = marked(searching)
        assert searching.follower.step() == 8
        touched.append(len({shelf for shelf, _ in marked(searching) - before}))
    assert touched == [1] * 8
    assert waited == sorted(waited)


def test_what_has_waited_long_comes_before_what_came_since(searching: Searching, index: Tampered) -> None:
    index.step_texts = 3
    searching.take(event(1, body="the oldest", sent_at="2026-11-03T10:00:00Z"))
    for number in range(2, 8):
        searching.house.clock.forward(seconds=1)
        searching.take(event(number, body="a later one"))
    assert searching.follower.step() == 3
    assert searching.bodies("oldest") == ["the oldest"]
    assert len(searching.bodies("later")) == 2


def marked(searching: Searching) -> set[tuple[str, int]]:
    with searching.house.store.reading() as connection:
        rows = connection.execute(select(slices.c.shelf, slices.c.id).where(slices.c.indexed.is_(True)))
        return {(row[0], row[1]) for row in rows}


def test_texts_taken_while_steps_run_are_each_indexed_once(searching: Searching) -> None:
    receipts = []

    def take() -> None:
        for number in range(30):
            receipts.append(searching.take(event(number, body=f"tea {number}")))

    taking = threading.Thread(target=take)
    taking.start()
    while taking.is_alive():
        searching.follower.step()
    taking.join()
    searching.follow()
    assert ids(searching) == text_ids(*receipts)
    assert len(searching.bodies("tea")) == 30


def test_compaction_is_by_what_is_there(searching: Searching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary_module, "MAX_SEGMENTS", 3)
    monkeypatch.setattr(vocabulary_module, "LOOK_EVERY", 2)
    for number in range(5):
        searching.take(event(number, body=f"word{number}"))
        searching.follower.step()
    assert sorted(len(words) for words, _ in segments(searching)) == [1, 4]


def test_a_damaged_vocabulary_loses_no_result_and_holds_up_nothing(searching: Searching) -> None:
    searching.load("tea")
    table = papers_of(SHELF)
    with searching.house.behind.transaction() as connection:
        connection.execute(update(table).values(sealed=b"\x01" + bytes(60)))
    for number in range(MAX_SEGMENTS + LOOK_EVERY):
        searching.take(event(100 + number, body=f"term{number}"))
        searching.follower.step()
    assert len(searching.bodies("t*")) == MAX_SEGMENTS + LOOK_EVERY + 1
    searching.follower.rebuild(SHELF)
    assert len(segments(searching)) == 1
    assert len(searching.bodies("t*")) == MAX_SEGMENTS + LOOK_EVERY + 1
