"""What waits between a topic and a batch: each message comes out once, in its order, and never too much at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkeep.ingest import kafka_ahead
from textkeep.ingest.kafka_ahead import Ahead, Came
from textkeep.ingest.wire import Arrived


def came(offset: int, records: int = 1, partition: int = 0, size: int = 1) -> Came:
    return Came(partition, offset, [Arrived(b"x" * size)] * records)


@given(
    sizes=st.lists(st.integers(0, 6000), max_size=30), most=st.integers(1, 10), portions=st.lists(st.integers(0, 20))
)
def test_every_message_comes_once_in_its_order_and_no_batch_is_over_the_bound_but_a_single_message(
    sizes: list[int], most: int, portions: list[int]
) -> None:
    ahead, taken = Ahead(), list[Came]()
    coming = [came(at, count) for at, count in enumerate(sizes)]
    for portion in [*portions, *[len(sizes) or 1] * (len(sizes) + 1)]:
        for each in coming[:portion]:
            ahead.add(each)
        del coming[:portion]
        batch = ahead.next_batch(most)
        assert len(batch) <= most
        assert len(batch) == 1 or sum(len(each.records) for each in batch) <= kafka_ahead.RECORDS_TOGETHER
        taken += batch
    assert [each.offset for each in taken] == list(range(len(sizes)))
    assert len(ahead) == 0


def test_it_is_full_when_a_batch_is_and_no_longer_when_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_ahead, "BYTES_TOGETHER", 100)
    ahead = Ahead()
    ahead.add(came(1, size=60))
    assert not ahead.full
    ahead.add(came(2, size=60))
    assert ahead.full
    assert [each.offset for each in ahead.next_batch(9)] == [1]
    assert not ahead.full


def test_what_moves_elsewhere_is_forgotten_and_the_rest_stays() -> None:
    ahead = Ahead()
    for offset in range(4):
        ahead.add(came(offset, 2000, partition=offset % 2))
    assert ahead.full
    ahead.forget([0])
    assert not ahead.full
    assert [each.offset for each in ahead.next_batch(9)] == [1, 3]
    ahead.add(came(5))
    ahead.clear()
    assert ahead.next_batch(9) == []
