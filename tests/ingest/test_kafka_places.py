"""Where partitions stand: whatever a client library hands out, each offset is taken once and none is passed over."""

from hypothesis import given
from hypothesis import strategies as st

from textkeep.ingest.kafka_places import STORED, Places


def test_messages_are_taken_in_their_order_and_once() -> None:
    places = Places()
    places.put({0: 5})
    assert [places.takes(0, offset) for offset in (5, 6, 6, 5, 7)] == [True, True, False, False, True]
    assert places.next == {0: 8}


def test_nothing_is_taken_of_a_partition_that_is_not_ours_waits_or_is_stopped() -> None:
    places = Places()
    places.put({1: 5, 2: 5})
    places.await_place([1])
    places.stop(2)
    assert not any(places.takes(partition, 5) for partition in (0, 1, 2))
    assert places.owned == [1, 2]
    assert places.waiting == {1: STORED}


def test_a_jump_is_believed_only_when_it_comes_again_from_the_same_place() -> None:
    places = Places()
    places.put({0: 5})
    assert not places.takes(0, 9)
    assert places.waiting == {0: 5}
    assert not places.takes(0, 10)
    places.put({0: 5})
    assert not places.takes(0, 8)  # another jump
    places.put({0: 5})
    assert places.takes(0, 8)
    assert places.next == {0: 9}


def test_what_waits_where_it_stands_goes_on_there() -> None:
    places = Places()
    places.put({0: 5, 1: 8})
    assert places.takes(0, 5)
    places.await_again()
    assert places.waiting == {0: 6, 1: 8}
    places.await_stored()
    assert places.waiting == {0: STORED, 1: STORED}


def test_what_is_stopped_stays_stopped_until_it_is_put_or_gone() -> None:
    places = Places()
    places.put({0: 5, 1: 5})
    places.stop(0)
    places.await_stored()
    assert places.waiting == {1: STORED}
    places.put({0: 7})
    assert places.takes(0, 7)
    places.forget([0, 1])
    assert places.owned == []


@given(
    holes=st.sets(st.integers(0, 60), max_size=20),
    noise=st.lists(st.tuples(st.integers(0, 80), st.lists(st.integers(0, 80), max_size=4)), max_size=12),
)
def test_with_stale_messages_between_every_real_one_is_taken_once_and_in_order(
    holes: set[int], noise: list[tuple[int, list[int]]]
) -> None:
    """`noise`: at which step the library throws in what it had fetched before; then it reads on where it is put.

    What it throws in once is never believed, because a jump counts only when it comes twice from the same place.
    """
    log = [offset for offset in range(81) if offset not in holes]
    places, taken = Places(), list[int]()
    places.put({0: 0})
    stale = dict(noise)
    at = step = 0
    while places.next.get(0, 0) <= log[-1]:
        for offset in dict.fromkeys(stale.pop(step, [])):
            start = places.next.get(0)
            if offset in log and start is not None and places.takes(0, offset):
                assert offset == min(each for each in log if each >= start)
                taken.append(offset)
        if places.waiting:
            at = places.waiting[0]
            places.put({0: at})
        at = next(offset for offset in log if offset >= at)
        if places.takes(0, at):
            taken.append(at)
        at += 1
        step += 1
        assert step < 1000
    assert taken == log
