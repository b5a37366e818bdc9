"""While a restored keyring waits for two persons nothing is destroyed, on any path, however far a purge had come."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import rfc8785

from tests.housing import event
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST
from tests.retention.test_returns import ReturnDesk
from textkeep.archive.keyring import shelf_secret
from textkeep.archive.restoring import RESTORED
from textkeep.retention.approvals.resuming import Restored, Resuming
from textkeep.retention.purging.destruction import PATHS
from textkeep.store.tables import create_shelf_tables, shelf_tables


class Restoring:
    """A keyring that is restored under a purge, and the two persons who let it go on."""

    def __init__(self, keeping: Keeping) -> None:
        house, self.approvals = keeping.house, keeping.holders.approvals
        self._people = keeping.holders
        self._documents = house.keyring.documents
        self.resuming = Resuming(house.store, self._documents, self.approvals, house.clock)
        self.check = self.resuming.check
        self.times = 0

    def restore(self) -> None:
        """What a restore leaves in the keyring's store (`archive/restoring.py`)."""
        self.times += 1
        said: dict[str, Any] = {
            "id": f"{self.times:016x}",
            "backup": "b",
            "made_at": "m",
            "at": "a",
            "generation": 1,
            "gone": 0,
        }
        self._documents.swap(RESTORED, self._documents.read(RESTORED), rfc8785.dumps(said))

    def resume(self) -> None:
        found = self.resuming.waiting()
        assert found is not None
        request = {"restore": found["id"], "reason": "it is the right one"}
        asked = self.approvals.put(
            self._people.person("Opal", "operator", orgs=None), "resume", "keyring", request, None
        )
        approver = self._people.person("Anna", "approver", orgs=None)
        self.approvals.decide(approver, asked.id, "approved", asked.digest)
        self.resuming.resume(asked.id)


@pytest.fixture
def restoring(keeping: Keeping) -> Restoring:
    return Restoring(keeping)


Run = Callable[[], object]


def day_purge(keeping: Keeping, restoring: Restoring) -> tuple[Run, Callable[[], bool]]:
    """A day whose secret goes with the next step."""
    keeping.take(OLDEST, "lunch")
    assert keeping.purge(OLDEST, told=keeping.told_at("committed", restoring.restore), resumed=restoring.check).stopped
    assert keeping.state(OLDEST.shelf) == "committed"
    return _run(keeping, restoring), lambda: keeping.house.keyring.has(shelf_secret(OLDEST.shelf))


def release_purge(keeping: Keeping, restoring: Restoring) -> tuple[Run, Callable[[], bool]]:
    """A shelf of held texts whose tables go with the next step."""
    keeping.take(OLDEST, "merger")
    hold = keeping.holders.place().hold
    keeping.purge(OLDEST)
    shelf = keeping.generation(1)
    told = keeping.told_at("shredded", restoring.restore, shelf)
    assert keeping.released(hold, told=told, resumed=restoring.check).stopped
    assert keeping.state(shelf) == "shredded"
    return _run(keeping, restoring), lambda: _has_tables(keeping, shelf)


def found_again(keeping: Keeping, restoring: Restoring) -> tuple[Run, Callable[[], bool]]:
    """A purged day whose tables somebody has brought back."""
    keeping.purge(OLDEST)
    with keeping.house.behind.transaction() as connection:
        create_shelf_tables(connection, OLDEST.shelf)
    restoring.restore()
    return _run(keeping, restoring), lambda: _has_tables(keeping, OLDEST.shelf)


def quarantine_return(keeping: Keeping, restoring: Restoring) -> tuple[Run, Callable[[], bool]]:
    """A record in quarantine that two persons return."""
    desk = ReturnDesk(keeping.house, keeping.holders, restoring.check)
    desk.ways_in.take(event(1, org_id="org-009", user_id="org-009-user-0001"))
    desk.register()
    asked = desk.ask()
    restoring.restore()
    return partial(desk.approve, asked), lambda: bool(desk.waiting())


def _run(keeping: Keeping, restoring: Restoring) -> Run:
    """The next run, as if the look at its beginning were not there: the door itself must be shut."""

    def run() -> None:
        keeping.purging.leases.clear()
        purge = keeping.purging.purge(holds=keeping.in_force, resumed=restoring.check)
        purge._resumed = lambda _: None
        stopped = purge.run(keeping.house.clock()).stopped
        if stopped is not None:
            assert stopped.reason == "restored", stopped
            raise Restored(stopped.detail)

    return run


def _has_tables(keeping: Keeping, shelf: str) -> bool:
    with keeping.house.store.reading() as connection:
        return bool(shelf_tables(connection, shelf))


WAYS = {
    "day-purge": day_purge,
    "release-purge": release_purge,
    "found-again": found_again,
    "quarantine-return": quarantine_return,
}


def test_every_way_of_destroying_is_tried() -> None:
    assert set(WAYS) == set(PATHS)


@pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("way", WAYS)
def test_the_door_is_shut_until_two_persons_have_resumed_and_open_then(
    keeping: Keeping, restoring: Restoring, way: str
) -> None:
    act, there = WAYS[way](keeping, restoring)
    with pytest.raises(Restored):
        act()
    assert there()
    restoring.resume()
    act()
    assert not there()


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
@pytest.mark.parametrize("state", ["intent", "kept", "witnessed"])
def test_no_day_passes_its_point_of_no_return_while_it_waits_and_holds_still_win(
    keeping: Keeping, restoring: Restoring, state: str
) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    result = keeping.purge(OLDEST, told=keeping.told_at(state, restoring.restore), resumed=restoring.check)
    assert result.stopped is not None
    assert (result.stopped.reason, keeping.state(OLDEST.shelf)) == ("restored", "witnessed")
    keeping.holders.place(query="merger")
    restoring.resume()
    keeping.house.clock.forward(minutes=1)
    assert keeping.run(resumed=restoring.check).stopped is None
    assert keeping.bodies(keeping.kept_shelf()) == ["merger"]
    assert keeping.purging.report(OLDEST.shelf)["verdict"] == "pass"


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_another_restore_waits_for_two_persons_again(keeping: Keeping, restoring: Restoring) -> None:
    restoring.restore()
    restoring.resume()
    restoring.restore()
    result = keeping.purge(OLDEST, resumed=restoring.check)
    assert result.stopped is not None
    assert (result.stopped.reason, keeping.state(OLDEST.shelf)) == ("restored", "open")
    keeping.purging.until(OLDEST.due() + timedelta(hours=1))
    restoring.resume()
    assert keeping.run(resumed=restoring.check).stopped is None
