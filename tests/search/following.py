"""A follower in a process of its own: `python -m tests.search.following DATABASE KEYRING INDEX [hang]`.

INDEX is a folder or an INDEX_URL. It says `ready` and follows until its standard input ends. With `hang` it says
`added` when the first step has written the index, and stays there with its transaction open.
"""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.housing import NOON, House, SetClock
from tests.search.searching import Searching
from tests.search.wrapping import Wrapped
from textkeep.search.drivers.embedded import EmbeddedIndex
from textkeep.search.drivers.opensearch import OpenSearchIndex
from textkeep.search.index import Addition, IndexDriver
from textkeep.store.engine import Store


class Hanging(Wrapped):
    """An index that does not come back from writing."""

    def add(self, additions: Sequence[Addition]) -> None:
        super().add(additions)
        print("added", flush=True)
        threading.Event().wait()


def main(database: str, keyring: str, where: str, how: str = "go on") -> None:
    """Follow until told to stop."""
    store = Store.open(database)
    index: IndexDriver = OpenSearchIndex.open(where) if "://" in where else EmbeddedIndex.open(Path(where))
    if how == "hang":
        index = Hanging(index)
    searching = Searching.build(House.build(store, Path(keyring), SetClock(NOON)), index)
    print("ready", flush=True)
    if how == "hang":
        searching.follower.step()
    stop = threading.Event()
    thread = threading.Thread(target=searching.follower.run, args=(stop,))
    thread.start()
    while os.read(0, 1):
        pass
    stop.set()
    thread.join()
    index.close()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
