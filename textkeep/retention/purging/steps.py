"""The eight steps of a purge, in their order. Each does nothing where it has been done, and can be taken up again after
a crash at any point."""

from collections.abc import Callable, Mapping

from textkeep.archive.shelf import State
from textkeep.errors import NotFound
from textkeep.retention.purging.deciding import Deciding
from textkeep.retention.purging.destroying import Destroying
from textkeep.retention.purging.moving import Mover, Order

Step = Callable[[str, Order], State | None]
"""Takes a step, and gives the state that it has led to; None where it is to be looked for."""


class Steps:
    """Takes a shelf's purge from one step to the next."""

    def __init__(self, mover: Mover, deciding: Deciding, destroying: Destroying) -> None:
        self._mover = mover
        self._after: Mapping[State, Step] = {
            "open": deciding.intent,
            "intent": deciding.kept,
            "kept": deciding.witnessed,
            "witnessed": deciding.committed,
            "committed": destroying.shredded,
            "shredded": destroying.dropped,
            "dropped": destroying.verified,
            "verified": destroying.reported,
        }

    def state(self, shelf: str) -> State:
        """How far a shelf is. Raises NotFound for a name that has none."""
        state = self._mover.state(shelf)
        if state is None:
            raise NotFound("there is no shelf of that name")
        return state

    def advance(self, shelf: str, order: Order, state: State | None = None) -> State:
        """Take a shelf's next step and give the state it is in then; a reported one stays reported.

        `state` is the one it was last seen in, where the caller knows it; a step looks again under its locks.
        """
        step = self._after.get(state or self.state(shelf))
        moved = None if step is None else step(shelf, order)
        return moved or self.state(shelf)

    def resume(self, shelf: str, order: Order) -> None:
        """Count another attempt at a shelf whose purge was cut off."""
        self._mover.resume(shelf, order.turn)
