"""Two threads that take their steps in an order that is given, and the orders that there are."""

import threading
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any, Final

import pytest
from sqlalchemy import text

from tests.housing import House

PATIENCE: Final = 120.0
"""Seconds after which a test fails that waits for another thread."""

GLANCE: Final = 0.005
"""Seconds after which it is looked whether a side that moves waits for a lock."""

HOLD, PURGE = "H", "P"


WAITING: Final = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def orders(holds: int = 4, purges: int = 8) -> list[str]:
    """Every order of so many steps of a hold and so many of a purge, each as a word of `H` and `P`."""
    steps = holds + purges
    return [
        "".join(HOLD if at in chosen else PURGE for at in range(steps)) for chosen in combinations(range(steps), holds)
    ]


class Side(threading.Thread):
    """One side: does its work in steps, each when it is let on. The work calls `pause` between two steps."""

    def __init__(self, name: str, work: Callable[["Side"], Any]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._changed = threading.Condition()
        self._allowed = 0
        self._at_rest = False
        self._unbound = False
        self.inside = False
        """Whether it rests inside a transaction, so that the other side may have to wait for it."""
        self.result: Any = None
        self.raised: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.pause()
            self.result = self._work(self)
        except BaseException as exc:  # noqa: BLE001  told by `end`
            self.raised = exc
        with self._changed:
            self._at_rest = self._unbound = True
            self._changed.notify_all()

    def pause(self, *, inside: bool = False) -> None:
        """Wait until the next step is allowed."""
        with self._changed:
            self.inside = inside
            while not self._allowed and not self._unbound:
                self._at_rest = True
                self._changed.notify_all()
                assert self._changed.wait(PATIENCE), f"nobody let {self.name} on"
            self._at_rest = False
            self._allowed = max(0, self._allowed - 1)

    def allow(self) -> None:
        """One more step; one that waits for a lock takes its steps as soon as it can."""
        with self._changed:
            self._allowed += 1
            self._at_rest = self._unbound
            self._changed.notify_all()

    def rests(self, seconds: float) -> bool:
        """Whether, by then, it has taken every step that it may."""
        with self._changed:
            return self._changed.wait_for(lambda: self._at_rest, seconds)

    @property
    def over(self) -> bool:
        """Whether its work has ended."""
        return self._unbound and self._at_rest

    def end(self) -> Any:
        """Let it go on to its end; gives what the work gave."""
        with self._changed:
            self._unbound = True
            self._changed.notify_all()
        self.join(PATIENCE)
        assert not self.is_alive(), f"{self.name} does not end"
        if self.raised is not None:
            raise self.raised
        return self.result


class Waiting:
    """Whether some connection of a house waits for an advisory lock; no, where the engine has one writer."""

    def __init__(self, house: House) -> None:
        self._behind = house.behind

    def __call__(self) -> bool:
        if not self._behind.shared:
            return False
        with self._behind.reading() as connection:
            return bool(connection.execute(WAITING).scalar_one())


def take(step: str, sides: dict[str, Side], waiting: Callable[[], bool]) -> None:
    """Let one side take a step.

    When this returns both rest, or one waits for a lock that the other one has: then its step, and those that it is
    allowed meanwhile, come when it gets the lock. That is the order which the lock allows.
    """
    sides[step].allow()
    deadline = time.monotonic() + PATIENCE
    while moving := [side for side in sides.values() if not side.rests(0)]:
        inside = any(side.inside for side in sides.values() if side not in moving)
        if inside and waiting():
            break
        if time.monotonic() > deadline:
            pytest.fail("neither side gets on")
        moving[0].rests(GLANCE if inside else PATIENCE)
