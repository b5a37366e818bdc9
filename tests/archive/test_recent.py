"""A bounded map: what was used last stays, whoever uses it at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from textkeep.archive.recent import Recent


@given(st.integers(1, 5), st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_it_holds_what_was_used_last_and_no_more(limit: int, uses: list[tuple[bool, int]]) -> None:
    recent: Recent[int, str] = Recent(limit)
    expected: list[int] = []
    for keeps, key in uses:
        if keeps:
            recent.keep(key, str(key))
        else:
            assert recent.recall(key) == (str(key) if key in expected else None)
        if keeps or key in expected:
            expected = [*(each for each in expected if each != key), key][-limit:]
        assert list(recent) == expected


def test_threads_that_keep_recall_and_clear_at_once_break_nothing() -> None:
    recent: Recent[int, int] = Recent(10)
    gate = threading.Barrier(4)

    def use(seed: int) -> None:
        gate.wait()
        for number in range(5_000):
            key = seed * number % 31
            recent.keep(key, key)
            assert recent.recall(key) in (None, key)
            if number % 100 == 0:
                recent.clear()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, (1, 3, 7, 11)))
    recent.keep(0, 0)
    assert len(recent) <= 10
