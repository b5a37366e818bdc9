"""Several followers over one database: each text becomes findable once, whoever makes it so and whoever dies."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.engines.databases import Prepared
from tests.housing import House, event
from tests.search.indexes import Tampered
from tests.search.searching import Searching
from tests.search.wrapping import Wrapped
from textkeep.archive.papers import Paper, Papers
from textkeep.archive.text import Handle, TextId
from textkeep.search import vocabulary
from textkeep.search.index import Addition, IndexDriver
from textkeep.search.vocabulary import Vocabulary, read, written
from textkeep.store.tables import slices

SHELF = "2026-11-20"

pytestmark = pytest.mark.parametrize(
    ("house", "index"), [("postgresql", "embedded"), ("postgresql", "opensearch")], indirect=True
)


@pytest.fixture
def searching(house: House, index: Tampered) -> Searching:
    return Searching.build(house, index)


def taken(searching: Searching, batches: int, *, texts: int = 5, days: int = 3) -> set[TextId]:
    """New batches of texts over some days; the last text of each is a later version of its first one."""
    found: set[TextId] = set()
    for _ in range(batches):
        first = 1000 * next(searching.numbers)
        records = [
            event(
                first + at % (texts - 1),
                body=f"tea {first + at}",
                org_id=f"org-{at % 2}" if at < texts - 1 else "org-0",
                sent_at=f"2026-11-{18 + (at % (texts - 1)) % days:02d}T10:00:00Z",
            )
            for at in range(texts)
        ]
        receipt = searching.take(*records)
        assert (receipt.accepted, receipt.versions) == (texts - 1, 1)
        found |= {TextId.parse(str(item.text_id)) for item in receipt.items}
    return found


def indexed(index: IndexDriver, days: int = 3) -> set[TextId]:
    return {each for day in range(18, 18 + days) for each in index.ids(f"2026-11-{day:02d}")}


def everything_found(searching: Searching, expected: set[TextId]) -> None:
    """Every text is found, once, in the right order, by a word and by the beginning of one."""
    assert indexed(searching.index) == expected
    for query in ("tea", "te*"):
        found = [opened.id for org in ("org-0", "org-1") for opened in searching.every(query, org=org)]
        assert len(found) == len(set(found))
        assert set(found) == expected


class Counting(Wrapped):
    """An index that counts how often each slice is added."""

    def __init__(self, index: IndexDriver) -> None:
        super().__init__(index)
        self.added: list[int] = []

    def add(self, additions: Sequence[Addition]) -> None:
        super().add(additions)
        self.added += [each.slice for each in additions]


def test_followers_in_many_threads_share_the_work_and_do_nothing_twice(house: House, index: Tampered) -> None:
    counting = Counting(index)
    counting.step_texts = 10
    searching = Searching.build(house, counting)
    expected = taken(searching, 60)
    followers = [Searching.build(house, counting).follower for _ in range(4)]

    def work(number: int) -> None:
        while house.vault.oldest_unindexed() is not None:
            followers[number].step()

    in_threads(*(lambda number=number: work(number) for number in range(4)))
    everything_found(searching, expected)
    assert len(counting.added) == len(set(counting.added)) == len(marked(house))


def marked(house: House) -> set[int]:
    with house.store.reading() as connection:
        return set(connection.scalars(select(slices.c.id).where(slices.c.indexed.is_(True))))


def in_threads(*work: Callable[[], object]) -> None:
    failed: list[BaseException] = []

    def run(each: Callable[[], object]) -> None:
        try:
            each()
        except BaseException as exc:  # noqa: BLE001
            failed.append(exc)

    threads = [threading.Thread(target=run, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


@contextmanager
def following(built: Prepared, house: House, index: Tampered, *how: str) -> Iterator["subprocess.Popen[str]"]:
    """A follower in a process of its own."""
    told = (built.database.service, str(house.folder), index.where, *how)
    command = [sys.executable, "-W", "error", "-m", "tests.search.following", *told]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_follower_that_is_killed_in_the_middle_loses_nothing(
    house: House, index: Tampered, built_postgres: Prepared
) -> None:
    searching = Searching.build(house, index)
    searching.org("org-0")
    searching.org("org-1")
    expected: set[TextId] = set()
    with following(built_postgres, house, index), following(built_postgres, house, index) as killed:
        for round_ in range(12):
            expected |= taken(searching, 5)
            if round_ == 5:
                killed.kill()
        wait_until(lambda: house.vault.oldest_unindexed() is None)
    everything_found(searching, expected)


def test_a_follower_that_is_killed_between_index_and_vault_is_followed_by_another(
    house: House, index: Tampered, built_postgres: Prepared
) -> None:
    searching = Searching.build(house, index)
    expected = taken(searching, 4)
    with following(built_postgres, house, index, "hang") as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "added\n"
        assert indexed(index) == expected
        assert marked(house) == set()
        expected |= taken(searching, 4)
        assert searching.follow() == 20, "what the other one has claimed is passed over, and nothing waits for it"
        killed.kill()
    wait_until(lambda: searching.follow() > 0)
    assert house.vault.oldest_unindexed() is None
    everything_found(searching, expected)


def wait_until(done: Callable[[], bool], seconds: float = 120) -> None:
    for _ in range(int(seconds / 0.02)):
        if done():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not come to pass")


def words(house: House, org: Handle) -> list[list[str]]:
    with house.store.reading() as connection:
        return [read(each.plain)[0] for each in house.papers.of_kind(connection, SHELF, "vocabulary", org)]


def test_two_compactions_at_once_lose_and_double_no_word(
    house: House, index: Tampered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "MAX_SEGMENTS", 4)
    monkeypatch.setattr(vocabulary, "LOOK_EVERY", 1)
    org = house.organisations.register("org-001")
    one, other = Vocabulary(house.papers), Vocabulary(house.papers)
    for number in range(4):
        with house.store.transaction() as connection:
            one.add(connection, SHELF, org, written([f"word{number}"], []), now=house.clock())
    with house.store.transaction() as first, house.behind.transaction() as second:  # two connections
        one.add(first, SHELF, org, written(["first"], []), now=house.clock())
        other.add(second, SHELF, org, written(["second"], []), now=house.clock())
    assert sorted(words(house, org)) == [["first", "word0", "word1", "word2", "word3"], ["second"]]


def test_a_segment_that_comes_while_others_are_compacted_stays(
    house: House, index: Tampered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "MAX_SEGMENTS", 2)
    monkeypatch.setattr(vocabulary, "LOOK_EVERY", 1)
    org = house.organisations.register("org-001")
    other = Vocabulary(house.papers)

    class Meanwhile(Papers):
        def of_kind(self, *args: Any, **kwargs: Any) -> Iterator[Paper]:
            yield from super().of_kind(*args, **kwargs)
            with house.behind.transaction() as connection:
                other.add(connection, SHELF, org, written(["late"], []), now=house.clock())

    compacting = Vocabulary(Meanwhile(house.sealer))
    for number in range(3):
        with house.store.transaction() as connection:
            compacting.add(connection, SHELF, org, written([f"word{number}"], []), now=house.clock())
    assert sorted(words(house, org)) == [["late"], ["word0", "word1", "word2"]]


def test_compaction_under_load_keeps_every_word(house: House, index: Tampered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MAX_SEGMENTS", 3)
    monkeypatch.setattr(vocabulary, "LOOK_EVERY", 2)
    org = house.organisations.register("org-001")

    def work(name: str) -> None:
        mine = Vocabulary(house.papers)
        for number in range(40):
            with house.store.transaction() as connection:
                mine.add(connection, SHELF, org, written([f"{name}{number}"], []), now=house.clock())

    in_threads(*(lambda name=name: work(name) for name in ("a", "b", "c", "d")))
    found = words(house, org)
    assert {word for segment in found for word in segment} == {f"{n}{i}" for n in "abcd" for i in range(40)}
    assert len(found) < 40


def test_followers_go_on_while_a_shelf_is_rebuilt_again_and_again(searching: Searching, index: Tampered) -> None:
    index.step_texts = 10
    expected = taken(searching, 10)
    searching.follow()
    done = threading.Event()
    rebuilder = Searching.build(searching.house, index).follower

    def rebuild() -> None:
        while not done.is_set():
            rebuilder.rebuild(SHELF)

    def follow() -> None:
        try:
            for _ in range(15):
                expected.update(taken(searching, 4))
                while searching.house.vault.oldest_unindexed() is not None:
                    searching.follower.step()
        finally:
            done.set()

    in_threads(rebuild, follow)
    assert searching.follower.reconcile() == 0
    everything_found(searching, expected)


class Swapping(Wrapped):
    """An index that lets something happen when a rebuild has read everything, and has not been swapped yet."""

    happens: Callable[[], object] = staticmethod(lambda: None)

    def replace(self, shelf: str, additions: Iterable[Addition]) -> None:
        super().replace(shelf, self._through(additions))

    def _through(self, additions: Iterable[Addition]) -> Iterator[Addition]:
        yield from additions
        in_threads(self.happens)


def test_a_follower_leaves_a_shelf_alone_while_its_index_is_swapped(house: House, index: Tampered) -> None:
    swapping = Swapping(index)
    searching = Searching.build(house, swapping)
    searching.load("tea")
    claimed: list[int] = []

    def follow() -> None:
        searching.take(event(98, body="coffee"), event(99, body="milk", sent_at="2026-11-19T10:00:00Z"))
        claimed.append(Searching.build(house, index).follow())

    swapping.happens = follow
    assert searching.follower.rebuild(SHELF) == 1
    assert claimed == [1], "that of the other day"
    assert searching.follow() == 1
    assert sorted(searching.bodies("tea OR coffee OR milk")) == ["coffee", "milk", "tea"]
