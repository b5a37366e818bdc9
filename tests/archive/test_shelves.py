"""Days and their shelves: opened ahead, checked at the start, closed for good."""

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from tests.housing import NOON, House, SetClock
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import Keyring, SecretMissing, shelf_secret
from textkeep.archive.shelf import DAYS_AHEAD, DAYS_BACK, RETENTION, STATES, Day, State, expired, open_days
from textkeep.archive.shelves import LOOKUP, Shelves
from textkeep.errors import Unsound
from textkeep.store.engine import Store
from textkeep.store.tables import shelf_tables, shelves

DAY = "2026-11-20"
TICK = timedelta(microseconds=1)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2150, 1, 1), timezones=ZONES)  # noqa: DTZ001
DAYS = st.dates(date(1990, 1, 1), date(2150, 1, 1)).map(Day)


def keyring_in(folder: Path, *, create: bool = True) -> Keyring:
    return Keyring.open(FolderStore(folder), LocalRoot(folder / "roots"), create=create)


def names(store: Store) -> list[str]:
    with store.reading() as connection:
        return list(connection.scalars(select(shelves.c.name).order_by(shelves.c.name)))


def check(store: Store, keyring: Keyring) -> None:
    with store.reading() as connection:
        Shelves(store, keyring).check(connection)


def say(house: House, state: State) -> None:
    with house.store.transaction() as connection:
        house.shelves.set_state(connection, DAY, state)


@given(MOMENTS)
def test_a_day_holds_exactly_the_moments_between_its_midnights_in_utc(moment: datetime) -> None:
    day = Day.of(moment)
    assert day.start() <= moment < day.end()
    assert day.date == moment.astimezone(UTC).date()
    assert (Day.of(day.start()), Day.of(day.end() - TICK), Day.of(day.end())) == (day, day, day.plus(1))


@given(DAYS)
def test_a_day_is_named_by_its_shelf(day: Day) -> None:
    assert Day.named(day.shelf) == day
    assert len(day.shelf) == 10


@pytest.mark.parametrize(
    "name", ["", "20261122", "2026-W47-7", "2026-11-22 ", "kept-00-1", "2026-13-01", "２０２６-11-22"]
)
def test_another_name_is_no_day(name: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some of the words are Python's
        Day.named(name)


def test_a_moment_without_a_zone_belongs_to_no_day() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        Day.of(datetime(2026, 11, 22))  # noqa: DTZ001


@given(MOMENTS, st.timedeltas(-timedelta(days=900), timedelta(days=900)))
def test_a_text_is_expired_from_the_microsecond_it_is_400_days_old(sent_at: datetime, by: timedelta) -> None:
    assert expired(sent_at, sent_at + RETENTION)
    assert not expired(sent_at, sent_at + RETENTION - TICK)
    assert expired(sent_at, sent_at + by) == (by >= timedelta(days=400))


@given(DAYS, st.integers(0, 86_400_000_000 - 1))
def test_no_day_is_due_before_its_last_text_has_expired(day: Day, at: int) -> None:
    sent_at = day.start() + at * TICK
    assert expired(sent_at, day.due())
    assert sent_at + RETENTION <= day.due() <= day.start() + RETENTION + timedelta(days=1)
    assert not expired(day.end() - TICK, day.due() - 2 * TICK)


@given(MOMENTS, st.timedeltas(-timedelta(days=30), timedelta(days=420)))
def test_every_text_not_yet_expired_has_an_open_day_and_no_open_day_is_due(now: datetime, age: timedelta) -> None:
    days = open_days(now)
    assert days == sorted(set(days))
    assert all(day.due() > now for day in days)
    assert days[0].plus(-1).due() <= now
    if not expired(now - age, now):
        assert Day.of(now - age) in days


def test_400_days_back_and_30_ahead_are_opened_once(store: Store, tmp_path: Path) -> None:
    keyring = keyring_in(tmp_path / "keyring")
    opened = Shelves(store, keyring)
    assert opened.ensure(NOON) == DAYS_BACK + 1 + DAYS_AHEAD == 431
    days = [Day.of(NOON).plus(offset).shelf for offset in range(-400, 31)]
    assert names(store) == days
    assert keyring.names() == {"house", *(f"shelf:{day}" for day in days)}
    with store.reading() as connection:
        for row in opened.list(connection):
            assert (row.state, row.opened_at, row.due_at) == ("open", NOON, Day.named(row.name).due())
            assert row.commitment == keyring.commitment(shelf_secret(row.name))
        assert all(len(shelf_tables(connection, day)) == 2 for day in days)
    assert opened.ensure(NOON) == 0
    check(store, keyring_in(tmp_path / "keyring", create=False))


def test_the_next_day_opens_one_more_and_takes_none_away(house: House) -> None:
    before = names(house.store)
    house.clock.forward(days=1)
    assert house.shelves.ensure(house.clock()) == 1
    assert names(house.store) == [*before, Day.of(NOON).plus(31).shelf]


def test_a_day_whose_secret_was_destroyed_is_never_opened_again(house: House) -> None:
    house.keyring.destroy(shelf_secret(DAY), entry="1", now=house.clock())
    with house.behind.transaction() as connection:
        connection.execute(delete(shelves).where(shelves.c.name == DAY))
    assert house.shelves.ensure(house.clock()) == 0
    assert DAY not in names(house.store)
    assert not house.keyring.has(shelf_secret(DAY))


def test_a_purged_day_keeps_its_row_and_is_not_opened_again(house: House) -> None:
    house.keyring.destroy(shelf_secret(DAY), entry="1", now=house.clock())
    say(house, "reported")
    assert house.shelves.ensure(house.clock()) == 0
    with house.store.reading() as connection:
        assert house.shelves.states(connection, [DAY]) == {DAY: "reported"}


def test_secrets_are_on_disk_before_a_row_speaks_of_them(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    opened = Shelves(store, keyring_in(tmp_path / "keyring"))
    with monkeypatch.context() as patched:
        patched.setattr("textkeep.archive.shelves.create_shelf_tables", crash)
        with pytest.raises(KeyboardInterrupt):
            opened.ensure(NOON)
    assert names(store) == []
    again = keyring_in(tmp_path / "keyring", create=False)
    before = {name: again.commitment(name) for name in again.names()}
    assert len(before) == 432
    check(store, again)
    assert Shelves(store, again).ensure(NOON) == 431
    assert {name: again.commitment(name) for name in again.names()} == before


def test_two_threads_that_open_days_at_once_open_each_one_once(house: House) -> None:
    house.clock.forward(days=20)
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(house.shelves.ensure(house.clock()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 20
    assert len(counts) == 4


def test_states_are_told_of_shelves_that_exist_however_many_are_asked_for(house: House) -> None:
    say(house, "intent")
    asked = [DAY, "2026-11-21", "2019-01-01", *(f"kept-{number}-1" for number in range(3 * LOOKUP))]
    with house.store.transaction() as connection:
        assert house.shelves.lock(connection, asked) == {DAY: "intent", "2026-11-21": "open"}
        assert house.shelves.states(connection, []) == {}


def test_the_start_is_refused_where_the_keyring_is_missing(house: House, tmp_path: Path) -> None:
    with pytest.raises(Unsound) as caught:
        keyring_in(tmp_path / "elsewhere", create=False)
    assert "Restore the keyring" in caught.value.remedy
    with pytest.raises(SecretMissing):
        check(house.store, keyring_in(tmp_path / "elsewhere"))


def test_the_start_is_refused_with_the_keyring_of_other_data(house: House, tmp_path: Path) -> None:
    other = keyring_in(tmp_path / "other")
    other.make(house.keyring.names())
    with pytest.raises(Unsound, match="not the one its texts were sealed under"):
        check(house.store, other)


def test_the_start_is_refused_with_a_ring_from_before_a_day_was_opened(house: House) -> None:
    ring = house.folder / "ring"
    before = ring.read_bytes()
    house.clock.forward(days=1)
    house.shelves.ensure(house.clock())
    ring.write_bytes(before)
    with pytest.raises(SecretMissing):
        house.reopened()


STANDS: dict[str, set[State]] = {
    "there": set(STATES[: STATES.index("shredded")]),
    "destroyed": set(STATES[STATES.index("committed") :]),
    "missing": set(),
    "another": set(),
}
"""The states of a shelf that may be met with its secret there, destroyed, missing, or another one."""


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("secret", STANDS)
def test_a_start_is_refused_unless_state_and_secret_belong_together(
    store: Store, tmp_path: Path, state: State, secret: str
) -> None:
    keyring = keyring_in(tmp_path / "keyring")
    keyring.make([shelf_secret(DAY)])
    row = {"name": DAY, "state": state, "commitment": keyring.commitment(shelf_secret(DAY)), "opened_at": NOON}
    with store.transaction() as connection:
        connection.execute(insert(shelves).values(row))
    if secret == "destroyed":
        keyring.destroy(shelf_secret(DAY), entry="1", now=NOON)
    elif secret != "there":
        keyring = keyring_in(tmp_path / "of-other-data")
        keyring.make([shelf_secret(DAY)] if secret == "another" else [])
    if state in STANDS[secret]:
        check(store, keyring)
        return
    with pytest.raises(Unsound) as caught:
        check(store, keyring)
    assert "estore" in caught.value.remedy


def test_checking_writes_nothing(house: House) -> None:
    ring = (house.folder / "ring").read_bytes()
    before = names(house.store)
    check(house.store, house.keyring)
    assert ((house.folder / "ring").read_bytes(), names(house.store)) == (ring, before)


@pytest.mark.parametrize("restore", ["ring", "database"])
def test_going_on_with_an_older_half_of_a_backup_is_refused(house: House, restore: str) -> None:
    """After a purge, either half from before it would bring something back, or find something missing."""
    say(house, "committed")
    if restore == "database":
        house.keyring.destroy(shelf_secret(DAY), entry="1", now=house.clock())
        say(house, "open")
        expected = "older than its last purge"
    else:
        say(house, "shredded")
        expected = "still holds its secret"
    with pytest.raises(Unsound) as caught:
        house.reopened()
    assert expected in f"{caught.value.detail} {caught.value.remedy}"


@pytest.mark.parametrize("use", [Day.start, Day.end, Day.due])
def test_the_edges_of_a_day_are_in_utc(use: Callable[[Day], datetime]) -> None:
    assert use(Day(date(2024, 2, 29))).tzinfo is UTC


def test_the_clock_of_a_leap_day_is_right() -> None:
    assert Day(date(2024, 2, 29)).due() == datetime(2025, 4, 5, tzinfo=UTC)
    clock = SetClock(datetime(2025, 4, 4, 23, 59, 59, 999_999, UTC))
    assert not expired(datetime(2024, 2, 29, 23, 59, 59, 999_999, UTC) + TICK, clock())
    assert expired(datetime(2024, 2, 29, 23, 59, 59, 999_999, UTC), clock())
