"""Entries: canonical, small, and of the transaction they speak of."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update
from sqlalchemy.exc import StatementError

from textkeep.errors import Outage
from textkeep.ledger import log
from textkeep.store.engine import Store
from textkeep.store.schema import migrate
from textkeep.store.tables import ledger_entries

NOW = datetime(2026, 11, 22, 12, 0, 0, 123_999, UTC)


@pytest.fixture(scope="module")
def one_store() -> Iterator[Store]:
    """One store for all that hypothesis tries."""
    opened = Store.open("sqlite://")
    migrate(opened)
    yield opened
    opened.close()


def append(store: Store, kind: str = "slice", body: dict[str, object] | None = None, shelf: str | None = None) -> int:
    with store.transaction() as connection:
        return log.append(connection, kind, body or {}, now=NOW, shelf=shelf)


def written(store: Store) -> list[str]:
    with store.reading() as connection:
        return list(connection.scalars(select(ledger_entries.c.entry).order_by(ledger_entries.c.seq)))


def entries(store: Store) -> list[log.Entry]:
    with store.reading() as connection:
        return log.entries(connection)


def test_an_entry_is_canonical_json_of_what_it_says_when_and_where(store: Store) -> None:
    body = {"texts": 3, "orgs": {"b": [1, 0], "a": [2, 0]}, "é": "€", "root": "00ff"}
    append(store, "slice", body, "2026-11-20")
    assert written(store) == [
        '{"kind":"slice","orgs":{"a":[2,0],"b":[1,0]},"root":"00ff","shelf":"2026-11-20","texts":3,'
        '"time":"2026-11-22T12:00:00.123Z","v":1,"é":"€"}'
    ]


def test_an_entry_comes_back_as_it_was_written(store: Store) -> None:
    seq = append(store, "hold", {"id": "00ff"})
    said = {"v": 1, "kind": "hold", "time": "2026-11-22T12:00:00.123Z", "id": "00ff"}
    assert entries(store) == [log.Entry(seq, "hold", None, said, NOW)]


@given(
    st.dictionaries(
        st.text(max_size=8).map(lambda name: f"x{name}"),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=5,
    )
)
def test_any_body_is_written_canonically_and_read_back(one_store: Store, body: dict[str, object]) -> None:
    with one_store.transaction() as connection:
        seq = log.append(connection, "slice", body, now=NOW, shelf="2026-11-20")
        [entry] = log.page(connection, after=seq - 1, limit=2)
        raw = connection.execute(select(ledger_entries.c.entry).where(ledger_entries.c.seq == seq)).scalar_one()
    assert {name: entry.body[name] for name in body} == body
    assert rfc8785.dumps(json.loads(raw)) == raw.encode()


@pytest.mark.parametrize("kind", sorted(log.KINDS))
def test_every_kind_is_taken_and_kept_beside_the_entry(store: Store, kind: str) -> None:
    append(store, kind)
    assert [(entry.kind, entry.body["kind"]) for entry in entries(store)] == [(kind, kind)]


@pytest.mark.parametrize("kind", ["", "text", "Slice", "slice ", "search"])
def test_an_unknown_kind_is_refused(store: Store, kind: str) -> None:
    with pytest.raises(ValueError, match="no entry is of kind"):
        append(store, kind)
    assert written(store) == []


@pytest.mark.parametrize("member", ["v", "kind", "time", "shelf"])
def test_a_body_cannot_say_another_kind_time_or_shelf(store: Store, member: str) -> None:
    with pytest.raises(ValueError, match="a member of every entry"):
        append(store, "slice", {member: "2020-01-01"}, "2026-11-20")
    assert written(store) == []


def test_an_entry_has_4096_bytes_at_most_in_canonical_form(store: Store) -> None:
    append(store)
    room = log.ENTRY_BYTES - len(written(store)[0].encode()) - len(',"x":""')
    append(store, "slice", {"x": "é" * (room // 2) + "e" * (room % 2)})
    assert [len(each.encode()) for each in written(store)][1:] == [log.ENTRY_BYTES]
    with pytest.raises(ValueError, match="over 4096 bytes"):
        append(store, "slice", {"x": "é" * (room // 2) + "e" * (room % 2 + 1)})
    assert len(written(store)) == 2


@pytest.mark.parametrize("value", [2**53, float("nan"), "\ud800", b"raw", {1: 2}, object()])
def test_what_canonical_json_cannot_carry_is_refused(store: Store, value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are those of the library
        append(store, "slice", {"x": value})
    assert written(store) == []


def test_a_moment_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(StatementError, match="without a zone"), store.transaction() as connection:
        log.append(connection, "slice", {}, now=datetime(2026, 11, 22))  # noqa: DTZ001
    assert written(store) == []


def test_an_entry_goes_with_the_transaction_that_fails(store: Store) -> None:
    def fail() -> None:
        with store.transaction() as connection:
            log.append(connection, "slice", {}, now=NOW)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert written(store) == []


def test_an_entry_cannot_be_written_while_reading(store: Store) -> None:
    with pytest.raises(Outage), store.reading() as connection:
        log.append(connection, "slice", {}, now=NOW)
    assert written(store) == []


def test_places_are_given_once_and_on_sqlite_in_the_order_of_commits_without_a_gap(store: Store) -> None:
    def some() -> None:
        for number in range(10):
            with suppress(ZeroDivisionError), store.transaction() as connection:
                seq = log.append(connection, "slice", {}, now=NOW)
                assert 1 / (number % 3)
                places.append(seq)

    places: list[int] = []
    threads = [threading.Thread(target=some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(places) == [entry.seq for entry in entries(store)]
    assert len(set(places)) == 24
    if not store.shared:
        assert places == list(range(1, 25))


def test_entries_are_found_by_shelf_kind_and_place(store: Store) -> None:
    for kind, shelf in (("slice", "a"), ("hold", None), ("slice", "b"), ("purge", "a")):
        append(store, kind, shelf=shelf)

    def found(**by: object) -> list[int]:
        with store.reading() as connection:
            return [entry.seq for entry in log.entries(connection, **by)]  # type: ignore[arg-type]

    assert found() == [1, 2, 3, 4]
    assert found(shelf="a") == [1, 4]
    assert found(kinds=["slice", "hold"]) == [1, 2, 3]
    assert found(shelf="a", kinds=["purge"]) == [4]
    assert found(shelf="none") == []
    with store.reading() as connection:
        assert [entry.seq for entry in log.page(connection, after=2, limit=9)] == [3, 4]
        assert [entry.seq for entry in log.page(connection, shelf="a", limit=1)] == [1]


def test_entries_come_in_the_order_of_the_log_and_what_waits_comes_behind_them(store: Store) -> None:
    for _ in range(5):
        append(store, "token")
    with store.transaction() as connection:
        for seq, place in ((1, 1), (2, None), (3, 0), (4, -1), (5, None)):
            connection.execute(update(ledger_entries).where(ledger_entries.c.seq == seq).values(leaf_index=place))
        assert [entry.seq for entry in log.entries(connection, kinds=["token"])] == [3, 1, 2, 5]
        newest = log.newest(connection, ["token"])
        assert newest is not None
        assert newest.seq == 5


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05.000Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC), "2026-01-02T03:04:05.999Z"),
        (datetime(2026, 1, 1, 23, 0, tzinfo=timezone(timedelta(hours=-5))), "2026-01-02T04:00:00.000Z"),
    ],
)
def test_moments_are_written_in_utc_to_the_millisecond(at: datetime, said: str) -> None:
    assert log.moment(at) == said
