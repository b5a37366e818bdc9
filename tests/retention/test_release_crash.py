"""A release that is killed anywhere is finished by the next run: once, with one true report.

As in test_purge_crash.py a crash is an exception that nothing catches, at every point at which something is durable;
and the process is killed for good, in a child, at each step.
"""

import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST
from tests.retention.test_purge_crash import Fate, Killed
from textkeep.retention.holds.hold import Hold
from textkeep.retention.reports.folder import ReportFolder
from textkeep.retention.reports.report import STEPS
from textkeep.store.evidence import releases
from textkeep.store.leases import Leases


def prepared(keeping: Keeping) -> Hold:
    """Three texts on a shelf of held texts, of which the released hold alone keeps one, when the release is due."""
    keeping.take(OLDEST, "merger", "merger and lunch", "lunch")
    released = keeping.holders.place(query="merger").hold
    keeping.holders.place(query="lunch")
    keeping.purge(OLDEST)
    keeping.holders.release(released)
    keeping.purging.until(keeping.house.clock() + timedelta(hours=24))
    return released


def check(keeping: Keeping) -> None:
    shelf = keeping.generation(1)
    assert keeping.state(shelf) == "reported"
    assert keeping.kept_shelf() == keeping.generation(2)
    assert keeping.bodies(keeping.generation(2)) == ["lunch", "merger and lunch"]
    report = keeping.purging.report(shelf)
    assert (report["verdict"], report["kind"]) == ("pass", "release")
    totals = report["totals"]
    assert (totals["taken"], totals["kept"], totals["destroyed"], totals["lost"]) == (3, 2, 1, 0)
    kinds = ("intent", "committed", "key-destroyed", "purge")
    assert [entry.kind for entry in keeping.purging.entries(*kinds, shelf=shelf)] == list(kinds)
    [release] = keeping.rows(releases)
    assert release["done_at"] is not None
    assert keeping.run().released == ()


def killed_at(keeping: Keeping, fate: Fate, point: int) -> bool:
    """Whether a run was killed at that point; else it went through."""
    keyring, index, store = keeping.house.keyring, keeping.purging.index, keeping.house.store
    transaction = store.transaction

    @contextmanager
    def mortal() -> Iterator[Connection]:
        with transaction() as connection:
            yield connection
            fate.point()
        fate.point()

    fate.at, fate.passed = point, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "transaction", mortal)
        patch.setattr(ReportFolder, "write", fate.around(ReportFolder.write))
        patch.setattr(keyring, "destroy", fate.around(keyring.destroy))
        patch.setattr(keyring, "make", fate.around(keyring.make))
        patch.setattr(index, "drop", fate.around(index.drop))
        try:
            keeping.run()
        except Killed:
            return True
        finally:
            fate.at = None
    return False


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_a_release_killed_again_and_again_gets_on_by_at_least_a_point_each_time(keeping: Keeping) -> None:
    prepared(keeping)
    fate, point = Fate(), 1
    while killed_at(keeping, fate, point):
        keeping.restart()
        point += 1
    check(keeping)
    assert point > len(STEPS)


@pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_at_a_step_of_a_release_leaves_what_the_next_one_finishes(keeping: Keeping, step: str) -> None:
    prepared(keeping)
    shelf, store = keeping.generation(1), keeping.house.store
    store.close()
    child = os.fork()
    if child == 0:
        try:

            def die(of: str, state: str) -> None:
                if (of, state) == (shelf, step):
                    os.kill(os.getpid(), signal.SIGKILL)

            keeping.run(told=die)
        finally:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    Leases(store, keeping.house.clock).clear()
    keeping.restart()
    assert keeping.state(shelf) == step
    assert keeping.run().stopped is None
    check(keeping)
