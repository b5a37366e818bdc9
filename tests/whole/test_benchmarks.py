"""What the benchmarks measure is what they say they measure."""

import subprocess
import sys
from pathlib import Path

from bench import feeds
from bench.memory import most_held

MEGABYTE = 1024**2
LARGE = 300


def test_the_memory_of_a_process_is_not_that_of_the_one_that_started_it() -> None:
    """`finding` once called 1,368 MB the memory of `api`: it was the benchmark's own, with a million texts in it."""
    held = bytearray(LARGE * MEGABYTE)
    held[::4096] = b"x" * len(held[::4096])
    asked = "from bench.memory import most_held; print(most_held())"
    child = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert most_held() > LARGE
    assert float(child.stdout) < LARGE / 2


def test_a_feed_is_sent_a_request_at_a_time_and_whole(tmp_path: Path) -> None:
    lines = [b"%d" % number for number in range(2 * feeds.BATCH + 1)]
    (tmp_path / "feed").write_bytes(b"\n".join(lines))
    requests = list(feeds.requests(tmp_path / "feed"))
    assert list(map(len, requests)) == [feeds.BATCH, feeds.BATCH, 1]
    assert [line for request in requests for line in request] == lines
