"""Sets of text ids: what goes in comes out, bucket by bucket."""

from hypothesis import given
from hypothesis import strategies as st

from textkeep.search.idsets import IdSet, buckets, unpacked

ids = st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(1, 2**31 - 1)), max_size=50)


@given(ids)
def test_buckets_hold_what_was_added(added: list[tuple[bytes, int]]) -> None:
    made = IdSet(added)
    assert len(made) == len(added)
    assert {unpacked(each) for number in buckets() for each in made.bucket(number)} == set(added)
    assert sorted(unpacked(made.nth(place)) for place in range(len(made))) == sorted(added)


@given(ids, ids)
def test_two_sets_are_compared_bucket_by_bucket(one: list[tuple[bytes, int]], other: list[tuple[bytes, int]]) -> None:
    first, second = IdSet(one), IdSet(other)
    missing = {unpacked(each) for number in buckets() for each in first.bucket(number) - second.bucket(number)}
    assert missing == set(one) - set(other)
